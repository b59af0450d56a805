"""Outputs that join what no one scale serves: a detector's boxes in pixels beside its scores of at most 1.

In one scale the scores would be less than a code, and every one of them 0, while the signal-to-noise ratio of the whole, which the boxes make,
looks fine. It makes no difference whether a Concat in integers puts them there or the model's integer interface behind one in float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from host_tools.model.topology import data_inputs, float_outputs
from host_tools.plan.islands import MOVERS
from host_tools.plan.placement import float_precision
from host_tools.plan.revisions import Revisions
from host_tools.plan.support import finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import onnx_ir as ir

    from host_tools.model.topology import Network
    from host_tools.observe.statistics import TensorStatistics
    from host_tools.plan.placement import Placement
    from host_tools.plan.quantization_plan import QParams
    from targets.profile import CapabilityProfile

_LEAST_CODES: Final = 8.0
"""Codes that the largest value of an input must reach: three bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnevenOutputs:
    """Why no one scale may serve the outputs behind a Concat, and what follows.

    Attributes:
        lessons: What the next attempt must do otherwise; nothing where the target does not let it.
        warning: What is lost then, in one sentence; empty where the next attempt does otherwise.
    """

    lessons: Revisions
    warning: str = ""


def uneven_outputs(
    network: Network,
    placement: Placement,
    profile: CapabilityProfile,
    scales: Mapping[str, QParams],
    seen: Mapping[str, TensorStatistics],
) -> Iterator[UnevenOutputs]:
    """Find Concats that lead to nothing but outputs, where the scale of an output drowns one of their inputs.

    Args:
        network: The graph.
        placement: Which nodes are integer.
        profile: The target.
        scales: Of quantized activations, by value name.
        seen: Statistics by value name; constants have none.
    """
    for name, node in network.nodes.items():
        if node.op_type != "Concat":
            continue
        behind = (name, *_followers(network, name))
        written = [value for one in behind for value in float_outputs(network.nodes[one])]
        step = max((scales[value].scale[0] for value in written if value in scales), default=0.0)
        drowned = _drowned(node, step, seen)
        if not drowned or any(network.nodes[one].op_type not in MOVERS for one in behind):
            continue
        text = f"one scale must serve all inputs; {' and '.join(drowned)} and one code of the others is {step:.3g}"
        if _can_run_in_float(network, profile, behind):
            given = frozenset(written) & network.outputs
            yield UnevenOutputs(lessons=_in_float(network, placement, profile, behind, given, text))
        else:
            lost = "what is smaller is lost. Give it an output of its own in the model."
            found = finding(node, "one_scale_serves_all_inputs", text)
            yield UnevenOutputs(lessons=Revisions(), warning=f"{found.text}: {lost}")


def outputs_joined(network: Network, nodes: Collection[str]) -> frozenset[str]:
    """Return the outputs that Concats among these nodes lead to, where nothing but such nodes lies behind them.

    Args:
        network: The graph.
        nodes: Names of nodes, those in float.
    """
    found: set[str] = set()
    for name in nodes:
        if network.nodes[name].op_type != "Concat":
            continue
        behind = (name, *_followers(network, name))
        if all(one in nodes and network.nodes[one].op_type in MOVERS for one in behind):
            found.update(value for one in behind for value in float_outputs(network.nodes[one]))
    return frozenset(found) & network.outputs


def _drowned(node: ir.Node, step: float, seen: Mapping[str, TensorStatistics]) -> list[str]:
    """Return what to say of the inputs whose largest value is but a few codes."""
    reached = {
        value: max(abs(seen[value].minimum), abs(seen[value].maximum))
        for _, value in data_inputs(node)
        if value in seen
    }
    return [
        f"{value!r} reaches {largest:.3g}"
        for value, largest in reached.items()
        if 0.0 < largest < _LEAST_CODES * step
    ]


def _in_float(
    network: Network,
    placement: Placement,
    profile: CapabilityProfile,
    behind: tuple[str, ...],
    outputs: frozenset[str],
    text: str,
) -> Revisions:
    """Return that a Concat, what of it is integer still, and its outputs are float.

    What only moves its result on goes with it by itself, but for what stands beside integer arithmetic: that is told so in the next attempt.
    """
    interface = profile.interface.output_type
    if interface != "float32":
        text += (
            f", so {' and '.join(map(repr, sorted(outputs)))} is float32, not {interface} "
            f"(interface.output_type of {profile.id!r})"
        )
    integer = [one for one in behind if placement.is_integer(one) and one not in placement.fused_into]
    rejected = integer[:1] if behind[0] in integer else integer
    rule = "one_scale_serves_all_inputs"
    return Revisions(
        rejected={name: finding(network.nodes[name], rule, text) for name in rejected},
        outputs_in_float=outputs,
    )


def _can_run_in_float(network: Network, profile: CapabilityProfile, nodes: tuple[str, ...]) -> bool:
    """Tell whether a Concat and what lies between it and the outputs may run in float, as far as the target is asked."""
    limits = (profile.fallback.max_float_ops, profile.fallback.max_partitions)
    return limits == (None, None) and all(
        float_precision(network.nodes[node].op_type, profile) for node in nodes
    )


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
