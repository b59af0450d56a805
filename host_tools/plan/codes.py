"""Real numbers to integer codes and back. All arithmetic is float64, so a code depends on the plan and the value alone, never on an engine."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import IntegerType, QParams
    from targets.profile import Rounding

    Float64 = NDArray[np.float64]
    Real = NDArray[Any]
    """Numbers of any real type."""


def codes_of(values: Real, qparams: QParams, rounding: Rounding = "half_even") -> Float64:
    """Return ``saturate(round(values / scale) + zero_point)`` as whole float64, same shape.

    Args:
        values: Real numbers; infinities saturate.
        qparams: One scale and zero point, one per index of ``qparams.axis``, or one per group.
        rounding: What becomes of a quotient half way between two codes; a property of the target.
    """
    # In place, and without a float64 copy of the values, here and below: of a large table these are the most memory that a conversion takes.
    codes = unsaturated_codes_of(values, qparams, rounding)
    return np.clip(codes, qparams.quant_min, qparams.quant_max, out=codes)


def unsaturated_codes_of(values: Real, qparams: QParams, rounding: Rounding) -> Float64:
    """Return ``round(values / scale) + zero_point`` as whole float64, same shape, which may lie outside the codes that exist."""
    scale, zero_point = aligned(qparams, values.shape)
    quotient = np.divide(values, scale, out=np.empty(np.shape(values)), dtype=np.float64)
    codes = np.asarray(_ROUNDINGS[rounding](quotient))
    codes += zero_point
    return codes


def values_of(codes: Real, qparams: QParams) -> Float64:
    """Return ``scale * (code - zero_point)``, same shape."""
    scale, zero_point = aligned(qparams, codes.shape)
    values: Float64 = np.subtract(codes, zero_point, dtype=np.float64)
    values *= scale
    return values


def rebased(qparams: QParams, *, signed: bool) -> QParams:
    """Return the same real numbers in codes of the wanted signedness: codes and zero points move by half of all codes, exactly.

    Raises:
        ValueError: The stored type has neither 4 nor 8 bits.
    """
    if qparams.dtype not in _REBASED:
        raise ValueError(f"only codes of 4 and 8 bits can be re-based, got {qparams.dtype}")
    dtype, offset = _REBASED[qparams.dtype]
    if (offset > 0) == signed:
        return qparams
    return replace(
        qparams,
        zero_point=tuple(value + offset for value in qparams.zero_point),
        dtype=dtype,
        quant_min=qparams.quant_min + offset,
        quant_max=qparams.quant_max + offset,
    )


def aligned(qparams: QParams, shape: tuple[int, ...]) -> tuple[Float64, Float64]:
    """Return scale and zero point, shaped to broadcast against an array of ``shape``."""
    scale, zero_point = np.asarray(qparams.scale, np.float64), np.asarray(qparams.zero_point, np.float64)
    if qparams.group_axis is not None and qparams.group_size is not None:
        return _spread(scale, qparams, shape), _spread(zero_point, qparams, shape)
    aligned = [1] * len(shape)
    if qparams.axis is not None:
        aligned[qparams.axis] = len(qparams.scale)
    return scale.reshape(aligned), zero_point.reshape(aligned)


def _spread(numbers: Float64, qparams: QParams, shape: tuple[int, ...]) -> Float64:
    """Return one number an element from one a group."""
    axis, size = qparams.group_axis or 0, qparams.group_size or 1
    grid = group_grid(shape, axis, size)
    whole = np.repeat(numbers.reshape(grid), size, axis=axis)
    return np.take(whole, np.arange(shape[axis]), axis=axis)


def group_grid(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    """Return the shape of the scales of a weight in groups of ``size`` elements along ``axis``."""
    return (*shape[:axis], -(-shape[axis] // size), *shape[axis + 1 :])


def _half_even(quotient: Float64) -> Float64:
    return np.rint(quotient, out=quotient)


def _half_up(quotient: Float64) -> Float64:
    # floor(x + 0.5) is wrong for the largest float64 below 0.5, whose sum rounds to 1; the fraction is exact.
    floor = np.floor(quotient)
    with np.errstate(invalid="ignore"):  # inf - inf: compares false, and floor(inf) = inf is right
        return floor + ((quotient - floor) >= 0.5)


def _half_away_from_zero(quotient: Float64) -> Float64:
    return np.copysign(_half_up(np.abs(quotient)), quotient)


_REBASED: Mapping[IntegerType, tuple[IntegerType, int]] = MappingProxyType(
    {"int4": ("uint4", 8), "uint4": ("int4", -8), "int8": ("uint8", 128), "uint8": ("int8", -128)}
)
"""The type of the other signedness, and how far codes move to it."""
_ROUNDINGS: Mapping[Rounding, Callable[[Float64], Float64]] = MappingProxyType(
    {"half_even": _half_even, "half_up": _half_up, "half_away_from_zero": _half_away_from_zero}
)
