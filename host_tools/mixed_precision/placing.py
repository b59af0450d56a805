"""The plan with some operators in float, and what of the plan before holds in it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from host_tools.errors import CapabilityError
from host_tools.plan.placement import place
from host_tools.plan.planner import plan as plan_anew
from host_tools.plan.revisions import Revisions
from host_tools.plan.topology import bias_of, named, network_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import NodePlan, QuantizationPlan
    from host_tools.plan.topology import Network
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
    before: QuantizationPlan,
    names: frozenset[str],
    model: FloatModel,
    statistics: Statistics,
    profile: CapabilityProfile,
    recipe: Recipe,
) -> QuantizationPlan:
    """Plan anew with the named nodes in float.

    An operator that stays in integers with the same parameters keeps the weights and the bias that it had: they may have been
    reconstructed.

    Args:
        before: The plan without these nodes in float.
        names: Node names.
        model: The model of both plans.
        statistics: Of that model.
        profile: The target.
        recipe: What the user asks.

    Raises:
        CapabilityError: The target does not accept it.
    """
    found = plan_anew(model, statistics, profile, keeping_in_float(recipe, names))
    network = network_of(model.graph)
    kept = {value for name in network.nodes for value in _kept(name, network, before, found)}
    tensors = {name: before.tensors[name] if name in kept else found.tensors[name] for name in found.tensors}
    nodes = {name: _explained(node) if name in names else node for name, node in found.nodes.items()}
    asked = tuple(f"{found.nodes[name].op_type} {name!r}:" for name in sorted(names))
    warnings = [warning for warning in found.warnings if not warning.startswith(asked)]
    warnings.append(f"mixed precision runs in float: {', '.join(map(repr, _in_order(names, network)))}.")
    return dataclasses.replace(found, tensors=tensors, nodes=nodes, warnings=tuple(warnings))


def _kept(name: str, network: Network, before: QuantizationPlan, after: QuantizationPlan) -> tuple[str, ...]:
    """Return the names of a node's weight and bias where both have the parameters that they had, and are integers."""
    node = network.nodes[name]
    constants = tuple(named(value) for value in (weight_of(node), bias_of(node)) if value is not None)
    if not constants or after.nodes[name].precision != before.nodes[name].precision:
        return ()
    is_same = all(before.tensors[one].qparams == after.tensors[one].qparams for one in constants)
    return constants if is_same and after.tensors[constants[0]].qparams is not None else ()


def _explained(node: NodePlan) -> NodePlan:
    reason = f"{node.precision}: mixed precision, as in integers it costs the outputs too much"
    return dataclasses.replace(node, reason=reason)


def _in_order(names: frozenset[str], network: Network) -> list[str]:
    return [name for name in network.nodes if name in names]
