"""`plan_uncalibrated`: weights in 4, 8 or 16 bits, or by codebooks; activations in float or quantized at run time; no data. Pure.

What is rounded is rounded to the nearest code of the grid of least squared error (`weight_groups`); nothing is known of what flows through
the network, so that no weight matters more than another.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import CapabilityError
from host_tools.model.topology import (
    bias_of,
    channel_axis,
    constant,
    constant_weight,
    integers,
    is_constant,
    named,
    network_of,
    shape_of,
    weight_of,
)
from host_tools.plan.codebooks import store_in_codebooks
from host_tools.plan.float16 import PRECISION, store_in_float16, stored_as_asked
from host_tools.plan.planner import require_recipe
from host_tools.plan.quantization_plan import NO_DATA_DIGEST, NodePlan, QuantizationPlan, TensorPlan
from host_tools.plan.weight_groups import choose_channels, choose_groups, stored_bytes
from targets.profile import CLUSTERED, GROUPED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import onnx_ir as ir

    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import QParams, Role
    from host_tools.recipe import Recipe
    from targets.profile import CapabilityProfile, PlanPrecision, UncalibratedRules

_FLOAT_BYTES = 4
_MATRICES = ("Gemm", "MatMul")
_BITS: Mapping[PlanPrecision, int] = MappingProxyType(
    {"weights-int4": 4, "weights-int8": 8, "int8-dynamic": 8}
)
_BESIDE: Mapping[PlanPrecision, PlanPrecision] = MappingProxyType(
    {"weights-int4": "weights-int8", "int8-dynamic": "weights-int8"}
)
"""Where a precision has no kernel for an operator, weights are stored as this one does, if the target has that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWeight:
    """What becomes of one node's weight.

    Attributes:
        value: Its name.
        qparams: Its parameters.
        is_dynamic: Whether the node multiplies integers; else it dequantizes the weight.
    """

    value: str
    qparams: QParams
    is_dynamic: bool


def summed_axis(node: ir.Node) -> int:
    """Return the axis of a weight along which groups lie: the one that is summed over; of a table, the one along its rows."""
    return 0 if node.op_type == "MatMul" else 1


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
    planner = _Planner(network=network, profile=profile, recipe=recipe, rules=_rules(profile, recipe))
    if recipe.precision == PRECISION:
        return _in_float16(model, planner)
    if recipe.precision in CLUSTERED:
        return stored_as_asked(_in_codebooks(model, planner), model, profile, recipe)
    return stored_as_asked(_in_codes(model, planner), model, profile, recipe)


def _in_codes(model: FloatModel, planner: _Planner) -> QuantizationPlan:
    """Plan the codes of weights.

    Raises:
        CapabilityError: No weight would become smaller.
    """
    nodes: dict[str, NodePlan] = {}
    weights: dict[str, tuple[StoredWeight, str]] = {}
    stored_names: set[str] = set()
    for name, node in planner.network.nodes.items():
        stored, reason = planner.weight(name, node)
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
        raise planner.nothing_smaller()
    plan = planner.plan_of(model, nodes, weights, method_reason=_method_reason(planner))
    return dataclasses.replace(plan, warnings=tuple(planner.warnings(stored_names)))


def _in_float16(model: FloatModel, planner: _Planner) -> QuantizationPlan:
    """Plan every weight in float16.

    Raises:
        CapabilityError: None can be stored so.
    """
    bare = planner.bare(model, "weights rounded to the nearest number of float16")
    plan = store_in_float16(model, bare, planner.profile, kept=planner.kept())
    if all(tensor.float_type == "float32" for tensor in plan.tensors.values()):
        raise planner.nothing_smaller()
    return plan


def _in_codebooks(model: FloatModel, planner: _Planner) -> QuantizationPlan:
    """Plan every weight as indices into a codebook of its own.

    Raises:
        CapabilityError: None becomes smaller so.
    """
    bare = planner.bare(model, "each weight's numbers in clusters of least squared error")
    plan = store_in_codebooks(model, bare, planner.profile, kept=planner.kept())
    if all(tensor.codebook is None for tensor in plan.tensors.values()):
        raise planner.nothing_smaller()
    return plan


