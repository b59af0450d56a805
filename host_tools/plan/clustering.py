"""`choose_centroids`: the few numbers that stand for many with least squared error: k-means on a line. Pure, the same for the same numbers.

On a line clusters are runs of the sorted numbers, so that the best split is found exactly by dynamic programming over where runs begin (Wang
and Song, Ckmeans.1d.dp, 2011; each row by divide and conquer, as the best beginning never moves back). Where there are more numbers, or more
centroids, than that is worth, the same is done on neighbours taken together, or left to Lloyd's iteration from a start that is near: as dense
as the cube root of the numbers' own density, which is the best there is for many centroids (Panter and Dite, 1951).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]
    Int64 = NDArray[np.int64]
    Error = Callable[[Int64, Int64], Float64]

EXACT_POINTS: Final = 4096
"""Distinct numbers up to which no neighbours are taken together."""
EXACT_WORK: Final = 16 * EXACT_POINTS
"""Points times centroids up to which the split is found exactly."""
_ROUNDS_OF_CAPPING: Final = 32
_ROUNDS_ON_POINTS: Final = 300
_ROUNDS_ON_ALL: Final = 10
_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Points:
    """Sorted places on a line, how many numbers lie at each, and their sum."""

    place: Float64
    count: Float64
    total: Float64


def choose_centroids(values: NDArray[np.generic], *, most: int) -> Float32:
    """Choose up to ``most`` numbers such that the squared distances of all values to the nearest of them are small together.

    Takes time in proportion to sorting the values, and three times their memory.

    Args:
        values: Finite numbers of any shape; at least one.
        most: Largest number of centroids, at least 1.

    Returns:
        Distinct float32 numbers, ascending; fewer than ``most`` where the values have no more different ones. The error is the least possible
        where the values have up to `EXACT_POINTS` different numbers, and these times ``most`` are up to `EXACT_WORK`.
    """
    ordered = np.sort(np.asarray(values, np.float32).reshape(-1))
    points = _points(ordered)
    if len(points.place) <= most:
        return np.unique(points.place.astype(np.float32))
    if len(points.place) * most <= EXACT_WORK:
        centroids = _optimal(points, most)
    else:
        centroids = _settled(_start(points, most), points.place, points, rounds=_ROUNDS_ON_POINTS)
    if ordered.size != len(points.place):  # a point is several numbers, perhaps not quite the same
        centroids = _settled(centroids, ordered, None, rounds=_ROUNDS_ON_ALL)
    return np.unique(centroids.astype(np.float32))


def nearest(values: NDArray[np.generic], centroids: Float32) -> NDArray[np.uint8]:
    """Return the index of the nearest centroid of each value, the lower where two are as near.

    Args:
        values: Finite numbers, of any shape.
        centroids: 1 to 256 ascending numbers.
    """
    between = _middles(centroids.astype(np.float64))
    flat = np.asarray(values).reshape(-1)
    found = np.empty(flat.size, np.uint8)
    for start in range(0, flat.size, _AT_ONCE):
        found[start : start + _AT_ONCE] = np.searchsorted(between, flat[start : start + _AT_ONCE])
    return found.reshape(np.shape(values))


def _points(ordered: Float32) -> _Points:
    """Return different numbers as points, of too many runs of neighbours: cut at even steps of value, for tails, and of rank, for the bulk."""
    is_new = np.empty(ordered.size, bool)
    is_new[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    starts = np.flatnonzero(is_new)
    if starts.size > EXACT_POINTS:
        half = EXACT_POINTS // 2
        steps = np.linspace(float(ordered[0]), float(ordered[-1]), half, endpoint=False)
        by_value = np.searchsorted(ordered, steps.astype(np.float32))
        by_rank = np.arange(half) * ordered.size // half
        cuts = np.union1d(by_value, by_rank)
        starts = np.unique(
            starts[np.searchsorted(starts, cuts, side="right") - 1]
        )  # equal numbers stay together
    count = np.diff(np.append(starts, ordered.size)).astype(np.float64)
    total = np.add.reduceat(ordered, starts, dtype=np.float64)
    return _Points(place=total / count, count=count, total=total)


def _middles(ascending: Float64) -> Float64:
    middles: Float64 = ascending[:-1] + (ascending[1:] - ascending[:-1]) / 2
    return middles


def _start(points: _Points, most: int) -> Float64:
    """Return places of points, as dense as the cube root of their density, but no point for more than one: that is all an outlier is worth."""
    edges = np.concatenate([points.place[:1], _middles(points.place), points.place[-1:]])
    width = np.diff(edges)
    moment = points.count * width * width
    worth = np.cbrt(moment)  # the width times the cube root of count by width
    for _ in range(_ROUNDS_OF_CAPPING):
        worth = np.minimum(worth, worth.sum() / most)
    share = np.cumsum(worth)
    chosen = np.unique(np.searchsorted(share, (np.arange(most) + 0.5) / most * share[-1]))
    others = np.setdiff1d(np.arange(len(moment)), chosen)
    widest = others[np.argsort(-moment[others], kind="stable")[: most - len(chosen)]]
    places: Float64 = points.place[np.sort(np.concatenate([chosen, widest]))]
    return places


def _settled(
    centroids: Float64, ordered: NDArray[np.floating[Any]], points: _Points | None, *, rounds: int
) -> Float64:
    """Move each centroid to the mean of what is nearest to it, over and over; the error never grows.

    Args:
        centroids: Ascending.
        ordered: The places of the points, or the numbers themselves where ``points`` is None.
        points: What lies at each place.
        rounds: Most repetitions.
    """
    for _ in range(rounds):
        inner = np.searchsorted(ordered, _middles(centroids).astype(ordered.dtype))
        cuts = np.concatenate([[0], inner, [ordered.size]])
        occupied = np.flatnonzero(np.diff(cuts))
        starts = cuts[occupied]
        if points is None:
            count = np.diff(cuts)[occupied].astype(np.float64)
            total = np.add.reduceat(ordered, starts, dtype=np.float64)
        else:
            count, total = (np.add.reduceat(one, starts) for one in (points.count, points.total))
        moved = total / count
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids


def _optimal(points: _Points, most: int) -> Float64:
    """Return the means of the best split of points into ``most`` runs; there are more points than that."""
    # Small numbers, so that their squares cancel less.
    shifted = points.place - points.total.sum() / points.count.sum()
    count, total, square = (
        np.concatenate([[0.0], np.cumsum(one)])
        for one in (points.count, points.count * shifted, points.count * shifted * shifted)
    )

    def error(begin: Int64, end: Int64) -> Float64:
        length = total[end] - total[begin]
        spread: Float64 = square[end] - square[begin] - length * length / (count[end] - count[begin])
        return np.maximum(spread, 0.0)

    ends = np.arange(1, len(points.place) + 1)
    least = np.concatenate([[0.0], error(np.zeros_like(ends), ends)])
    rows = []
    for runs in range(2, most + 1):
        least, begins = _next_row(least, error, runs)
        rows.append(begins)
    cuts = [len(points.place)]
    for begins in reversed(rows):
        cuts.append(int(begins[cuts[-1]]))
    starts = np.asarray([0, *reversed(cuts[1:])])
    means: Float64 = np.add.reduceat(points.total, starts) / np.add.reduceat(points.count, starts)
    return means


def _next_row(least: Float64, error: Error, runs: int) -> tuple[Float64, Int64]:
    """Return, for each number of first points, the least error of ``runs`` runs, and where the last of them begins.

    The last run's best beginning never moves back as points are added, so that what is known of every second end bounds the search of those
    between: each of the log2 passes looks at no more beginnings than there are points and ends.

    Args:
        least: The least errors of one run fewer.
        error: That of one run from a beginning to an end.
        runs: At least 2.
    """
    size = len(least)
    found = np.full(size, np.inf)
    begins = np.full(size, runs - 1, np.int64)
    step = 1 << (size - 1).bit_length()
    while step >= 1:
        ends = np.arange(step, size, 2 * step)
        ends = ends[ends >= runs]
        after = ends + step
        low = np.maximum(begins[ends - step], runs - 1)
        high = np.where(after < size, begins[np.minimum(after, size - 1)], size)
        high = np.minimum(np.maximum(high, low), ends - 1)
        lengths = high - low + 1
        if ends.size:
            firsts = np.cumsum(lengths) - lengths
            tried = np.repeat(low - firsts, lengths) + np.arange(int(lengths.sum()))
            errors = least[tried] + error(tried, np.repeat(ends, lengths))
            found[ends] = np.minimum.reduceat(errors, firsts)
            is_least = np.flatnonzero(errors == np.repeat(found[ends], lengths))
            begins[ends] = tried[is_least[np.searchsorted(is_least, firsts)]]
        step //= 2
    return found, begins
