"""How a tensor fits its codes: its range against theirs, its channels, what is clipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.diagnose.diagnosis import ChannelError, TensorDiagnosis
from host_tools.diagnose.fake_quantize import aligned_range
from host_tools.diagnose.histograms import from_statistics, middle, middle_of_rows, of_numbers
from host_tools.diagnose.ratios import decibels, rounded, share

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from host_tools.diagnose.local_error import LocalError
    from host_tools.observe.statistics import TensorStatistics
    from host_tools.plan.quantization_plan import QParams, TensorPlan

    Float64 = NDArray[np.float64]

WORST_CHANNELS = 6
NARROW = 1 / 8
_MOST_CODES = np.iinfo(np.int32).max


def output_fit(
    planned: TensorPlan, qparams: QParams, error: LocalError, seen: TensorStatistics | None
) -> TensorDiagnosis:
    """Return how a layer's output fits its codes.

    Args:
        planned: The plan's entry of the value.
        qparams: Its parameters.
        error: What was measured of it.
        seen: What calibration saw of it; None where it saw nothing.
    """
    low, high, levels = _range(qparams)
    minimum, maximum = error.minimum, error.maximum
    if seen is not None and seen.channel_minimum.size == minimum.size:
        minimum = np.minimum(minimum, seen.channel_minimum)
        maximum = np.maximum(maximum, seen.channel_maximum)
    kept = None if seen is None else from_statistics(seen, low=low, high=high)
    if kept is None:
        numbers = error.numbers[np.isfinite(error.numbers)].astype(np.float64)
        kept = of_numbers(numbers, low=low, high=high, origin="the diagnosed samples"), middle(numbers)
    histogram, bulk = kept
    elements = error.count * error.signal.size
    channels = _Channels(
        signal=error.signal,
        noise=error.noise,
        minimum=minimum,
        maximum=maximum,
        scales=_per_channel_scale(qparams, error.signal.size),
    )
    shift = float(np.sum(np.square(error.error)) / max(error.count, 1))
    return TensorDiagnosis(
        name=planned.name,
        dtype=qparams.dtype,
        scales=len(qparams.scale),
        scale=max(qparams.scale),
        zero_point=qparams.zero_point[0],
        low=rounded(low),
        high=rounded(high),
        levels=levels,
        bulk_levels=int(_levels_between(max(bulk[0], low), min(bulk[1], high), max(qparams.scale), levels)),
        clipped_share=share(error.clipped, elements),
        clipping_noise_share=share(error.clipping_noise, float(error.output_noise.sum())),
        shift_noise_share=share(shift, float(error.noise.sum())),
        histogram=histogram,
        channel_count=error.signal.size,
        narrow_channels=channels.narrow(levels),
        channels=channels.worst(),
        reason=planned.reason,
    )


def weight_fit(
    planned: TensorPlan,
    qparams: QParams,
    exact: NDArray[np.generic],
    quantized: NDArray[np.generic],
    *,
    axis: int,
) -> TensorDiagnosis:
    """Return how a weight fits its codes.

    Args:
        planned: The plan's entry of the weight.
        qparams: Its parameters.
        exact: The float model's weight.
        quantized: What it is on the device, as real numbers of the same shape.
        axis: Axis of its output channels.
    """
    low, high, levels = _range(qparams)
    real = np.asarray(exact, np.float64)
    rows = _rows(real, axis)
    errors = _rows(np.asarray(quantized, np.float64), axis) - rows
    scale, lowest, highest = aligned_range(qparams, exact.ndim)
    outside = (real < (lowest - 0.5) * scale) | (real > (highest + 0.5) * scale)
    noise = np.square(errors)
    total = float(noise.sum())
    clipped_noise = float((noise * _rows(outside.astype(np.float64), axis)).sum())
    scales = _per_channel_scale(qparams, rows.shape[0])
    channels = _Channels(
        signal=np.square(rows).sum(axis=1),
        noise=noise.sum(axis=1),
        minimum=rows.min(axis=1),
        maximum=rows.max(axis=1),
        scales=scales,
    )
    spans = _levels_between(*middle_of_rows(rows), scales, levels)
    return TensorDiagnosis(
        name=planned.name,
        dtype=qparams.dtype,
        scales=len(qparams.scale),
        scale=max(qparams.scale),
        zero_point=qparams.zero_point[0],
        low=rounded(low),
        high=rounded(high),
        levels=levels,
        bulk_levels=int(np.median(spans)),
        clipped_share=share(float(np.count_nonzero(outside)), float(outside.size)),
        clipping_noise_share=share(clipped_noise, total),
        shift_noise_share=share(float(np.sum(np.square(errors.sum(axis=1)) / rows.shape[1])), total),
        histogram=of_numbers(rows.reshape(-1), low=low, high=high, origin="the weight"),
        channel_count=rows.shape[0],
        narrow_channels=channels.narrow(levels),
        channels=channels.worst(),
        reason=planned.reason,
    )


def _range(qparams: QParams) -> tuple[float, float, int]:
    _, lowest, highest = aligned_range(qparams, 1 if qparams.axis is None else qparams.axis + 1)
    scale = np.asarray(qparams.scale, np.float64)
    low, high = np.ravel(lowest) * scale, np.ravel(highest) * scale
    return float(low.min()), float(high.max()), qparams.quant_max - qparams.quant_min + 1


def _rows(array: Float64, axis: int) -> Float64:
    if array.ndim == 0:
        return array.reshape(1, 1)
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)


def _per_channel_scale(qparams: QParams, channels: int) -> Float64:
    """Return each channel's scale; where the scales lie along another axis, the largest for all."""
    scale = np.asarray(qparams.scale, np.float64)
    return scale if scale.size == channels else np.full(channels, scale.max())


