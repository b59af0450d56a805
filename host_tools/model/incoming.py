"""`receive`: whatever comes in becomes an ONNX file that `source` can read; ONNX itself comes through untouched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.errors import ModelError
from host_tools.model.from_tensorflow.conversion import to_onnx
from host_tools.model.from_tensorflow.kinds import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from host_tools.model.from_tensorflow.options import TensorFlowOptions
    from host_tools.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A model as ONNX, and where it comes from.

    Attributes:
        path: What the user gave.
        onnx: The ONNX file: the same, or one in the cache that was made from it.
        origin: Digest of what it was made from; None where nothing was made.
        note: What was done, for reports; empty where nothing was.
    """

    path: Path
    onnx: Path
    origin: str | None = None
    note: str = ""


def receive(
    path: Path,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    tensorflow: TensorFlowOptions,
    progress: Progress,
) -> Incoming:
    """Return a model as ONNX.

    Args:
        path: An ONNX or TFLite file, a Keras model (``.keras``, ``.h5``) or a SavedModel's folder; told apart by content.
        shapes: Shapes that the user fixed, by input name; some models of Keras cannot be traced without.
        tensorflow: How a model of Keras or TensorFlow is read.
        progress: Told of a conversion.

    Raises:
        ModelError: A signature of what has none; what `to_onnx` raises.
        InputError: See `to_onnx`.
        OutputError: See `to_onnx`.
    """
    kind = kind_of(path)
    if kind is not None:
        made = to_onnx(path, kind, shapes=shapes, options=tensorflow, progress=progress)
        return Incoming(path=path, onnx=made.onnx, origin=made.origin, note=made.note)
    if tensorflow.signature is not None:
        raise ModelError(
            f"{path}: --signature is about SavedModels, which this is not.", hint="Leave it out."
        )
    return Incoming(path=path, onnx=path)
