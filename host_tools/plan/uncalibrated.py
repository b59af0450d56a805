"""`plan_uncalibrated`: weights in 4, 8 or 16 bits, or by codebooks; activations in float or quantized at run time; no data. Pure.

What is rounded is rounded to the nearest code of the grid of least squared error (`weight_groups`); nothing is known of what flows through
the network, so that no weight matters more than another.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from host_tools.errors import CapabilityError
from host_tools.model.topology import bias_of, constant_weight, is_constant, named, network_of, weight_of
from host_tools.plan.codebooks import store_in_codebooks
from host_tools.plan.float16 import PRECISION, store_in_float16, stored_as_asked
from host_tools.plan.odd_weights import odd_weights
from host_tools.plan.planner import require_recipe
from host_tools.plan.quantization_plan import NO_DATA_DIGEST, NodePlan, QuantizationPlan, TensorPlan
from host_tools.plan.stored_weights import weights_of
from host_tools.plan.uncalibrated_weights import StoredWeight, WeightStorage, rules_of
from targets.profile import CLUSTERED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import Role
    from host_tools.recipe import Recipe
    from targets.profile import CapabilityProfile


def plan_uncalibrated(model: FloatModel, profile: CapabilityProfile, recipe: Recipe) -> QuantizationPlan:
    """Decide how every weight is stored, and why.

    Args:
        model: The canonical float model.
        profile: The target.
        recipe: Its precision, group size, and what stays in float.

    Raises:
        CapabilityError: The target does not have the precision or the group size, or the model has no weight that would become smaller.
        RecipeError: The recipe names a node or operator that the model lacks.
    """
    require_recipe(model, recipe)
    network = network_of(model.graph)
    storage = WeightStorage(network=network, profile=profile, recipe=recipe, rules=rules_of(profile, recipe))
    if recipe.precision == PRECISION:
        return _in_float16(model, storage)
    if recipe.precision in CLUSTERED:
        return stored_as_asked(_in_codebooks(model, storage), model, profile, recipe)
    return stored_as_asked(_in_codes(model, storage), model, profile, recipe)


def _in_codes(model: FloatModel, storage: WeightStorage) -> QuantizationPlan:
    """Plan the codes of weights.

    Raises:
        CapabilityError: No weight would become smaller.
    """
    nodes: dict[str, NodePlan] = {}
    weights: dict[str, tuple[StoredWeight, str]] = {}
    stored_names: set[str] = set()
    for name, node in storage.network.nodes.items():
        stored, reason = storage.weight(name, node)
        is_dynamic = stored is not None and stored.is_dynamic
        nodes[name] = NodePlan(
            name=name,
            op_type=node.op_type,
            precision="int8" if is_dynamic else "float32",
            fused_into=None,
            reason=reason,
            activations="dynamic" if is_dynamic else "planned",
        )
        if stored is not None:
            weights[stored.value] = (stored, reason)
            stored_names.add(name)
    if not weights:
        raise _nothing_smaller(storage, {name: node.reason for name, node in nodes.items()})
    plan = _plan_of(storage, model, nodes, weights, method_reason=_method_reason(storage))
    return dataclasses.replace(plan, warnings=(*plan.warnings, *_warnings(storage, stored_names)))


def _in_float16(model: FloatModel, storage: WeightStorage) -> QuantizationPlan:
    """Plan every weight in float16.

    Raises:
        CapabilityError: None can be stored so.
    """
    bare = _bare(storage, model, "weights rounded to the nearest number of float16")
    plan = store_in_float16(model, bare, storage.profile, kept=storage.kept())
    if all(tensor.float_type == "float32" for tensor in plan.tensors.values()):
        raise _nothing_smaller(storage, _why_left(storage.network, plan))
    return plan


def _in_codebooks(model: FloatModel, storage: WeightStorage) -> QuantizationPlan:
    """Plan every weight as indices into a codebook of its own.

    Raises:
        CapabilityError: None becomes smaller so.
    """
    bare = _bare(storage, model, "each weight's numbers in clusters of least squared error")
    plan = store_in_codebooks(model, bare, storage.profile, kept=storage.kept())
    if all(tensor.codebook is None for tensor in plan.tensors.values()):
        raise _nothing_smaller(storage, _why_left(storage.network, plan))
    return plan


def _why_left(network: Network, plan: QuantizationPlan) -> Mapping[str, str]:
    """Return why the weights of nodes stay in float32, by node."""
    return {
        name: plan.tensors[weight].reason for weight, nodes in weights_of(network).items() for name in nodes
    }


def _nothing_smaller(storage: WeightStorage, reasons: Mapping[str, str]) -> CapabilityError:
    """Return the refusal of a model of which nothing would become smaller.

    Args:
        storage: How weights are stored.
        reasons: Of nodes, why theirs stay in float32.
    """
    nodes = storage.network.nodes
    seen = [
        f"{nodes[name].op_type} {name!r}: {reason.rpartition('float32: ')[2]}"
        for name, reason in reasons.items()
        if nodes[name].op_type in storage.all_ops
    ]
    more = f", and {len(seen) - 1} more" if len(seen) > 1 else ""
    why = f" ({seen[0]}{more})" if seen else ""
    return CapabilityError(
        f"{storage.recipe.precision} on {storage.profile.id!r}: none of the model's {len(nodes)} nodes has a weight that becomes smaller{why}; "
        f"expected a constant weight of {', '.join(sorted(storage.all_ops))}.",
        hint="Choose another precision or target, or leave the model as it is.",
    )


def _bare(storage: WeightStorage, model: FloatModel, what: str) -> QuantizationPlan:
    """Return a plan of a precision that has no codes, before anything is stored otherwise.

    Args:
        storage: How weights are stored.
        model: The model.
        what: What becomes of weights, for the reason of the method.
    """
    precision = storage.recipe.precision
    nodes = {
        name: NodePlan(
            name=name,
            op_type=node.op_type,
            precision="float32",
            fused_into=None,
            reason=f"float32: {precision} plans no codes",
        )
        for name, node in storage.network.nodes.items()
    }
    reason = f"{precision}: {what}; no calibration data went into it"
    return _plan_of(storage, model, nodes, {}, method_reason=reason)


def _plan_of(
    storage: WeightStorage,
    model: FloatModel,
    nodes: Mapping[str, NodePlan],
    weights: Mapping[str, tuple[StoredWeight, str]],
    *,
    method_reason: str,
) -> QuantizationPlan:
    """Return the plan of these nodes and codes of weights."""
    return QuantizationPlan(
        model_digest=model.digest,
        data_digest=NO_DATA_DIGEST,
        target=storage.profile.id,
        profile_digest=storage.profile.digest,
        method="mse",
        tensors={tensor.name: tensor for tensor in _tensors(storage.network, weights, storage.recipe)},
        nodes=nodes,
        requantize=(),
        warnings=tuple(odd_weights(storage.network)),
        method_reason=method_reason,
        precision=storage.recipe.precision,
    )


def _warnings(storage: WeightStorage, stored: Collection[str]) -> Iterator[str]:
    """Tell of weights that stay in float although the precision was asked for."""
    left = [
        (node.op_type, name)
        for name, node in storage.network.nodes.items()
        if constant_weight(node) is not None and name not in stored
    ]
    if left:
        shown = ", ".join(f"{op_type} {name!r}" for op_type, name in left[:3])
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        yield f"{len(left)} weights stay in float: {shown}{more}; --explain says why."


def _tensors(
    network: Network, weights: Mapping[str, tuple[StoredWeight, str]], recipe: Recipe
) -> Iterator[TensorPlan]:
    own = {named(weight_of(node)) for node in network.nodes.values()} | set(weights)
    biases = {named(bias_of(node)) for node in network.nodes.values()}
    for name, value in network.values.items():
        role: Role = "activation"
        if is_constant(value):
            role = "weight" if name in own else "bias" if name in biases else "constant"
        elif name in network.inputs:
            role = "input"
        elif name in network.outputs:
            role = "output"
        stored = weights.get(name)
        yield TensorPlan(
            name=name,
            role=role,
            qparams=None if stored is None else stored[0].qparams,
            reason=f"as it is: {recipe.precision} plans no codes for it" if stored is None else stored[1],
        )


def _method_reason(storage: WeightStorage) -> str:
    precision, group = storage.recipe.precision, storage.group
    many = f"in groups of {group}" if group and precision != "int8-dynamic" else "per output channel"
    return f"{precision}: weights {many}, rounded to nearest on the grid of least squared error; no calibration data went into it"
