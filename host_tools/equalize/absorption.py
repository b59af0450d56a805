"""`absorb`: a channel that never comes near 0 before its Relu is moved down, and the biases of what reads it are moved up for it.

Relu(x) = x where x >= c > 0, and then Relu(x - c) = Relu(x) - c: what a channel has at the least in every sample takes up codes and says
nothing. The producer's bias gives c away, and the next operators' biases take up c times their weights. This is exact where the Relu never
acts below c, which the calibration set shows and cannot prove for other data: so a margin is left, and where the samples are few nothing is
moved. Where an operator pads with zeros, these would have to be -c: nothing is moved there either.

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.1.3, where c comes from
the moments of batch normalization; here it is observed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.equalize.bounds import upper_bound
from host_tools.equalize.channels import channels_of
from host_tools.equalize.constants_moved import give_away, take_up
from host_tools.equalize.edits import Edits, along
from host_tools.equalize.moved_statistics import moved
from host_tools.equalize.takers import sites_of
from host_tools.model.topology import named, network_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.equalize.factors import Clips
    from host_tools.equalize.takers import Site
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.statistics import Statistics

    Float64 = NDArray[np.float64]

FEWEST_SAMPLES: Final = 8
"""Fewer than these say little of what a channel never does."""
_MARGIN: Final = 1 / 8
"""Share of a channel's span, or of its least value where that is more, that is left below the least value that was seen."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Absorbed:
    """A model whose channels were moved.

    Attributes:
        model: It computes the same where no channel falls lower than on the calibration set, by more than the margin.
        statistics: What would be observed of it, ranges and moments; without histograms.
        channels: How many channels were moved.
        bounded: How many Clips became a Relu and an upper bound for each channel.
    """

    model: FloatModel
    statistics: Statistics
    channels: int
    bounded: int


def absorb(model: FloatModel, statistics: Statistics, *, clips: Clips) -> Absorbed | None:
    """Move channels down that never come near 0 before their Relu or Clip.

    Args:
        model: The canonical float model; not changed.
        statistics: Of its activations.
        clips: Whether a Clip may become a Relu and an upper bound for each channel. Where it stays, only channels that never reached its bound
            are moved: they then may rise higher than before.

    Returns:
        None where there is nothing to move.

    Raises:
        OverflowError: A bias becomes too large for float32.
    """
    if statistics.sample_count < FEWEST_SAMPLES:
        return None
    graph = model.graph.clone()
    network = network_of(graph)
    edits = Edits(graph.graph)
    axes = channels_of(network).axes
    found = dict(statistics.tensors)
    state = hashlib.sha256(f"{model.digest} absorbed {clips} ".encode())
    count = 0
    for site in tuple(sites_of(network, axes)):
        amounts = _amounts(site, statistics, clips)
        if not amounts.any():
            continue
        count += int(np.count_nonzero(amounts))
        state.update(f"{named(site.clamp)} ".encode() + np.ascontiguousarray(amounts, "<f8").tobytes())
        give_away(edits, site, amounts, axes[site.source])
        for taker in site.takers:
            take_up(edits, taker, amounts[taker.origins], axes)
        for name, origins in site.moved.items():
            found[name] = moved(statistics.tensors[name], amounts[origins])
        high = upper_bound(site.clamp) if site.clamp.op_type == "Clip" else None
        if high is not None and clips == "bounded":
            result = site.clamp.outputs[0]
            relu = edits.bound(site.clamp, along(high - amounts, result, axes[named(result)]))
            found[named(relu)] = found[site.source]
    if not count:
        return None
    edits.editor.drop_unused_initializers()
    made = dataclasses.replace(model, graph=graph, digest=f"sha256:{state.hexdigest()}")
    told = dataclasses.replace(statistics, model_digest=made.digest, tensors=found)
    return Absorbed(model=made, statistics=told, channels=count, bounded=len(edits.bounded))


def _amounts(site: Site, statistics: Statistics, clips: Clips) -> Float64:
    """Return by how much each channel may be moved, 0 for those that may not."""
    seen = statistics.tensors[named(site.clamp.outputs[0])]
    low, high = (np.asarray(ends, np.float64) for ends in (seen.channel_minimum, seen.channel_maximum))
    amounts = np.maximum(low - _MARGIN * np.maximum(high - low, low), 0.0)
    if site.clamp.op_type == "Clip" and clips != "bounded":
        amounts[high >= (upper_bound(site.clamp) or 0.0)] = 0.0
    return amounts
