"""What can be computed at once: shapes, and small arithmetic on constants, so that a Reshape whose shape is worked out has a constant one.

The operator's own translation is run on a graph of its own: what it means is said in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.model.from_tflite.call import Call
from host_tools.model.from_tflite.onnx_graph import OnnxGraph
from host_tools.model.from_tflite.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from host_tools.tflite_file import FileOperator

_MOST_ELEMENTS: Final = 4_096
"""Of operands and results: shapes, axes, counters. What is larger is left to the folding of ONNX models."""
_ROOM_BYTES: Final = 1 << 20


def folded(
    session: Session, operator: FileOperator, translate: Callable[[Call], None] | None
) -> list[NDArray[np.generic]] | None:
    """Return what an operator writes where that depends on no data; None where it does, or is large.

    Args:
        session: The import so far.
        operator: The operator.
        translate: Its translator; None where there is none.

    Raises:
        ValueError: What the translator raises.
    """
    inputs = [index for index in operator.inputs if index >= 0]
    if operator.kind == "SHAPE" and inputs:
        return [_typed(np.asarray(session.shape(inputs[0])), session, operator)]
    if operator.kind == "RANK" and inputs:
        return [np.asarray(len(session.shape(inputs[0])), np.int32)]
    if not inputs or not all(session.is_constant(index) for index in inputs):
        return None
    if operator.kind == "DEQUANTIZE":
        return [session.constant(inputs[0]).astype(np.float32, copy=False)]
    if operator.kind == "FLOOR_DIV" and (quotient := _floored(session, inputs)) is not None:
        return [quotient]
    if translate is None or any(session.constant(index).size > _MOST_ELEMENTS for index in inputs):
        return None
    return _computed(session, operator, translate)


def _floored(session: Session, inputs: Sequence[int]) -> NDArray[np.generic] | None:
    """Divide whole numbers, as arithmetic of shapes does and ONNX's Div, which cuts off towards zero, does not; None for others."""
    if len(inputs) != 2:
        return None
    dividend, divisor = (session.constant(index) for index in inputs)
    if dividend.dtype.kind != "i" or divisor.dtype.kind != "i" or not divisor.all():
        return None
    if max(dividend.size, divisor.size) > _MOST_ELEMENTS:
        return None
    return np.asarray(np.floor_divide(dividend, divisor))


def _typed(values: NDArray[np.generic], session: Session, operator: FileOperator) -> NDArray[np.generic]:
    is_long = bool(operator.outputs) and session.file.tensors[operator.outputs[0]].dtype == "int64"
    return values.astype(np.int64 if is_long else np.int32)


def _computed(
    session: Session, operator: FileOperator, translate: Callable[[Call], None]
) -> list[NDArray[np.generic]] | None:
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 - a moment to import, which most files need not

    names = [f"output {place}" for place in range(len(operator.outputs))]
    own = Session(session.file, OnnxGraph(_ROOM_BYTES, names))
    for index in operator.inputs:
        if index >= 0:
            own.know_again(index, session.constant(index))
    translate(Call(own, operator))
    values = {name: own.read(index) for name, index in zip(names, operator.outputs, strict=True)}
    if any(np.prod(own.onnx.shape(name)) > _MOST_ELEMENTS for name in values.values()):
        return None
    with np.errstate(all="ignore"):  # what comes out NaN or infinite is refused by name afterwards
        found = ReferenceEvaluator(own.onnx.model(values, producer="")).run(None, {})
    return [np.asarray(one) for one in found]
