"""Float islands: operators that have an integer kernel and stay in float, because everything around them is float."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.model.topology import data_inputs, float_outputs
from host_tools.plan.disjoint_sets import DisjointSets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    import onnx_ir as ir

    from host_tools.model.topology import Network

MOVERS = frozenset(
    {
        "Concat", "Split", "Slice", "Pad", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "MaxPool",
        "Relu", "Clip",
    }
)  # fmt: skip
"""Operators that move or bound data and compute nothing: in integers they gain nothing that quantizing around them would pay."""

LIGHT = frozenset({"Add", "Sub", "Mul", "Min", "Max"})
"""Arithmetic of one step an element: between float operators it costs less than quantizing around it, which leaves 8 bits of its result."""


def float_islands(
    network: Network,
    *,
    floats: AbstractSet[str],
    fused_into: Mapping[str, str],
    integer_doors: frozenset[str],
    in_codes: AbstractSet[str],
    falls_back: Callable[[str], bool],
) -> dict[str, str]:
    """Return operators that move data, or compute little, and touch float operators and no other arithmetic: quantizing them gains nothing.

    Light arithmetic is among them only where float operators are on all sides. At the model's own inputs and outputs it is what the user
    asked to have in integers, and so is what the recipe names for 16 bits, or a quantized file computes in codes.

    Args:
        network: The graph.
        floats: Nodes that run in float already.
        fused_into: By the name of an absorbed node: its producer.
        integer_doors: Inputs and outputs that cross the interface as integers.
        in_codes: Nodes that the recipe wants with 16-bit activations, or that a quantized file has codes for.
        falls_back: Tells whether an operator has a float kernel on the target.

    Returns:
        Why, by node name.
    """
    kept = {*fused_into.values(), *in_codes}
    candidates = {
        name: node.op_type
        for name, node in network.nodes.items()
        if name not in floats
        and name not in fused_into
        and (node.op_type in MOVERS or (node.op_type in LIGHT and name not in kept))
    }
    islands = DisjointSets(candidates)
    near_float: set[str] = set()
    near_integer: set[str] = set()
    for name in candidates:
        for neighbour in _neighbours(network, name):
            if neighbour in floats:
                near_float.add(name)
            elif neighbour in candidates:
                islands.join(name, neighbour)
            else:
                near_integer.add(name)
    doors = frozenset(network.inputs) | network.outputs
    found = {}
    for members in islands.sets():
        closed = doors if any(candidates[name] in LIGHT for name in members) else integer_doors
        if (
            near_float.intersection(members)
            and not near_integer.intersection(members)
            and not any(closed.intersection(_float_values(network.nodes[name])) for name in members)
            and all(falls_back(candidates[name]) for name in members)
        ):
            found.update({name: _islanders_reason(name, candidates[name]) for name in members})
    return found


def _islanders_reason(name: str, op_type: str) -> str:
    deed = "computes little" if op_type in LIGHT else "moves data"
    return f"float: {op_type} {name!r} {deed} between float operators, quantizing it would gain nothing"


def _neighbours(network: Network, name: str) -> list[str]:
    """Return the nodes at the other ends of a node's float edges."""
    node = network.nodes[name]
    found = [network.writers[value] for _, value in data_inputs(node) if value in network.writers]
    found += [reader.node for value in float_outputs(node) for reader in network.readers[value]]
    return found


def _float_values(node: ir.Node) -> frozenset[str]:
    """Return the float values that a node reads as data, or writes."""
    return frozenset(value for _, value in data_inputs(node)) | frozenset(float_outputs(node))
