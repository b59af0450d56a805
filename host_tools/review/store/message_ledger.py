"""Which numbers of which runs were received, as stretches without a hole: what is new, and what is missing.

The same as `host_tools.review.message_numbers`, for many runs at once: a batch in, the stretches that changed out. A run with
more stretches than it may have loses its oldest holes: they are closed, and what was missing there counts as missing for good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretches:
    """Stretches of numbers, ascending by run and number, one an element; none touches the next.

    Attributes:
        boot: int64: key of the run.
        first: int64: lowest number.
        last: int64: highest number.
        time: float64: what the device's clock said in the message ``first``.
        uptime: float64: its uptime in seconds.
        artifact: int64: key of its artifact.
        closed: int64: how many numbers between ``first`` and ``last`` are missing for good.
    """

    boot: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    time: NDArray[np.float64]
    uptime: NDArray[np.float64]
    artifact: NDArray[np.int64]
    closed: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boot)

    def at(self, chosen: NDArray[Any]) -> Stretches:
        """Return some of them, by mask or place."""
        return Stretches(
            boot=self.boot[chosen],
            first=self.first[chosen],
            last=self.last[chosen],
            time=self.time[chosen],
            uptime=self.uptime[chosen],
            artifact=self.artifact[chosen],
            closed=self.closed[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What became of a batch of numbers.

    Attributes:
        is_new: bool, one a number in the order given.
        removed: Stretches that are no more.
        written: Stretches that take their place, or are new.
        shifted: Stretches, old ones and new ones, whose beginning or whose hole before it is another than it was.
    """

    is_new: NDArray[np.bool_]
    removed: Stretches
    written: Stretches
    shifted: Stretches


def add(there: Stretches, numbers: Stretches) -> Added:
    """Add numbers to the stretches of their runs.

    Args:
        there: Every stretch of these runs that the numbers could lie in or touch.
        numbers: One number each (``first`` equals ``last``), in any order, some of them twice.
    """
    size = len(there)
    both = _joined(there, numbers)
    is_number = np.arange(len(both)) >= size
    order = np.lexsort((is_number, both.first, both.boot))
    boot, first, last = both.boot[order], both.first[order], both.last[order]
    came = is_number[order]
    # The stretch or number before: of equal numbers the first counts, and a stretch comes before its numbers.
    places = np.arange(len(order))
    stretch = np.maximum.accumulate(np.where(came, -1, places))
    inside = came & (stretch >= 0)
    inside[inside] = (boot[stretch[inside]] == boot[inside]) & (last[stretch[inside]] >= first[inside])
    again = np.zeros(len(order), dtype=bool)
    again[1:] = came[1:] & came[:-1] & (boot[1:] == boot[:-1]) & (first[1:] == first[:-1])
    kept = ~(inside | again)
    is_new = np.zeros(len(numbers), dtype=bool)
    is_new[order[came & kept] - size] = True
    order, boot, first, last, came = order[kept], boot[kept], first[kept], last[kept], came[kept]
    if not len(order):
        none = there.at(places[:0])
        return Added(is_new=is_new, removed=none, written=none, shifted=none)
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (boot[1:] != boot[:-1]) | (first[1:] - 1 != last[:-1])
    begin = np.flatnonzero(starts)
    group = np.cumsum(starts) - 1
    changed = np.bincount(group, weights=came) > 0
    merged = both.at(order[begin])
    ends = np.concatenate((begin[1:], [len(order)])) - 1
    closed = np.add.reduceat(both.closed[order], begin)
    merged = replace(merged, last=last[ends], closed=closed)
    follows = np.zeros(len(begin), dtype=bool)
    follows[1:] = changed[:-1] & (merged.boot[1:] == merged.boot[:-1])
    # Where a group begins with a stretch that was there, its beginning is as it was.
    began = ~came[begin]
    swallowed = ~came & ~starts & changed[group]
    shifted = _joined(both.at(order[swallowed]), merged.at(follows | (changed & ~began)))
    return Added(
        is_new=is_new,
        removed=both.at(order[~came & changed[group]]),
        written=merged.at(changed),
        shifted=shifted,
    )


def holes(there: Stretches) -> NDArray[np.int64]:
    """Return how many numbers are missing before each stretch; 0 before a run's first."""
    missing = np.zeros(len(there), dtype=np.int64)
    follows = there.boot[1:] == there.boot[:-1]
    missing[1:] = np.where(follows, there.first[1:] - there.last[:-1] - 1, 0)
    return missing


def close_oldest(there: Stretches, added: Added, most: int) -> tuple[Added, Stretches]:
    """Close the oldest holes of runs that have come to have more stretches than they may.

    Args:
        there: As `add` was given it: all stretches of these runs.
        added: What it gave.
        most: Stretches of a run, at least 1.

    Returns:
        What becomes of the batch, and the stretches whose holes were closed now, ``closed`` telling how many numbers of each
        were given up in this batch.
    """
    boots, run = np.unique(
        np.concatenate((there.boot, added.written.boot, added.removed.boot)), return_inverse=True
    )
    change = np.repeat((1, 1, -1), (len(there), len(added.written), len(added.removed)))
    crowded = boots[np.bincount(run, weights=change, minlength=len(boots)) > most]
    if not len(crowded):
        return added, there.at(crowded)
    stays = _of(there, crowded)
    stays = stays.at(~_begin_as(stays, added.removed))
    now = _joined(stays, _of(added.written, crowded))
    order = np.lexsort((now.first, now.boot))
    now, was_there = now.at(order), order < len(stays)
    begins = np.flatnonzero(np.diff(now.boot, prepend=-1))
    sizes = np.diff(begins, append=len(now))
    ends = begins + sizes - most  # of the lowest stretches, which become one
    is_old = np.arange(len(now)) <= np.repeat(ends, sizes)
    missing = np.where(is_old, holes(now), 0)
    given_up = np.add.reduceat(missing, begins)
    closed = np.add.reduceat(np.where(is_old, now.closed, 0), begins)
    made = replace(now.at(begins), last=now.last[ends], closed=closed + given_up)
    elsewhere = added.written.at(~np.isin(added.written.boot, crowded))
    written = _joined(_joined(elsewhere, now.at(~is_old & ~was_there)), made)
    removed = _joined(added.removed, now.at(is_old & was_there))
    return replace(added, removed=removed, written=written), replace(made, closed=given_up)


def _of(some: Stretches, boots: NDArray[np.int64]) -> Stretches:
    return some.at(np.isin(some.boot, boots))


def _begin_as(some: Stretches, others: Stretches) -> NDArray[np.bool_]:
    """Return which stretches begin where one of the others does."""
    gone = set(zip(others.boot.tolist(), others.first.tolist(), strict=True))
    return np.array([one in gone for one in zip(some.boot.tolist(), some.first.tolist(), strict=True)], bool)


def _joined(one: Stretches, other: Stretches) -> Stretches:
    return Stretches(
        boot=np.concatenate((one.boot, other.boot)),
        first=np.concatenate((one.first, other.first)),
        last=np.concatenate((one.last, other.last)),
        time=np.concatenate((one.time, other.time)),
        uptime=np.concatenate((one.uptime, other.uptime)),
        artifact=np.concatenate((one.artifact, other.artifact)),
        closed=np.concatenate((one.closed, other.closed)),
    )
