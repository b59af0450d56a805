"""What a path holds, by its bytes: the suffix is only a name. Nothing is unpacked and nothing is imported."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Final, Literal

from device_agent.contract.zip_layout import LOCAL_SIGNATURE

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["keras", "h5", "saved_model"]
"""A Keras 3 archive, a Keras model in HDF5, a folder of TensorFlow's."""

SAVED_MODEL: Final = "saved_model.pb"
_SPOKEN: Final = {"keras": "a .keras archive", "h5": "a Keras .h5 file", "saved_model": "a SavedModel"}
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_KERAS_MEMBERS: Final = frozenset({"config.json", "metadata.json"})


def kind_of(path: Path) -> Kind | None:
    """Return which kind of TensorFlow's models a path holds; None for every other file, readable or not.

    A zip archive that is cut short has lost its table of contents: it is taken for what its name says.
    """
    try:
        if path.is_dir():
            return "saved_model" if (path / SAVED_MODEL).is_file() else None
        with path.open("rb") as file:
            start = file.read(len(_HDF5))
    except OSError:
        return None
    if start == _HDF5:
        return "h5"
    return "keras" if start.startswith(LOCAL_SIGNATURE) and _is_keras(path) else None


def _is_keras(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) >= _KERAS_MEMBERS
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return path.suffix.lower() == ".keras"


def spoken(kind: Kind) -> str:
    """Return what a kind is called in a sentence."""
    return _SPOKEN[kind]
