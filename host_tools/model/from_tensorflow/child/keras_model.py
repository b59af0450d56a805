"""A Keras file is rebuilt by the Keras that wrote it: 2 (tf_keras) or 3 (keras)."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from host_tools.model.from_tensorflow.child.computation import Computation, distinct
from host_tools.model.from_tensorflow.child.refusal import Refusal, cause

if TYPE_CHECKING:
    from host_tools.model.from_tensorflow.child.keras_file import KerasFile


def rebuild(file: KerasFile) -> Computation:
    """Return what the file computes.

    Raises:
        Refusal: Keras of that version is absent or cannot rebuild it, or the shapes of its inputs are not known.
    """
    package = "keras" if file.written_by.startswith("3") else "tf_keras"
    keras = _library(package, file.written_by)
    knows_safe_mode = package == "keras" or file.is_archive
    options = {"safe_mode": True} if knows_safe_mode else {}
    try:
        model = keras.models.load_model(file.path, compile=False, **options)
    except Exception as error:  # whatever Keras raises on a file is that file's fault
        raise Refusal(
            f"Keras {version(package)} cannot rebuild it ({cause(error)}).",
            hint="If a layer is your own, export the model where its code is with model.export('folder') and give that folder; "
            "if not, save it again with this Keras.",
        ) from error
    return _computation(model, {package: version(package)})


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

    return Computation(call=call, outputs=tuple(output_names), specs=specs, read_by=read_by, owner=model)


def _plain(name: str) -> str:
    return name.partition(":")[0]
