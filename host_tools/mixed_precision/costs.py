"""What a layer costs in float: its multiply-accumulates, and one operation for every number that it writes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from host_tools.plan.topology import input_at, network_of, outputs_of, shape_of, weight_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.diagnose.layers import Layer
    from host_tools.model.float_model import FloatModel


def operations(layer: Layer) -> int:
    """Return how many operations a layer does in one inference; at least 1, and 0 for a graph input."""
    if not layer.nodes:
        return 0
    written = sum(math.prod(shape_of(value)) for value in outputs_of(layer.nodes[-1]))
    return max(1, written + _multiplications(layer.nodes[0]))


def multiplications_of(model: FloatModel) -> int:
    """Return how many multiply-accumulates a model does in one inference."""
    return sum(_multiplications(node) for node in network_of(model.graph).nodes.values())


def _multiplications(node: ir.Node) -> int:
    """Return the multiply-accumulates of an operator that sums products; 0 of every other."""
    weight = weight_of(node)
    if node.op_type == "ConvTranspose" and weight is not None:  # every input meets its channel's whole kernel
        return math.prod(shape_of(node.inputs[0])) * math.prod(shape_of(weight)[1:])
    written = math.prod(shape_of(node.outputs[0]))
    if node.op_type in ("Conv", "Gemm") and weight is not None:
        return written * math.prod(shape_of(weight)[1:])
    if node.op_type == "MatMul":
        return written * (shape_of(input_at(node, 0)) or (1,))[-1]
    return 0
