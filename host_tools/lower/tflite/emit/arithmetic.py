"""Add, Sub, Mul, Div, Min and Max, with ONNX broadcasting re-expressed in the output's layout."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from host_tools import layouts
from host_tools.lower.tflite.emit import spatial
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.layout import shape_of
from host_tools.lower.tflite.plan_view import refuse
from host_tools.lower.tflite.session import output_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from host_tools.lower.tflite.session import Session

_OPERATORS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "Add": ("ADD", "AddOptions"),
        "Sub": ("SUB", "SubOptions"),
        "Mul": ("MUL", "MulOptions"),
        "Div": ("DIV", "DivOptions"),
    }
)


def binary(session: Session, node: ir.Node) -> None:
    """Write Add, Sub, Mul or Div.

    Raises:
        LoweringError: A Div in integers, for which no runtime has a kernel.
    """
    operator, kind = _OPERATORS[node.op_type]
    if node.op_type == "Div" and session.is_integer(node):
        raise refuse(
            node,
            "planned in integers, but no TFLite runtime divides them.",
            hint="Set ops.Div.precisions = ['float32'] in the profile.",
        )
    layout = session.layout(node.outputs[0])
    operands = [read_broadcast(session, node, index) for index in (0, 1)]
    quantization = session.output_quantization(node)
    activation, rest = spatial.fusible(session.bounds(node), quantization)
    result = session.output(node, output_shape(node, layout), quantization)
    fields: dict[str, object] = {"fusedActivationFunction": activation}
    if node.op_type in ("Add", "Sub") and quantization is not None and quantization.dtype == "int16":
        fields["potScaleInt16"] = False  # the schema's default would take the scales for powers of two
    options = Options(kind=kind, fields=fields)
    session.add(node, operator, operands, [result], options)
    session.deliver(node, spatial.clip(session, node, result, rest), layout)


def extremum(session: Session, node: ir.Node) -> None:
    """Write Min or Max of any number of inputs; integer kernels want one set of parameters throughout, so inputs take the output's."""
    operator = "MINIMUM" if node.op_type == "Min" else "MAXIMUM"
    layout = session.layout(node.outputs[0])
    quantization = session.output_quantization(node)
    operands = [read_broadcast(session, node, index) for index in range(len(node.inputs))]
    if quantization is not None:
        operands = [session.requantized(operand, quantization) for operand in operands]
    result = operands[0]
    for operand in operands[1:]:
        shape = _broadcast_shape(session.graph.tensors[result].shape, session.graph.tensors[operand].shape)
        after = session.output(node, shape, quantization)
        session.add(node, operator, [result, operand], [after], Options(kind="MaximumMinimumOptions"))
        result = after
    session.deliver(node, spatial.clip(session, node, result, session.bounds(node)), layout)


def read_broadcast(session: Session, node: ir.Node, index: int) -> int:
    """Return an operand of the output's rank, in the output's layout; missing axes are unit axes in front."""
    layout = session.layout(node.outputs[0])
    rank = len(layout)
    if session.is_constant(node, index):
        return session.read_constant(node, index, layout, rank=rank)
    value = node.inputs[index]
    own = shape_of(value) if value is not None else ()
    if len(own) == rank:
        return session.read(node, index, layout)
    raised = session.reshape(
        session.read(node, index, layouts.natural(len(own))), (1,) * (rank - len(own)) + own, node
    )
    return session.relayout(raised, layouts.natural(rank), layout, node)


def _broadcast_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(y if x == 1 else x for x, y in zip(a, b, strict=True))
