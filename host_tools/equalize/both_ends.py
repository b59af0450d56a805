"""A Clip that stays is done by saturation at both ends of the codes, where everything that reads it takes up a constant.

In symmetric codes a value that is never negative has half of the codes. What a Clip confines to [0, high] may as well be moved to
[-128, 127] steps: the bias before the Clip gives 128 steps away, and the biases of what reads it take up as much times their weights.
At the same step the tensor then is scaled twice as high (`last_code.shifts_of`): one bit more, 6 dB less noise from rounding it. It is
exact, for any data: both bounds are codes, 0 among them. What is left of the Clip is the saturation that every integer kernel has.

It needs readers that do not pad, as zeros that they pad with would be 128 steps above the others, and that do not average: a mean of
[0, high] mostly has a smaller range than [0, high], and loses the finer step that it has for it when it is moved away from 0.

Source: the moving of biases is that of `absorption`, there for channels that a Relu never touches.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.equalize.bounds import upper_bound
from host_tools.equalize.channels import channels_of
from host_tools.equalize.constants_moved import give_away, take_up
from host_tools.equalize.edits import Edits
from host_tools.equalize.observed import observed
from host_tools.equalize.takers import sites_of
from host_tools.model.topology import named, network_of
from host_tools.plan.qparams import code_range, power_of_two_ceiling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.equalize.link import Axes
    from host_tools.equalize.takers import Site
    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.observe.statistics import Statistics
    from targets.profile import CapabilityProfile

    Float64 = NDArray[np.float64]

_AVERAGING: Final = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
_LEAST_USED: Final = 0.5
"""Share of a Clip's range that has to be used: all codes for the whole of it are as fine as half of them for half of it."""


def clips_at_both_ends(
    network: Network,
    channels: Channels,
    statistics: Statistics,
    factors: Float64,
    profile: CapabilityProfile,
) -> frozenset[str]:
    """Return the outputs, by name, of the Clips that are better done by saturation at both ends.

    Args:
        network: The canonical graph.
        channels: Its factors.
        statistics: Of its activations. A Clip of which less than half is used has a finer step from code 0 upwards than between both ends.
        factors: What its channels are going to be multiplied with, shape (channels.count,).
        profile: The target; with codes that are not symmetric there is nothing to gain.
    """
    if profile.activations.zero_point != "symmetric" or not profile.activations.signed:
        return frozenset()
    found: set[str] = set()
    for site in _sites(network, channels.axes):
        result = named(site.clamp.outputs[0])
        top = (observed(result, channels, statistics).maximum * factors[channels.factors[result]]).max()
        if top >= _LEAST_USED * (upper_bound(site.clamp) or 0.0):
            found.add(result)
    return frozenset(found)


def moved_to_both_ends(
    model: FloatModel, clips: frozenset[str], profile: CapabilityProfile
) -> tuple[FloatModel, int]:
    """Return a model that computes the same whose Clips end at both ends of the codes, and how many do.

    Args:
        model: A model whose tensors were scaled by `last_code.shifts_of`.
        clips: What `clips_at_both_ends` gave. Those whose bound could not be scaled to as many steps of a power of two as there are codes
            stay.
        profile: The target.

    Raises:
        OverflowError: A bias becomes too large for float32.
    """
    if not clips:
        return model, 0
    graph = model.graph.clone()
    network, edits = network_of(graph), Edits(graph.graph)
    axes = channels_of(network).axes
    done: list[str] = []
    codes = code_range(profile.activations.bits, signed=True)
    for site in tuple(_sites(network, axes)):
        result = named(site.clamp.outputs[0])
        step = (upper_bound(site.clamp) or 0.0) / (codes.high - codes.low)
        if result not in clips or float(power_of_two_ceiling(np.asarray(step))) != step:
            continue
        amounts = np.full(site.moved[result].size, -codes.low * step)
        give_away(edits, site, amounts, axes[site.source])
        for taker in site.takers:
            take_up(edits, taker, amounts[taker.origins], axes)
        for index, code in ((1, codes.low), (2, codes.high)):
            edits.replace(site.clamp, site.clamp.inputs[index], np.asarray(code * step))
        done.append(result)
    if not done:
        return model, 0
    edits.editor.drop_unused_initializers()
    digest = hashlib.sha256(" ".join((model.digest, "both ends", *done)).encode())
    return dataclasses.replace(model, graph=graph, digest=f"sha256:{digest.hexdigest()}"), len(done)


def _sites(network: Network, axes: Axes) -> Iterator[Site]:
    """Yield Clips between what adds a constant and readers that take it up unaveraged."""
    for site in sites_of(network, axes):
        passed = (network.nodes[network.writers[name]] for name in site.moved if name in network.writers)
        if site.clamp.op_type == "Clip" and not any(node.op_type in _AVERAGING for node in passed):
            yield site
