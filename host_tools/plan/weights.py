"""Qparams of weights: granularity, dead channels, and the sums that an accumulator must hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import channel_axis, constant, integers, named, weight_of
from host_tools.plan.codes import codes_of
from host_tools.plan.qparams import best_power_of_two, choose, code_range

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QParams
    from host_tools.recipe import Recipe
    from targets.profile import CapabilityProfile, ZeroPointRule

    Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightChoice:
    """Parameters of one weight, and why."""

    qparams: QParams
    reason: str


def choose_weight(node: ir.Node, profile: CapabilityProfile, recipe: Recipe) -> WeightChoice:
    """Choose the parameters of a node's constant weight, before bias and accumulator have their say.

    Args:
        node: A node with a constant weight.
        profile: The target.
        recipe: May give the weight's range.
    """
    values = np.asarray(constant(weight_of(node)), np.float64)
    axis = channel_axis(node) if node.op_type in profile.weights.per_channel_ops else None
    rows = (
        values.reshape(1, -1)
        if axis is None
        else np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    )
    low, high = rows.min(axis=1), rows.max(axis=1)
    override = recipe.tensors.get(named(weight_of(node)))
    if override is not None and override.range is not None:
        low, high = np.clip(low, *override.range), np.clip(high, *override.range)
    reach = np.maximum(np.abs(low), np.abs(high))
    dead = reach == 0.0
    if dead.any() and not dead.all():
        # A live channel's size: its scale then keeps the bias fine and the rescale factor ordinary.
        usual = float(np.median(reach[~dead]))
        low, high = np.where(dead, -usual, low), np.where(dead, usual, high)
    rules = profile.weights
    codes = code_range(rules.bits, signed=rules.signed, narrow=rules.narrow_range)
    rule: ZeroPointRule = "symmetric" if rules.symmetric else "asymmetric"
    if profile.scale.kind == "power_of_two":
        qparams = best_power_of_two(
            low,
            high,
            rows,
            np.ones((1, 1)),
            codes=codes,
            zero_point=rule,
            scale=profile.scale,
            rounding=profile.rounding.weights,
            axis=axis,
        )
    else:
        qparams = choose(low, high, codes=codes, zero_point=rule, scale=profile.scale, axis=axis)
    zeros = f"; {int(dead.sum())} of {dead.size} are zero throughout" if dead.any() else ""
    step = ", powers of two of least squared error" if profile.scale.kind == "power_of_two" else ""
    width = f"{rule} {qparams.dtype}{_width(rules.bits)}"
    text = f"{node.op_type} weight: {width} {_granularity(node, profile, axis)}{step}{zeros}"
    return WeightChoice(qparams=qparams, reason=text)


def _width(bits: int) -> str:
    return "" if bits in (8, 16) else f" of {bits} bits"


def _granularity(node: ir.Node, profile: CapabilityProfile, axis: int | None) -> str:
    where = f"{profile.id} [weights.per_channel_ops]"
    if axis is not None:
        return f"per channel (axis {axis}), because {where} allows it"
    if node.op_type in profile.weights.per_channel_ops:
        return "per tensor, because a grouped ConvTranspose stores no axis with one entry per output channel"
    return f"per tensor, because {where} does not list {node.op_type}"


def largest_sums(node: ir.Node, qparams: QParams, profile: CapabilityProfile) -> Float64:
    """Return, for each scale of a weight, the largest sum of absolute codes (zero point taken off) of one output channel.

    Args:
        node: A node with a constant weight.
        qparams: The weight's parameters.
        profile: Rounding of weights.

    Returns:
        Shape (scales,), whole numbers.
    """
    values = np.asarray(constant(weight_of(node)), np.float64)
    codes = codes_of(values, qparams, profile.rounding.weights)
    zeros = np.asarray(qparams.zero_point, np.float64)
    shape = [1] * values.ndim
    if qparams.axis is not None:
        shape[qparams.axis] = zeros.size
    sizes = np.abs(codes - zeros.reshape(shape))
    if node.op_type == "ConvTranspose":
        group = integers(node, "group", (1,))[0]
        split = sizes.reshape(group, sizes.shape[0] // group, sizes.shape[1], -1)
        sums = split.sum(axis=(1, 3)).reshape(-1)  # group 1 keeps the order of axis 1
    elif node.op_type == "MatMul":
        sums = sizes.sum(axis=-2).reshape(-1, sizes.shape[-1]).max(axis=0)
    else:
        sums = sizes.reshape(sizes.shape[0], -1).sum(axis=1)
    per_scale: NDArray[np.float64] = sums if qparams.axis is not None else sums.max(keepdims=True)
    return per_scale
