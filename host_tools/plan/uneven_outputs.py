"""Outputs that join what no one scale serves: a detector's boxes in pixels beside its scores of at most 1.

In one scale the scores would be less than a code, and every one of them 0, while the signal-to-noise ratio of the whole, which the boxes make,
looks fine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from host_tools.model.topology import data_inputs, float_outputs
from host_tools.plan.placement import MOVERS, float_precision
from host_tools.plan.support import finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from host_tools.model.topology import Network
    from host_tools.observe.statistics import TensorStatistics
    from host_tools.plan.placement import Placement
    from host_tools.plan.quantization_plan import QParams
    from host_tools.plan.support import Finding
    from targets.profile import CapabilityProfile

_LEAST_CODES: Final = 8.0
"""Codes that the largest value of an input must reach: three bits."""


def uneven_outputs(
    network: Network,
    placement: Placement,
    scales: Mapping[str, QParams],
    seen: Mapping[str, TensorStatistics],
) -> Iterator[Finding]:
    """Find integer Concats that lead to nothing but outputs, and drown an input in the scale of the others.

    Args:
        network: The graph.
        placement: Which nodes are integer.
        scales: Of quantized activations, by value name.
        seen: Statistics by value name; constants have none.
    """
    for name, node in network.nodes.items():
        result = next(iter(float_outputs(node)), "")
        if node.op_type != "Concat" or not placement.is_integer(name) or result not in scales:
            continue
        (step,) = scales[result].scale
        drowned = [
            f"{value!r} reaches {largest:.3g}"
            for _, value in data_inputs(node)
            if value in seen
            and 0.0
            < (largest := max(abs(seen[value].minimum), abs(seen[value].maximum)))
            < _LEAST_CODES * step
        ]
        if drowned and _only_feeds_outputs(network, name):
            yield finding(
                node,
                "one_scale_serves_all_inputs",
                f"one scale must serve all inputs; {' and '.join(drowned)} and one code of the others is {step:.3g}",
            )


def can_run_in_float(network: Network, profile: CapabilityProfile, name: str) -> bool:
    """Tell whether a Concat and what lies between it and the outputs may run in float, as far as the target is asked."""
    limits = (profile.fallback.max_float_ops, profile.fallback.max_partitions)
    followers = _followers(network, name)
    return (
        profile.interface.output_type == "float32"
        and limits == (None, None)
        and all(float_precision(network.nodes[node].op_type, profile) for node in (name, *followers))
    )


def _only_feeds_outputs(network: Network, name: str) -> bool:
    return all(network.nodes[node].op_type in MOVERS for node in _followers(network, name))


def _followers(network: Network, name: str) -> tuple[str, ...]:
    """Return all nodes behind a node."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        for value in float_outputs(network.nodes[waiting.pop()]):
            new = [reader.node for reader in network.readers[value] if reader.node not in found]
            found.update(dict.fromkeys(new))
            waiting.extend(new)
    return tuple(found)
