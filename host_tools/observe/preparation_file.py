"""Which ``preprocess.toml`` belongs to some data, and what it names, opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.sources.prepare_frame import TEXT_SUFFIXES
from device_agent.sources.preprocess_file import FILE_NAME, load_preparation
from device_agent.sources.text_declaration import TextDeclaration
from host_tools.observe.text_input import open_text_input

if TYPE_CHECKING:
    from host_tools.observe.preparation import OpenPreparation


def find_preparation(path: str | Path | None, data: str | Path | None) -> OpenPreparation | None:
    """Read the file that was named, else the one in or beside a folder of data or beside a file of texts, else None.

    Raises:
        ConfigError: The file cannot be read or is wrong; the message names file and key.
        InputError: The tokeniser that it names cannot be used.
    """
    if path is not None:
        return _load(Path(path))
    if data is None:
        return None
    folder = Path(data)
    near = [folder.resolve().parent / FILE_NAME]
    if folder.is_dir():
        near.insert(0, folder / FILE_NAME)
    elif folder.suffix.lower() not in TEXT_SUFFIXES:
        return None
    found = next((candidate for candidate in near if candidate.is_file()), None)
    return None if found is None else _load(found)


def _load(path: Path) -> OpenPreparation:
    written = load_preparation(path)
    return open_text_input(written, path) if isinstance(written, TextDeclaration) else written
