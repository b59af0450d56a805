"""`Link`: two values whose channels share factors, and the usual ways to be so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.model.topology import named, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir
    from numpy.typing import NDArray

    Indices = NDArray[np.intp]
    Axes = Mapping[str, int]

FIXED: Final = ""
"""Stands for a value whose factors are all 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Link:
    """Two values whose channels share factors one by one.

    Attributes:
        first: Value name.
        second: Value name, or `FIXED`.
        first_channels: Channels of ``first``, shape (n,).
        second_channels: As many channels of ``second``; of no meaning beside `FIXED`.
    """

    first: str
    second: str
    first_channels: Indices
    second_channels: Indices


def channels_in(value: ir.Value | None, axes: Axes) -> int:
    """Return how many channels an activation has; 1 for a scalar."""
    shape = shape_of(value)
    return shape[axes[named(value)]] if shape else 1


def whole(first: ir.Value | None, second: ir.Value | None, axes: Axes) -> tuple[Link, ...] | None:
    """Tie all channels of two values one by one; None when one has more than the other."""
    every = np.arange(channels_in(first, axes), dtype=np.intp)
    if every.size != channels_in(second, axes):
        return None
    return (Link(first=named(first), second=named(second), first_channels=every, second_channels=every),)


def fixed(value: ir.Value | None, axes: Axes) -> Link:
    """Tie all channels of a value to the factor 1."""
    every = np.arange(channels_in(value, axes), dtype=np.intp)
    return Link(first=named(value), second=FIXED, first_channels=every, second_channels=every)


def same(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """One input, one output, channel by channel along the same axis."""
    source, result = node.inputs[0], node.outputs[0]
    if len(shape_of(source)) != len(shape_of(result)):
        return None
    return moved(source, result, axes, axes[named(source)])


def moved(source: ir.Value | None, result: ir.Value, axes: Axes, place: int) -> tuple[Link, ...] | None:
    """The channel axis of the source becomes ``place``, whole and in order."""
    return whole(source, result, axes) if place == axes[named(result)] else None
