"""`best_shifts`: whole tensors scaled such that scales which are powers of two fit them.

A power of two is up to twice the scale that a tensor needs; how much it is depends on where the tensor's range lies within its octave. That can
be chosen: all channels of a tensor may be multiplied by one more factor, as what reads them divides by it. ReLU6 in symmetric codes of 8 bits
is the plain case: 6 needs steps of 1/16, in which it is code 96. Scaled by 127/96 it is code 127, and a third more codes are in use.

No descent finds these factors, since noise does not change smoothly with them; but it comes again with every octave, so that few shifts
are all there are. Each tensor's is set to the best given all others, until none changes.

A Clip that stays keeps its bound, or moves it to where the codes end: then saturation does what it did, and hardware needs but a Relu.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from host_tools.equalize.channels import ONE
from host_tools.equalize.octave_noise import PLACES, terms_of
from host_tools.plan.qparams import choose, code_range, real_range

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.equalize.octave_noise import OctaveTerm
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.topology import Network
    from targets.profile import CapabilityProfile

    Float64 = NDArray[np.float64]
    Indices = NDArray[np.intp]

_SWEEPS: Final = 50
_LEAST_GAIN: Final = 1e-6
"""By so much, relatively, a shift has to be better than the one before it."""

NO_CLIPS: Final[Mapping[str, float]] = MappingProxyType({})


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
    clips: Mapping[str, float] = NO_CLIPS,
) -> Shifts:
    """Return one more factor for every group of tensors that can only be scaled together.

    Args:
        network: The canonical graph.
        channels: Its factors.
        statistics: Of its activations.
        profile: The target, whose scales are powers of two.
        factors: What channels are multiplied with already, shape (channels.count,).
        clips: Upper bounds of Clips that stay, by their outputs' names.
    """
    groups = _groups(channels)
    terms = terms_of(network, channels, statistics, profile, factors, groups)
    tried = _tried(channels, groups, profile, clips)
    shifts = np.zeros(len(tried))
    before = _total(terms, shifts)
    _settle(terms, shifts, tried)
    ratio = _total(terms, shifts) / before if before > 0.0 else 1.0
    return Shifts(values=np.exp2(shifts)[groups], log_ratio=float(np.log(ratio)))


def _groups(channels: Channels) -> Indices:
    """Return the group of each factor: those that meet in one tensor, or by way of others, go together."""
    pairs = [np.stack([np.full_like(own, own[0]), own]) for own in channels.factors.values() if own.size]
    firsts, seconds = np.concatenate([np.zeros((2, 1), np.intp), *pairs], axis=1)
    shape = (channels.count, channels.count)
    graph = coo_array((np.ones(firsts.size, np.int8), (firsts, seconds)), shape=shape)
    groups: Indices = connected_components(graph, directed=False)[1].astype(np.intp)
    return groups


def _tried(
    channels: Channels, groups: Indices, profile: CapabilityProfile, clips: Mapping[str, float]
) -> list[Float64]:
    """Return the shifts that each group may have, in octaves; 0, which is none, is among them."""
    tried = [np.arange(PLACES) / PLACES for _ in range(int(groups.max()) + 1)]
    for name, bound in clips.items():
        group = int(groups[channels.factors[name][0]])
        own = np.asarray([0.0, _to_last_code(bound, profile)])
        is_first = len(tried[group]) == PLACES
        tried[group] = own if is_first else np.intersect1d(tried[group], own)
    tried[int(groups[ONE])] = np.zeros(1)
    return tried


def _to_last_code(bound: float, profile: CapabilityProfile) -> float:
    """Return by how many octaves a tensor's upper bound has to be moved up to be its last code."""
    codes = code_range(profile.activations.bits, signed=profile.activations.signed)
    rule = profile.activations.zero_point
    qparams = choose(np.zeros(1), np.asarray([bound]), codes=codes, zero_point=rule, scale=profile.scale)
    return float(np.log2(real_range(qparams)[1] / bound))


def _settle(terms: Sequence[OctaveTerm], shifts: Float64, tried: Sequence[Float64]) -> None:
    """Set each group's shift to its best given all others, until none changes."""
    around: list[list[OctaveTerm]] = [[] for _ in tried]
    for term in terms:
        for group in term.groups:
            around[group].append(term)
    for _ in range(_SWEEPS):
        changed = False
        for group, (own, others) in enumerate(zip(around, tried, strict=True)):
            every = np.append(others, shifts[group])
            noise = np.sum([term.at(shifts, group, every) for term in own], axis=0) if own else np.zeros(1)
            best = int(noise[:-1].argmin()) if own else 0
            if noise[best] < noise[-1] * (1.0 - _LEAST_GAIN):
                shifts[group], changed = others[best], True
        if not changed:
            return


def _total(terms: Sequence[OctaveTerm], shifts: Float64) -> float:
    return float(sum(term.at(shifts, term.above, shifts[[term.above]])[0] for term in terms))