def _levels_between(low: ArrayLike, high: ArrayLike, scale: ArrayLike, levels: int) -> Float64:
    """Return how many of the codes lie between two real numbers, or between each two of several."""
    span = np.rint(np.divide(high, scale)) - np.rint(np.divide(low, scale)) + 1
    return np.asarray(np.clip(span, 1, levels), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Channels:
    """Numbers of every channel of a tensor, each of shape (channels,)."""

    signal: Float64
    noise: Float64
    minimum: Float64
    maximum: Float64
    scales: Float64

    def codes(self) -> NDArray[np.int64]:
        """Return how many codes lie between the ends of each."""
        spans = np.rint(self.maximum / self.scales) - np.rint(self.minimum / self.scales) + 1
        codes: NDArray[np.int64] = np.minimum(spans, _MOST_CODES).astype(np.int64)
        return codes

    def narrow(self, levels: int) -> int:
        """Return how many span less than `NARROW` of the codes."""
        return int(np.count_nonzero(self.codes() < levels * NARROW))

    def worst(self) -> tuple[ChannelError, ...]:
        """Return those of lowest SQNR and those with most of the error, lowest SQNR first."""
        total = float(self.noise.sum())
        ratios = [
            decibels(float(one), float(other)) for one, other in zip(self.signal, self.noise, strict=True)
        ]
        noisy = [(ratio, at) for at, ratio in enumerate(ratios) if ratio is not None]
        lowest = sorted(noisy)[:WORST_CHANNELS]
        loudest = sorted(noisy, key=lambda one: (-self.noise[one[1]], one[1]))[:WORST_CHANNELS]
        codes = self.codes()
        return tuple(
            ChannelError(
                channel=at,
                sqnr_db=ratio,
                low=rounded(float(self.minimum[at])),
                high=rounded(float(self.maximum[at])),
                codes=int(codes[at]),
                noise_share=share(float(self.noise[at]), total),
            )
            for ratio, at in sorted({*lowest, *loudest})
        )
