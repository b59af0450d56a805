"""What one node costs: multiply-adds, parameters, bytes of its constants. Pure.

One MAC is one multiplication with its addition. Counted are Conv, ConvTranspose, Gemm and MatMul, without their biases; products with
padded zeros count, as everywhere in the field. Of every other operator no MAC is counted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from host_tools.model.topology import (
    bias_of,
    data_inputs,
    input_at,
    is_constant,
    is_float,
    named,
    outputs_of,
    shape_of,
    weight_of,
)

if TYPE_CHECKING:
    import onnx_ir as ir

FLOAT_BYTES: Final = 4
BIAS_BYTES: Final = 4
MULTIPLYING_UNCOUNTED: Final = frozenset({"Einsum", "GRU", "LSTM", "RNN", "Attention"})
"""Operators that multiply matrices inside, and whose MACs are not counted."""


def macs_of(node: ir.Node) -> int:
    """Return the multiply-adds of a node of the canonical graph; 0 for operators that are not counted."""
    if node.op_type in ("Conv", "ConvTranspose"):
        weight = shape_of(input_at(node, 1))  # Conv (M, C/group, ...), ConvTranspose (C, M/group, ...)
        position = outputs_of(node)[0] if node.op_type == "Conv" else input_at(node, 0)
        return math.prod(shape_of(position)) * math.prod(weight[1:])
    if node.op_type in ("Gemm", "MatMul"):
        return math.prod(shape_of(outputs_of(node)[0])) * shape_of(input_at(node, 0))[-1]
    return 0


def constants_of(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the float constants that a node computes with: weight, bias and constant operands, not its settings."""
    operands = [input_at(node, index) for index, _ in data_inputs(node)]
    found = (weight_of(node), bias_of(node), *operands)
    unique = {named(value): value for value in found if value is not None and is_constant(value)}
    return tuple(value for value in unique.values() if is_float(value))


def int8_bytes(node: ir.Node, value: ir.Value) -> int:
    """Return the bytes of a constant of a node at int8: one an element, four for a bias; scales are not counted."""
    bias = bias_of(node)
    is_bias = bias is not None and named(bias) == named(value)
    return math.prod(shape_of(value)) * (BIAS_BYTES if is_bias else 1)
