"""How strongly a small independent error in a channel is passed on to the outputs: squares of derivatives, summed from behind.

An estimate, used only to say which channels matter more: errors are taken as independent, an operator that is not linear as the identity,
and one that mixes channels in an unknown way as an even spread.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.equalize.link import FIXED
from host_tools.equalize.links import CHANNELWISE, links_of, takes_channels
from host_tools.equalize.observed import observed
from host_tools.equalize.weights import matrix_of
from host_tools.model.topology import constant, is_constant, named, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.model.topology import Network
    from host_tools.observe.statistics import Statistics

    Float64 = NDArray[np.float64]

_LEAST_ACTIVE: Final = 0.02


def gains_of(network: Network, channels: Channels, statistics: Statistics) -> Mapping[str, Float64]:
    """Return the gain of every channel of every float activation, shape (channels,) by value name.

    Args:
        network: The canonical graph.
        channels: Channel axes of its activations.
        statistics: How often a Relu or Clip lets values through is estimated from their moments.
    """
    gains = {name: np.zeros(indices.size) for name, indices in channels.factors.items()}
    for name in network.outputs:
        if name in gains:
            gains[name] += 1.0
    for node in reversed(list(network.nodes.values())):
        for name, gain in _passed(node, channels, gains, statistics).items():
            gains[name] += gain
    return gains


def _passed(
    node: ir.Node, channels: Channels, gains: Mapping[str, Float64], statistics: Statistics
) -> dict[str, Float64]:
    """Return what a node's inputs get from its outputs."""
    sources = [named(value) for value in node.inputs if named(value) in gains]
    results = [named(value) for value in node.outputs if named(value) in gains]
    if not sources or not results:
        return {}
    if takes_channels(node, channels.axes):
        return {sources[0]: _through_weights(node, gains[results[0]], gains[sources[0]].size)}
    links = links_of(node, channels.axes) if node.op_type in CHANNELWISE else None
    if node.op_type == "Mul" and links:
        return _through_product(node, channels, gains[results[0]], statistics)
    tied = [link for link in links or () if link.second != FIXED]
    if tied:
        share = _spatial_share(node) * _active(node, results[0], channels, statistics)
        found = {source: np.zeros(gains[source].size) for source in sources}
        for link in tied:
            if link.first in results:  # it may name the output first
                source, here, result, there = (
                    link.second,
                    link.second_channels,
                    link.first,
                    link.first_channels,
                )
            else:
                source, here, result, there = (
                    link.first,
                    link.first_channels,
                    link.second,
                    link.second_channels,
                )
            np.add.at(found[source], here, (gains[result] * share)[there])
        return found
    factor = _constant_factor(node, channels)
    return {
        source: gains[results[0]] * factor
        if gains[results[0]].size == gains[source].size
        else np.full(gains[source].size, gains[results[0]].sum() / max(1, gains[source].size))
        for source in sources
    }


def _through_product(
    node: ir.Node, channels: Channels, gain: Float64, statistics: Statistics
) -> dict[str, Float64]:
    """An error of one operand of a Mul is multiplied by the other."""
    first, second = (named(value) for value in node.inputs)
    found: dict[str, Float64] = {}
    for operand, other in ((first, second), (second, first)):
        size = channels.factors[operand].size
        squares = observed(other, channels, statistics).squares
        passed = gain * squares if squares.size in (1, gain.size) else gain * squares.mean()
        whole = passed if size == gain.size else np.full(size, passed.sum() / max(1, size))
        found[operand] = found.get(operand, 0.0) + whole
    return found


def _through_weights(node: ir.Node, gain: Float64, inputs: int) -> Float64:
    matrix = matrix_of(node)
    powers = np.square(matrix.taps).sum(axis=2) * gain[:, np.newaxis]
    passed: Float64 = np.bincount(
        matrix.inputs.reshape(-1), weights=powers.reshape(-1), minlength=inputs
    ).astype(np.float64)
    return passed


def _spatial_share(node: ir.Node) -> float:
    """Return what averaging leaves of an independent error's power, summed over the places that it is spread to."""
    if node.op_type not in ("GlobalAveragePool", "AveragePool", "ReduceMean"):
        return 1.0
    before, after = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    return 1.0 / max(1.0, math.prod(before) / max(1, math.prod(after)))


def _active(node: ir.Node, result: str, channels: Channels, statistics: Statistics) -> Float64 | float:
    """Return the share of values, by channel, that a Relu or Clip lets through: all where nothing is below 0, else by its output's moments."""
    source = named(node.inputs[0])
    if node.op_type not in ("Relu", "Clip") or source not in channels.factors:
        return 1.0
    share = np.maximum(observed(result, channels, statistics).active, _LEAST_ACTIVE)
    return np.where(observed(source, channels, statistics).minimum >= 0.0, 1.0, share)


def _constant_factor(node: ir.Node, channels: Channels) -> Float64 | float:
    """Return the square of a Mul's constant, by channel."""
    constants = [value for value in node.inputs if is_constant(value)]
    if node.op_type != "Mul" or len(constants) != 1:
        return 1.0
    values = np.square(np.asarray(constant(constants[0]), np.float64))
    result = node.outputs[0]
    size = shape_of(result)[channels.axes[named(result)]] if shape_of(result) else 1
    return values.reshape(-1) if values.size == size else float(values.mean())
