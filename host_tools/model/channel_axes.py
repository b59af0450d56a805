"""`channel_axes`: along which axis of each activation its channels lie. One rule, for what is observed of channels and what is done to them.

It is decided by how a value is read or made: Conv, pools and normalizations over images have channels along the second axis, MatMul, Gemm
and LayerNormalization along the last. That holds for all values of one shape that are computed into one another number by number: between
two MatMuls of a transformer's feed-forward block stand an Add and a Gelu that would not know by themselves. Where both claim a value it is
the second axis, and so it is where nobody does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from host_tools.model.graph_editor import static_shape

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_LAST: Final = frozenset({"MatMul", "Gemm", "LayerNormalization"})
_SECOND: Final = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "BatchNormalization",
        "InstanceNormalization",
    }
)
_POINTWISE: Final = frozenset(
    {
        *("Relu", "LeakyRelu", "PRelu", "Clip", "Elu", "Gelu", "Sigmoid", "HardSigmoid", "HardSwish", "Mish"),
        *("Tanh", "Erf", "Exp", "Log", "Sqrt", "Pow", "Neg", "Abs", "Softplus", "Softsign"),
        *("Add", "Sub", "Mul", "Div", "Max", "Min"),
    }
)
"""Operators that compute number by number; only between values of one shape does the axis pass through them."""


def channel_axes(inputs: Collection[ir.Value], nodes: Collection[ir.Node]) -> dict[str, int | None]:
    """Return the channel axis of every float activation of a canonical graph, by value name; None for a scalar, 0 for a vector.

    Args:
        inputs: The graph's inputs that are fed.
        nodes: Its nodes.
    """
    made = (value for node in nodes for value in node.outputs)
    values = {
        str(value.name): value
        for value in (*inputs, *made)
        if value.name and value.dtype == ir.DataType.FLOAT
    }
    second = _spread(_touched(nodes, _SECOND), values)
    last = _spread(_touched(nodes, _LAST), values) - second
    return {name: _axis(_shape(value), is_last=name in last) for name, value in values.items()}


def _axis(shape: tuple[int, ...], *, is_last: bool) -> int | None:
    if not shape:
        return None
    return len(shape) - 1 if is_last else min(1, len(shape) - 1)


def _shape(value: ir.Value) -> tuple[int, ...]:
    return static_shape(value) or ()


def _touched(nodes: Collection[ir.Node], op_types: frozenset[str]) -> set[str]:
    """Return the values that operators of the given types read as data or make."""
    return {
        str(value.name)
        for node in nodes
        if node.op_type in op_types
        for value in (node.inputs[0], *node.outputs)
        if value is not None
    }


def _spread(names: set[str], values: dict[str, ir.Value]) -> set[str]:
    """Return the values and all of their shape that stand before or behind them with nothing but pointwise operators between."""
    found = names.intersection(values)
    waiting = list(found)
    while waiting:
        for other in _beside(values[waiting.pop()]):
            if other in values and other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _beside(value: ir.Value) -> Iterator[str]:
    """Yield what one pointwise operator makes of a value, and what it is made of, where the shape is the same."""
    around = [use.node for use in value.uses()]
    producer = value.producer()
    for node in around if producer is None else [*around, producer]:
        if node.op_type in _POINTWISE:
            for other in (*node.inputs, *node.outputs):
                if other is not None and not other.is_initializer() and _shape(other) == _shape(value):
                    yield str(other.name)
