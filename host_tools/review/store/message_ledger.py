"""Which numbers of which runs were received, as stretches without a hole: what is new, and what is missing.

The same as `host_tools.review.message_numbers`, for many runs at once: a batch in, the stretches that changed out.
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
    """

    boot: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    time: NDArray[np.float64]
    uptime: NDArray[np.float64]
    artifact: NDArray[np.int64]

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
    merged = replace(merged, last=last[ends])
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


def _joined(one: Stretches, other: Stretches) -> Stretches:
    return Stretches(
        boot=np.concatenate((one.boot, other.boot)),
        first=np.concatenate((one.first, other.first)),
        last=np.concatenate((one.last, other.last)),
        time=np.concatenate((one.time, other.time)),
        uptime=np.concatenate((one.uptime, other.uptime)),
        artifact=np.concatenate((one.artifact, other.artifact)),
    )
