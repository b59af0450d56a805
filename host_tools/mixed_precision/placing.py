"""The plan with some operators in float, within the target's limits."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from host_tools.errors import CapabilityError
from host_tools.plan.placement import place
from host_tools.plan.planner import plan
from host_tools.plan.revisions import Revisions
from host_tools.plan.topology import network_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import NodePlan, QuantizationPlan
    from host_tools.recipe import Recipe
    from targets.profile import CapabilityProfile


def keeping_in_float(recipe: Recipe, names: frozenset[str]) -> Recipe:
    """Return a recipe that keeps the named nodes in float besides."""
    keep = dataclasses.replace(recipe.keep_float, nodes=recipe.keep_float.nodes | names)
    return dataclasses.replace(recipe, keep_float=keep)


def limits_of(
    model: FloatModel, profile: CapabilityProfile, recipe: Recipe
) -> Callable[[frozenset[str]], bool]:
    """Return a function that tells whether the target's limits on falling back hold with the named nodes in float."""
    fallback = profile.fallback
    if fallback.max_float_ops is None and fallback.max_partitions is None:
        return lambda _: True
    network = network_of(model.graph)

    def is_allowed(names: frozenset[str]) -> bool:
        try:
            place(network, profile, keeping_in_float(recipe, names), Revisions())
        except CapabilityError:
            return False
        return True

    return is_allowed


def plan_with(
    names: frozenset[str],
    model: FloatModel,
    statistics: Statistics,
    profile: CapabilityProfile,
    recipe: Recipe,
) -> QuantizationPlan:
    """Plan with the named nodes in float.

    Args:
        names: Node names.
        model: The model.
        statistics: Of that model.
        profile: The target.
        recipe: What the user asks.

    Raises:
        CapabilityError: The target does not accept it.
    """
    found = plan(model, statistics, profile, keeping_in_float(recipe, names))
    nodes = {name: _explained(node) if name in names else node for name, node in found.nodes.items()}
    asked = tuple(f"{found.nodes[name].op_type} {name!r}:" for name in names)
    warnings = [warning for warning in found.warnings if not warning.startswith(asked)]
    moved = ", ".join(repr(name) for name in found.nodes if name in names)
    warnings.append(f"mixed precision runs in float: {moved}.")
    return dataclasses.replace(found, nodes=nodes, warnings=tuple(warnings))


def _explained(node: NodePlan) -> NodePlan:
    reason = f"{node.precision}: mixed precision, as in integers it costs the outputs too much"
    return dataclasses.replace(node, reason=reason)
