"""Operators on codes that carry their scales as inputs (QLinearConv and the like): which float operator each is, and where its inputs lie."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

_LAST_AXIS: Final = -1
_NEW_SOFTMAX: Final = 13
"""The opset from which a Softmax is along one axis; before, it flattened what lies behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorForm:
    """One operator on codes.

    Attributes:
        op_type: The float operator.
        operands: Places of the codes it reads; scale and zero point follow each.
        scale: Place of the output's scale, which the zero point follows.
        bias: Place of a bias in int32, at the scale of the first two operands; None where it has none.
        dropped: Attributes that the float operator has not.
    """

    op_type: str
    operands: tuple[int, ...]
    scale: int
    bias: int | None = None
    dropped: frozenset[str] = frozenset()


_FORMS: Final[Mapping[str, OperatorForm]] = MappingProxyType(
    {
        "QLinearConv": OperatorForm(op_type="Conv", operands=(0, 3), scale=6, bias=8),
        "QLinearMatMul": OperatorForm(op_type="MatMul", operands=(0, 3), scale=6),
        "QGemm": OperatorForm(op_type="Gemm", operands=(0, 3), scale=7, bias=6),
        "QLinearAdd": OperatorForm(op_type="Add", operands=(0, 3), scale=6),
        "QLinearMul": OperatorForm(op_type="Mul", operands=(0, 3), scale=6),
        "QLinearSigmoid": OperatorForm(op_type="Sigmoid", operands=(0,), scale=3),
        "QLinearLeakyRelu": OperatorForm(op_type="LeakyRelu", operands=(0,), scale=3),
        "QLinearSoftmax": OperatorForm(
            op_type="Softmax", operands=(0,), scale=3, dropped=frozenset({"opset"})
        ),
        "QLinearGlobalAveragePool": OperatorForm(
            op_type="GlobalAveragePool", operands=(0,), scale=3, dropped=frozenset({"channels_last"})
        ),
        "QLinearAveragePool": OperatorForm(
            op_type="AveragePool", operands=(0,), scale=3, dropped=frozenset({"channels_last"})
        ),
    }
)
"""Source: ONNX operator specification (QLinearConv, QLinearMatMul); ONNX Runtime, docs/ContribOperators.md (com.microsoft, the others)."""


def form_of(node: ir.Node) -> OperatorForm | None:
    """Return how a node lies; None where it is no operator on codes that we know.

    Raises:
        ValueError: It is asked for something that its float operator cannot say; the end of a sentence that names the node.
    """
    if node.op_type == "QLinearConcat":
        return OperatorForm(op_type="Concat", operands=tuple(range(2, len(node.inputs), 3)), scale=0)
    form = _FORMS.get(node.op_type)
    is_last = bool(node.attributes.get_int("channels_last", 0))
    if form is not None and is_last:
        raise ValueError("has its channels last, which ONNX's float operator cannot")
    opset, axis = node.attributes.get_int("opset", _NEW_SOFTMAX), node.attributes.get_int("axis", 1)
    if node.op_type == "QLinearSoftmax" and opset < _NEW_SOFTMAX and axis != _LAST_AXIS:
        raise ValueError("is a Softmax over several axes, as before opset 13")
    return form
