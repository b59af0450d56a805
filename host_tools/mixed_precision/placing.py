"""The plan with some operators in wider precisions, within the target's limits."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from host_tools.errors import CapabilityError
from host_tools.model.topology import network_of
from host_tools.plan.placement import place
from host_tools.plan.planner import plan
from host_tools.plan.revisions import Revisions

if TYPE_CHECKING:
    from collections.abc import Callable

    from host_tools.mixed_precision.assignment import Assignment
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import NodePlan, QuantizationPlan
    from host_tools.recipe import Recipe
    from targets.profile import CapabilityProfile


def assigned(recipe: Recipe, assignment: Assignment) -> Recipe:
    """Return a recipe that asks for an assignment besides."""
    keep = dataclasses.replace(
        recipe.keep_float, nodes=recipe.keep_float.nodes | frozenset(assignment.floats)
    )
    widen = dataclasses.replace(recipe.widen, nodes=recipe.widen.nodes | assignment.wide_nodes)
    return dataclasses.replace(recipe, keep_float=keep, widen=widen)


def limits_of(model: FloatModel, profile: CapabilityProfile, recipe: Recipe) -> Callable[[Assignment], bool]:
    """Return a function that tells whether the target's limits on falling back hold with an assignment."""
    fallback = profile.fallback
    if fallback.max_float_ops is None and fallback.max_partitions is None:
        return lambda _: True
    network = network_of(model.graph)

    def is_allowed(assignment: Assignment) -> bool:
        try:
            place(network, profile, assigned(recipe, assignment), Revisions())
        except CapabilityError:
            return False
        return True

    return is_allowed


def plan_with(
    assignment: Assignment,
    model: FloatModel,
    statistics: Statistics,
    profile: CapabilityProfile,
    recipe: Recipe,
) -> QuantizationPlan:
    """Plan with some operators in wider precisions.

    Args:
        assignment: Which.
        model: The model.
        statistics: Of that model.
        profile: The target.
        recipe: What the user asks.

    Raises:
        CapabilityError: The target does not accept it.
    """
    found = plan(model, statistics, profile, assigned(recipe, assignment))
    moved = frozenset(assignment.names)
    nodes = {name: _explained(node) if name in moved else node for name, node in found.nodes.items()}
    asked = tuple(f"{found.nodes[name].op_type} {name!r}:" for name in assignment.floats)
    warnings = [warning for warning in found.warnings if not warning.startswith(asked)]
    if assignment.wide:
        warnings.append(f"mixed precision runs on 16-bit activations: {_listed(assignment.wide)}.")
    if assignment.floats:
        warnings.append(f"mixed precision runs in float: {_listed(assignment.floats)}.")
    return dataclasses.replace(found, nodes=nodes, warnings=tuple(warnings))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names))


def _explained(node: NodePlan) -> NodePlan:
    usual = "on 8-bit activations" if node.precision == "int16" else "in integers"
    return dataclasses.replace(
        node, reason=f"{node.precision}: mixed precision, as {usual} it costs the outputs too much"
    )
