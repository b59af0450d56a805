"""`rarely_exceeded`: what a channel may reach on data that nobody has seen, from what it reached on some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.observe.statistics import TensorStatistics

    Float64 = NDArray[np.float64]

_ONE_IN: Final = 1000
"""Of so many samples one is to reach higher."""
_FEWEST: Final = 100
"""With fewer samples the peaks are no tail: a fifth of the samples and more."""
_ROOM: Final = 2.0
"""How much higher than what few samples reached."""


def rarely_exceeded(seen: TensorStatistics, samples: int) -> Float64:
    """Return what each channel's largest value exceeds in one sample of a thousand; never less than what was seen.

    The largest values of many samples fall off as a power of how rare they are, each channel by an exponent of its own: Hill's
    estimate of it is the mean logarithm of the peaks above the lowest of them, and Weissman's of the level follows from it. A
    channel that always reaches about as high is left little room, one with a long tail much. A few samples tell no tail: what they
    reached, twice.

    Sources: B. M. Hill, Annals of Statistics 3 (1975); I. Weissman, Journal of the American Statistical Association 73 (1978).

    Args:
        seen: Of a tensor with ``channel_peaks``.
        samples: How many there were.

    Returns:
        Shape (channels,); infinite where fewer samples than peaks let the channel be above 0.
    """
    highest = np.maximum(np.asarray(seen.channel_maximum, np.float64), 0.0)
    if seen.channel_peaks is None or samples < _FEWEST:
        return _ROOM * highest
    peaks = np.maximum(np.asarray(seen.channel_peaks, np.float64), 0.0)
    least, above = peaks[-1], peaks[:-1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exponent = np.log(above / least).mean(axis=0)
        level = least * (len(above) * _ONE_IN / samples) ** exponent
    return np.where(least > 0.0, np.maximum(level, highest), np.inf)
