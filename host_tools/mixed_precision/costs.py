"""What it costs to run a layer in a wider precision: time, by its operations and the target's own factors, or bytes of the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from host_tools.model.topology import bias_of, input_at, network_of, outputs_of, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from host_tools.diagnose.layers import Layer
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import FloatType
    from host_tools.recipe import Spared
    from targets.profile import CapabilityProfile, Precision

_BITS: Mapping[FloatType, int] = MappingProxyType({"float32": 32, "float16": 16})
_LEAST = 1.0
"""A move costs this at least, so that of two that cost nothing the one that gains more is first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a layer costs beyond what it costs in the target's usual integers.

    Attributes:
        profile: The target.
        spared: ``latency``: 8-bit operations that take as long. ``size``: bytes that the file grows by.
        float_weights: How weights that leave integers are stored.
    """

    profile: CapabilityProfile
    spared: Spared
    float_weights: FloatType = "float32"

    def of(self, layer: Layer, precision: Precision) -> float:
        """Return what a layer costs in a precision; 0 in the usual integers, and at least 1 in another one."""
        if precision == "int8":
            return 0.0
        if self.spared == "size":
            return max(_LEAST, float(_more_bytes(layer, precision, self.profile, _BITS[self.float_weights])))
        factors = self.profile.cost
        factor = factors.int16 if precision == "int16" else factors.float32
        return max(_LEAST, (factor - 1.0) * operations(layer))


def operations(layer: Layer) -> int:
    """Return how many operations a layer does in one inference; at least 1, and 0 for a graph input."""
    if not layer.nodes:
        return 0
    written = sum(math.prod(shape_of(value)) for value in outputs_of(layer.nodes[-1]))
    return max(1, written + _multiplications(layer.nodes[0]))


def _more_bytes(layer: Layer, precision: Precision, profile: CapabilityProfile, float_bits: int) -> int:
    """Return by how many bytes a layer's constants grow, to weights of so many bits where it runs in float.

    16-bit activations leave the weights as they are, and widen the bias alone.
    """
    if not layer.nodes:
        return 0
    weight, bias = (found(layer.nodes[0]) for found in (weight_of, bias_of))
    weights = 0 if weight is None else math.prod(shape_of(weight))
    biases = 0 if bias is None else math.prod(shape_of(bias))
    if precision != "int16":
        return weights * (float_bits - profile.weights.bits) // 8
    wider = profile.at("int16").bias.bits > 32 >= profile.bias.bits  # else both are stored in 4 bytes
    return 4 * biases if wider else 0


def multiplications_of(model: FloatModel) -> int:
    """Return how many multiply-accumulates a model does in one inference."""
    return sum(_multiplications(node) for node in network_of(model.graph).nodes.values())


def _multiplications(node: ir.Node) -> int:
    """Return the multiply-accumulates of an operator that sums products; 0 of every other."""
    weight = weight_of(node)
    if node.op_type == "ConvTranspose" and weight is not None:  # every input meets its channel's whole kernel
        return math.prod(shape_of(node.inputs[0])) * math.prod(shape_of(weight)[1:])
    if node.op_type in ("Conv", "Gemm") and weight is not None:
        return math.prod(shape_of(node.outputs[0])) * math.prod(shape_of(weight)[1:])
    if node.op_type == "MatMul":
        return math.prod(shape_of(node.outputs[0])) * (shape_of(input_at(node, 0)) or (1,))[-1]
    return 0
