"""Error of one layer quantized alone from exact inputs, channel by channel: streaming, sample by sample, in constant memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.diagnose.fake_quantize import aligned_range, fake_quantize
from host_tools.observe.instrument import counted_elements

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QParams

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalError:
    """Sums over the elements of one value; those of several samples add up.

    Attributes:
        signal: Sum of squares of the float value by channel, shape (channels,).
        noise: Sum of squares of the layer's error by channel: weights and output quantized.
        weights_noise: The same with its weights alone quantized; zeros where it has none.
        output_noise: The same with its output alone quantized; zeros where that is float.
        error: Sum of the layer's error by channel, with its sign.
        minimum: Smallest float value by channel.
        maximum: Largest float value by channel.
        count: Elements of each channel.
        clipped: Elements more than half a code beyond the range.
        clipping_noise: Their part of ``output_noise``.
        numbers: Some of the float value's elements, for a histogram.
    """

    signal: Float64
    noise: Float64
    weights_noise: Float64
    output_noise: Float64
    error: Float64
    minimum: Float64
    maximum: Float64
    count: int
    clipped: int
    clipping_noise: float
    numbers: Float32

    def plus(self, other: LocalError) -> LocalError:
        """Return the sums over the elements of both."""
        return LocalError(
            signal=self.signal + other.signal,
            noise=self.noise + other.noise,
            weights_noise=self.weights_noise + other.weights_noise,
            output_noise=self.output_noise + other.output_noise,
            error=self.error + other.error,
            minimum=np.minimum(self.minimum, other.minimum),
            maximum=np.maximum(self.maximum, other.maximum),
            count=self.count + other.count,
            clipped=self.clipped + other.clipped,
            clipping_noise=self.clipping_noise + other.clipping_noise,
            numbers=np.concatenate([self.numbers, other.numbers]),
        )


def local_error(
    exact: Float32, with_weights: Float32 | None, qparams: QParams | None, *, axis: int | None
) -> LocalError:
    """Measure one layer on one sample.

    Args:
        exact: The layer's float output.
        with_weights: Its output from the same inputs with quantized weights; None where it has none.
        qparams: Parameters of its output; None where that stays float.
        axis: Channel axis of its output; None for a scalar.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told as the worst ratio
        return _local_error(exact, with_weights, qparams, axis)


def _local_error(
    exact: Float32, with_weights: Float32 | None, qparams: QParams | None, axis: int | None
) -> LocalError:
    rows = _by_channel(exact, axis)
    quantized = exact if qparams is None else fake_quantize(exact, qparams)
    shifted = exact if with_weights is None else with_weights
    both = shifted if qparams is None else fake_quantize(shifted, qparams)
    difference = _by_channel(both, axis) - rows
    rounding = _by_channel(quantized, axis) - rows
    clipped, clipping_noise = 0, 0.0
    if qparams is not None:
        scale, lowest, highest = aligned_range(qparams, exact.ndim)
        outside = (exact < (lowest - 0.5) * scale) | (exact > (highest + 0.5) * scale)
        clipped = int(np.count_nonzero(outside))
        if clipped:
            clipping_noise = float(np.sum(np.square((quantized - exact)[outside], dtype=np.float64)))
    return LocalError(
        signal=_power(rows),
        noise=_power(difference),
        weights_noise=_power(_by_channel(shifted, axis) - rows),
        output_noise=_power(rounding),
        error=difference.sum(axis=1, dtype=np.float64),
        minimum=rows.min(axis=1).astype(np.float64),
        maximum=rows.max(axis=1).astype(np.float64),
        count=rows.shape[1],
        clipped=clipped,
        clipping_noise=clipping_noise,
        numbers=exact.reshape(-1)[counted_elements(exact.size)],
    )


def _by_channel(array: NDArray[np.floating], axis: int | None) -> NDArray[np.floating]:
    """Return an array as (channels, numbers of each)."""
    if axis is None:
        return array.reshape(1, 1)
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)


def _power(rows: NDArray[np.floating]) -> Float64:
    # In float32 first: a channel's sum of squares has no more than a few thousand terms at a time in NumPy's pairwise sums.
    squares: Float64 = np.sum(np.square(rows), axis=1, dtype=np.float64)
    return squares
