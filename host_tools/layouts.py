"""Arithmetic on layouts. A layout is the permutation with ``held = transpose(value, layout)``: the order of axes in which a value is held.

Unit axes carry no data, so moving them is free; most questions here are asked after leaving them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Layout = tuple[int, ...]


def natural(rank: int) -> Layout:
    """Return the value's own order."""
    return tuple(range(rank))


def permuted(extents: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """Return the shape in which a value of such extents is held."""
    return tuple(extents[axis] for axis in layout)


def between(held: Layout, wanted: Layout) -> Layout:
    """Return the permutation that turns what is held in one layout into what is held in another."""
    return tuple(held.index(axis) for axis in wanted)


def moves_data(shape: Sequence[int], permutation: Layout) -> bool:
    """Tell whether transposing what has this shape changes the order of its elements."""
    moved = [axis for axis in permutation if shape[axis] != 1]
    return moved != sorted(moved)
