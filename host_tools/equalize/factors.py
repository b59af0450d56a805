"""`best_factors`: the factors that leave the least noise, by descent on a convex function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from host_tools.equalize.bounds import upper_bound
from host_tools.equalize.channels import ONE
from host_tools.equalize.gains import gains_of
from host_tools.equalize.links import takes_channels
from host_tools.equalize.noise import Activation, ChannelWeight, DenseWeight, GroupedWeight, total
from host_tools.equalize.observed import LEAST, observed
from host_tools.equalize.tails import rarely_exceeded
from host_tools.equalize.weights import matrix_of
from host_tools.model.topology import channel_axis, is_constant, named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.equalize.noise import Term
    from host_tools.model.topology import Network
    from host_tools.observe.statistics import Statistics
    from targets.profile import CapabilityProfile

    Float64 = NDArray[np.float64]

Clips = Literal["bounded", "saturating"]
"""What becomes of Clip(0, high) when its channels get factors of their own: an upper bound for each channel, or one bound stays for all
and no channel may be scaled such that it cuts what it did not cut, or the reverse."""

_MOST_LOG: Final = 8.0
_ROUNDS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factors:
    """The solution.

    Attributes:
        values: The factors, shape (channels.count,); the first is 1.
        decibels: By how much the estimated noise fell.
        log_noise: Natural logarithm of the noise that is left; not finite where it cannot be estimated.
    """

    values: Float64
    decibels: float
    log_noise: float


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
    from scipy.optimize import minimize  # noqa: PLC0415 - half a second to import, and many conversions equalize nothing

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        terms = list(_terms(network, channels, statistics, profile, weight_share))
        start = np.zeros(channels.count)
        before, _ = total(terms, start)
        nothing = Factors(values=np.ones(channels.count), decibels=0.0, log_noise=before)
        if not math.isfinite(before):  # no noise at all, or numbers too large to be squared
            return nothing
        low, high = limits(network, channels, statistics, clips)
        with threadpool_limits(1, user_api="blas"):  # the same bytes on any number of cores
            found = minimize(
                lambda logs: total(terms, logs),
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=np.stack([low, high], axis=1),
                options={"maxiter": _ROUNDS, "maxcor": 20},
            )
        logs = np.asarray(found.x, np.float64)
        after, _ = total(terms, logs)
    if not (math.isfinite(after) and after < before):
        return nothing
    return Factors(values=np.exp(logs), decibels=in_decibels(before - after), log_noise=after)


def in_decibels(log_ratio: float) -> float:
    """Return the natural logarithm of a ratio of powers in decibels."""
    return 10.0 / math.log(10.0) * log_ratio


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
        if takes_channels(node, channels.axes):
            yield from _weight_terms(node, channels, statistics, profile, gains, weight_levels)
    levels = float((1 << (profile.activations.bits - 1)) - 1)
    for name, indices in channels.factors.items():
        if not gains[name].any() or is_fused(name, network):
            continue
        reach = observed(name, channels, statistics).reach
        if not reach.any():
            continue
        is_one_sided = (
            profile.activations.zero_point != "symmetric" and statistics.tensors[name].minimum >= 0.0
        )
        yield Activation(
            logs=np.log(np.maximum(reach, LEAST * reach.max())),
            gains=gains[name],
            factors=indices,
            levels=2 * levels + 1 if is_one_sided else levels,
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
    squares = observed(matrix.source, channels, statistics).squares * matrix.taps.shape[2]
    sizes = np.abs(matrix.taps).max(axis=2)
    largest = float(sizes.max())
    passed = gains[matrix.result]
    if not largest > 0.0:
        return
    if node.op_type in profile.weights.per_channel_ops and channel_axis(node) is not None:
        yield ChannelWeight.of(
            sizes,
            squares=squares,
            gains=passed,
            columns=columns,
            groups=matrix.groups,
            levels=levels,
        )
    elif matrix.groups == 1:
        yield DenseWeight.of(sizes, squares=squares, gains=passed, rows=rows, columns=columns, levels=levels)
    else:
        yield GroupedWeight(
            logs=np.log(np.maximum(sizes, LEAST * largest)),
            squares=squares[matrix.inputs],
            gains=passed,
            rows=rows,
            columns=columns[matrix.inputs],
            levels=levels,
        )


def is_fused(name: str, network: Network) -> bool:
    """Tell whether a value only feeds a Relu or Clip, which its producer does too, or a bounded Clip's Min: it adds no noise of its own."""
    readers = network.readers[name]
    if len(readers) != 1:
        return False
    node = network.nodes[readers[0].node]
    is_bound = node.op_type == "Min" and any(is_constant(value) for value in node.inputs)
    return is_bound or node.op_type in ("Relu", "Clip")


def limits(
    network: Network, channels: Channels, statistics: Statistics, clips: Clips
) -> tuple[Float64, Float64]:
    """Return the lowest and highest logarithm of each factor, 0 among them."""
    low, high = np.full(channels.count, -_MOST_LOG), np.full(channels.count, _MOST_LOG)
    low[ONE] = high[ONE] = 0.0
    for name, indices in channels.factors.items():
        # A channel that no sample woke may wake on the device: scaled up it would saturate.
        np.minimum.at(high, indices[observed(name, channels, statistics).reach == 0.0], 0.0)
    if clips == "bounded":
        return low, high
    for node in network.nodes.values():
        bound = upper_bound(node) if node.op_type == "Clip" else None
        if bound is None:
            continue
        name = named(node.outputs[0])
        indices, before = channels.factors[name], statistics.tensors[named(node.inputs[0])]
        # Where a Clip stays no factor lets reach its bound what hardly ever did.
        level = rarely_exceeded(before, statistics.sample_count)
        room = np.log(bound / np.maximum(level, bound * math.exp(-_MOST_LOG)))
        np.maximum.at(low, indices, np.where(room > 0.0, -_MOST_LOG, 0.0))
        np.minimum.at(high, indices, np.maximum(room, 0.0))
    return low, high
