"""Scales and zero points: pure arithmetic, float64 throughout.

Every function keeps these promises: zero is exactly representable; a scale is finite, a normal float32 when published, and never below
the target's minimum; a value inside the range that was asked for is at most half a scale from its code's value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.quantization_plan import QParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import IntegerType
    from targets.profile import Rounding, ScaleRules, ZeroPointRule

    Float64 = NDArray[np.float64]

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Scales are published as float32; below its smallest normal number engines that flush denormals see zero."""

DEAD_RANGE = 1.0
"""Width given to a tensor that was zero all the time: any scale represents it exactly, and this one keeps rescale factors ordinary."""

_STRICT = 1.0 + 2.0**-20
"""A step past a bound that survives rounding to float32 (2**-24) and is far below one code."""

_MOST_SHRINK = 1.0 - 1e-4
"""`inside` mends ties of zero point rounding; a range that is more than this outside its bounds was chosen so on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRange:
    """Integer codes that may be used.

    Attributes:
        dtype: Stored type.
        low: Lowest code.
        high: Highest code.
        middle: The code of a symmetric zero: 0 when signed, 2**(bits-1) when unsigned.
    """

    dtype: IntegerType
    low: int
    high: int
    middle: int


def code_range(bits: int, *, signed: bool, narrow: bool = False) -> CodeRange:
    """Return the codes of a ``bits`` wide integer; narrow leaves out the lowest.

    Args:
        bits: 2 to 16 when signed, 2 to 8 when unsigned (the plan knows no uint16).
        signed: Two's complement or unsigned.
        narrow: Whether the lowest code is forbidden, e.g. -128.

    Raises:
        ValueError: A width that no stored type has.
    """
    if not 2 <= bits <= (16 if signed else 8):
        raise ValueError(f"no stored type has {bits} bits, {'signed' if signed else 'unsigned'}")
    half = 1 << (bits - 1)
    dtype: IntegerType = "int16" if bits > 8 else "int8" if signed else "uint8"
    low, high = (-half, half - 1) if signed else (0, 2 * half - 1)
    return CodeRange(dtype=dtype, low=low + int(narrow), high=high, middle=0 if signed else half)


def choose(
    low: Float64,
    high: Float64,
    *,
    codes: CodeRange,
    zero_point: ZeroPointRule,
    scale: ScaleRules,
    axis: int | None = None,
) -> QParams:
    """Choose scale and zero point so that [low, high], widened to contain 0, is representable.

    Args:
        low: Smallest value, shape (channels,) or (1,); finite.
        high: Largest value, same shape; finite, not below ``low``.
        codes: Codes in use.
        zero_point: ``symmetric``: the middle code; ``midpoint``: the lowest code when nothing is negative, else the middle one;
            ``asymmetric``: any.
        scale: Legal scales. A power of two is the next one above, so that nothing clips.
        axis: Channel axis for several channels.

    Returns:
        One scale per entry of ``low``, in input units per code.

    Raises:
        ValueError: A bound is not finite, or low > high.

    Source:
        TensorFlow Lite 8-bit quantization specification: real = (code - zero_point) * scale.
    """
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
        raise ValueError(f"expected finite low <= high, got {low} and {high}")
    low, high = _wide_enough(np.minimum(low, 0.0), np.maximum(high, 0.0), scale.minimum_range)
    whole = float(codes.high - codes.low)
    balanced = np.maximum(high / (codes.high - codes.middle), -low / (codes.middle - codes.low))
    if zero_point == "symmetric":
        scales, zeros = balanced, np.full(low.shape, codes.middle)
    elif zero_point == "midpoint":
        one_sided = low == 0.0
        scales = np.where(one_sided, high / whole, balanced)
        zeros = np.where(one_sided, codes.low, codes.middle)
    else:
        scales, zeros = (high - low) / whole, np.full(low.shape, codes.low)
    scales = legal_scales(scales, scale)
    if zero_point == "asymmetric":
        zeros = np.clip(np.rint(codes.low - low / scales), codes.low, codes.high)
    return QParams(
        scale=tuple(float(value) for value in scales),
        zero_point=tuple(int(value) for value in zeros),
        dtype=codes.dtype,
        quant_min=codes.low,
        quant_max=codes.high,
        axis=axis,
    )


def _wide_enough(low: Float64, high: Float64, minimum_range: float) -> tuple[Float64, Float64]:
    """Give dead ranges a width and stretch the others to the smallest legal one."""
    dead = high == low
    high = np.where(dead, max(DEAD_RANGE, minimum_range), high)
    stretch = np.maximum(1.0, minimum_range / np.maximum(high - low, SMALLEST_SCALE**2))
    # Beyond float32 there is nothing to represent; the product of a denormal range and a large minimum stays below.
    return low * stretch, high * stretch


def legal_scales(scales: Float64, rules: ScaleRules) -> Float64:
    """Return the smallest legal scales that are not below ``scales``, same shape."""
    floor = max(rules.minimum, SMALLEST_SCALE)
    raised = np.maximum(scales, floor)
    return power_of_two_ceiling(raised) if rules.kind == "power_of_two" else raised


def power_of_two_ceiling(scales: Float64) -> Float64:
    """Return the smallest power of two that is not below each scale; exact."""
    fraction, exponent = np.frexp(scales)
    powers: Float64 = np.ldexp(1.0, exponent - (fraction == 0.5))
    return powers


def raised(qparams: QParams, scales: Float64, rules: ScaleRules) -> QParams:
    """Return ``qparams`` with each scale at least the given one and legal; zero points stay, so the range grows about zero."""
    wanted = np.maximum(np.asarray(qparams.scale), scales)
    grown = np.where(
        wanted > np.asarray(qparams.scale), legal_scales(wanted, rules), np.asarray(qparams.scale)
    )
    return replace(qparams, scale=tuple(float(value) for value in grown))


def above(scale: float) -> float:
    """Return the least scale that is safely greater than ``scale``, also after rounding to float32."""
    return scale * _STRICT


def real_range(qparams: QParams) -> tuple[float, float]:
    """Return the smallest and largest real number that a per-tensor ``qparams`` represents."""
    (scale,), (zero,) = qparams.scale, qparams.zero_point
    return (qparams.quant_min - zero) * scale, (qparams.quant_max - zero) * scale


def saturates(qparams: QParams, low: float, high: float) -> bool:
    """Tell whether quantizing alone does what Clip(low, high) before it would do, to the last code.

    A value below ``low`` must get the code that ``low`` gets. It does under every rounding rule exactly when ``low`` itself rounds to the
    lowest code: when the represented range ends less than half a scale beyond the bound. The same holds for ``high``. So a lowering
    may leave the activation out where this says True, and must write it where this says False (symmetric codes after Relu, a power
    of two above Clip's 6, a range shared with wider tensors).

    Args:
        qparams: Parameters of the activation's output, per tensor.
        low: Lower bound; may be -inf.
        high: Upper bound; may be inf.
    """
    (scale,) = qparams.scale
    bottom, top = real_range(qparams)
    return bottom > low - scale / 2 and top < high + scale / 2


def inside(qparams: QParams, low: float, high: float, rules: ScaleRules) -> QParams:
    """Return ``qparams`` shrunk by the hair that makes it `saturates`, or unchanged where no hair suffices.

    Rounding the zero point moves the range by at most half a code; where it is exactly half, the tie would leave saturation to the
    engine's rounding. Powers of two and scales at the target's minimum stay.
    """
    if saturates(qparams, low, high) or rules.kind == "power_of_two":
        return qparams
    (scale,), (zero,) = qparams.scale, qparams.zero_point
    limits = [scale]
    if low < 0.0 and qparams.quant_min < zero:
        limits.append(low / (qparams.quant_min - zero + 0.5) / _STRICT)
    if high > 0.0 and qparams.quant_max > zero:
        limits.append(high / (qparams.quant_max - zero - 0.5) / _STRICT)
    shrunk = replace(qparams, scale=(min(limits),))
    is_legal = min(limits) >= max(scale * _MOST_SHRINK, rules.minimum, SMALLEST_SCALE)
    return shrunk if is_legal and saturates(shrunk, low, high) else qparams


def best_power_of_two(
    low: Float64,
    high: Float64,
    samples: Float64,
    counts: Float64,
    *,
    codes: CodeRange,
    zero_point: ZeroPointRule,
    scale: ScaleRules,
    rounding: Rounding,
    axis: int | None = None,
) -> QParams:
    """Choose, per channel, the power of two with the least squared error: that which clips nothing, or up to three halvings of it.

    Args:
        low: As for `choose`.
        high: As for `choose`.
        samples: Values of each channel, shape (channels, n).
        counts: Weight of each sample, shape broadcastable to ``samples``.
        codes: As for `choose`.
        zero_point: As for `choose`.
        scale: As for `choose`; power of two.
        rounding: The target's rounding.
        axis: Channel axis that the result names; the search itself has channels first.
    """

    def tried(shrink: float) -> tuple[QParams, Float64]:
        qparams = choose(low * shrink, high * shrink, codes=codes, zero_point=zero_point, scale=scale, axis=0)
        error = values_of(codes_of(samples, qparams, rounding), qparams) - samples
        return qparams, (counts * error * error).sum(axis=1)

    best, least = tried(1.0)
    for halvings in range(1, 4):
        other, cost = tried(0.5**halvings)
        better = cost < least  # ties keep the larger scale, which clips less
        best = replace(
            best,
            scale=tuple(np.where(better, other.scale, best.scale).tolist()),
            zero_point=tuple(np.where(better, other.zero_point, best.zero_point).tolist()),
        )
        least = np.minimum(cost, least)
    return replace(best, axis=axis)
