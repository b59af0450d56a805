"""Real numbers to integer codes and back, exactly as a plan says. Shared by every lowering.

All arithmetic is float64, so that a code depends on the plan and the value alone and never on the order of operations of an engine.
Nothing here chooses a scale, a zero point or a range.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import LoweringError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import IntegerType, QParams
    from targets.profile import Rounding

    Float64 = NDArray[np.float64]

_DTYPES: Mapping[IntegerType, type[np.integer]] = MappingProxyType(
    {"int8": np.int8, "uint8": np.uint8, "int16": np.int16, "int32": np.int32, "int64": np.int64}
)


def quantize_array(
    values: NDArray[np.generic], qparams: QParams, rounding: Rounding, *, where: str = "tensor"
) -> NDArray[np.integer]:
    """Return ``saturate(round(values / scale) + zero_point)``.

    Args:
        values: Real numbers of any shape; infinities saturate.
        qparams: Scales and zero points, one each or one per index of ``qparams.axis``.
        rounding: How a quotient half way between two codes is rounded; a property of the target.
        where: Name of the tensor, for messages.

    Returns:
        Codes in ``qparams.dtype``, of the shape of ``values``, each in [quant_min, quant_max].

    Raises:
        LoweringError: A value is NaN, or the parameters do not fit the shape or the type.
    """
    codes = _unsaturated(values, qparams, rounding, where=where)
    return np.clip(codes, qparams.quant_min, qparams.quant_max).astype(_DTYPES[qparams.dtype])


def quantize_bias(
    values: NDArray[np.generic], qparams: QParams, rounding: Rounding, *, where: str = "bias"
) -> NDArray[np.integer]:
    """Return the codes of a bias, refusing to saturate: a clipped bias shifts a whole channel.

    Args:
        values: Real biases, shape (channels,).
        qparams: Scale = input scale * weight scale; zero point 0.
        rounding: As for `quantize_array`.
        where: Name of the bias, for messages.

    Returns:
        Codes in ``qparams.dtype``, shape (channels,).

    Raises:
        LoweringError: A code lies outside [quant_min, quant_max] (the plan should have widened the weight's scale), a value is NaN,
            or the parameters do not fit.
    """
    codes = _unsaturated(values, qparams, rounding, where=where)
    outside = np.flatnonzero((codes < qparams.quant_min) | (codes > qparams.quant_max))
    if outside.size:
        first = int(outside[0])
        raise LoweringError(
            f"{where}: the code of element {first} is {codes.flat[first]:.0f}, outside [{qparams.quant_min}, {qparams.quant_max}] "
            f"({outside.size} of {codes.size} overflow).",
            hint="The plan must give that channel a larger weight or input scale.",
        )
    return codes.astype(_DTYPES[qparams.dtype])


def dequantize_array(codes: NDArray[np.integer], qparams: QParams, *, where: str = "tensor") -> Float64:
    """Return ``scale * (codes - zero_point)`` in float64, of the shape of ``codes``.

    Raises:
        LoweringError: The parameters do not fit the shape.
    """
    scale, zero_point = _broadcast(qparams, codes.shape, where=where)
    result: Float64 = (codes.astype(np.float64) - zero_point) * scale
    return result


def rebased(qparams: QParams, dtype: IntegerType) -> QParams:
    """Return the same real numbers in the 8-bit type of the other signedness: codes and zero points move by 128.

    Args:
        qparams: Parameters in int8 or uint8.
        dtype: int8 or uint8.

    Raises:
        LoweringError: Either type is not an 8-bit one.
    """
    if dtype == qparams.dtype:
        return qparams
    if {dtype, qparams.dtype} != {"int8", "uint8"}:
        raise LoweringError(f"Cannot re-base {qparams.dtype} codes to {dtype}: expected int8 and uint8.")
    offset = 128 if dtype == "uint8" else -128
    return type(qparams)(
        scale=qparams.scale,
        zero_point=tuple(value + offset for value in qparams.zero_point),
        dtype=dtype,
        quant_min=qparams.quant_min + offset,
        quant_max=qparams.quant_max + offset,
        axis=qparams.axis,
    )


def _unsaturated(values: NDArray[np.generic], qparams: QParams, rounding: Rounding, *, where: str) -> Float64:
    real = values.astype(np.float64)
    if np.isnan(real).any():
        raise LoweringError(f"{where}: a value is NaN.", hint="Mend the model's weights.")
    limits = np.iinfo(_DTYPES[qparams.dtype])
    if not limits.min <= qparams.quant_min <= qparams.quant_max <= limits.max:
        raise LoweringError(
            f"{where}: codes [{qparams.quant_min}, {qparams.quant_max}] do not fit {qparams.dtype}."
        )
    scale, zero_point = _broadcast(qparams, real.shape, where=where)
    result: Float64 = _ROUNDINGS[rounding](real / scale) + zero_point
    return result


def _broadcast(qparams: QParams, shape: tuple[int, ...], *, where: str) -> tuple[Float64, Float64]:
    """Return scale and zero point shaped to broadcast against ``shape``."""
    scale = np.asarray(qparams.scale, np.float64)
    zero_point = np.asarray(qparams.zero_point, np.float64)
    if scale.shape != zero_point.shape or not np.isfinite(scale).all() or (scale <= 0).any():
        raise LoweringError(f"{where}: expected as many zero points as scales, and finite scales above 0.")
    if qparams.axis is None:
        if scale.size != 1:
            raise LoweringError(f"{where}: {scale.size} scales, but no channel axis; expected one.")
        return scale.reshape(()), zero_point.reshape(())
    if not 0 <= qparams.axis < len(shape) or scale.size != shape[qparams.axis]:
        raise LoweringError(
            f"{where}: {scale.size} scales along axis {qparams.axis} do not fit shape {shape}."
        )
    aligned = [1] * len(shape)
    aligned[qparams.axis] = scale.size
    return scale.reshape(aligned), zero_point.reshape(aligned)


def _half_even(quotient: Float64) -> Float64:
    return np.rint(quotient)


def _half_up(quotient: Float64) -> Float64:
    # floor(x + 0.5) is wrong for the largest float64 below 0.5, whose sum rounds to 1; the fraction is exact.
    floor = np.floor(quotient)
    with np.errstate(invalid="ignore"):  # inf - inf: compares false, and floor(inf) = inf is right
        return floor + ((quotient - floor) >= 0.5)


def _half_away_from_zero(quotient: Float64) -> Float64:
    return np.copysign(_half_up(np.abs(quotient)), quotient)


_ROUNDINGS: Mapping[Rounding, Callable[[Float64], Float64]] = MappingProxyType(
    {"half_even": _half_even, "half_up": _half_up, "half_away_from_zero": _half_away_from_zero}
)
