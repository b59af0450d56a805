"""`WeightStorage`: how each node's weight is stored in a precision that needs no data, and why."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import CapabilityError
from host_tools.model.topology import channel_axis, constant, constant_weight, integers, named, shape_of
from host_tools.plan.weight_groups import choose_channels, choose_groups, stored_bytes
from targets.profile import GROUPED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx_ir as ir

    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import QParams
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightStorage:
    """Decides node by node.

    Attributes:
        network: The model's graph.
        profile: The target.
        recipe: What the user asks.
        rules: What the target does in the recipe's precision.
    """

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

    def kept(self) -> set[str]:
        """Return the nodes whose weights the recipe keeps as they are."""
        return {name for name, node in self.network.nodes.items() if self.is_kept(name, node)}

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
            symmetric = rules.symmetric or is_dynamic or node.op_type not in _MATRICES
            qparams = choose_channels(values, axis=axis, bits=bits, symmetric=symmetric)
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


def rules_of(profile: CapabilityProfile, recipe: Recipe) -> UncalibratedRules:
    """Return what a target does in the recipe's precision.

    Raises:
        CapabilityError: It does not have it, or no such groups.
    """
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
        got = f"got {recipe.group or 'one scale a channel'} ([{recipe.precision}] groups)"
        raise CapabilityError(
            f"{recipe.precision} on {profile.id!r} has {_sizes(rules.groups)}, {got}.",
            hint=f"For example --precision {recipe.precision}:{rules.groups[0] or 'channel'}, which is group = {rules.groups[0]} in a recipe.",
        )
    return rules


def _sizes(groups: Collection[int]) -> str:
    """Say which groups a target has: so many weights on one scale, or all of a channel."""
    sizes = ", ".join(str(size) for size in sorted(groups) if size)
    if not sizes:
        return "one scale a channel"
    return f"groups of {sizes} weights{' or one scale a channel' if 0 in groups else ''}"


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
