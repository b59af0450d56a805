"""`moved`: what would have been observed of a value whose channels are moved down by constants."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.observe.statistics import TensorStatistics

    Float64 = NDArray[np.float64]


def moved(seen: TensorStatistics, amounts: Float64) -> TensorStatistics:
    """Return the statistics of a value after ``amounts``, shape (channels,), were taken off.

    Ranges and moments of the channels are exact; the means of the samples' ends are taken to be the ends, and there is no histogram.
    """
    low, high = (
        (np.asarray(ends, np.float64) - amounts).astype(np.float32)
        for ends in (seen.channel_minimum, seen.channel_maximum)
    )
    peaks = seen.channel_peaks
    mean = seen.channel_mean - amounts
    squares = seen.channel_mean_square
    if squares is not None:
        squares = np.maximum(
            squares - 2.0 * amounts * seen.channel_mean + np.square(amounts), np.square(mean)
        )
    return dataclasses.replace(
        seen,
        minimum=float(low.min()),
        maximum=float(high.max()),
        mean_minimum=float(low.min()),
        mean_maximum=float(high.max()),
        channel_minimum=low,
        channel_maximum=high,
        channel_mean=mean,
        channel_mean_square=squares,
        histogram=None,
        channel_peaks=None if peaks is None else (peaks - amounts).astype(np.float32),
    )
