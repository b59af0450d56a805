"""Recognise a Relu or Clip that the quantization behind it does anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.errors import LoweringError
from host_tools.lower.integers import quantize_array

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.plan.quantization_plan import QuantizationPlan

_RELU6: Final = 6.0


def is_done_by_saturation(node: ir.Node, plan: QuantizationPlan) -> bool:
    """Whether the node is a fused Relu or Clip whose bounds become the lowest and the highest code of its output.

    Quantization is monotone, so every value below the lower bound then has the lowest code with and without the node, and likewise
    above: leaving the node out changes no code. Engines look for the same, but compare float32 bounds with float32 products of scale and
    code, and run the whole operator in float when the last bit differs.

    Args:
        node: A node of the canonical graph.
        plan: A plan that has the node and its output.

    Raises:
        LoweringError: The output's parameters are not valid, or a Clip is not in canonical form.
    """
    return _ends_done_by_saturation(node, plan) == (True, True)


def is_relu_with_saturation(node: ir.Node, plan: QuantizationPlan) -> bool:
    """Whether the node is a fused Clip(0, high) whose upper bound alone becomes the highest code, so that a Relu does what it does.

    Every integer target has Relu. A Clip at 6 is left as it is: that is an operator of its own, ReLU6, and is known where it is.

    Args:
        node: As for `is_done_by_saturation`.
        plan: Likewise.

    Raises:
        LoweringError: Likewise.
    """
    if node.op_type != "Clip" or _ends_done_by_saturation(node, plan) != (False, True):
        return False
    low, high = _clip_bounds(node)
    return low == 0.0 and high != _RELU6


def _ends_done_by_saturation(node: ir.Node, plan: QuantizationPlan) -> tuple[bool, bool]:
    """Tell for the lower and the upper bound of a fused Relu or Clip whether it becomes the lowest and the highest code of its output."""
    if node.op_type not in {"Relu", "Clip"} or plan.nodes[node.name or ""].fused_into is None:
        return False, False
    qparams = plan.tensors[node.outputs[0].name or ""].qparams
    if qparams is None or qparams.axis is not None:
        return False, False
    bounds = [0.0, np.inf] if node.op_type == "Relu" else _clip_bounds(node)
    # Half to even is the rounding of QuantizeLinear and FakeQuantize, whatever the target's: the question is what those do.
    codes = quantize_array(np.array(bounds), qparams, "half_even", where=f"{node.op_type} {node.name!r}")
    return bool(codes[0] == qparams.quant_min), bool(codes[1] == qparams.quant_max)


def _clip_bounds(node: ir.Node) -> list[float]:
    """Return both bounds, which canonical form has as scalar constants."""
    constants = [
        value.const_value for value in node.inputs[1:3] if value is not None and value.const_value is not None
    ]
    if len(constants) != 2 or any(constant.size != 1 for constant in constants):
        raise LoweringError(
            f"Clip {node.name!r}: its bounds are not two constant scalars.",
            hint="Load the model with `host_tools.model`.",
        )
    return [float(constant.numpy().item()) for constant in constants]
