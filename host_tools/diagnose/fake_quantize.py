"""Real numbers through their codes and back, in float32 as a QDQ graph does it: quick enough for every tensor of every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QParams

    Float32 = NDArray[np.float32]


def fake_quantize(values: Float32, qparams: QParams) -> Float32:
    """Return ``scale * (saturate(round(values / scale) + zero_point) - zero_point)``, same shape; halves round to even.

    Args:
        values: Real numbers; infinities saturate, NaN stays.
        qparams: One scale and zero point, or one per index of ``qparams.axis``.

    Source: ONNX operators QuantizeLinear and DequantizeLinear.
    """
    scale, lowest, highest = aligned_range(qparams, values.ndim)
    result: Float32 = np.asarray(values / scale)  # a number, of an array without axes
    np.rint(result, out=result)
    np.clip(result, lowest, highest, out=result)
    result *= scale
    return result


def aligned_range(qparams: QParams, rank: int) -> tuple[Float32, Float32, Float32]:
    """Return scale, and the lowest and highest multiple of it, shaped to broadcast against an array of ``rank``."""
    shape = [1] * rank
    if qparams.axis is not None:
        shape[qparams.axis] = len(qparams.scale)
    zero_point = np.asarray(qparams.zero_point, np.float32).reshape(shape)
    scale = np.asarray(qparams.scale, np.float32).reshape(shape)
    return scale, qparams.quant_min - zero_point, qparams.quant_max - zero_point
