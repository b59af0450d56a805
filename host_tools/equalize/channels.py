"""`Channels`: which channels of which values may be scaled together without changing what the network computes.

Relu(s * x) = s * Relu(x) for every s > 0. So a convolution's output channel may be multiplied by s, if every operator that reads it divides
by s again: the convolutions in their weights, an addition by scaling its other operand alike. Channels tied in this way share one factor.
What no factor can pass (a Sigmoid, the model's inputs and outputs) is tied to the factor that is always 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.equalize.bounds import upper_bound
from host_tools.equalize.link import FIXED, Link
from host_tools.equalize.links import CHANNELWISE, links_of, taken_up, takes_channels
from host_tools.model.channel_axes import channel_axes
from host_tools.model.topology import named, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.model.topology import Network

    Indices = NDArray[np.intp]

ONE: Final = 0
"""Index of the factor that is 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Channels:
    """Factors by value.

    Attributes:
        axes: Channel axis of every float activation; 0 for a scalar.
        factors: Index of the factor of each channel, shape (channels,), by value name; `ONE` where nothing may change.
        count: Number of factors, the one that is 1 included.
    """

    axes: Mapping[str, int]
    factors: Mapping[str, Indices]
    count: int

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "axes", MappingProxyType(dict(self.axes)))
        object.__setattr__(self, "factors", MappingProxyType(dict(self.factors)))

    def is_free(self, value: str) -> bool:
        """Tell whether any channel of a value may be scaled."""
        return bool((self.factors[value] != ONE).any())


def channels_of(network: Network) -> Channels:
    """Find the factors of a canonical graph."""
    builder = _Builder(network=network)
    for node in network.nodes.values():
        builder.link(node)
    return builder.channels()


@dataclass(slots=True, kw_only=True, eq=False)
class _Builder:
    """Gathers which channels are tied; every channel of every value has a number, 0 is the factor 1."""

    network: Network
    axes: dict[str, int] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    pairs: list[tuple[Indices, Indices]] = field(default_factory=list)
    total: int = 1

    def __post_init__(self) -> None:
        inputs = [self.network.values[name] for name in self.network.inputs]
        axes = channel_axes(inputs, self.network.nodes.values())
        self.axes = {name: axis or 0 for name, axis in axes.items()}
        for name, axis in self.axes.items():
            shape = shape_of(self.network.values[name])
            self.starts[name], self.sizes[name] = self.total, shape[axis] if shape else 1
            self.total += self.sizes[name]
        for name in (*self.network.inputs, *self.network.outputs):
            self.pin(name)

    def numbers(self, value: str) -> Indices:
        start = self.starts[value]
        return np.arange(start, start + self.sizes[value], dtype=np.intp)

    def pin(self, value: str) -> None:
        if value in self.starts:
            own = self.numbers(value)
            self.pairs.append((own, np.zeros_like(own)))

    def link(self, node: ir.Node) -> None:
        """Tie what the node ties; what it touches and neither ties nor takes up is tied to 1, as is all that touches a node not understood."""
        found = self._links(node)
        free = set() if found is None else {*taken_up(node)}
        for link in found or ():
            free |= {link.first, link.second}
            first = self.numbers(link.first)[link.first_channels]
            second = (
                np.zeros_like(first)
                if link.second == FIXED
                else self.numbers(link.second)[link.second_channels]
            )
            self.pairs.append((first, second))
        for name in {named(value) for value in (*node.inputs, *node.outputs)} - free:
            self.pin(name)

    def _links(self, node: ir.Node) -> tuple[Link, ...] | None:
        if weight_of(node) is not None:  # its weights take up any factor on either side
            return () if takes_channels(node, self.axes) else None
        if node.op_type == "Clip" and upper_bound(node) is None:
            return None
        return links_of(node, self.axes) if node.op_type in CHANNELWISE else None

    def channels(self) -> Channels:
        from scipy.sparse import coo_array  # noqa: PLC0415 - half a second to import, and many conversions equalize nothing
        from scipy.sparse.csgraph import connected_components  # noqa: PLC0415 - as above

        ones = np.concatenate([first for first, _ in self.pairs] or [np.zeros(0, np.intp)])
        others = np.concatenate([second for _, second in self.pairs] or [np.zeros(0, np.intp)])
        graph = coo_array((np.ones(ones.size, np.int8), (ones, others)), shape=(self.total, self.total))
        count, label = connected_components(graph, directed=False)
        # Component 0 holds channel 0, the factor 1: components are numbered by first appearance.
        return Channels(
            axes=self.axes,
            factors={name: label[self.numbers(name)].astype(np.intp) for name in self.starts},
            count=int(count),
        )
