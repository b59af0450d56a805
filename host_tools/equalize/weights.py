"""The weight of an operator as a matrix of outputs by inputs: which factor multiplies and which divides each of its entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import constant, integers, named, weight_of

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels

    Float64 = NDArray[np.float64]
    Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightMatrix:
    """One operator's weight.

    Attributes:
        name: Value name of the weight.
        source: Value that it multiplies.
        result: Value that it makes.
        taps: Values, shape (outputs, inputs of one output, taps).
        inputs: Channel of ``source`` of each entry, shape (outputs, inputs of one output).
        groups: Number of groups; the outputs of one read the same inputs, in order.
    """

    name: str
    source: str
    result: str
    taps: Float64
    inputs: Indices
    groups: int


def matrix_of(node: ir.Node) -> WeightMatrix:
    """Return the weight of Conv, ConvTranspose, Gemm or MatMul with a constant weight of rank 2 as a matrix."""
    weight = weight_of(node)
    values = np.asarray(constant(weight), np.float64)
    taps, inputs = _arranged(node, values)
    return WeightMatrix(
        name=named(weight),
        source=named(node.inputs[0]),
        result=named(node.outputs[0]),
        taps=taps,
        inputs=inputs,
        groups=integers(node, "group", (1,))[0],
    )


def scaled(node: ir.Node, values: Float64, channels: Channels, factors: Float64) -> Float64:
    """Return a weight that takes in scaled inputs and gives scaled outputs, same shape.

    Args:
        node: Its operator.
        values: The weight as the graph has it.
        channels: Which factor belongs to which channel.
        factors: The factors, shape (channels.count,).
    """
    rows = factors[channels.factors[named(node.outputs[0])]]
    columns = factors[channels.factors[named(node.inputs[0])]]
    if node.op_type == "MatMul":
        scaled_matrix: Float64 = values * rows[np.newaxis, :] / columns[:, np.newaxis]
        return scaled_matrix
    group = integers(node, "group", (1,))[0]
    tail = (1,) * (values.ndim - 2)
    if node.op_type == "ConvTranspose":  # (inputs, outputs / group, ...)
        by_group = np.repeat(rows.reshape(group, -1), values.shape[0] // group, axis=0)
        transposed: Float64 = values * by_group.reshape(*by_group.shape, *tail)
        return transposed / columns.reshape(-1, 1, *tail)
    by_row = np.repeat(columns.reshape(group, -1), values.shape[0] // group, axis=0)
    result: Float64 = values * rows.reshape(-1, 1, *tail) / by_row.reshape(*by_row.shape, *tail)
    return result


def _arranged(node: ir.Node, values: Float64) -> tuple[Float64, Indices]:
    group = integers(node, "group", (1,))[0]
    if node.op_type == "MatMul":
        taps = values.T[:, :, np.newaxis]
    elif node.op_type == "ConvTranspose":
        each = values.shape[0] // group
        split = values.reshape(group, each, values.shape[1], -1)
        taps = split.transpose(0, 2, 1, 3).reshape(group * values.shape[1], each, -1)
    else:
        taps = values.reshape(values.shape[0], values.shape[1], -1)
    outputs, inputs, _ = taps.shape
    first = (np.arange(outputs) // (outputs // group)) * inputs
    return taps, (first[:, np.newaxis] + np.arange(inputs)[np.newaxis, :]).astype(np.intp)
