"""`equalize`: a float model becomes one that computes the same and can be quantized with less noise on one target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.equalize.absorption import absorb
from host_tools.equalize.channels import channels_of
from host_tools.equalize.factors import best_factors, in_decibels
from host_tools.equalize.rewriting import rewritten
from host_tools.model.topology import network_of
from host_tools.plan.support import integer_precision

if TYPE_CHECKING:
    from host_tools.equalize.absorption import Absorbed
    from host_tools.equalize.channels import Channels
    from host_tools.equalize.factors import Clips, Factors
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.statistics import Statistics
    from targets.profile import CapabilityProfile


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

    def scaled(model: FloatModel, statistics: Statistics) -> tuple[Channels, Factors]:
        network = network_of(model.graph)
        channels = channels_of(network)
        found = best_factors(network, channels, statistics, profile, clips=chosen, weight_share=weight_share)
        return channels, found

    channels, found = scaled(model, statistics)
    decibels, source, absorbed = found.decibels, model, _absorbed(model, statistics, chosen)
    if absorbed is not None:
        channels_then, then = scaled(absorbed.model, absorbed.statistics)
        gain = in_decibels(found.log_noise - then.log_noise)
        if math.isfinite(gain) and gain >= _WORTH_DECIBELS:
            channels, found, source, decibels = channels_then, then, absorbed.model, decibels + gain
        else:
            absorbed = None
    if decibels < _WORTH_DECIBELS:
        return Equalized(model=model, decibels=0.0, note=_why_not(channels, found))
    try:
        made, bounded = rewritten(source, channels, found.values, clips=chosen)
    except OverflowError as error:  # weights of 1e32 and more
        return Equalized(model=model, decibels=0.0, note=f"scaling channels would overflow: {error}")
    scales = channels.count - 1 if (found.values != 1.0).any() else 0
    note = _note(scales, absorbed, decibels, len(bounded), statistics.sample_count, chosen)
    return Equalized(model=made, decibels=decibels, note=note)


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
    scales: int, absorbed: Absorbed | None, decibels: float, bounded: int, samples: int, clips: Clips
) -> str:
    clauses = [
        f"Channels were scaled against one another by {scales} factors" if scales else "",
        f"{absorbed.channels} channels that never fell near 0 before their Relu in any of {samples} samples were moved down, "
        "and the biases behind them take it up"
        if absorbed
        else "",
    ]
    done = "; ".join(clause for clause in clauses if clause)
    is_exact = clips == "bounded" and absorbed is None
    all_bounded = bounded + (absorbed.bounded if absorbed else 0)
    with_bounds = (
        f"; {all_bounded} Clips became Relu and an upper bound for each channel (Min)" if all_bounded else ""
    )
    return (
        f"{done}, which takes {decibels:.1f} dB off the estimated quantization noise; "
        f"the float model computes the same{'' if is_exact else ', within the values seen'}{with_bounds}."
    )
