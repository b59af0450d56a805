"""What makes one simulated device different from others of its kind: its speed, its network, its memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DAY = 86400.0
_RSS_BYTES = 31e6

Floats = NDArray[np.float64]


class Own:
    """What makes one device different from others of its kind; arrays of devices."""

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        self.speed = rng.normal(0.0, 0.035, count)
        self.power = np.exp(rng.normal(0.0, 0.05, count))
        self.cooling = np.exp(rng.normal(0.0, 0.08, count))
        self.surroundings = rng.normal(22.0, 4.0, count)
        self.phase = rng.normal(0.0, 3600.0, count)
        self.failing = np.exp(rng.normal(0.0, 0.7, count))
        self.memory = np.exp(rng.normal(0.0, 0.03, count))


def delays(
    rng: np.random.Generator, count: int, windows: int, *, seconds: float, outages_a_day: float
) -> Floats:
    """Seconds from a window's end until it arrives: at once, or when an outage is over."""
    begins = rng.random((count, windows)) < outages_a_day * seconds / _DAY
    lengths = np.where(begins, rng.exponential(4 * 3600.0, (count, windows)), 0.0)
    left = np.zeros(count)
    delays = np.empty((count, windows))
    for window in range(windows):
        left = np.maximum(left - seconds, lengths[:, window])
        delays[:, window] = np.maximum(left, 0.0)
    return delays


def memory(
    rng: np.random.Generator, starts: NDArray[np.int64], since: Floats, leak: Floats, own: Floats
) -> Floats:
    """Resident memory: settles within an hour of a start; a leak grows from each start on."""
    places = np.where(starts > 0, np.arange(len(since))[None, :], 0)
    last = since[np.maximum.accumulate(places, axis=1)]
    age = since[None, :] - last
    step = since[1] - since[0] if len(since) > 1 else 3600.0
    leaked = np.cumsum(leak, axis=1) * step / _DAY
    at_start = np.take_along_axis(leaked, np.maximum.accumulate(places, axis=1), axis=1)
    warm = 1.5e6 * -np.expm1(-age / 1200.0)
    noise = rng.normal(0.0, 0.12e6, starts.shape)
    return np.asarray(_RSS_BYTES * own[:, None] + warm + (leaked - at_start) + noise)
