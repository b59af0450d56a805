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

SCALABLE: Final = frozenset({"Mul", "Div", "Add", "Sub", "Max", "Min"})
"""Operators whose constant operand, one number a channel, takes up factors: see `host_tools.equalize.rewriting`."""


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


def axis_of(value: ir.Value) -> int:
    """Return the axis of a float activation along which operators with weights have channels: the last around MatMul, else the second."""
    rank = len(shape_of(value))
    producer = value.producer()
    around_matmul = (producer is not None and producer.op_type in _ALONG_LAST) or any(
        use.node.op_type in _ALONG_LAST and use.idx == 0 for use in value.uses()
    )
    return max(rank - 1, 0) if around_matmul else min(1, max(rank - 1, 0))


_ALONG_LAST = ("MatMul", "LayerNormalization")


def links_of(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Return what a node of `CHANNELWISE` ties; None when this one passes no factor."""
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


def _pad(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Padding with zeros, not along the channels."""
    mode = node.attributes.get_string("mode", "constant")
    value = input_at(node, 2)
    is_zero = value is None or (is_constant(value) and not np.any(constant(value)))
    return _same(node, axes) if mode != "constant" or is_zero else None


def _resize(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Every interpolation is linear in the values; what lies outside may be a constant."""
    outside = (
        node.attributes.get_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    )
    return None if outside else _same(node, axes)


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
        if axes[named(result)] != place:
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
            "MaxPool",
            "AveragePool",
            "GlobalAveragePool",
            "GlobalMaxPool",
        ),
        _same,
    ),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Add", "Sub", "Max", "Min"), _elementwise),
    "Concat": _concat,
    "Mul": _product,
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "Resize": _resize,
    "Split": _split,
    "Transpose": _transpose,
}
"""By operator, what ties; an operator that is not here passes no factor."""


def takes_weights(node: ir.Node) -> bool:
    """Tell whether a node's constants take up factors on both sides: weights, or a constant factor a channel."""
    return weight_of(node) is not None or (
        node.op_type == "Mul" and any(is_constant(value) for value in node.inputs)
    )
