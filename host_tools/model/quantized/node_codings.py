"""The coding that a node of ONNX names by its inputs: a scale, a zero point behind it, and an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from host_tools.errors import ModelError, UnsupportedOperatorError
from host_tools.model.admission import label
from host_tools.model.graph_editor import constant_of
from host_tools.model.quantized.coding import checked_coding
from host_tools.model.quantized.refusals import FLOAT_MODEL, REFUSED_OPERATORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.model.quantized.coding import Coding

QUANTIZE: Final = "QuantizeLinear"
DEQUANTIZE: Final = "DequantizeLinear"
ANEW: Final = "Export the model again from a sound quantizer."

_LAST: Final = -1


def coding_of(node: ir.Node, value: ir.Value, place: int, dtype: str) -> Coding:
    """Return a coding.

    Args:
        node: The node.
        value: What is coded.
        place: The input that is the scale; the next is the zero point.
        dtype: Type of the codes.

    Raises:
        ModelError: It cannot be right; the message names node and value.
        UnsupportedOperatorError: The scale is computed at run time, or there is one for each block.
    """
    if block := node.attributes.get_int("block_size", 0):
        raise UnsupportedOperatorError(
            f"{label(node)}: {value.name!r} has a scale for each block of {block}.", hint=FLOAT_MODEL
        )
    scale, zero = _parameter(node, place, "scale"), _parameter(node, place + 1, "zero point")
    if scale is None or scale.dtype.kind in "iub" or (zero is not None and zero.dtype.kind == "f"):
        has = "no scale" if scale is None else f"a scale of {scale.dtype}"
        raise ModelError(
            f"{label(node)}: {value.name!r} has {has} and {'no zero point' if zero is None else f'a zero point of {zero.dtype}'}.",
            hint=ANEW,
        )
    try:
        return checked_coding(
            dtype,
            np.asarray(scale, np.float64).reshape(-1).tolist(),
            () if zero is None else np.asarray(zero).astype(np.int64).reshape(-1).tolist(),
            axis=_axis(node),
            shape=None if value.shape is None or not value.shape.is_static() else value.shape.numpy(),
        )
    except ValueError as error:
        raise ModelError(f"{label(node)}: {value.name!r} {error}.", hint=ANEW) from error


def _axis(node: ir.Node) -> int:
    """Return the axis of several scales: that which Q and DQ name; of the weights of others that of the outputs."""
    if node.op_type in (QUANTIZE, DEQUANTIZE):
        return node.attributes.get_int("axis", 1)
    is_first = node.op_type == "QLinearConv" or bool(node.attributes.get_int("transB", 0))
    return 0 if is_first else _LAST


def _parameter(node: ir.Node, place: int, what: str) -> NDArray[np.generic] | None:
    value = node.inputs[place] if place < len(node.inputs) else None
    if value is None:
        return None
    array = constant_of(value)
    if array is None:
        raise UnsupportedOperatorError(
            f"{label(node)}: its {what} {value.name!r} is computed at run time.",
            hint=REFUSED_OPERATORS["DynamicQuantizeLinear"][1],
        )
    return array


def require_per_tensor(node: ir.Node, value: ir.Value, coding: Coding) -> None:
    """Refuse several scales for an activation.

    Raises:
        UnsupportedOperatorError: It has several.
    """
    if coding.axis is not None:
        raise UnsupportedOperatorError(
            f"{label(node)}: the activation {value.name!r} has {len(coding.scale)} scales; a plan has one for an activation.",
            hint=FLOAT_MODEL,
        )


def type_at(inputs: Sequence[ir.Value | None], place: int) -> str | None:
    """Return the element type of an input, as NumPy spells it; None where it is absent or not known."""
    value = inputs[place] if place < len(inputs) else None
    if value is None:
        return None
    dtype = value.dtype
    if dtype is None and value.const_value is not None:
        dtype = value.const_value.dtype
    return None if dtype is None else dtype.name.lower()


def type_written(node: ir.Node) -> str:
    """Return the type that a QuantizeLinear writes: its zero point's, else what it is asked for, else uint8."""
    asked = node.attributes.get_int("output_dtype", 0)
    return type_at(node.inputs, 2) or (ir.DataType(asked).name.lower() if asked else "uint8")
