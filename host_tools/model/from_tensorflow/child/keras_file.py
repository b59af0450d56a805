"""What a ``.keras`` archive or an ``.h5`` file says of itself. TensorFlow is not needed for that, so what is refused is refused at once."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.model.from_tensorflow.child.hdf5_trust import attribute, require_own_data
from host_tools.model.from_tensorflow.child.keras_trust import require_trusted
from host_tools.model.from_tensorflow.child.refusal import Refusal, cause

if TYPE_CHECKING:
    from pathlib import Path

_MOST_JSON_BYTES = 64 << 20
_MOST_BYTES = 2 << 30
_WEIGHTS = "model.weights.h5"


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasFile:
    """A file that may be rebuilt: nothing that it names is run unless Keras brings it.

    Attributes:
        path: A link to the file with the suffix that Keras goes by.
        is_archive: Whether it is a ``.keras`` archive, and not HDF5.
        written_by: Version of the Keras that wrote it.
    """

    path: Path
    is_archive: bool
    written_by: str


def open_keras(path: Path, kind: str, folder: Path) -> KerasFile:
    """Look a file over.

    Args:
        path: The file, whatever its name.
        kind: ``keras`` or ``h5``.
        folder: For the link, and for weights that are looked at.

    Raises:
        Refusal: Damaged, weights only, or not to be trusted.
    """
    config, written_by = _archive(path, folder) if kind == "keras" else _hdf5(path)
    require_trusted(config)
    named = folder / f"model.{kind}"
    named.symlink_to(path)
    return KerasFile(path=named, is_archive=kind == "keras", written_by=written_by)


def _archive(path: Path, folder: Path) -> tuple[object, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
            if total > _MOST_BYTES:
                raise Refusal(
                    f"its members claim {total:,} bytes; a model has at most {_MOST_BYTES:,} here.",
                    hint="Export a model of that size to ONNX with external data, and give that.",
                )
            config, metadata = (_member(archive, name) for name in ("config.json", "metadata.json"))
            if _WEIGHTS in archive.namelist():
                archive.extract(_WEIGHTS, folder)
    except (
        zipfile.BadZipFile,
        OSError,
        ValueError,
        KeyError,
        EOFError,
        NotImplementedError,
        zlib.error,
    ) as error:
        raise Refusal(
            f"it is no sound .keras archive ({cause(error)}).",
            hint="It is damaged or was cut short: copy or save it again.",
        ) from error
    if (folder / _WEIGHTS).is_file():
        require_own_data(folder / _WEIGHTS)
        (folder / _WEIGHTS).unlink()
    if isinstance(config, dict):
        config = config | {"compile_config": None}  # losses and metrics are not rebuilt
    written_by = metadata.get("keras_version") if isinstance(metadata, dict) else None
    return config, str(written_by or "3")


def _member(archive: zipfile.ZipFile, name: str) -> object:
    size = archive.getinfo(name).file_size
    if size > _MOST_JSON_BYTES:
        raise Refusal(
            f"its {name} claims {size:,} bytes, of at most {_MOST_JSON_BYTES:,}.",
            hint="Save the model again.",
        )
    return _json(archive.read(name), name)


def _hdf5(path: Path) -> tuple[object, str]:
    require_own_data(path)
    config = attribute(path, "model_config")
    if config is None:
        raise Refusal(
            "it holds weights only, and not what computes with them.",
            hint="Save the whole model with model.save('model.keras'), not model.save_weights.",
        )
    return _json(config, "model_config"), attribute(path, "keras_version") or "2"


def _json(text: bytes | str, name: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(
            f"its {name} is no JSON ({cause(error)}).", hint="It is damaged: copy or save it again."
        ) from error
    return found
