"""`best_shifts`: whole tensors scaled such that scales which are powers of two fit them.

A power of two is up to twice the scale that a tensor needs; how much it is depends on where the tensor's range lies within its octave. That can
be chosen: all channels of a tensor may be multiplied by one more factor, as what reads them divides by it. ReLU6 in symmetric codes of 8 bits
is the plain case: 6 needs steps of 1/16, in which it is code 96. Scaled by 127/96 it is code 127, and a third more codes are in use.

No descent finds these factors, since noise does not change smoothly with them; but it comes again with every octave, so that few places
are all there are. Each tensor's is set to the best given all others, until none changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from host_tools.equalize.channels import ONE
from host_tools.equalize.factors import is_fused
from host_tools.equalize.gains import gains_of
from host_tools.equalize.links import takes_channels
from host_tools.equalize.observed import observed
from host_tools.equalize.weights import matrix_of, scaled
from host_tools.model.topology import constant, weight_of
from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.qparams import best_power_of_two, choose, code_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.model.topology import Network
    from host_tools.observe.statistics import Statistics
    from targets.profile import CapabilityProfile

    Float64 = NDArray[np.float64]
    Indices = NDArray[np.intp]

_PLACES: Final = 32
"""Places within an octave: the best of them is within a hundredth of the best there is."""

_STEPS: Final = np.exp2(np.arange(_PLACES) / _PLACES)
_NONE: Final = -1
_SWEEPS: Final = 50
_WEIGHTS: Final = 4096
"""So many values of a weight are looked at, evenly spread over their order."""

_WEIGHT_SHARE: Final = 0.3
"""What reconstruction, which is certain to follow where scales are so coarse, leaves of a weight's rounding noise."""

_LEAST_GAIN: Final = 1e-6
"""By so much, relatively, a place has to be better than the one before it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Term:
    """A source of noise.

    Attributes:
        above: Group whose factor enlarges the tensor.
        below: Group whose factor makes it smaller; `_NONE` for an activation.
        noise: By the places that the first is ahead of the second, shape (_PLACES,).
    """

    above: int
    below: int
    noise: Float64

    def by_place(self, places: Indices, group: int) -> Float64:
        """Return the noise for every place of one of its groups, shape (_PLACES,); the other one's is given."""
        every = np.arange(_PLACES)
        above = every if self.above == group else places[self.above]
        below = 0 if self.below == _NONE else every if self.below == group else places[self.below]
        found: Float64 = np.broadcast_to(self.noise[(above - below) % _PLACES], every.shape)
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shifts:
    """What whole tensors are multiplied with.

    Attributes:
        values: By factor, shape (channels.count,), from 1 to below 2; the first is 1.
        log_ratio: Natural logarithm of the noise that is left over what there was.
    """

    values: Float64
    log_ratio: float


def best_shifts(
    network: Network,
    channels: Channels,
    statistics: Statistics,
    profile: CapabilityProfile,
    factors: Float64,
    *,
    fixed: Iterable[str] = (),
) -> Shifts:
    """Return one more factor for every group of tensors that can only be scaled together.

    Args:
        network: The canonical graph.
        channels: Its factors.
        statistics: Of its activations.
        profile: The target, whose scales are powers of two.
        factors: What channels are multiplied with already, shape (channels.count,).
        fixed: Names of values that must stay as they are.
    """
    groups = _groups(channels, fixed)
    terms = [
        *_activations(network, channels, statistics, profile, factors, groups),
        *_weights(network, channels, statistics, profile, factors, groups),
    ]
    places = np.zeros(int(groups.max()) + 1, np.intp)
    before = _total(terms, places)
    _settle(terms, places, fixed=int(groups[ONE]))
    after = _total(terms, places)
    ratio = after / before if before > 0.0 else 1.0
    return Shifts(values=np.exp2(places[groups] / _PLACES), log_ratio=float(np.log(ratio)))


def _groups(channels: Channels, fixed: Iterable[str]) -> Indices:
    """Return the group of each factor: those that meet in one tensor, or by way of others, go together; what is fixed goes with the 1."""
    pairs = [np.stack([np.full_like(own, own[0]), own]) for own in channels.factors.values() if own.size]
    pairs += [np.stack([np.zeros_like(own), own]) for own in (channels.factors[name] for name in fixed)]
    firsts, seconds = np.concatenate([np.zeros((2, 1), np.intp), *pairs], axis=1)
    shape = (channels.count, channels.count)
    graph = coo_array((np.ones(firsts.size, np.int8), (firsts, seconds)), shape=shape)
    groups: Indices = connected_components(graph, directed=False)[1].astype(np.intp)
    return groups


