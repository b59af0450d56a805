"""How each operator that passes factors on ties the channels of its inputs and outputs; the rest of the folder knows no operator names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.plan.topology import (
    constant,
    input_at,
    integers,
    is_constant,
    is_float,
    named,
    shape_of,
    weight_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_ir as ir
    from numpy.typing import NDArray

    Indices = NDArray[np.intp]
    Axes = Mapping[str, int]

SCALABLE: Final = frozenset({"Mul", "Add", "Sub", "Max", "Min"})
"""Operators whose constant operand, one number a channel, takes up factors: see `host_tools.equalize.rewriting`."""


_MATRIX: Final = 2

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


_OF_SEVERAL: Final = frozenset({"Add", "Sub", "Max", "Min", "Mul", "Concat"})
"""Operators with several inputs of equal standing, of which any may be a constant."""


def links_of(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Return what a node of `CHANNELWISE` ties; None when this one passes no factor."""
    is_integer = named(node.outputs[0]) not in axes
    if is_integer or (is_constant(node.inputs[0]) and node.op_type not in _OF_SEVERAL):
        return None
    return CHANNELWISE[node.op_type](node, axes)


def _whole(first: str, second: str, axes: Axes, sizes: tuple[int, int]) -> Link | None:
    del axes
    if sizes[0] != sizes[1]:
        return None
    every = np.arange(sizes[0], dtype=np.intp)
    return Link(first=first, second=second, first_channels=every, second_channels=every)


def _channels(value: ir.Value | None, axes: Axes) -> int:
    shape = shape_of(value)
    return shape[axes[named(value)]] if shape else 1


