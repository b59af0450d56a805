"""Where a constant can leave a network and enter it again: the bias before a Relu or Clip, and the biases of everything that reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.equalize.bounds import upper_bound
from host_tools.equalize.link import channels_in
from host_tools.equalize.links import is_per_channel, links_of, takes_channels
from host_tools.model.topology import bias_of, integers, is_constant, named, outputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.equalize.link import Axes
    from host_tools.model.topology import Network

    Indices = NDArray[np.intp]

_PASSING: Final = frozenset(
    {
        *("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "ReduceMean"),
        *("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"),
    }
)
"""Operators that give a channel moved by a constant moved by the same constant, if they do not pad."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taker:
    """What takes up a constant.

    Attributes:
        weighted: The operator whose weight the constant meets.
        bias: The node that adds to its output: itself, or an Add of a constant right behind it.
        origins: Channel of the Relu that each of its input channels comes from, shape (inputs,).
    """

    weighted: ir.Node
    bias: ir.Node
    origins: Indices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """A Relu or Clip(0, high) with what stands around it.

    Attributes:
        producer: Makes what it reads, and adds a constant to each channel.
        source: Value name of what it reads.
        clamp: The Relu or Clip.
        takers: Everything that its output meets.
        moved: By value name, the channel of the Relu that each channel comes from; of all values between producer and takers.
    """

    producer: ir.Node
    source: str
    clamp: ir.Node
    takers: tuple[Taker, ...]
    moved: Mapping[str, Indices]


def sites_of(network: Network, axes: Axes) -> Iterator[Site]:
    """Yield every place where channels can be moved, in the order of the graph."""
    for node in network.nodes.values():
        is_clamp = node.op_type == "Relu" or (node.op_type == "Clip" and upper_bound(node) is not None)
        if is_clamp and named(node.inputs[0]) in network.writers and named(node.outputs[0]) in axes:
            site = _site(node, network, axes)
            if site is not None:
                yield site


def _site(clamp: ir.Node, network: Network, axes: Axes) -> Site | None:
    source, result = named(clamp.inputs[0]), named(clamp.outputs[0])
    producer = network.nodes[network.writers[source]]
    if len(network.readers[source]) != 1 or source in network.outputs or not _adds(producer, axes):
        return None
    every = np.arange(channels_in(clamp.outputs[0], axes), dtype=np.intp)
    search = _Search(network=network, axes=axes)
    if not search.follow(result, every):
        return None
    return Site(
        producer=producer,
        source=source,
        clamp=clamp,
        takers=tuple(search.takers),
        moved={source: every, **search.moved},
    )


def _adds(node: ir.Node, axes: Axes) -> bool:
    """Tell whether a node adds one constant to each channel of its output."""
    if bias_of(node) is not None:
        return takes_channels(node, axes)
    result = node.outputs[0]
    constants = [value for value in node.inputs if value is not None and is_constant(value)]
    return node.op_type == "Add" and len(constants) == 1 and is_per_channel(constants[0], result, axes)


@dataclass(slots=True, kw_only=True, eq=False)
class _Search:
    """Follows a value to all that reads it."""

    network: Network
    axes: Axes
    takers: list[Taker] = field(default_factory=list)
    moved: dict[str, Indices] = field(default_factory=dict)

    def follow(self, value: str, origins: Indices) -> bool:
        """Tell whether everything that reads a value, and there is something, can take up a constant of each channel."""
        readers = self.network.readers[value]
        self.moved[value] = origins
        if value in self.network.outputs or not readers:
            return False
        return all(
            self._reach(self.network.nodes[reader.node], reader.index, value, origins) for reader in readers
        )

    def _reach(self, node: ir.Node, index: int, value: str, origins: Indices) -> bool:
        if index != 0 or _pads(node):
            return False
        if node.op_type in _PASSING:
            return self._pass(node, value, origins)
        bias = self._bias_behind(node)
        if bias is None:
            return False
        self.takers.append(Taker(weighted=node, bias=bias, origins=origins))
        return True

    def _pass(self, node: ir.Node, value: str, origins: Indices) -> bool:
        links = links_of(node, self.axes)
        if links is None or len(outputs_of(node)) != 1:
            return False
        result = named(node.outputs[0])
        passed = np.full(channels_in(node.outputs[0], self.axes), -1, np.intp)
        for link in links:
            if (link.first, link.second) != (value, result):
                return False
            passed[link.second_channels] = origins[link.first_channels]
        return bool((passed >= 0).all()) and self.follow(result, passed)

    def _bias_behind(self, node: ir.Node) -> ir.Node | None:
        """Return what adds to the output of an operator with weights: itself, or an Add right behind a MatMul."""
        if node.op_type not in ("Conv", "Gemm", "MatMul") or not takes_channels(node, self.axes):
            return None
        if node.op_type != "MatMul":
            return node if _adds(node, self.axes) else None
        result = named(node.outputs[0])
        readers = self.network.readers[result]
        if len(readers) != 1 or result in self.network.outputs:
            return None
        behind = self.network.nodes[readers[0].node]
        return behind if behind.op_type == "Add" and _adds(behind, self.axes) else None


def _pads(node: ir.Node) -> bool:
    """Tell whether zeros, or places that count for nothing, may stand where an operator looks."""
    return any(integers(node, "pads", (0,))) or integers(node, "ceil_mode", (0,)) != (0,)
