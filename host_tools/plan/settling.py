"""Settling: scales that first fit their tensors are enlarged until they also fit the arithmetic.

Three demands meet here: a bias at input scale times weight scale must fit its integer; the sum of a channel's weight codes must stay
within the target's limit; a kernel's rescale factor must lie where the kernel can do it. Each is met by enlarging a scale, never by
shrinking one, so rounds end; what cannot be met this way (a scale that the kernel fixes) rejects the node.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import (
    WEIGHTED,
    NodeInput,
    bias_of,
    constant,
    data_indices,
    float_outputs,
    named,
    weight_of,
)
from host_tools.plan.qparams import SMALLEST_SCALE, above, raised
from host_tools.plan.quantization_plan import QParams
from host_tools.plan.support import finding
from host_tools.plan.weights import largest_sums

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.model.topology import Network
    from host_tools.plan.grouping import Grouping
    from host_tools.plan.placement import Placement
    from host_tools.plan.quantization_plan import IntegerType
    from host_tools.plan.support import Finding
    from targets.profile import CapabilityProfile, OpSupport, Precision

    Float64 = NDArray[np.float64]

_ROUNDS = 50
"""A model settles in one or two rounds; one that does not in fifty has demands that contradict each other."""

_MOST_GROWTH = 16.0
"""A range widened further than this leaves its values less than four of their eight bits; float serves the model better."""


@dataclass(slots=True, kw_only=True, eq=False)
class Settlement:
    """The scales of one attempt, in flux until `settle` returns.

    Attributes:
        network: The graph.
        placement: Which nodes are integer.
        profile: The target.
        grouping: Which activations share a scale.
        activations: Parameters by group.
        fixed: Groups whose parameters a kernel hard-codes.
        weights: Parameters by weight name.
        whole_bias: Whether a bias may take its whole integer, as one of a file that runs with it does; else half is kept for the products.
        enlarged: How weights were enlarged, by weight, node and cause; the last word on each stays.
        notes: What happened to activations and edges, by what it happened to; the last word on each stays.
        rejected: Nodes that cannot be made to fit, by name.
    """

    network: Network
    placement: Placement
    profile: CapabilityProfile
    grouping: Grouping
    activations: list[QParams]
    fixed: frozenset[int]
    weights: dict[str, QParams]
    whole_bias: bool = False
    enlarged: dict[tuple[str, str, str], str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, Finding] = field(default_factory=dict)
    _first_activations: tuple[QParams, ...] = field(init=False)
    _first_weights: dict[str, QParams] = field(init=False)

    def __post_init__(self) -> None:
        self._first_activations = tuple(self.activations)
        self._first_weights = dict(self.weights)

    def settle(self) -> None:
        """Enlarge scales until every node fits or is rejected."""
        nodes = [
            (name, node)
            for name, node in self.network.nodes.items()
            if self.placement.is_integer(name) and name not in self.placement.fused_into
        ]
        changed: list[str] = []
        for _ in range(_ROUNDS):
            changed = [name for name, node in nodes if name not in self.rejected and self._fit(name, node)]
            if not changed:
                break
        for name in changed:
            self._reject(
                name,
                "scales_settle",
                "its scales cannot meet the rescale limits of its neighbours at once (ops)",
            )
        self._fit_edges()

    # What a node sees

    def seen(self, node_input: NodeInput) -> QParams:
        """Return the parameters in which a node_input reads its value."""
        return self.activations[self.group_at(node_input)]

    def group_at(self, node_input: NodeInput) -> int:
        """Return the group in which a node_input reads its value: the value's own, or that of the node_input's re-quantization."""
        value = named(self.network.nodes[node_input.node].inputs[node_input.index])
        return self.grouping.edges.get(node_input, self.grouping.of[value])

    def written(self, name: str) -> tuple[int, ...]:
        """Return the groups of the values that a node, or the last it absorbs, writes."""
        last = self.network.nodes[self.placement.last_of(name)]
        return tuple(dict.fromkeys(self.grouping.of[value] for value in float_outputs(last)))

    # Fitting

    def _fit(self, name: str, node: ir.Node) -> bool:
        """Enlarge what the node demands; tell whether anything changed."""
        changed = False
        if weight_of(node) is not None and node.op_type in WEIGHTED:
            changed |= self._fit_bias(name, node)
            changed |= self._fit_weight_sum(name, node)
        return self._fit_ratio(name, node) or changed

    def _fit_bias(self, name: str, node: ir.Node) -> bool:
        weight, bias = named(weight_of(node)), bias_of(node)
        if (
            bias is None
            or self.whole_bias
            or not (self.profile.bias.quantized or self.weights[weight].axis is not None)
        ):
            return False
        (input_scale,) = self.seen(NodeInput(node=name, index=0)).scale
        values = np.abs(np.asarray(constant(bias), np.float64)).reshape(-1)
        largest = values if self.weights[weight].axis is not None else values.max(keepdims=True)
        rules = self.profile.at(self.placement.precision[name])
        needed = np.maximum(largest / bias_limit(rules), SMALLEST_SCALE) / input_scale
        # A float bias needs no room on the target. But ONNX Runtime, which stands in, keeps it as an integer and lets it overflow; beside a
        # bias of 2^30 steps the weights of its channel are next to nothing, so that a larger step of their own costs nothing.
        does_not = (
            "does not"
            if self.profile.bias.quantized
            else "would not, on an engine that keeps it as an integer,"
        )
        return self._raise_weight(
            node,
            needed,
            f"the bias {does_not} fit {rules.bias.bits} bits at input scale times weight scale",
        )

    def _fit_weight_sum(self, name: str, node: ir.Node) -> bool:
        limit = self.profile.at(self.placement.precision[name]).accumulator.max_weight_sum
        if limit is None:
            return False
        weight, changed = named(weight_of(node)), False
        for _ in range(_ROUNDS):
            sums = largest_sums(node, self.weights[weight], self.profile)
            if (sums <= limit).all():
                return changed
            over = np.where(sums > limit, np.maximum(sums / limit, above(1.0)), 0.0)
            changed |= self._raise_weight(
                node,
                np.asarray(self.weights[weight].scale) * over,
                f"the sum of its absolute codes exceeds {limit} (accumulator.max_weight_sum)",
            )
        return changed

    def _raise_weight(self, node: ir.Node, needed: Float64, why: str) -> bool:
        weight = named(weight_of(node))
        before = self.weights[weight]
        after = raised(before, needed, self.profile.scale)
        if after == before:
            return False
        self.weights[weight] = after
        factors = np.asarray(after.scale) / np.asarray(self._first_weights[weight].scale)
        which = f"{int((factors > 1.0).sum())} of {factors.size} scales" if factors.size > 1 else "the scale"
        self.enlarged[weight, named(node), why] = (
            f"{which} enlarged, by up to {factors.max():.3g}, because {why}"
        )
        return True

    def _fit_ratio(self, name: str, node: ir.Node) -> bool:
        support = self._support(name, node)
        if support is None or support.requantization_ratio is None:
            return False
        low, high = support.requantization_ratio
        changed = False
        for group in self.written(name):
            for factors, node_input in self.factors(name, node, group):
                if factors.max() >= high:
                    wanted = above(self.activations[group].scale[0] * float(factors.max()) / high)
                    changed |= self._raise_group(name, node, group, wanted, float(factors.max()))
                elif factors.min() < low:
                    changed |= self._raise_source(name, node, node_input, factors, low)
        return changed

    def factors(self, name: str, node: ir.Node, group: int) -> list[tuple[Float64, NodeInput]]:
        """Return the kernel's rescale factors towards an output group, each with the node_input that may be enlarged.

        Source:
            `targets.profile.OpSupport`: s_input * s_weight / s_output; s_a * s_b / s_output; else s_input / s_output for each input.
        """
        (output,) = self.activations[group].scale
        node_inputs = [NodeInput(node=name, index=index) for index in data_indices(node)]
        scales = [self.seen(node_input).scale[0] for node_input in node_inputs]
        weight = weight_of(node)
        if weight is not None and node.op_type in WEIGHTED:
            return [(scales[0] * np.asarray(self.weights[named(weight)].scale) / output, node_inputs[0])]
        if node.op_type in ("Mul", "MatMul") and len(node_inputs) == 2:
            free = node_inputs[1] if self.group_at(node_inputs[0]) in self.fixed else node_inputs[0]
            return [(np.asarray([scales[0] * scales[1] / output]), free)]
        return [
            (np.asarray([scale / output]), node_input)
            for scale, node_input in zip(scales, node_inputs, strict=True)
        ]

    def _raise_group(self, name: str, node: ir.Node, group: int, scale: float, factor: float) -> bool:
        """Enlarge a group's scale so that the node's rescale factor becomes legal, or reject the node; tell whether it was enlarged."""
        key = f"ops.{node.op_type}.requantization_ratio of {self.profile.id!r}"
        first = self.grouping.groups[group][0]
        before = self.activations[group]
        after = raised(before, np.asarray([scale]), self.profile.scale)
        growth = after.scale[0] / self._first_activations[group].scale[0]
        if group in self.fixed or (growth > _MOST_GROWTH and not self._only_reader(name, group)):
            obstacle = (
                "a kernel fixes it" if group in self.fixed else f"that takes {growth:.3g} times the range"
            )
            support = self._support(name, node)
            low, high = (support.requantization_ratio if support else None) or (0.0, np.inf)
            self._reject(
                name,
                "rescale_factor_is_legal",
                f"the rescale factor must lie in [{low:g}, {high:g}); it is {factor:.4g}, and the scale of {first!r} cannot mend it, "
                f"because {obstacle} ({key})",
            )
            return False
        self.activations[group] = after
        self.notes[f"group {first}"] = (
            f"{node.op_type} {name!r}: the range of {first!r} is widened by {growth:.3g}, because the rescale factor {factor:.4g} "
            f"is not legal ({key})."
        )
        return True

    def _support(self, name: str, node: ir.Node) -> OpSupport | None:
        """Return what the target does with a node in the width that it runs in."""
        return self.profile.at(self.placement.precision[name]).ops.get(node.op_type)

    def _only_reader(self, name: str, group: int) -> bool:
        """Tell whether a group is one value that only this node reads: then what widening loses is below one code of its output."""
        members = self.grouping.groups[group]
        return len(members) == 1 and {node_input.node for node_input in self.network.readers[members[0]]} == {
            name
        }

    def _raise_source(
        self, name: str, node: ir.Node, node_input: NodeInput, factors: Float64, low: float
    ) -> bool:
        """Enlarge a source whose rescale factor is below ``low``: what it loses lies below one code of the output."""
        growth = above(1.0) * low / factors
        weight = weight_of(node)
        if weight is not None and node.op_type in WEIGHTED:
            needed = np.asarray(self.weights[named(weight)].scale) * np.where(growth > 1.0, growth, 0.0)
            key = f"ops.{node.op_type}.requantization_ratio"
            return self._raise_weight(
                node, needed, f"the rescale factor is too small for {self.profile.id!r} ({key})"
            )
        group = self.group_at(node_input)
        (scale,) = self.activations[group].scale
        return self._raise_group(name, node, group, scale * float(growth.max()), float(factors.min()))

    # Edges

    def _fit_edges(self) -> None:
        """Reject the readers of edges that the target cannot re-quantize."""
        for node_input, group in self.grouping.edges.items():
            value = named(self.network.nodes[node_input.node].inputs[node_input.index])
            source, wanted = self.activations[self.grouping.of[value]], self.activations[group]
            if source == wanted or node_input.node in self.rejected:
                continue
            widths = {self.grouping.precisions[self.grouping.of[value]], self.grouping.precisions[group]}
            support = self._requantization(widths)
            precisions = support.precisions if support else ()
            change = f"its input {value!r} has a scale of its own, and the target must re-quantize it"
            is_integer = not {"int8", "int16"}.isdisjoint(precisions)
            if not is_integer and (not precisions or self.profile.fallback.to == "refuse"):
                self._reject(
                    node_input.node,
                    "edge_is_requantized",
                    f"{change}; it cannot (ops.QuantizeLinear of {self.profile.id!r})",
                )
                continue
            if not is_integer:
                self.notes[f"edge {node_input.node} {node_input.index}"] = (
                    f"{self.network.nodes[node_input.node].op_type} {node_input.node!r}: input {value!r} changes scale through float, because "
                    f"{self.profile.id!r} has no integer QuantizeLinear."
                )
            low, high = (support.requantization_ratio if support else None) or (0.0, np.inf)
            factor = source.scale[0] / wanted.scale[0]
            if not low <= factor < high:
                where = f"ops.QuantizeLinear.requantization_ratio of {self.profile.id!r}"
                self._reject(
                    node_input.node,
                    "edge_is_requantized",
                    f"{change} by {factor:.4g}, outside [{low}, {high}) ({where})",
                )

    def _requantization(self, widths: Collection[Precision]) -> OpSupport | None:
        """Return what the target does to take codes from one width to another, or to another scale of the same."""
        wide = self.profile.at("int16").ops.get("QuantizeLinear") if "int16" in widths else None
        return wide or self.profile.ops.get("QuantizeLinear")

    def _reject(self, name: str, rule: str, sentence: str) -> None:
        self.rejected.setdefault(name, finding(self.network.nodes[name], rule, sentence))


def bias_type(profile: CapabilityProfile) -> tuple[IntegerType, int]:
    """Return the stored type of an integer bias and its highest code; the lowest is one below the negative of that."""
    return "int32" if profile.bias.bits <= 32 else "int64", (1 << (profile.bias.bits - 1)) - 1


def bias_limit(profile: CapabilityProfile) -> float:
    """Return the largest code that the plan lets a bias have: half the integer's range, the other half is for the sum of products.

    Source:
        TensorFlow Lite, quantize_model.cc, weight adjustment for biases: the same half.
    """
    return float(1 << (profile.bias.bits - 2))


def bias_qparams(bias: ir.Value, weight: QParams, input_scale: float, profile: CapabilityProfile) -> QParams:
    """Return a bias's parameters: scale = input scale * weight scale, in float64; zero point 0.

    Args:
        bias: The bias; its last axis holds the output channels.
        weight: The weight's settled parameters.
        input_scale: Scale in which the node reads its input.
        profile: Width of biases.
    """
    dtype, highest = bias_type(profile)
    rank = len(constant(bias).shape)
    return QParams(
        scale=tuple(input_scale * scale for scale in weight.scale),
        zero_point=(0,) * len(weight.scale),
        dtype=dtype,
        quant_min=-highest - 1,
        quant_max=highest,
        axis=None if weight.axis is None else rank - 1,
    )