def _same(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """One input, one output, channel by channel along the same axis."""
    source, result = node.inputs[0], node.outputs[0]
    if axes[named(source)] != axes[named(result)] or len(shape_of(source)) != len(shape_of(result)):
        return None
    link = _whole(named(source), named(result), axes, (_channels(source, axes), _channels(result, axes)))
    return None if link is None else (link,)


def _pooled(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Pooling mixes what lies along all axes behind the second."""
    return _same(node, axes) if axes[named(node.inputs[0])] == 1 else None


def _pad(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
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
    return _same(node, axes) if is_kept else None


def _resize(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Every interpolation is linear in the values; what lies outside may be a constant, and channels must not be interpolated."""
    outside = (
        node.attributes.get_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    )
    return None if outside or _is_resized(node, axes[named(node.inputs[0])]) else _same(node, axes)


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


def _reduce_mean(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
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
    return _moved(source, result, axes, place)


def _moved(source: ir.Value | None, result: ir.Value, axes: Axes, place: int) -> tuple[Link, ...] | None:
    """The channel axis becomes ``place``, whole and in order."""
    if place != axes[named(result)] or _channels(source, axes) != _channels(result, axes):
        return None
    link = _whole(named(source), named(result), axes, (_channels(source, axes), _channels(result, axes)))
    return None if link is None else (link,)


def _transpose(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    source, result = node.inputs[0], node.outputs[0]
    rank = len(shape_of(source))
    order = integers(node, "perm", tuple(reversed(range(rank))))
    return _moved(source, result, axes, order.index(axes[named(source)]))


def _reshape(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Flatten, Reshape, Squeeze and Unsqueeze: what lies behind a channel stays with it, what lies before it stays before."""
    source, result = node.inputs[0], node.outputs[0]
    before, after = shape_of(source), shape_of(result)
    at, to = axes[named(source)], axes[named(result)]
    if not before or not after or np.prod(before[:at], dtype=int) != np.prod(after[:to], dtype=int):
        return None
    channels, places = before[at], after[to]
    if not channels or places % channels:
        return None
    inside = np.prod(before[at + 1 :], dtype=int)
    if places * np.prod(after[to + 1 :], dtype=int) != channels * inside:
        return None
    each = np.arange(places, dtype=np.intp)
    link = Link(
        first=named(source),
        second=named(result),
        first_channels=each // (places // channels),
        second_channels=each,
    )
    return (link,)


def _elementwise(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Add, Sub, Max and Min of activations of one shape, or of one and a constant that has one number a channel."""
    result = node.outputs[0]
    links: list[Link] = []
    for value in node.inputs:
        if value is None or not is_float(value):
            return None
        if is_constant(value):
            if not is_per_channel(value, result, axes):
                return None
            continue
        if shape_of(value) != shape_of(result) or axes[named(value)] != axes[named(result)]:
            return None
        link = _whole(named(value), named(result), axes, (_channels(value, axes), _channels(result, axes)))
        links.extend(() if link is None else (link,))
    return tuple(links)


def _product(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Mul: a constant takes up any factor on either side; of two activations one passes its factors on, the other (the gate) has none."""
    result = node.outputs[0]
    operands = [value for value in node.inputs if value is not None]
    if len(operands) != 2:
        return None
    first, second = operands
    if is_constant(second) or is_constant(first):
        data, factor = (first, second) if is_constant(second) else (second, first)
        same = shape_of(data) == shape_of(result) and axes[named(data)] == axes[named(result)]
        return () if same and is_per_channel(factor, result, axes) else None
    data, gate = (first, second) if shape_of(first) == shape_of(result) else (second, first)
    if shape_of(data) != shape_of(result) or axes[named(data)] != axes[named(result)]:
        return None
    link = _whole(named(data), named(result), axes, (_channels(data, axes), _channels(result, axes)))
    every = np.arange(_channels(gate, axes), dtype=np.intp)
    fixed = Link(first=named(gate), second=FIXED, first_channels=every, second_channels=every)
    return None if link is None else (link, fixed)


def _normalized(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """LayerNormalization over the channels alone: it mixes its input's, but its scale and shift take up any factor of its output's."""
    source, result = node.inputs[0], node.outputs[0]
    rank, shape = len(shape_of(result)), (_channels(result, axes),)
    along = integers(node, "axis", (-1,))[0] % max(rank, 1)
    constants = [value for value in node.inputs[1:] if value is not None]
    if along != rank - 1 or axes[named(result)] != along or len(node.outputs) > 1:
        return None
    if not all(is_constant(value) and shape_of(value) == shape for value in constants):
        return None
    every = np.arange(_channels(source, axes), dtype=np.intp)
    return (Link(first=named(source), second=FIXED, first_channels=every, second_channels=every),)


def is_per_channel(value: ir.Value, result: ir.Value, axes: Axes) -> bool:
    """Tell whether a constant operand has one number, or one a channel of the result, and varies along nothing else."""
    shape, rank, axis = shape_of(value), len(shape_of(result)), axes[named(result)]
    aligned = (1,) * (rank - len(shape)) + shape
    if len(aligned) != rank:
        return False
    return all(extent == 1 or at == axis for at, extent in enumerate(aligned))


def _concat(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    result = node.outputs[0]
    rank = len(shape_of(result))
    along = integers(node, "axis", (0,))[0] % max(rank, 1)
    place, start = axes[named(result)], 0
    links: list[Link] = []
    for value in node.inputs:
        if value is None or is_constant(value) or axes[named(value)] != place:
            return None
        size = _channels(value, axes)
        every = np.arange(size, dtype=np.intp)
        there = every + start if along == place else every
        start += size if along == place else 0
        links.append(
            Link(first=named(value), second=named(result), first_channels=every, second_channels=there)
        )
    return tuple(links)


def _split(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    source = node.inputs[0]
    rank = len(shape_of(source))
    along, place, start = integers(node, "axis", (0,))[0] % max(rank, 1), axes[named(source)], 0
    links: list[Link] = []
    for result in node.outputs:
        if axes.get(named(result)) != place:
            return None
        size = _channels(result, axes)
        every = np.arange(size, dtype=np.intp)
        there = every + start if along == place else every
        start += size if along == place else 0
        links.append(
            Link(first=named(source), second=named(result), first_channels=there, second_channels=every)
        )
    return tuple(links)


CHANNELWISE: Final[Mapping[str, Callable[[ir.Node, Axes], tuple[Link, ...] | None]]] = {
    **dict.fromkeys(
        (
            "Relu",
            "LeakyRelu",
            "PRelu",
            "Clip",
        ),
        _same,
    ),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), _pooled),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Add", "Sub", "Max", "Min"), _elementwise),
    "Concat": _concat,
    "LayerNormalization": _normalized,
    "Mul": _product,
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "Resize": _resize,
    "Split": _split,
    "Transpose": _transpose,
}
"""By operator, what ties; an operator that is not here passes no factor."""


def taken_up(node: ir.Node) -> tuple[str, ...]:
    """Return the values whose factors, any at all, a node's constants take up: its weights, its factor, its scale and shift."""
    source, result = named(node.inputs[0]), named(node.outputs[0])
    if weight_of(node) is not None:
        return source, result
    if node.op_type == "Mul" and any(is_constant(value) for value in node.inputs):
        return *(named(value) for value in node.inputs), result
    return (result,) if node.op_type == "LayerNormalization" else ()


def takes_channels(node: ir.Node, axes: Axes) -> bool:
    """Tell whether a node has weights whose rows and columns are the channels of its output and input."""
    weight = weight_of(node)
    if weight is None or not {named(node.inputs[0]), named(node.outputs[0])} <= axes.keys():
        return False
    ends = (node.inputs[0], node.outputs[0])
    if node.op_type != "MatMul":
        return all(axes[named(value)] == 1 for value in ends)
    return len(shape_of(weight)) == _MATRIX and all(
        axes[named(value)] == len(shape_of(value)) - 1 for value in ends
    )
