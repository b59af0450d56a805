"""What latencies a window of a simulated device has: a lognormal body, a heavy tail, drawn as histograms.

A window's counts are multinomial over the buckets, which is what recording one latency after the other would give, and
costs the same for ten inferences and for a million.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from host_tools.review.store.windows import Histograms

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE = 5
PER_OCTAVE = 1 << SCALE
_BELOW, _ABOVE = 24, 136
"""Buckets below and above the median's that hold everything: a factor of 1.7 down and of 19 up."""
_PHASES = 64
"""A median lies in one of so many parts of its bucket: an error of 0.03 %."""
_BODY_OCTAVES = 0.09
_TAIL_SHARE = 0.03
_TAIL_OCTAVES = 0.6
"""Mean of the tail's exponential distribution in octaves, which is a power law of exponent 2.4 in seconds."""


def _table() -> NDArray[np.float64]:
    """float64[phases, buckets]: chance of each bucket, by where in its bucket the median lies."""
    edges = np.arange(-_BELOW, _ABOVE + 1)[None, :] - (np.arange(_PHASES)[:, None] + 0.5) / _PHASES
    octaves = edges / PER_OCTAVE
    body = ndtr(octaves / _BODY_OCTAVES)
    tail = np.where(octaves > 0, -np.expm1(-np.maximum(octaves, 0) / _TAIL_OCTAVES), 0.0)
    share = np.diff((1 - _TAIL_SHARE) * body + _TAIL_SHARE * tail, axis=1)
    return np.asarray(share / share.sum(axis=1, keepdims=True))


_TABLE = _table()
_MIDDLES = 2.0 ** ((np.arange(-_BELOW, _ABOVE) + 0.5) / PER_OCTAVE)


def draw(
    rng: np.random.Generator,
    medians: NDArray[np.floating],
    counts: NDArray[np.integer],
    slowed: NDArray[np.floating],
    slowed_factor: NDArray[np.floating],
) -> tuple[Histograms, NDArray[np.float64]]:
    """Return one histogram a row, and the sums of what is in them, in seconds.

    Args:
        rng: Draws.
        medians: Seconds, while not slowed down.
        counts: Inferences.
        slowed: Share of them that heat slows down, 0 to 1.
        slowed_factor: By how much, >= 1.
    """
    place = np.log2(np.asarray(medians, dtype=np.float64)) * PER_OCTAVE
    first = np.floor(place).astype(np.int64)
    phase = np.minimum(((place - first) * _PHASES).astype(np.int64), _PHASES - 1)
    chance = _TABLE[phase]
    hot = np.flatnonzero(np.asarray(slowed) > 0)
    if hot.size:
        shift = np.rint(np.log2(np.asarray(slowed_factor)[hot]) * PER_OCTAVE).astype(np.int64)
        columns = np.arange(_TABLE.shape[1])[None, :] - shift[:, None]
        moved = np.where(columns >= 0, np.take_along_axis(chance[hot], np.maximum(columns, 0), axis=1), 0.0)
        moved /= moved.sum(axis=1, keepdims=True)
        share = np.asarray(slowed, dtype=np.float64)[hot, None]
        chance[hot] = (1 - share) * chance[hot] + share * moved
    drawn = rng.multinomial(np.asarray(counts, dtype=np.int64), chance)
    rows, columns = np.nonzero(drawn)
    offsets = np.zeros(len(drawn) + 1, dtype=np.int64)
    np.cumsum(np.count_nonzero(drawn, axis=1), out=offsets[1:])
    hist = Histograms(
        scale=SCALE,
        offsets=offsets,
        indices=(first[rows] - _BELOW + columns).astype(np.int32),
        counts=drawn[rows, columns].astype(np.int64),
        zero_counts=np.zeros(len(drawn), dtype=np.int64),
    )
    return hist, np.asarray((drawn @ _MIDDLES) * 2.0 ** (first / PER_OCTAVE))


def mean_factor() -> float:
    """Return the mean latency by the median, of a device that nothing slows down."""
    return float(_TABLE[_PHASES // 2] @ _MIDDLES / 2.0 ** (0.5 / PER_OCTAVE))
