"""Arithmetic on layouts. A layout is the permutation with ``payload = transpose(source, layout)``; the source is the canonical graph.

Unit axes carry no data, so moving them is free; most questions here are asked after leaving them out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Layout = tuple[int, ...]


def natural(rank: int) -> Layout:
    """Return the canonical graph's own order."""
    return tuple(range(rank))


def channel_last(rank: int) -> Layout:
    """Return batch, spatial axes, channels; for rank 3 and more."""
    return (0, *range(2, rank), 1)


def permuted(extents: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """Return the payload's shape for a source shape."""
    return tuple(extents[axis] for axis in layout)


def between(source: Layout, wanted: Layout) -> Layout:
    """Return the permutation that turns a payload in ``source`` layout into one in ``wanted`` layout."""
    return tuple(source.index(axis) for axis in wanted)


def moves_data(shape: Sequence[int], permutation: Layout) -> bool:
    """Whether transposing a tensor of this (payload) shape changes the order of its elements."""
    moved = [axis for axis in permutation if shape[axis] != 1]
    return moved != sorted(moved)


def reshape_is_free(before: Sequence[int], layout: Layout, after: Sequence[int], wanted: Layout) -> bool:
    """Whether a reshape of the source leaves the payload's elements in order.

    Args:
        before: Source shape in front of the reshape.
        layout: Its layout.
        after: Source shape behind the reshape; as many elements.
        wanted: Layout behind the reshape.
    """
    return _element_order(before, after, layout) == _element_order(after, before, wanted)


def carried(before: Sequence[int], layout: Layout, after: Sequence[int]) -> Layout | None:
    """Return a layout behind a reshape that makes it free, or None when there is none.

    Natural and channel-last layouts are preferred; otherwise split and merged axes stay where their group was.
    """
    rank = len(after)
    candidates = [channel_last(rank)] if rank >= 3 else []
    candidates.append(natural(rank))
    groups = _groups(before, after)
    position = {axis: place for place, axis in enumerate(layout)}
    ordered = sorted(groups, key=lambda group: min(position[axis] for axis in group[0]))
    busy = [axis for group in ordered for axis in group[1]]
    idle = [axis for axis in range(rank) if axis not in busy]
    candidates.append((*(a for a in idle if a == 0), *busy, *(a for a in idle if a != 0)))
    for candidate in candidates:
        if reshape_is_free(before, layout, after, candidate):
            return candidate
    return None


def _element_order(
    shape: Sequence[int], other: Sequence[int], layout: Layout
) -> list[tuple[int, ...]] | None:
    """Return the source's axis groups in payload order, or None when a group is torn or turned around."""
    groups = _groups(shape, other)
    of_axis = {axis: index for index, group in enumerate(groups) for axis in group[0]}
    order: list[tuple[int, ...]] = []
    remaining = [axis for axis in layout if shape[axis] != 1]
    while remaining:
        group = groups[of_axis[remaining[0]]]
        length = len(group[0])
        if remaining[:length] != list(group[0]):
            # A torn group has no like on the other side; the marker differs per shape so that two torn ones never compare equal.
            return [(-1, *shape), (-1, *layout)]
        order.append((of_axis[remaining[0]],))
        remaining = remaining[length:]
    return order


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the smallest groups of non-unit axes, in order, that a reshape turns into each other."""
    left = [axis for axis, extent in enumerate(before) if extent != 1]
    right = [axis for axis, extent in enumerate(after) if extent != 1]
    groups: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    while left or right:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        while (a := math.prod(before[i] for i in ours)) != (b := math.prod(after[i] for i in theirs)):
            if a < b:
                ours.append(left.pop(0))
            else:
                theirs.append(right.pop(0))
        groups.append((tuple(ours), tuple(theirs)))
    return groups
