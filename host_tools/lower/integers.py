"""Real arrays to integer arrays and back, exactly as a plan says, refusing what does not fit. Shared by every lowering.

The arithmetic is `host_tools.plan.codes`. Nothing here chooses a scale, a zero point or a range.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import LoweringError
from host_tools.plan.codes import rebased as rebased_codes
from host_tools.plan.codes import unsaturated_codes_of, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.plan.codes import Real
    from host_tools.plan.quantization_plan import IntegerType, QParams
    from targets.profile import Rounding

    Float64 = NDArray[np.float64]

_DTYPES: Mapping[IntegerType, type[np.integer]] = MappingProxyType(
    {"int8": np.int8, "uint8": np.uint8, "int16": np.int16, "int32": np.int32, "int64": np.int64}
)


def quantize_array(
    values: Real, qparams: QParams, rounding: Rounding, *, where: str = "tensor"
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
    return np.clip(codes, qparams.quant_min, qparams.quant_max, out=codes).astype(_DTYPES[qparams.dtype])


def quantize_bias(
    values: Real, qparams: QParams, rounding: Rounding, *, where: str = "bias"
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
    _require_fit(qparams, codes.shape, where=where)
    return values_of(codes, qparams)


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
    return rebased_codes(qparams, signed=dtype == "int8")


def _unsaturated(values: Real, qparams: QParams, rounding: Rounding, *, where: str) -> Float64:
    if np.isnan(values).any():
        raise LoweringError(f"{where}: a value is NaN.", hint="Mend the model's weights.")
    limits = np.iinfo(_DTYPES[qparams.dtype])
    if not limits.min <= qparams.quant_min <= qparams.quant_max <= limits.max:
        raise LoweringError(
            f"{where}: codes [{qparams.quant_min}, {qparams.quant_max}] do not fit {qparams.dtype}."
        )
    _require_fit(qparams, values.shape, where=where)
    return unsaturated_codes_of(values, qparams, rounding)


def _require_fit(qparams: QParams, shape: tuple[int, ...], *, where: str) -> None:
    scale = np.asarray(qparams.scale, np.float64)
    if len(qparams.zero_point) != scale.size or not np.isfinite(scale).all() or (scale <= 0).any():
        raise LoweringError(f"{where}: expected as many zero points as scales, and finite scales above 0.")
    if qparams.axis is None and scale.size != 1:
        raise LoweringError(f"{where}: {scale.size} scales, but no channel axis; expected one.")
    if qparams.axis is not None and (not 0 <= qparams.axis < len(shape) or scale.size != shape[qparams.axis]):
        raise LoweringError(
            f"{where}: {scale.size} scales along axis {qparams.axis} do not fit shape {shape}."
        )
