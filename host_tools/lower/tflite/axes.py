"""Which layouts a reshape leaves free, or a lost axis: the file holds ``transpose(source, layout)``, the source is the canonical graph."""

from __future__ import annotations

import itertools
import math
import operator
from typing import TYPE_CHECKING

from host_tools.layouts import natural

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from host_tools.layouts import Layout


def channel_last(rank: int) -> Layout:
    """Return batch, spatial axes, channels; for rank 3 and more."""
    return (0, *range(2, rank), 1)


def without(layout: Layout, dropped: Collection[int]) -> Layout:
    """Return the layout of what is left of a source whose ``dropped`` axes are gone."""
    left = [axis for axis in range(len(layout)) if axis not in dropped]
    return tuple(left.index(axis) for axis in layout if axis not in dropped)


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


def by_one_transpose(
    before: Sequence[int], layout: Layout, after: Sequence[int], wanted: Layout
) -> tuple[tuple[int, ...], Layout] | None:
    """Return how one transpose does a whole reshape: the shape to see the payload in, and the permutation of that shape.

    Axes are cut where either side of the reshape cuts them, e.g. channels and rows (8, 8) to (16, 4) into 8, 2 and 4; axes that stay
    neighbours are one again.

    Returns:
        None when the two sides cut an axis in ways that do not nest, e.g. (6, 4) to (4, 6).
    """
    extents: list[int] = []
    pieces_before: dict[int, list[int]] = {}
    pieces_after: dict[int, list[int]] = {}
    for ours, theirs in _groups(before, after):
        factors = _common_factors([before[axis] for axis in ours], [after[axis] for axis in theirs])
        if factors is None:
            return None
        numbers = range(len(extents), len(extents) + len(factors))
        extents.extend(factors)
        _deal(ours, before, numbers, extents, pieces_before)
        _deal(theirs, after, numbers, extents, pieces_after)
    first = [piece for axis in layout for piece in pieces_before.get(axis, ())]
    then = [piece for axis in wanted for piece in pieces_after.get(axis, ())]
    runs = _common_runs(first, then)
    shape = tuple(math.prod(extents[piece] for piece in run) for run in runs)
    heads = [run[0] for run in runs]
    return shape, tuple(heads.index(piece) for piece in then if piece in heads)


def _common_factors(a: Sequence[int], b: Sequence[int]) -> list[int] | None:
    """Return the extents of the coarsest cut that both cuts of one length refine to, or None."""
    ends = sorted({*itertools.accumulate(a, operator.mul), *itertools.accumulate(b, operator.mul)})
    starts = [1, *ends[:-1]]
    if any(end % start for start, end in zip(starts, ends, strict=True)):
        return None
    return [end // start for start, end in zip(starts, ends, strict=True)]


def _deal(
    group: Sequence[int],
    shape: Sequence[int],
    numbers: Iterable[int],
    extents: Sequence[int],
    pieces: dict[int, list[int]],
) -> None:
    """Give each axis of a group its pieces, in order."""
    left = iter(numbers)
    for axis in group:
        pieces[axis] = []
        while math.prod(extents[piece] for piece in pieces[axis]) < shape[axis]:
            pieces[axis].append(next(left))


def _common_runs(first: Sequence[int], then: Sequence[int]) -> list[list[int]]:
    """Split ``first`` into the longest runs that are runs of ``then`` as well."""
    follower = dict(itertools.pairwise(then))
    runs: list[list[int]] = []
    for piece in first:
        if runs and follower.get(runs[-1][-1]) == piece:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs


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
