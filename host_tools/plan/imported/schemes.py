"""One coding of a file in a target's terms: the same scale, the same codes or codes moved by a constant; or the obstacle, in a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.model.quantized.coding import RANGES
from host_tools.model.topology import channel_axis, constant, shape_of, weight_of
from host_tools.plan.qparams import SMALLEST_SCALE, code_range
from host_tools.plan.quantization_plan import QParams

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.model.quantized import Coding
    from host_tools.plan.qparams import CodeRange
    from targets.profile import CapabilityProfile

_WHOLE: Final = 1e-2
"""How far a weight's value may be from a whole number of scales: float32 of eight bits is within a ten-thousandth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a target cannot have a coding: what the file has, and what the target has."""

    text: str


def activation_in(coding: Coding, profile: CapabilityProfile) -> QParams | Obstacle:
    """Return an activation's or a constant operand's coding in the target's codes.

    Args:
        coding: The file's, per tensor.
        profile: The target, as the operators around the value see it.
    """
    rules = profile.activations
    codes = code_range(rules.bits, signed=rules.signed)
    low, high = RANGES[coding.dtype]
    if len(coding.scale) != 1:
        return Obstacle(text=f"the file has {len(coding.scale)} scales; the target has one for a value")
    if high - low != codes.high - codes.low:
        return Obstacle(
            text=f"the file has {coding.dtype}; the target has {codes.dtype} (activations.bits of {profile.id!r})"
        )
    zero = coding.zero_point[0] + codes.low - low
    legal = {"symmetric": (codes.middle,), "midpoint": (codes.low, codes.middle)}.get(
        rules.zero_point, (zero,)
    )
    if zero not in legal:
        return Obstacle(
            text=f"the file has the zero point {coding.zero_point[0]} in {coding.dtype}; the target's activations are "
            f"{rules.zero_point} (activations.zero_point of {profile.id!r})"
        )
    return _scaled(coding, (zero,), codes, None, profile)


def weight_in(node: ir.Node, coding: Coding, profile: CapabilityProfile) -> QParams | Obstacle:
    """Return the coding of a node's constant weight in the target's codes.

    Args:
        node: The node; its weight holds what the file's codes stand for.
        coding: The file's.
        profile: The target.
    """
    rules = profile.weights
    codes = code_range(rules.bits, signed=rules.signed, narrow=rules.narrow_range)
    values = np.asarray(constant(weight_of(node)), np.float64)
    axis = None
    if len(coding.scale) > 1:
        axis = channel_axis(node)
        if node.op_type not in rules.per_channel_ops:
            return Obstacle(
                text=f"the file has {len(coding.scale)} scales, one per channel; the target has one for a weight of {node.op_type} "
                f"(weights.per_channel_ops of {profile.id!r})"
            )
        if axis is None or shape_of(weight_of(node))[axis] != len(coding.scale):
            return Obstacle(
                text=f"the file has {len(coding.scale)} scales, along another axis than the output channels of {node.op_type}"
            )
    shift = codes.middle - _middle(coding.dtype)
    zeros = tuple(zero + shift for zero in coding.zero_point)
    if rules.symmetric and any(zero != codes.middle for zero in zeros):
        odd = next(zero for zero in coding.zero_point if zero + shift != codes.middle)
        return Obstacle(
            text=f"the file has {coding.dtype} with the zero point {odd}; the target's weights are symmetric "
            f"(weights.symmetric of {profile.id!r})"
        )
    found = _scaled(coding, zeros, codes, axis, profile)
    return found if isinstance(found, Obstacle) else _held(values, found, shift, profile)


def _held(values: np.ndarray, qparams: QParams, shift: int, profile: CapabilityProfile) -> QParams | Obstacle:
    """Return the parameters if a weight's codes are whole and within those that the target has."""
    along = [1] * values.ndim
    if qparams.axis is not None:
        along[qparams.axis] = len(qparams.scale)
    found = values / np.reshape(qparams.scale, along) + np.reshape(qparams.zero_point, along)
    whole = np.rint(found)
    if np.abs(found - whole).max(initial=0.0) > _WHOLE:
        return Obstacle(text="its numbers are no codes of the file any more")
    if whole.min(initial=0) < qparams.quant_min or whole.max(initial=0) > qparams.quant_max:
        odd = int(whole.min() if whole.min() < qparams.quant_min else whole.max())
        return Obstacle(
            text=f"the file has the code {odd - shift}; the target's weights are {qparams.dtype} from {qparams.quant_min} to "
            f"{qparams.quant_max} (weights.bits and weights.narrow_range of {profile.id!r})"
        )
    return qparams


def _middle(dtype: str) -> int:
    low, high = RANGES[dtype]
    return 0 if low < 0 else (high + 1) // 2


def _scaled(
    coding: Coding,
    zero_point: tuple[int, ...],
    codes: CodeRange,
    axis: int | None,
    profile: CapabilityProfile,
) -> QParams | Obstacle:
    floor = max(profile.scale.minimum, SMALLEST_SCALE)
    small = [scale for scale in coding.scale if scale < floor]
    if small:
        return Obstacle(
            text=f"the file has the scale {small[0]:g}; the target's are at least {floor:g} (scale.minimum of {profile.id!r})"
        )
    odd = [scale for scale in coding.scale if math.frexp(scale)[0] != 0.5]
    if profile.scale.kind == "power_of_two" and odd:
        return Obstacle(
            text=f"the file has the scale {odd[0]:g}; the target's are powers of two (scale.kind of {profile.id!r})"
        )
    return QParams(
        scale=coding.scale,
        zero_point=zero_point,
        dtype=codes.dtype,
        quant_min=codes.low,
        quant_max=codes.high,
        axis=axis,
    )
