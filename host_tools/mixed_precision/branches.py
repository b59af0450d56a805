"""Branches: all that leads to one part of the outputs and to no other, as one move.

What a detector's scores cost lies in the whole branch that makes them, a little in each of its layers: no layer of it ranks high by itself,
and exact ones between others in integers gain next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.mixed_precision.assignment import Assignment, Move
from host_tools.model.topology import named, network_of, outputs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx_ir as ir

    from host_tools.diagnose.layers import Layer
    from host_tools.mixed_precision.moves import Choices
    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network

    Part = tuple[str, int]
    """An output, and which operand of the Concat that writes it; 0 where none does."""


def branches_of(
    layers: Sequence[Layer], choices: Choices, model: FloatModel, is_allowed: Callable[[Assignment], bool]
) -> tuple[Move, ...]:
    """Return for each part of the outputs what leads to it alone, in the widest precision of each; none where there is one part.

    Args:
        layers: All.
        choices: Where each may go.
        model: The model.
        is_allowed: Whether the target accepts an assignment.
    """
    reached = _reached_parts(network_of(model.graph))
    members: dict[Part, list[Layer]] = {}
    for layer in layers:
        parts = {part for node in layer.nodes for part in reached[named(node)]}
        if layer.rank in choices and len(parts) == 1:
            members.setdefault(parts.pop(), []).append(layer)
    if len({part for parts in reached.values() for part in parts}) < 2:
        return ()
    moves = (
        Move(
            precisions={layer.rank: choices[layer.rank][-1] for layer in branch},
            layers={layer.rank: layer for layer in branch},
        )
        for _, branch in sorted(members.items())
    )
    return tuple(move for move in moves if is_allowed(Assignment.after([move])))


def _reached_parts(network: Network) -> Mapping[str, frozenset[Part]]:
    """Return by name of a node to which parts of the outputs its results lead; through what joins parts, to the own one alone."""
    joints = {
        name
        for name, node in network.nodes.items()
        if node.op_type == "Concat" and not network.outputs.isdisjoint(_results(node))
    }
    reached: dict[str, frozenset[Part]] = {}
    beyond: dict[str, frozenset[Part]] = {}
    for name, node in reversed(tuple(network.nodes.items())):
        found: set[Part] = set()
        for value in _results(node):
            if value in network.outputs and name not in joints:
                found.add((value, 0))
            for reader in network.readers[value]:
                if reader.node in joints:
                    [joined] = _results(network.nodes[reader.node])
                    found |= {(joined, reader.index), *beyond[reader.node]}
                else:
                    found |= reached[reader.node]
        beyond[name] = frozenset(found)
        if name in joints:
            [joined] = _results(node)
            found |= {(joined, index) for index in range(len(node.inputs))}
        reached[name] = frozenset(found)
    return reached


def _results(node: ir.Node) -> tuple[str, ...]:
    return tuple(named(value) for value in outputs_of(node))
