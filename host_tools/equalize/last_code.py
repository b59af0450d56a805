"""`shifts_of`: tensors behind a Clip that stays are scaled such that its bound is the last code, where scales are powers of two.

ReLU6 in symmetric codes of 8 bits needs steps of 1/16, in which 6 is code 96: a quarter of the codes is never used. All channels of a
tensor may be multiplied by one more factor, as what reads them divides by it again. Scaled by 127/96 the bound is code 127, at the same
step: a third more codes, 2.4 dB less noise. Saturation then does what the Clip did, so that hardware needs but a Relu.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.equalize.channels import ONE
from host_tools.plan.qparams import choose, code_range, real_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from targets.profile import CapabilityProfile

    Float64 = NDArray[np.float64]
    Indices = NDArray[np.intp]


def shifts_of(
    channels: Channels,
    clips: Mapping[str, float],
    profile: CapabilityProfile,
    *,
    both_ends: frozenset[str] = frozenset(),
) -> Float64:
    """Return what whole tensors are multiplied with, by factor: shape (channels.count,), from 1 to below 2 (both ends: 4), the first is 1.

    Tensors whose channels meet are scaled together. Where they cannot be scaled, or end at different bounds, they stay.

    Args:
        channels: The factors of a network.
        clips: Upper bounds of Clips that stay, above 0, by their outputs' names.
        profile: The target, whose scales are powers of two.
        both_ends: Names of those outputs that will be moved to lie between the lowest and the last code: their bound becomes as many steps.
    """
    groups = _groups(channels)
    wanted: dict[int, set[float]] = {}
    for name, bound in clips.items():
        group = int(groups[channels.factors[name][0]])
        wanted.setdefault(group, set()).add(_to_last_code(bound, profile, from_lowest=name in both_ends))
    shifts = np.ones(channels.count)
    for group, found in wanted.items():
        if group != groups[ONE] and len(found) == 1:
            shifts[groups == group] = found.pop()
    return shifts


def _groups(channels: Channels) -> Indices:
    """Return the group of each factor: those that meet in one tensor, or by way of others, go together."""
    from scipy.sparse import coo_array  # noqa: PLC0415 - half a second to import, and many conversions equalize nothing
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415 - as above

    pairs = [np.stack([np.full_like(own, own[0]), own]) for own in channels.factors.values() if own.size]
    firsts, seconds = np.concatenate([np.zeros((2, 1), np.intp), *pairs], axis=1)
    shape = (channels.count, channels.count)
    graph = coo_array((np.ones(firsts.size, np.int8), (firsts, seconds)), shape=shape)
    groups: Indices = connected_components(graph, directed=False)[1].astype(np.intp)
    return groups


def _to_last_code(bound: float, profile: CapabilityProfile, *, from_lowest: bool) -> float:
    """Return what makes an upper bound its tensor's last code, counted from code 0 or from the lowest."""
    codes = code_range(profile.activations.bits, signed=profile.activations.signed)
    rule = profile.activations.zero_point
    qparams = choose(np.zeros(1), np.asarray([bound]), codes=codes, zero_point=rule, scale=profile.scale)
    low, high = real_range(qparams)
    return (high - low if from_lowest else high) / bound
