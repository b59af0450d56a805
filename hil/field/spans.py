"""Samples over time: stretches of one value, and few points in place of many. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of one value: from half way to the sample before it, to half way to the one after it."""

    begin: float
    end: float
    value: float


def spans(times: NDArray[np.float64], values: NDArray[np.float64]) -> list[Span]:
    """Return the stretches of one value, in order; together they cover everything from the first sample to the last.

    Args:
        times: Ascending.
        values: One each.
    """
    if not len(times):
        return []
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    borders = [times[0], *((times[changes] + times[changes - 1]) / 2.0).tolist(), times[-1]]
    firsts = [0, *changes.tolist()]
    return [
        Span(begin=float(borders[place]), end=float(borders[place + 1]), value=float(values[first]))
        for place, first in enumerate(firsts)
    ]


def simplified(
    times: NDArray[np.float64], values: NDArray[np.float64], *, within: float
) -> NDArray[np.int64]:
    """Return places of samples through which straight lines pass no sample at more than ``within``; the first and last are among them.

    Source: Douglas and Peucker, "Algorithms for the reduction of the number of points required to represent a digitized line or its
    caricature", Cartographica 10 (1973); the distance is that of values, for time is no length.

    Args:
        times: Strictly ascending.
        values: One each.
        within: In the values' unit; at least 0.
    """
    count = len(times)
    if count <= 2:
        return np.arange(count)
    kept = np.zeros(count, dtype=bool)
    kept[[0, -1]] = True
    open_spans = [(0, count - 1)]
    while open_spans:
        first, last = open_spans.pop()
        if last - first < 2:
            continue
        inner = slice(first + 1, last)
        line = np.interp(times[inner], times[[first, last]], values[[first, last]])
        away = np.abs(values[inner] - line)
        farthest = int(np.argmax(away))
        if away[farthest] > within:
            middle = first + 1 + farthest
            kept[middle] = True
            open_spans += [(first, middle), (middle, last)]
    return np.flatnonzero(kept)


def stepped(values: NDArray[np.float64], *, within: float) -> NDArray[np.int64]:
    """Return places at which a value that is held until the next place is farther than ``within`` from the samples that follow."""
    places: list[int] = []
    held = np.nan
    for place, value in enumerate(values.tolist()):
        if not abs(value - held) <= within:  # the first is compared with NaN
            places.append(place)
            held = value
    return np.array(places, dtype=np.int64)