def _activations(
    network: Network,
    channels: Channels,
    statistics: Statistics,
    profile: CapabilityProfile,
    factors: Float64,
    groups: Indices,
) -> Iterator[_Term]:
    """Yield the noise of every activation whose scale is the smallest that cuts nothing."""
    gains = gains_of(network, channels, statistics)
    codes = code_range(profile.activations.bits, signed=profile.activations.signed)
    for name, indices in channels.factors.items():
        seen, own = observed(name, channels, statistics), factors[indices]
        passed = float((gains[name] / np.square(own)).sum())
        if not passed > 0.0 or is_fused(name, network):
            continue
        low, high = (min(float((seen.minimum * own).min()), 0.0), max(float((seen.maximum * own).max()), 0.0))
        if low == high:
            continue
        chosen = choose(
            low * _STEPS,
            high * _STEPS,
            codes=codes,
            zero_point=profile.activations.zero_point,
            scale=profile.scale,
        )
        noise = np.square(np.asarray(chosen.scale) / _STEPS) / 12 * passed
        yield _Term(above=int(groups[indices[0]]), below=_NONE, noise=noise)


def _weights(
    network: Network,
    channels: Channels,
    statistics: Statistics,
    profile: CapabilityProfile,
    factors: Float64,
    groups: Indices,
) -> Iterator[_Term]:
    """Yield the noise of every weight with one scale; where each channel has its own they lie all over the octave, wherever the tensor does."""
    gains = gains_of(network, channels, statistics)
    rules = profile.weights
    codes = code_range(rules.bits, signed=rules.signed, narrow=rules.narrow_range)
    for node in network.nodes.values():
        if not takes_channels(node, channels.axes) or node.op_type in rules.per_channel_ops:
            continue
        matrix = matrix_of(node)
        rows, columns = channels.factors[matrix.result], channels.factors[matrix.source]
        squares = observed(matrix.source, channels, statistics).squares * np.square(factors[columns])
        met = squares[matrix.inputs].sum(axis=1) * matrix.taps.shape[2]
        passed = float((met * gains[matrix.result] / np.square(factors[rows])).sum())
        values = _spread(scaled(node, np.asarray(constant(weight_of(node)), np.float64), channels, factors))
        if not passed > 0.0 or not values.any():
            continue
        tried = _STEPS[:, np.newaxis] * values
        qparams = best_power_of_two(
            tried.min(axis=1),
            tried.max(axis=1),
            tried,
            np.ones((1, 1)),
            codes=codes,
            zero_point="symmetric" if rules.symmetric else "asymmetric",
            scale=profile.scale,
            rounding=profile.rounding.weights,
            axis=0,
        )
        errors = values_of(codes_of(tried, qparams, profile.rounding.weights), qparams) - tried
        noise = np.square(errors).mean(axis=1) / np.square(_STEPS) * passed * _WEIGHT_SHARE
        yield _Term(above=int(groups[rows[0]]), below=int(groups[columns[0]]), noise=noise)


def _spread(values: Float64) -> Float64:
    """Return at most `_WEIGHTS` of a weight's values, evenly spread over their order, the first and the last among them; shape (n,)."""
    ordered = np.sort(values, axis=None)
    if ordered.size <= _WEIGHTS:
        return ordered
    return ordered[np.linspace(0, ordered.size - 1, _WEIGHTS).astype(np.intp)]


def _settle(terms: Sequence[_Term], places: Indices, *, fixed: int) -> None:
    """Set each group's place to its best given all others, until none changes."""
    around: list[list[_Term]] = [[] for _ in places]
    for term in terms:
        for group in {term.above, term.below} - {_NONE}:
            around[group].append(term)
    for _ in range(_SWEEPS):
        changed = False
        for group, own in enumerate(around):
            if group == fixed:
                continue
            noise = sum((term.by_place(places, group) for term in own), start=np.zeros(_PLACES))
            best = int(noise.argmin())
            if noise[best] < noise[places[group]] * (1.0 - _LEAST_GAIN):
                places[group], changed = best, True
        if not changed:
            return


def _total(terms: Sequence[_Term], places: Indices) -> float:
    return float(sum(term.by_place(places, term.above)[places[term.above]] for term in terms))
