"""Which ``preprocess.toml`` belongs to some data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.sources.preprocess_file import FILE_NAME, load_preparation

if TYPE_CHECKING:
    from device_agent.contract.preparation import Preparation


def find_preprocessing(path: str | Path | None, data: str | Path | None) -> Preparation | None:
    """Read the preprocessing that was named, else the one in or beside a folder of data, else None.

    Raises:
        ConfigError: The file cannot be read or is wrong; the message names file and key.
    """
    if path is not None:
        return load_preparation(Path(path))
    if data is None:
        return None
    folder = Path(data)
    if not folder.is_dir():
        return None
    near = (folder / FILE_NAME, folder.resolve().parent / FILE_NAME)
    found = next((candidate for candidate in near if candidate.is_file()), None)
    return None if found is None else load_preparation(found)
