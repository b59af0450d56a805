"""`equalize`: a float model becomes one that computes the same and can be quantized with less noise on one target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.equalize.channels import channels_of
from host_tools.equalize.factors import best_factors
from host_tools.equalize.rewriting import rewritten
from host_tools.plan.support import integer_precision
from host_tools.plan.topology import network_of

if TYPE_CHECKING:
    from host_tools.equalize.factors import Clips
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.statistics import Statistics
    from targets.profile import CapabilityProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Equalized:
    """An equalized model.

    Attributes:
        model: Computes what the model that it comes from computes; the same object where there was nothing to gain.
        decibels: By how much the estimated noise fell.
        note: One sentence for the report; empty where nothing was done.
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
    """Scale the channels of a model so that quantizing it for a target leaves the least noise.

    Args:
        model: The canonical float model.
        statistics: Of its activations.
        profile: The target.
        clips: What may become of Clip; by default an upper bound for each channel where the target has Min in integers.
        weight_share: How much of the weights' rounding noise will remain, above 0 and at most 1.
    """
    network = network_of(model.graph)
    channels = channels_of(network)
    chosen = clips or ("bounded" if bounds_channels(profile) else "saturating")
    found = best_factors(network, channels, statistics, profile, clips=chosen, weight_share=weight_share)
    unchanged = Equalized(model=model, decibels=0.0, note="")
    if found.decibels < _WORTH_DECIBELS:
        return unchanged
    try:
        made, bounded = rewritten(model, channels, found.values, clips=chosen)
    except OverflowError:  # weights of 1e32 and more
        return unchanged
    with_bounds = (
        f"; {len(bounded)} Clips became Relu and an upper bound for each channel (Min)" if bounded else ""
    )
    note = (
        f"Channels were scaled against one another by {channels.count - 1} factors, which takes {found.decibels:.1f} dB off the estimated "
        f"quantization noise; the float model computes the same{'' if chosen == 'bounded' else ', up to the largest values seen'}{with_bounds}."
    )
    return Equalized(model=made, decibels=found.decibels, note=note)


def bounds_channels(profile: CapabilityProfile) -> bool:
    """Tell whether a target bounds each channel by itself in integers: Min of an activation and a constant."""
    support = profile.ops.get("Min")
    return (
        support is not None
        and integer_precision(profile) in support.precisions
        and "Min" in profile.same_scale
    )
