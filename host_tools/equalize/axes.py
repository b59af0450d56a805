"""Along which axis of an activation the operators with weights have their channels: the second, or the last around MatMul.

Whether a value has them last is decided by the operators that need it so, and holds for all values that it is computed into number by
number: between two MatMuls of a transformer's feed-forward block stand an Add and a Relu that would not know by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from host_tools.plan.topology import is_constant, is_float, named, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx_ir as ir

    from host_tools.plan.topology import Network

_LAST: Final = frozenset({"MatMul", "LayerNormalization"})
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
_POINTWISE: Final = frozenset({"Relu", "LeakyRelu", "PRelu", "Clip", "Add", "Sub", "Max", "Min", "Mul"})


def axes_of(network: Network) -> dict[str, int]:
    """Return the channel axis of every float activation, by value name; 0 for a scalar or vector."""
    values = {
        name: value for name, value in network.values.items() if is_float(value) and not is_constant(value)
    }
    second = _spread(_touched(network, _SECOND, values), values)
    last = _spread(_touched(network, _LAST, values), values) - second
    return {name: _axis(len(shape_of(value)), is_last=name in last) for name, value in values.items()}


def _axis(rank: int, *, is_last: bool) -> int:
    return max(rank - 1, 0) if is_last else min(1, max(rank - 1, 0))


def _touched(network: Network, op_types: frozenset[str], values: Iterable[str]) -> set[str]:
    """Return the values that operators of the given types read as data or make."""
    found: set[str] = set()
    for node in network.nodes.values():
        if node.op_type in op_types:
            found.update(named(value) for value in (node.inputs[0], *node.outputs))
    return found.intersection(values)


def _spread(names: set[str], values: dict[str, ir.Value]) -> set[str]:
    """Return the values and all of their shape that stand before or behind them with nothing but pointwise operators between."""
    found, waiting = set(names), list(names)
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
                if other is not None and not is_constant(other) and shape_of(other) == shape_of(value):
                    yield named(other)
