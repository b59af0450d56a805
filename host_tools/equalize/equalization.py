"""`equalize`: a float model becomes one that computes the same and can be quantized with less noise on one target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.equalize.absorption import absorb
from host_tools.equalize.both_ends import clips_at_both_ends, moved_to_both_ends
from host_tools.equalize.bounds import upper_bound
from host_tools.equalize.channels import channels_of
from host_tools.equalize.factors import best_factors, in_decibels
from host_tools.equalize.last_code import shifts_of
from host_tools.equalize.rewriting import rewritten
from host_tools.model.topology import named, network_of
from host_tools.plan.support import integer_precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.equalize.absorption import Absorbed
    from host_tools.equalize.channels import Channels
    from host_tools.equalize.factors import Clips, Factors
    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.observe.statistics import Statistics
    from targets.profile import CapabilityProfile

    Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equalized:
    """An equalized model.

    Attributes:
        model: Computes what the model that it comes from computes; the same object where there was nothing to gain.
        decibels: By how much the estimated noise fell.
        note: For the report: what was done, or why nothing was.
    """

    model: FloatModel
    decibels: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scaled:
    """A model, what was observed of it, and the best factors for it."""

    model: FloatModel
    statistics: Statistics
    network: Network
    channels: Channels
    factors: Factors


_WORTH_DECIBELS = 0.1


def equalize(
    model: FloatModel,
    statistics: Statistics,
    profile: CapabilityProfile,
    *,
    clips: Clips | None = None,
    weight_share: float = 1.0,
) -> Equalized:
    """Move and scale the channels of a model so that quantizing it for a target leaves the least noise.

    Args:
        model: The canonical float model.
        statistics: Of its activations.
        profile: The target.
        clips: What may become of Clip; by default an upper bound for each channel where the target has Min in integers.
        weight_share: How much of the weights' rounding noise will remain, above 0 and at most 1.
    """
    chosen = clips or ("bounded" if bounds_channels(profile) else "saturating")

    def scaled(model: FloatModel, statistics: Statistics) -> _Scaled:
        network = network_of(model.graph)
        channels = channels_of(network)
        found = best_factors(network, channels, statistics, profile, clips=chosen, weight_share=weight_share)
        return _Scaled(model=model, statistics=statistics, network=network, channels=channels, factors=found)

    best, absorbed = scaled(model, statistics), _absorbed(model, statistics, chosen)
    decibels = best.factors.decibels
    if absorbed is not None:
        then = scaled(absorbed.model, absorbed.statistics)
        gain = in_decibels(best.factors.log_noise - then.factors.log_noise)
        if math.isfinite(gain) and gain >= _WORTH_DECIBELS:
            best, decibels = then, decibels + gain
        else:
            absorbed = None
    channels, is_worth_it = best.channels, decibels >= _WORTH_DECIBELS
    factors = best.factors.values if is_worth_it else np.ones(channels.count)
    both_ends = clips_at_both_ends(best.network, channels, best.statistics, factors, profile)
    shifts = _shifts(best, profile, chosen, both_ends)
    is_shifted = bool((shifts != 1.0).any())
    if not is_worth_it:
        if not is_shifted:
            return Equalized(model=model, decibels=0.0, note=_why_not(channels, best.factors))
        decibels = 0.0
    try:
        made, bounded = rewritten(best.model, channels, factors, clips=chosen, shifts=shifts)
        made, moved = moved_to_both_ends(made, both_ends if is_shifted else frozenset(), profile)
    except OverflowError as error:  # weights of 1e32 and more
        return Equalized(model=model, decibels=0.0, note=f"scaling channels would overflow: {error}")
    scales = channels.count - 1 if (factors != 1.0).any() else 0
    note = _note(
        scales,
        absorbed,
        decibels,
        len(bounded),
        statistics.sample_count,
        chosen,
        is_shifted=is_shifted,
        moved=moved,
    )
    return Equalized(model=made, decibels=decibels, note=note)


def _shifts(scaled: _Scaled, profile: CapabilityProfile, clips: Clips, both_ends: frozenset[str]) -> Float64:
    """Return what makes the bounds of Clips that stay the last code: nothing where any scale is legal, or no bound but 6 can be written."""
    if clips == "bounded" or profile.scale.kind != "power_of_two" or profile.artifact.format == "tflite":
        return np.ones(scaled.channels.count)
    bounds = {
        named(node.outputs[0]): bound
        for node in scaled.network.nodes.values()
        if node.op_type == "Clip" and (bound := upper_bound(node)) is not None
    }
    return shifts_of(scaled.channels, bounds, profile, both_ends=both_ends)


def bounds_channels(profile: CapabilityProfile) -> bool:
    """Tell whether a target bounds each channel by itself in integers: Min of an activation and a constant."""
    support = profile.ops.get("Min")
    return (
        support is not None
        and integer_precision(profile) in support.precisions
        and "Min" in profile.same_scale
    )


def _absorbed(model: FloatModel, statistics: Statistics, clips: Clips) -> Absorbed | None:
    try:
        return absorb(model, statistics, clips=clips)
    except OverflowError:  # a bias beyond float32 is no help to anyone
        return None


def _why_not(channels: Channels, found: Factors) -> str:
    if channels.count == 1:
        return (
            "no channel can be scaled: all of them meet the model's inputs or outputs, or operators that let no factor through "
            "(docs/equalization.md says which do)"
        )
    if not math.isfinite(found.log_noise):
        return "the noise cannot be estimated: all weights are zero, or squares of them are beyond float64"
    free = sum(channels.is_free(name) for name in channels.factors)
    return f"there is nothing to gain by scaling channels; {free} of {len(channels.factors)} values have any that may be scaled"


def _note(
    scales: int,
    absorbed: Absorbed | None,
    decibels: float,
    bounded: int,
    samples: int,
    clips: Clips,
    *,
    is_shifted: bool,
    moved: int,
) -> str:
    clauses = [
        f"Channels were scaled against one another by {scales} factors" if scales else "",
        f"{absorbed.channels} channels that never fell near 0 before their Relu in any of {samples} samples were moved down, "
        "and the biases behind them take it up"
        if absorbed
        else "",
    ]
    done = "; ".join(clause for clause in clauses if clause)
    gained = f"{done}, which takes {decibels:.1f} dB off the estimated quantization noise; " if done else ""
    shifted = (
        "tensors behind a Clip were scaled such that its bound is their last code; " if is_shifted else ""
    )
    if moved:
        shifted += f"{moved} of them lie between their lowest and their last code, and the biases behind them take it up; "
    told = gained + shifted
    is_exact = (clips == "bounded" or not scales) and absorbed is None
    all_bounded = bounded + (absorbed.bounded if absorbed else 0)
    with_bounds = (
        f"; {all_bounded} Clips became Relu and an upper bound for each channel (Min)" if all_bounded else ""
    )
    exactness = "" if is_exact else ", within the values seen"
    return f"{told[:1].upper()}{told[1:]}the float model computes the same{exactness}{with_bounds}."
