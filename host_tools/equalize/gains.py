"""How strongly a small independent error in a channel is passed on to the outputs: squares of derivatives, summed from behind.

An estimate, used only to say which channels matter more: errors are taken as independent, an operator that is not linear as the identity,
and one that mixes channels in an unknown way as an even spread.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.equalize.links import CHANNELWISE, FIXED, links_of
from host_tools.equalize.weights import matrix_of
from host_tools.plan.topology import constant, is_constant, named, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.topology import Network

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
    if weight_of(node) is not None and not _is_batched(node):
        return {sources[0]: _through_weights(node, gains[results[0]], gains[sources[0]].size)}
    share = _spatial_share(node)
    links = links_of(node, channels.axes) if node.op_type in CHANNELWISE else None
    if links:
        found = {source: np.zeros(gains[source].size) for source in sources}
        for link in links:
            first, second = (link.first, link.second) if link.second in results else (link.second, link.first)
            if link.second != FIXED and first in found and second in results:
                here, there = (
                    (link.first_channels, link.second_channels)
                    if first == link.first
                    else (link.second_channels, link.first_channels)
                )
                np.add.at(found[first], here, gains[second][there] * share)
        return {source: gain * _active(node, results[0], statistics) for source, gain in found.items()}
    factor = _constant_factor(node, channels)
    return {
        source: gains[results[0]] * factor
        if gains[results[0]].size == gains[source].size
        else np.full(gains[source].size, gains[results[0]].sum() / max(1, gains[source].size))
        for source in sources
    }


def _is_batched(node: ir.Node) -> bool:
    return node.op_type == "MatMul" and len(shape_of(weight_of(node))) != 2


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


def _active(node: ir.Node, result: str, statistics: Statistics) -> Float64 | float:
    """Return the share of values, by channel, that a Relu or Clip lets through.

    From the moments of its output: if positive values are distributed exponentially, their share is 2 E[x]**2 / E[x**2].
    """
    seen = statistics.tensors.get(result)
    if node.op_type not in ("Relu", "Clip") or seen is None or seen.channel_mean_square is None:
        return 1.0
    squares = np.maximum(seen.channel_mean_square, np.finfo(np.float64).tiny)
    share: Float64 = np.clip(2 * np.square(seen.channel_mean) / squares, _LEAST_ACTIVE, 1.0)
    return share


def _constant_factor(node: ir.Node, channels: Channels) -> Float64 | float:
    """Return the square of a Mul's constant, by channel."""
    constants = [value for value in node.inputs if is_constant(value)]
    if node.op_type != "Mul" or len(constants) != 1:
        return 1.0
    values = np.square(np.asarray(constant(constants[0]), np.float64))
    result = node.outputs[0]
    size = shape_of(result)[channels.axes[named(result)]] if shape_of(result) else 1
    return values.reshape(-1) if values.size == size else float(values.mean())
