"""Which windows of which levels cover a selection, each moment once: the longest inside, shorter ones at the ends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from host_tools.review.store.windows import Selection

Tile = tuple[Level, int, int]
"""Level, first start, and end of the last."""


def bounds(selection: Selection, level: Level) -> tuple[int, int]:
    """Return start and end of a selection in whole windows."""
    size = level.seconds
    return math.floor(selection.start / size) * size, math.ceil(selection.end / size) * size


def tiles(selection: Selection, level: Level, *, in_time: bool) -> list[Tile]:
    """Return what covers a selection, in time's order, none of it with an empty range.

    Args:
        selection: Rounded outwards to whole windows of ``level``.
        level: Shortest windows.
        in_time: Whether windows of this level must be told apart; else longer ones serve where they fit.
    """
    start, end = bounds(selection, level)
    if in_time:
        return [(level, start, end)] if start < end else []
    return _covered(start, end, [one for one in reversed(Level) if one.seconds >= level.seconds])


def windows_a_device(selection: Selection, level: Level) -> int:
    """Return how many windows of a device one answer about a selection merges, when no artifact changes in it."""
    return sum((end - start) // one.seconds for one, start, end in tiles(selection, level, in_time=False))


def _covered(start: int, end: int, levels: list[Level]) -> list[Tile]:
    if start >= end:
        return []
    longest, *shorter = levels
    first, last = -(-start // longest.seconds) * longest.seconds, end // longest.seconds * longest.seconds
    if not shorter:
        return [(longest, start, end)]
    if first >= last:
        return _covered(start, end, shorter)
    return [*_covered(start, first, shorter), (longest, first, last), *_covered(last, end, shorter)]
