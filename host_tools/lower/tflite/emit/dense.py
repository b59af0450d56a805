"""Gemm and MatMul: FULLY_CONNECTED with constant weights, BATCH_MATMUL between two activations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from host_tools import layouts
from host_tools.lower.tflite.emit import spatial
from host_tools.lower.tflite.emit.convolution import filters_of, read_bias, read_weights
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.layout import shape_of
from host_tools.lower.tflite.plan_view import refuse

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.lower.tflite.emit.convolution import Weights
    from host_tools.lower.tflite.session import Session


def gemm(session: Session, node: ir.Node) -> None:
    """Write a Gemm with its constant weight of shape (outputs, inputs); a flattened input gives its column order to the weight."""
    value = node.inputs[0]
    columns = session.layouts.columns.get(str(value.name)) if value is not None else None
    data = session.read(node, 0, None if columns is not None else layouts.natural(2))
    weights = read_weights(session, node, 1, channel_axis=0)
    if columns is not None:
        weights = replace(weights, values=weights.values[:, columns])
    _fully_connected(session, node, data, weights, bias_index=2)


def matmul(session: Session, node: ir.Node) -> None:
    """Write a MatMul: FULLY_CONNECTED when the right side is a constant matrix, else BATCH_MATMUL.

    Raises:
        LoweringError: There are more than five axes.
    """
    ranks = [len(shape_of(value)) for value in node.inputs if value is not None]
    if max(ranks) > 5:
        raise refuse(node, f"operands of rank {ranks[0]} and {ranks[1]}; BATCH_MATMUL takes rank 2 to 5.")
    if session.is_constant(node, 1) and ranks[1] == 2 and not session.is_constant(node, 0):
        data = session.read(node, 0, layouts.natural(ranks[0]))
        raw = read_weights(session, node, 1, channel_axis=1)
        weights = replace(raw, values=raw.values.transpose(1, 0))
        _fully_connected(session, node, data, weights, bias_index=2)
        return
    operands = [session.read(node, index, layouts.natural(ranks[index])) for index in (0, 1)]
    if operands[0] == operands[1]:
        operands[1] = second_copy(session, node, operands[1])
    quantization = session.output_quantization(node)
    layout = layouts.natural(len(shape_of(node.outputs[0])))
    result = session.output(node, shape_of(node.outputs[0]), quantization)
    session.add(node, "BATCH_MATMUL", operands, [result], Options(kind="BatchMatMulOptions"))
    session.deliver(node, spatial.clip(session, node, result, session.bounds(node)), layout)


def second_copy(session: Session, node: ir.Node, tensor: int) -> int:
    """Return a copy for a product of a matrix with itself.

    XNNPACK takes a TRANSPOSE in front of a float BATCH_MATMUL into the product's right side, and where the left side reads the same
    tensor, into that as well: the result is wrong without a word. Seen with ai-edge-litert 2.3.0; onnxsim issue 1436 reports it of 2.2.
    """
    before = session.graph.tensors[tensor]
    after = session.like(tensor, f"{before.name}/copied", before.shape)
    session.copy_reshaped(tensor, after, node)
    return after


def _fully_connected(
    session: Session, node: ir.Node, data: int, weights: Weights, *, bias_index: int
) -> None:
    outputs = weights.values.shape[0]
    shape = shape_of(node.outputs[0])
    filters = filters_of(session, weights, weights.values, 0)
    bias = read_bias(session, node, bias_index, outputs=outputs, data=data, weights=weights)
    quantization = session.output_quantization(node)
    activation, rest = spatial.fusible(session.bounds(node), quantization)
    result = session.output(node, shape, quantization)
    fields: dict[str, object] = {"fusedActivationFunction": activation}
    if len(shape) > 2:
        fields["keepNumDims"] = True
    session.add(
        node,
        "FULLY_CONNECTED",
        [data, filters, bias],
        [result],
        Options(kind="FullyConnectedOptions", fields=fields),
    )
    session.deliver(node, spatial.clip(session, node, result, rest), layouts.natural(len(shape)))
