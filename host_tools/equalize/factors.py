"""`best_factors`: the factors that leave the least noise, by descent on a convex function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy.optimize import minimize

from host_tools.equalize.bounds import upper_bound
from host_tools.equalize.channels import ONE
from host_tools.equalize.gains import gains_of
from host_tools.equalize.noise import Activation, ChannelWeight, DenseWeight, GroupedWeight, total
from host_tools.equalize.weights import matrix_of
from host_tools.plan.topology import is_constant, is_float, named, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.equalize.noise import Term
    from host_tools.observe.statistics import Statistics, TensorStatistics
    from host_tools.plan.topology import Network
    from targets.profile import CapabilityProfile

    Float64 = NDArray[np.float64]

Clips = Literal["bounded", "saturating"]
"""What becomes of Clip(0, high) when its channels get factors of their own: an upper bound for each channel, or the bound stays as it is
and no channel may be scaled such that values which pass it now would not."""

_MOST_LOG: Final = 8.0
_ROUNDS: Final = 200
_DEAD: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factors:
    """The solution.

    Attributes:
        values: The factors, shape (channels.count,); the first is 1.
        decibels: By how much the estimated noise fell.
    """

    values: Float64
    decibels: float


def best_factors(
    network: Network,
    channels: Channels,
    statistics: Statistics,
    profile: CapabilityProfile,
    *,
    clips: Clips,
    weight_share: float,
) -> Factors:
    """Return the factors that leave the least noise at the outputs.

    Args:
        network: The canonical graph.
        channels: Its factors.
        statistics: Of its activations.
        profile: The target: which weights have one scale, and how many codes there are.
        clips: What may become of Clip.
        weight_share: How much of a weight's rounding noise will remain: 1, or less when rounding is going to be reconstructed.
    """
    terms = list(_terms(network, channels, statistics, profile, weight_share))
    start = np.zeros(channels.count)
    if not terms or channels.count == 1:
        return Factors(values=np.ones(channels.count), decibels=0.0)
    low, high = _limits(network, channels, statistics, clips)
    before, _ = total(terms, start)
    found = minimize(
        lambda logs: total(terms, logs),
        np.clip(start, low, high),
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([low, high], axis=1),
        options={"maxiter": _ROUNDS, "maxcor": 20},
    )
    logs = np.asarray(found.x, np.float64)
    return Factors(values=np.exp(logs), decibels=10.0 / math.log(10.0) * (before - float(found.fun)))


def _terms(
    network: Network,
    channels: Channels,
    statistics: Statistics,
    profile: CapabilityProfile,
    weight_share: float,
) -> Iterator[Term]:
    gains = gains_of(network, channels, statistics)
    weight_levels = float((1 << (profile.weights.bits - 1)) - 1) / math.sqrt(weight_share)
    for node in network.nodes.values():
        if weight_of(node) is not None and named(node.outputs[0]) in gains:
            yield from _weight_terms(node, channels, statistics, profile, gains, weight_levels)
    levels = float((1 << (profile.activations.bits - 1)) - 1)
    for name, indices in channels.factors.items():
        if not gains[name].any() or _is_fused(name, network):
            continue
        seen = statistics.tensors[name]
        reach = np.maximum(np.abs(seen.channel_minimum), np.abs(seen.channel_maximum)).astype(np.float64)
        if reach.size != indices.size or not reach.any():
            continue
        one_sided = profile.activations.zero_point != "symmetric" and seen.minimum >= 0.0
        yield Activation(
            logs=np.log(np.maximum(reach, _DEAD * reach.max())),
            gains=gains[name],
            factors=indices,
            levels=2 * levels + 1 if one_sided else levels,
        )


def _weight_terms(
    node: ir.Node,
    channels: Channels,
    statistics: Statistics,
    profile: CapabilityProfile,
    gains: Mapping[str, Float64],
    levels: float,
) -> Iterator[Term]:
    matrix = matrix_of(node)
    rows, columns = channels.factors[matrix.result], channels.factors[matrix.source]
    squares = _mean_squares(statistics.tensors[matrix.source], columns.size) * matrix.taps.shape[2]
    sizes = np.abs(matrix.taps).max(axis=2)
    largest = float(sizes.max())
    if not largest > 0.0:
        return
    if matrix.is_dense and node.op_type not in profile.weights.per_channel_ops:
        yield DenseWeight.of(
            sizes, squares=squares, gains=gains[matrix.result], rows=rows, columns=columns, levels=levels
        )
        return
    kind = ChannelWeight if node.op_type in profile.weights.per_channel_ops else GroupedWeight
    yield kind(
        logs=np.log(np.maximum(sizes, _DEAD * largest)),
        squares=squares[matrix.inputs],
        gains=gains[matrix.result],
        rows=rows,
        columns=columns[matrix.inputs],
        levels=levels,
    )


def _mean_squares(seen: TensorStatistics, size: int) -> Float64:
    squares = seen.channel_mean_square
    if squares is None or squares.size != size:
        return np.ones(size)
    return np.maximum(squares, _DEAD * max(float(squares.max()), _DEAD))


def _is_fused(name: str, network: Network) -> bool:
    """Tell whether a value only feeds a Relu or Clip, which its producer does too: then it is never quantized."""
    readers = network.readers[name]
    return len(readers) == 1 and network.nodes[readers[0].node].op_type in ("Relu", "Clip")


def _limits(
    network: Network, channels: Channels, statistics: Statistics, clips: Clips
) -> tuple[Float64, Float64]:
    """Return the lowest and highest logarithm of each factor."""
    low, high = np.full(channels.count, -_MOST_LOG), np.full(channels.count, _MOST_LOG)
    low[ONE] = high[ONE] = 0.0
    if clips == "bounded":
        return low, high
    for node in network.nodes.values():
        bound = upper_bound(node) if node.op_type == "Clip" else None
        if bound is None or not is_float(node.inputs[0]) or is_constant(node.inputs[0]):
            continue
        name = named(node.outputs[0])
        indices, seen = channels.factors[name], statistics.tensors[name]
        room = np.log(
            bound / np.maximum(seen.channel_maximum.astype(np.float64), bound * math.exp(-_MOST_LOG))
        )
        np.maximum.at(low, indices, 0.0)
        np.minimum.at(high, indices, np.maximum(room, 0.0))
    return low, high
