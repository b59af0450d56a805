"""`sites_of`: which matrices may have their input channels scaled together, and why others may not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.equalize.channels import ONE, channels_of
from host_tools.model.topology import named, weight_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.model.topology import Network
    from host_tools.reconstruct.stored_matrices import StoredMatrix

    Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """Matrices whose input channels share factors, and the indices of these, ascending."""

    matrices: tuple[StoredMatrix, ...]
    factors: Indices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sites:
    """What can be scaled.

    Attributes:
        channels: Factors by value.
        found: The sites, in the order of the graph.
        obstacles: Why the other matrices cannot be scaled, by weight.
    """

    channels: Channels
    found: tuple[Site, ...]
    obstacles: Mapping[str, str]


def sites_of(network: Network, matrices: Sequence[StoredMatrix]) -> Sites:
    """Find the sites of a canonical graph.

    Args:
        network: The graph.
        matrices: Its matrices that are stored as codes.
    """
    channels = channels_of(network)
    stored = {matrix.node for matrix in matrices}
    obstacles = {matrix.weight: _nothing_takes_it_up(network, matrix, stored) for matrix in matrices}
    found = []
    for site in _joined(matrices, channels):
        stopping = next(_stopping(network, channels, site, stored), None)
        if stopping is None:
            found.append(site)
        for matrix in site.matrices:
            if stopping is None:
                del obstacles[matrix.weight]
            else:
                obstacles[matrix.weight] = f"{stopping.op_type} {named(stopping)!r} reads its channels too"
    return Sites(channels=channels, found=tuple(found), obstacles=obstacles)


def _joined(matrices: Sequence[StoredMatrix], channels: Channels) -> list[Site]:
    """Gather the matrices that read channels with factors, those that share any together."""
    sites: list[Site] = []
    for matrix in matrices:
        own: Indices = np.setdiff1d(channels.factors[matrix.read], [ONE])
        if not own.size:
            continue
        tied = [site for site in sites if np.isin(own, site.factors).any()]
        joined = Site(
            matrices=(*(one for site in tied for one in site.matrices), matrix),
            factors=np.unique(np.concatenate([own, *(site.factors for site in tied)])),
        )
        sites = [*(site for site in sites if site not in tied), joined]
    return sites


def _nothing_takes_it_up(network: Network, matrix: StoredMatrix, stored: Collection[str]) -> str:
    """Say of a matrix that reads channels without factors where they come from, and what else reads them."""
    writer = network.nodes.get(network.writers.get(matrix.read, ""))
    if writer is None:
        return f"it reads the model's input {matrix.read!r}"
    why = f"no factor folds into what {writer.op_type} {named(writer)!r} gives it"
    others = [one.node for one in network.readers[matrix.read] if one.node not in stored]
    return f"{why}, which {network.nodes[others[0]].op_type} {others[0]!r} reads too" if others else why


def _stopping(network: Network, channels: Channels, site: Site, stored: Collection[str]) -> Iterator[ir.Node]:
    """Yield what the channels of a site must not meet: a bound that would need a node of its own, and weights that are no stored matrix."""
    for name, node in network.nodes.items():
        read = channels.factors.get(named(node.inputs[0])) if node.inputs else None
        is_other = node.op_type == "Clip" or (weight_of(node) is not None and name not in stored)
        if is_other and read is not None and np.isin(read, site.factors).any():
            yield node
