"""What each target does with each node: the plan's own placement, and on request the lowering itself, rehearsed.

A rehearsal plans and lowers as a conversion does, with assumed ranges in the place of statistics, and throws the file away. What the
lowering refuses then, it refuses in the conversion too, in the same words. What only the plan refuses under those ranges may fit under
others (a rescale factor beyond a kernel's), so that is told as a doubt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from host_tools.errors import CapabilityError, LoweringError
from host_tools.lower.lowering import lower
from host_tools.model.topology import is_constant, is_float
from host_tools.observe.statistics import Statistics, TensorStatistics
from host_tools.plan.placement import place
from host_tools.plan.planner import plan
from host_tools.plan.revisions import Revisions
from host_tools.recipe import Recipe

if TYPE_CHECKING:
    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from targets.profile import CapabilityProfile, Precision

Status = Literal["integer", "partly_float", "refused"]

ASSUMED_RANGE: Final = (-4.0, 4.0)
"""Of every activation, in a rehearsal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSupport:
    """How one node runs on a target.

    Attributes:
        name: Its name.
        kind: Its operator type.
        precision: In which it runs.
        fused_into: The node that does it; None where it runs by itself.
        reason: Why, in the plan's words.
    """

    name: str
    kind: str
    precision: Precision
    fused_into: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSupport:
    """What a target does with a model.

    Attributes:
        target: Profile id.
        status: Whether every node runs in integers, some in float, or nothing can be made.
        refusal: In the words of the conversion; empty unless refused.
        hint: What to do about it; empty unless refused.
        nodes: Every node, in order; empty when the plan refuses.
        rehearsed: Whether the lowering was rehearsed too.
        doubt: What the plan said to the assumed ranges; empty for nothing.
    """

    target: str
    status: Status
    refusal: str = ""
    hint: str = ""
    nodes: tuple[NodeSupport, ...] = ()
    rehearsed: bool = False
    doubt: str = ""

    @property
    def in_float(self) -> tuple[NodeSupport, ...]:
        """Nodes that run in float."""
        return tuple(node for node in self.nodes if node.precision in ("float16", "float32"))


def support_of(
    model: FloatModel, network: Network, profile: CapabilityProfile, *, rehearse: bool
) -> TargetSupport:
    """Return what a target does with a model.

    Args:
        model: The canonical float model.
        network: Its graph by names.
        profile: The target.
        rehearse: Whether to lower it too, which costs what it costs in a conversion.
    """
    try:
        placement = place(network, profile, Recipe(), Revisions())
    except CapabilityError as error:
        return _refused(profile, error, rehearsed=rehearse)
    nodes = tuple(
        NodeSupport(
            name=name,
            kind=node.op_type,
            precision=placement.precision[name],
            fused_into=placement.fused_into.get(name),
            reason=placement.reasons[name],
        )
        for name, node in network.nodes.items()
    )
    doubt = ""
    if rehearse:
        try:
            lower(model, plan(model, _assumed(model, network), profile, Recipe(method="minmax")), profile)
        except LoweringError as error:
            return _refused(profile, error, nodes=nodes, rehearsed=True)
        except CapabilityError as error:
            doubt = str(error)
    is_integer = all(node.precision in ("int8", "int16") for node in nodes)
    return TargetSupport(
        target=profile.id,
        status="integer" if is_integer else "partly_float",
        nodes=nodes,
        rehearsed=rehearse,
        doubt=doubt,
    )


def _refused(
    profile: CapabilityProfile,
    error: CapabilityError | LoweringError,
    *,
    nodes: tuple[NodeSupport, ...] = (),
    rehearsed: bool,
) -> TargetSupport:
    return TargetSupport(
        target=profile.id,
        status="refused",
        refusal=str(error.args[0]) if error.args else str(error),
        hint=error.hint,
        nodes=nodes,
        rehearsed=rehearsed,
    )


def _assumed(model: FloatModel, network: Network) -> Statistics:
    """Return statistics in which every activation has the assumed range."""
    low, high = ASSUMED_RANGE
    ends = np.asarray(ASSUMED_RANGE, np.float32)
    seen = TensorStatistics(
        minimum=low,
        maximum=high,
        mean_minimum=low,
        mean_maximum=high,
        channel_axis=None,
        channel_minimum=ends[:1],
        channel_maximum=ends[1:],
        channel_mean=np.zeros(1),
        channel_mean_square=np.ones(1),
        histogram=None,
    )
    names = [name for name, value in network.values.items() if is_float(value) and not is_constant(value)]
    return Statistics(
        model_digest=model.digest,
        data_digest="assumed",
        sample_count=1,
        tensors=dict.fromkeys(names, seen),
    )