def _rules(profile: CapabilityProfile, recipe: Recipe) -> UncalibratedRules:
    rules = profile.uncalibrated.get(recipe.precision)
    if rules is None:
        has = ", ".join(["int8", *profile.uncalibrated])
        said = next((fact.source for fact in profile.facts if fact.key == f"{recipe.precision}.ops"), "")
        why = said or f"its profile has no [{recipe.precision}]"
        raise CapabilityError(
            f"{profile.id!r} has no kernels for {recipe.precision} ({why}); it has {has}.",
            hint="Choose another precision or target: docs/precisions.md has a table.",
        )
    if recipe.group is not None and not rules.groups:
        raise CapabilityError(
            f"{recipe.precision} has no groups, got {recipe.group}.",
            hint=f"Ask for one of {', '.join(GROUPED)}, or leave the group out.",
        )
    if recipe.group is not None and recipe.group not in rules.groups:
        legal = ", ".join(map(str, sorted(rules.groups)))
        raise CapabilityError(
            f"{recipe.precision} on {profile.id!r} has groups of {legal} weights, got {recipe.group} ([{recipe.precision}] groups).",
            hint=f"For example --precision {recipe.precision}:{rules.groups[0]}.",
        )
    return rules


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Planner:
    """Decides node by node."""

    network: Network
    profile: CapabilityProfile
    recipe: Recipe
    rules: UncalibratedRules

    @property
    def group(self) -> int:
        """Elements of a group of matrices; 0: whole channels."""
        return self.rules.groups[0] if self.recipe.group is None else self.recipe.group

    @property
    def beside(self) -> UncalibratedRules | None:
        """What operators that the precision has no kernel for get."""
        other = _BESIDE.get(self.recipe.precision)
        return None if other is None else self.profile.uncalibrated.get(other)

    @property
    def all_ops(self) -> frozenset[str]:
        """Operators whose weights become smaller."""
        return self.rules.ops | (frozenset() if self.beside is None else self.beside.ops)

    def nothing_smaller(self) -> CapabilityError:
        """Return the refusal of a model of which nothing would become smaller."""
        return CapabilityError(
            f"{self.recipe.precision} on {self.profile.id!r}: none of the model's {len(self.network.nodes)} nodes has a weight that becomes "
            f"smaller; expected a constant weight of {', '.join(sorted(self.all_ops))}.",
            hint="Choose another precision or target, or leave the model as it is.",
        )

    def kept(self) -> set[str]:
        """Return the nodes whose weights the recipe keeps as they are."""
        return {name for name, node in self.network.nodes.items() if self.is_kept(name, node)}

    def bare(self, model: FloatModel, what: str) -> QuantizationPlan:
        """Return a plan of a precision that has no codes, before anything is stored otherwise.

        Args:
            model: The model.
            what: What becomes of weights, for the reason of the method.
        """
        precision = self.recipe.precision
        nodes = {
            name: NodePlan(
                name=name,
                op_type=node.op_type,
                precision="float32",
                fused_into=None,
                reason=f"float32: {precision} plans no codes",
            )
            for name, node in self.network.nodes.items()
        }
        reason = f"{precision}: {what}; no calibration data went into it"
        return self.plan_of(model, nodes, {}, method_reason=reason)

    def plan_of(
        self,
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
            target=self.profile.id,
            profile_digest=self.profile.digest,
            method="mse",
            tensors={tensor.name: tensor for tensor in _tensors(self.network, weights, self.recipe)},
            nodes=nodes,
            requantize=(),
            warnings=(),
            method_reason=method_reason,
            precision=self.recipe.precision,
        )

    def weight(self, name: str, node: ir.Node) -> tuple[StoredWeight | None, str]:
        """Return what becomes of a node's weight, None for nothing, and why."""
        value, refusal = constant_weight(node), self._refusal(name, node)
        if value is None or refusal:
            return None, f"float32: {refusal or 'it has no constant weight'}"
        is_own = node.op_type in self.rules.ops
        precision = self.recipe.precision if is_own else _BESIDE[self.recipe.precision]
        rules = self.rules if is_own or self.beside is None else self.beside
        bits, is_dynamic = _BITS[precision], precision == "int8-dynamic"
        group = (
            0 if is_dynamic or node.op_type not in _MATRICES else self.group if is_own else rules.groups[0]
        )
        values = np.asarray(constant(value), np.float64)
        if group:
            axis = summed_axis(node)
            if values.shape[axis] % group and not rules.partial_group:
                group = values.shape[axis]
            qparams = choose_groups(values, axis=axis, size=group, bits=bits, symmetric=rules.symmetric)
        else:
            axis = 0 if node.op_type == "Gather" else channel_axis(node) or 0
            bits = min(bits, self.profile.weights.bits) if is_dynamic else bits
            qparams = choose_channels(values, axis=axis, bits=bits)
        stored_size, float_size = stored_bytes(shape_of(value), qparams), values.size * _FLOAT_BYTES
        if stored_size >= float_size:
            return None, f"float32: its weight would take {stored_size} bytes instead of {float_size}"
        reason = _reason(node, qparams, bits=bits, is_dynamic=is_dynamic)
        if not is_own:
            reason += f"; {self.profile.id} has no {self.recipe.precision} kernel for {node.op_type}"
        return StoredWeight(value=named(value), qparams=qparams, is_dynamic=is_dynamic), reason

    def is_kept(self, name: str, node: ir.Node) -> bool:
        """Whether the recipe keeps a node's weight as it is."""
        kept = self.recipe.keep_float
        return name in kept.nodes or node.op_type in kept.ops

    def _refusal(self, name: str, node: ir.Node) -> str:
        """Return why a node's weight stays as it is; empty when it does not."""
        if self.is_kept(name, node):
            return "the recipe keeps it so (keep_float)"
        value = constant_weight(node)
        if value is None:
            return ""
        if node.op_type not in self.all_ops:
            return f"{self.profile.id} reads no codes of the weight of {node.op_type} ([{self.recipe.precision}] ops)"
        rank = len(shape_of(value))
        if node.op_type in (*_MATRICES, "Gather") and rank != 2:
            return f"its weight has rank {rank}; codes are stored of matrices"
        if node.op_type == "Gather" and integers(node, "axis", (0,)) != (0,):
            return "it looks up along another axis than the first"
        if len(self.network.readers[named(value)]) != 1:
            return f"others read {named(value)!r} too"
        return ""

    def warnings(self, stored: Collection[str]) -> Iterator[str]:
        """Tell of weights that stay in float although the precision was asked for."""
        left = [
            (node.op_type, name)
            for name, node in self.network.nodes.items()
            if constant_weight(node) is not None and name not in stored
        ]
        if left:
            shown = ", ".join(f"{op_type} {name!r}" for op_type, name in left[:3])
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            yield f"{len(left)} weights stay in float: {shown}{more}; --explain says why."


def _reason(node: ir.Node, qparams: QParams, *, bits: int, is_dynamic: bool) -> str:
    many = (
        f"one scale each {qparams.group_size} along axis {qparams.group_axis}"
        if qparams.group_size is not None
        else f"one scale for each index of axis {qparams.axis}"
    )
    kind = "asymmetric" if any(qparams.zero_point) else "symmetric"
    stored = f"weight stored in {bits} bits, {kind}, {many}"
    if is_dynamic:
        return f"int8: {stored}; the scale of what {node.op_type} reads is found at run time"
    return f"float32: {stored}"


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


def _method_reason(planner: _Planner) -> str:
    precision, group = planner.recipe.precision, planner.group
    many = f"in groups of {group}" if group and precision != "int8-dynamic" else "per output channel"
    return f"{precision}: weights {many}, rounded to nearest on the grid of least squared error; no calibration data went into it"
