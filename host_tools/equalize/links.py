"""How each operator that passes factors on ties the channels of its inputs and outputs; the rest of the folder knows no operator names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.equalize.extents import averaged, padded, pooled, resized
from host_tools.equalize.link import Link, channels_in, fixed, moved, same, whole
from host_tools.model.topology import integers, is_constant, is_float, named, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_ir as ir

    from host_tools.equalize.link import Axes

SCALABLE: Final = frozenset({"Mul", "Add", "Sub", "Max", "Min"})
"""Operators whose constant operand, one number a channel, takes up factors: see `host_tools.equalize.rewriting`."""


_MATRIX: Final = 2

_OF_SEVERAL: Final = frozenset({"Add", "Sub", "Max", "Min", "Mul", "Concat"})
"""Operators with several inputs of equal standing, of which any may be a constant."""


def links_of(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """Return what a node of `CHANNELWISE` ties; None when this one passes no factor."""
    is_integer = named(node.outputs[0]) not in axes
    if is_integer or (is_constant(node.inputs[0]) and node.op_type not in _OF_SEVERAL):
        return None
    return CHANNELWISE[node.op_type](node, axes)


def _transpose(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    source, result = node.inputs[0], node.outputs[0]
    rank = len(shape_of(source))
    order = integers(node, "perm", tuple(reversed(range(rank))))
    return moved(source, result, axes, order.index(axes[named(source)]))


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
        links.extend(whole(value, result, axes) or ())
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
    tied = whole(data, result, axes)
    return None if tied is None else (*tied, fixed(gate, axes))


def _normalized(node: ir.Node, axes: Axes) -> tuple[Link, ...] | None:
    """LayerNormalization over the channels alone: it mixes its input's, but its scale and shift take up any factor of its output's."""
    source, result = node.inputs[0], node.outputs[0]
    rank, shape = len(shape_of(result)), (channels_in(result, axes),)
    along = integers(node, "axis", (-1,))[0] % max(rank, 1)
    constants = [value for value in node.inputs[1:] if value is not None]
    if along != rank - 1 or axes[named(result)] != along or len(node.outputs) > 1:
        return None
    if not all(is_constant(value) and shape_of(value) == shape for value in constants):
        return None
    return (fixed(source, axes),)


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
        size = channels_in(value, axes)
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
        size = channels_in(result, axes)
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
        same,
    ),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), pooled),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Add", "Sub", "Max", "Min"), _elementwise),
    "Concat": _concat,
    "LayerNormalization": _normalized,
    "Mul": _product,
    "Pad": padded,
    "ReduceMean": averaged,
    "Resize": resized,
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
    if any(not is_constant(value) for value in node.inputs[1:]):  # a bias that is computed
        return False
    ends = (node.inputs[0], node.outputs[0])
    if node.op_type != "MatMul":
        return all(axes[named(value)] == 1 for value in ends)
    return len(shape_of(weight)) == _MATRIX and all(
        axes[named(value)] == len(shape_of(value)) - 1 for value in ends
    )
