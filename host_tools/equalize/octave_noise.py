"""The noise of each tensor by where its range lies within an octave: the terms that `host_tools.equalize.octaves` makes small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.equalize.factors import is_fused
from host_tools.equalize.gains import gains_of
from host_tools.equalize.links import takes_channels
from host_tools.equalize.observed import observed
from host_tools.equalize.weights import matrix_of, scaled
from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.qparams import best_power_of_two, choose, code_range
from host_tools.plan.topology import constant, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.topology import Network
    from targets.profile import CapabilityProfile

    Float64 = NDArray[np.float64]
    Indices = NDArray[np.intp]

PLACES: Final = 32
"""Places within an octave at which noise is known: the best of them is within a hundredth of the best there is."""

_STEPS: Final = np.exp2(np.arange(PLACES) / PLACES)
_NONE: Final = -1
_ON_PLACE: Final = 1e-6
_WEIGHTS: Final = 4096
"""So many values of a weight are looked at, evenly spread over their order."""

_WEIGHT_SHARE: Final = 0.3
"""What reconstruction, which is certain to follow where scales are so coarse, leaves of a weight's rounding noise."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OctaveTerm:
    """A source of noise.

    Attributes:
        above: Group of tensors whose shift enlarges the range.
        below: Group whose shift makes it smaller; `_NONE` for an activation.
        noise: By the places that the first is ahead of the second, shape (PLACES,).
    """

    above: int
    below: int
    noise: Float64

    @property
    def groups(self) -> frozenset[int]:
        """The groups that it depends on."""
        return frozenset({self.above, self.below} - {_NONE})

    def at(self, shifts: Float64, group: int, tried: Float64) -> Float64:
        """Return the noise with other shifts of one group, shape (tried,).

        Args:
            shifts: Of every group, in octaves.
            group: Whose shift is another.
            tried: The others, in octaves, shape (n,).
        """
        above = tried if self.above == group else shifts[self.above]
        below = 0.0 if self.below == _NONE else tried if self.below == group else shifts[self.below]
        # Rounded down: a range that ends at the last code must not be taken for one that ends beyond it.
        place = np.floor((above - below) * PLACES + _ON_PLACE).astype(np.intp) % PLACES
        found: Float64 = np.broadcast_to(self.noise[place], tried.shape)
        return found


def terms_of(
    network: Network,
    channels: Channels,
    statistics: Statistics,
    profile: CapabilityProfile,
    factors: Float64,
    groups: Indices,
) -> list[OctaveTerm]:
    """Return all sources of noise.

    Args:
        network: The canonical graph.
        channels: Its factors.
        statistics: Of its activations.
        profile: The target.
        factors: What channels are multiplied with already, shape (channels.count,).
        groups: Group of each factor, likewise.
    """
    return [
        *_activations(network, channels, statistics, profile, factors, groups),
        *_weights(network, channels, statistics, profile, factors, groups),
    ]


def _activations(
    network: Network,
    channels: Channels,
    statistics: Statistics,
    profile: CapabilityProfile,
    factors: Float64,
    groups: Indices,
) -> Iterator[OctaveTerm]:
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
        yield OctaveTerm(above=int(groups[indices[0]]), below=_NONE, noise=noise)


def _weights(
    network: Network,
    channels: Channels,
    statistics: Statistics,
    profile: CapabilityProfile,
    factors: Float64,
    groups: Indices,
) -> Iterator[OctaveTerm]:
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
        yield OctaveTerm(above=int(groups[rows[0]]), below=int(groups[columns[0]]), noise=noise)


def _spread(values: Float64) -> Float64:
    """Return at most `_WEIGHTS` of a weight's values, evenly spread over their order, the first and the last among them; shape (n,)."""
    ordered = np.sort(values, axis=None)
    if ordered.size <= _WEIGHTS:
        return ordered
    return ordered[np.linspace(0, ordered.size - 1, _WEIGHTS).astype(np.intp)]
