"""What operators tie that change the extents of an image: pooling, padding, resizing, averaging."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.equalize.link import moved, same
from host_tools.model.topology import constant, input_at, integers, is_constant, named, shape_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.equalize.link import Axes, Link


def pooled(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Pooling mixes what lies along all axes behind the second."""
    return same(node, axes) if axes[named(node.inputs[0])] == 1 else None


def padded(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Padding with zeros or with the values there are, not along the channels: these could be moved on by one and be as many."""
    mode = node.attributes.get_string("mode", "constant")
    amounts, value, given = (input_at(node, index) for index in (1, 2, 3))
    rank = len(shape_of(node.inputs[0]))
    if not is_constant(amounts) or not (given is None or is_constant(given)):
        return None
    padded = range(rank) if given is None else [int(axis) % rank for axis in np.ravel(constant(given))]
    befores, afters = np.reshape(constant(amounts), (2, -1))
    moved = {axis for axis, *both in zip(padded, befores, afters, strict=True) if any(both)}
    is_zero = value is None or (is_constant(value) and not np.any(constant(value)))
    is_kept = axes[named(node.inputs[0])] not in moved and (mode != "constant" or is_zero)
    return same(node, axes) if is_kept else None


def resized(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Every interpolation is linear in the values; what lies outside may be a constant, and channels must not be interpolated."""
    outside = (
        node.attributes.get_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    )
    return None if outside or _is_resized(node, axes[named(node.inputs[0])]) else same(node, axes)


def _is_resized(node: ir.Node, axis: int) -> bool:
    """Tell whether an axis may be resized: by a scale that is not 1, if only to the same extent."""
    rank, scales = len(shape_of(node.inputs[0])), input_at(node, 2)
    if scales is None or not (is_constant(scales) and constant(scales).size):
        return False  # to sizes: the same extent is no change
    resized = integers(node, "axes", tuple(range(rank)))
    return any(
        place % rank == axis and scale != 1.0
        for place, scale in zip(resized, np.ravel(constant(scales)), strict=True)
    )


def averaged(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """ReduceMean, not over the channels."""
    source, result = node.inputs[0], node.outputs[0]
    rank, channel = len(shape_of(source)), axes[named(source)]
    given = input_at(node, 1)
    if given is None or not is_constant(given):
        return None
    reduced = {int(axis) % rank for axis in np.reshape(constant(given), -1)}
    if channel in reduced:
        return None
    kept = integers(node, "keepdims", (1,))[0] == 1
    place = channel if kept else channel - sum(axis < channel for axis in reduced)
    return moved(source, result, axes, place)
