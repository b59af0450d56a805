"""A ``.keras`` archive or an ``.h5`` file: it is rebuilt by the Keras that wrote it, 2 (tf_keras) or 3 (keras)."""

from __future__ import annotations

import json
import zipfile
import zlib
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from host_tools.model.from_tensorflow.child.computation import Computation, distinct
from host_tools.model.from_tensorflow.child.hdf5_trust import attribute, require_own_data
from host_tools.model.from_tensorflow.child.keras_trust import require_trusted
from host_tools.model.from_tensorflow.child.refusal import Refusal, cause

if TYPE_CHECKING:
    from pathlib import Path

_MOST_JSON_BYTES = 64 << 20
_MOST_BYTES = 2 << 30
_WEIGHTS = "model.weights.h5"


def read_keras(path: Path, kind: str, folder: Path) -> Computation:
    """Rebuild a model; nothing that the file names is run unless Keras brings it.

    Args:
        path: The file, whatever its name.
        kind: ``keras`` or ``h5``.
        folder: For a link with the suffix that Keras goes by, and for weights that are looked at.

    Raises:
        Refusal: Damaged, weights only, not to be trusted, of another Keras than there is, or with inputs that are not fixed.
    """
    config, written_by = _archive(path, folder) if kind == "keras" else _hdf5(path)
    require_trusted(config)
    package = "keras" if written_by.startswith("3") else "tf_keras"
    keras = _library(package, written_by)
    named = folder / f"model.{kind}"
    named.symlink_to(path)
    try:
        model = keras.models.load_model(named, compile=False, **_safe(package, kind))
    except Exception as error:  # whatever Keras raises on a file is that file's fault
        raise Refusal(
            f"Keras {version(package)} cannot rebuild it ({cause(error)}).",
            hint="If a layer is your own, export the model where its code is with model.export('folder') and give that folder; "
            "if not, save it again with this Keras.",
        ) from error
    return _computation(model, {package: version(package)})


def _safe(package: str, kind: str) -> dict[str, bool]:
    return {"safe_mode": True} if package == "keras" or kind == "keras" else {}


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


def _library(package: str, written_by: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise Refusal(
            f"it was written by Keras {written_by}, which the package {package} reads; it cannot be imported ({cause(error)}).",
            hint=f"pip install {package} where TensorFlow is, of TensorFlow's version.",
            code="input",
        ) from error


def _computation(model: Any, read_by: dict[str, str]) -> Computation:
    inputs, outputs = list(getattr(model, "inputs", None) or []), list(getattr(model, "outputs", None) or [])
    if not inputs or not outputs:
        raise Refusal(
            "it does not know the shape of its inputs.",
            hint="Add an Input layer, or call it once and export it with model.export('folder').",
        )
    names = distinct(list(getattr(model, "input_names", None) or [_plain(one.name) for one in inputs]))
    specs = tuple(
        tf.TensorSpec(tuple(one.shape), one.dtype, name=name) for name, one in zip(names, inputs, strict=True)
    )
    named = list(getattr(model, "output_names", None) or [model.layers[-1].name] * len(outputs))
    output_names = distinct(named)

    def call(*tensors: Any) -> dict[str, Any]:
        found = tf.nest.flatten(model(tensors[0] if len(tensors) == 1 else list(tensors), training=False))
        return dict(zip(output_names, found, strict=True))

    return Computation(call=call, specs=specs, read_by=read_by, owner=model)


def _plain(name: str) -> str:
    return name.partition(":")[0]
