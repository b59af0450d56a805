"""How much memory activations need at once. Pure.

Nodes run in the order of the canonical graph. An activation lives from the node that writes it (an input: from the start) to the last
node that reads it (an output: to the end); while a node runs, what it reads and what it writes live both. Two kinds of node get no memory
of their own: those that only give a shape another name (`VIEWS`), and a Relu or Clip that alone reads what a node before it computes,
which engines fuse. The peak is the largest sum over all nodes: the least that any arena without recomputation can do with, whatever its
planner; alignment and scratch memory of kernels come on top.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from host_tools.model.topology import input_at, is_constant, is_float, named, outputs_of, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from host_tools.model.topology import Network

VIEWS: Final = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_FUSED: Final = frozenset({"Clip", "Relu"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemory:
    """The most bytes of activations that live at once.

    Attributes:
        bytes: The sum.
        node: The node that runs then.
        live: What lives then, largest first: name of a value and its bytes.
    """

    bytes: int
    node: str
    live: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """Memory of one activation, or of several that share it.

    Attributes:
        value: The value that is written first.
        elements: Elements that it holds.
        is_float: Whether they are float in the model, and so of the asked width.
        width: Bytes of an element that is not.
        first: Place of the node that writes it; -1 for an input.
        last: Place of the last node that reads it; one past the last node for an output.
    """

    value: str
    elements: int
    is_float: bool
    width: int
    first: int
    last: int

    def bytes(self, float_bytes: int) -> int:
        """Return its size when a float takes ``float_bytes``."""
        return self.elements * (float_bytes if self.is_float else self.width)


def peak_memory(network: Network, *, float_bytes: int) -> PeakMemory:
    """Return the peak of a graph.

    Args:
        network: A canonical graph.
        float_bytes: Bytes of an activation that is float in the model: 4 for float32, 1 for int8.
    """
    buffers = buffers_of(network)
    # What begins and what ends at each place, so that the sums take one pass.
    changes = [0] * (len(network.nodes) + 2)
    for buffer in buffers:
        changes[max(buffer.first, 0)] += buffer.bytes(float_bytes)
        changes[buffer.last + 1] -= buffer.bytes(float_bytes)
    totals = list(accumulate(changes))[: len(network.nodes)]
    place = max(range(len(totals)), key=totals.__getitem__)
    live = [
        (buffer.value, buffer.bytes(float_bytes))
        for buffer in buffers
        if buffer.first <= place <= buffer.last
    ]
    return PeakMemory(
        bytes=totals[place],
        node=list(network.nodes)[place],
        live=tuple(sorted(live, key=lambda one: (-one[1], one[0]))),
    )


def buffers_of(network: Network) -> tuple[Buffer, ...]:
    """Return the memory of every activation, in the order of writing."""
    places = {name: place for place, name in enumerate(network.nodes)}
    home = _homes(network)
    members: dict[str, list[str]] = {}
    for name, owner in home.items():
        members.setdefault(owner, []).append(name)
    return tuple(_buffer(network, owner, names, places) for owner, names in members.items())


def _homes(network: Network) -> dict[str, str]:
    """Return for every activation the value whose memory it has."""
    home = {name: name for name in network.inputs}
    for node in network.nodes.values():
        source = input_at(node, 0)
        shares = source is not None and not is_constant(source) and _shares(network, node, source)
        for value in outputs_of(node):
            home[named(value)] = home[named(source)] if shares else named(value)
    return home


def _shares(network: Network, node: ir.Node, source: ir.Value) -> bool:
    if node.op_type in VIEWS:
        return True
    name = named(source)
    is_alone = len(network.readers[name]) == 1 and name not in network.outputs
    return node.op_type in _FUSED and is_alone and name in network.writers


def _buffer(network: Network, owner: str, names: list[str], places: Mapping[str, int]) -> Buffer:
    value = network.values[owner]
    reads = [places[reader.node] for name in names for reader in network.readers[name]]
    first = places[network.writers[owner]] if owner in network.writers else -1
    if any(name in network.outputs for name in names):
        reads.append(len(places))
    return Buffer(
        value=owner,
        elements=math.prod(shape_of(value)),
        is_float=is_float(value),
        width=1 if value.dtype is None else math.ceil(value.dtype.itemsize),
        first=first,
        last=max(reads, default=first),
    )
