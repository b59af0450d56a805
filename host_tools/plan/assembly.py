"""Assembly: settled scales and placement become the entries of a `QuantizationPlan`, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import (
    WEIGHTED,
    NodeInput,
    bias_of,
    constant,
    data_indices,
    is_constant,
    is_float,
    named,
    weight_of,
)
from host_tools.plan.bias_correction import corrected_bias
from host_tools.plan.cautions import calibration_warnings, override_warnings
from host_tools.plan.codes import codes_of
from host_tools.plan.left_in_float import left_in_float
from host_tools.plan.odd_weights import odd_weights
from host_tools.plan.quantization_plan import (
    NO_DATA_DIGEST,
    NodePlan,
    QuantizationPlan,
    Requantize,
    TensorPlan,
)
from host_tools.plan.settling import bias_qparams
from host_tools.plan.weights import largest_sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx_ir as ir

    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.placement import Placement
    from host_tools.plan.quantization_plan import Method, QParams, Role
    from host_tools.plan.settling import Settlement
    from host_tools.plan.weights import WeightChoice
    from host_tools.recipe import Recipe
    from targets.profile import CapabilityProfile

_SAID_ONE_BY_ONE = 3
_ROOM = 0.99
"""Share of a bias's codes that a corrected one may take: rounding adds half a code."""


def assemble(
    *,
    model: FloatModel,
    network: Network,
    profile: CapabilityProfile,
    statistics: Statistics | None,
    method: Method,
    method_reason: str,
    placement: Placement,
    settlement: Settlement,
    reasons: tuple[str, ...],
    weights: Mapping[str, WeightChoice],
    warnings: tuple[str, ...],
    recipe: Recipe,
) -> QuantizationPlan:
    """Write down what was decided.

    Args:
        model: For its digest.
        network: Its graph.
        profile: The target.
        statistics: For its digest and counts; None for a plan that no data went into.
        method: How ranges became parameters.
        method_reason: Why that method.
        placement: Precisions and fusions.
        settlement: Scales, settled.
        reasons: Why each group of activations has its parameters, by group.
        weights: Why each weight has its parameters.
        warnings: What choosing had to say.
        recipe: Whether biases are corrected.
    """
    writer = _Writer(
        network=network,
        profile=profile,
        placement=placement,
        settlement=settlement,
        reasons=reasons,
        weights=weights,
        statistics=statistics if recipe.bias_correction else None,
        floats=left_in_float(network, profile, placement.is_integer),
    )
    tensors = {name: writer.tensor(name, value) for name, value in network.values.items()}
    nodes = {
        name: NodePlan(
            name=name,
            op_type=node.op_type,
            precision=placement.precision[name],
            fused_into=placement.fused_into.get(name),
            reason=placement.reasons[name],
        )
        for name, node in network.nodes.items()
    }
    said = (
        *odd_weights(network),
        *(calibration_warnings(network, statistics, tensors) if statistics is not None else ()),
        *override_warnings(network, settlement, tensors, recipe),
        *placement.warnings,
        *warnings,
        *_weight_warnings(network, settlement),
        *settlement.notes.values(),
        *_accumulator_warnings(network, placement, profile, settlement, tensors),
    )
    return QuantizationPlan(
        model_digest=model.digest,
        data_digest=NO_DATA_DIGEST if statistics is None else statistics.data_digest,
        target=profile.id,
        profile_digest=profile.digest,
        method=method,
        tensors=tensors,
        nodes=nodes,
        requantize=tuple(writer.requantizations()),
        warnings=tuple(dict.fromkeys(said)),
        method_reason=method_reason,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Writer:
    """Writes entries; everything is decided already."""

    network: Network
    profile: CapabilityProfile
    placement: Placement
    settlement: Settlement
    reasons: tuple[str, ...]
    weights: Mapping[str, WeightChoice]
    statistics: Statistics | None
    floats: frozenset[str]

    def tensor(self, name: str, value: ir.Value) -> TensorPlan:
        """Return the entry of one value."""
        role = self._role(name, value)
        qparams, reason = self._decision(name, value, role)
        values = self._corrected(name) if role == "bias" else None
        if values is not None:
            reason += "; corrected for the mean error of its rounded weights"
        return TensorPlan(name=name, role=role, qparams=qparams, reason=reason, values=values)

    def requantizations(self) -> Iterator[Requantize]:
        """Yield the edges whose reader needs another scale than the value has."""
        for node_input, group in self.settlement.grouping.edges.items():
            node = self.network.nodes[node_input.node]
            value = named(node.inputs[node_input.index])
            wanted = self.settlement.activations[group]
            if wanted == self.settlement.activations[self.settlement.grouping.of[value]]:
                continue
            yield Requantize(
                node=node_input.node,
                input_index=node_input.index,
                qparams=wanted,
                reason=self._edge_reason(node, value, group),
            )

    def _edge_reason(self, node: ir.Node, value: str, group: int) -> str:
        grouping = self.settlement.grouping
        stored, read = (grouping.precisions[index] for index in (grouping.of[value], group))
        if stored != read:
            return f"{node.op_type} runs in {read}, and {value!r} is stored in {stored}"
        reason = (
            f"{node.op_type} needs one scale for its inputs and output (same_scale of {self.profile.id}), "
            f"and {value!r} must keep its own"
        )
        if grouping.of[value] not in self.settlement.fixed:
            return reason
        writer = self.network.nodes[self.network.writers[value]]
        (scale,) = self.settlement.activations[grouping.of[value]].scale
        return f"{reason}, {scale:g}, which the kernel of {writer.op_type} fixes (fixed_outputs)"

    def _corrected(self, name: str) -> tuple[float, ...] | None:
        """Return a bias's corrected values; None when the recipe wants none, or nothing is rounded."""
        node = self.network.nodes[self.network.readers[name][0].node]
        weight = weight_of(node)
        if self.statistics is None or weight is None or not self.placement.is_integer(str(node.name)):
            return None
        corrected = corrected_bias(
            node, self.settlement.weights[named(weight)], self.statistics, self.profile.rounding.weights
        )
        qparams = self._decision(name, self.network.values[name], "bias")[0]
        if corrected is None or qparams is None:
            return corrected
        # Where a range that was asked for holds next to nothing of what flows, the weights' error is larger than any bias.
        room = np.asarray(qparams.scale) * qparams.quant_max * _ROOM
        own = np.asarray(constant(self.network.values[name]), np.float64).reshape(-1)
        fits = np.abs(corrected) < room
        return tuple(np.where(fits, corrected, own).tolist())

    def _role(self, name: str, value: ir.Value) -> Role:
        if name in self.network.inputs:
            return "input"
        if name in self.network.outputs:
            return "output"
        if is_constant(value):
            return self._constant_role(name, value)
        readers = self.network.readers[name]
        if len(readers) == 1 and readers[0].node in self.placement.fused_into:
            return "fused"
        return "activation"

    def _constant_role(self, name: str, value: ir.Value) -> Role:
        nodes = [self.network.nodes[node_input.node] for node_input in self.network.readers[name]]
        if any(weight_of(node) is value for node in nodes):
            return "weight"
        return "bias" if any(bias_of(node) is value for node in nodes) else "constant"

    def _decision(self, name: str, value: ir.Value, role: Role) -> tuple[QParams | None, str]:
        if not is_float(value):
            return None, f"{value.dtype}: only float tensors are quantized"
        if role == "fused":
            reader = self.network.readers[name][0].node
            return None, f"does not exist: {self.placement.fused_into[reader]!r} also does {reader!r}"
        if role in ("weight", "bias"):
            return self._parameter(name, value, role)
        group = self.settlement.grouping.of.get(name)
        if group is None:
            return None, f"float: {self._float_reason(name, value)}"
        reason = self._activation_reason(name, group)
        if name in self.floats:
            reason += "; float in the file, since no integer operator reads it (artifact.quantize_outputs)"
        return self.settlement.activations[group], reason

    def _parameter(self, name: str, value: ir.Value, role: Role) -> tuple[QParams | None, str]:
        node_input = self.network.readers[name][0]
        node = self.network.nodes[node_input.node]
        if not self.placement.is_integer(node_input.node):
            return (
                None,
                f"float: {node.op_type} {node_input.node!r} runs in {self.placement.precision[node_input.node]}",
            )
        if role == "weight":
            causes = [text for (weight, _, _), text in self.settlement.enlarged.items() if weight == name]
            return self.settlement.weights[name], "; ".join((self.weights[name].reason, *causes))
        if not self.profile.bias.quantized:
            return None, f"float: {self.profile.id} keeps biases in float (bias.quantized)"
        weight = weight_of(node)
        if weight is None:
            return None, f"float: {node.op_type} {node_input.node!r} has no constant weight to scale it by"
        (input_scale,) = self.settlement.seen(NodeInput(node=node_input.node, index=0)).scale
        rules = self.profile.at(self.placement.precision[node_input.node])
        qparams = bias_qparams(value, self.settlement.weights[named(weight)], input_scale, rules)
        many = "per channel" if qparams.axis is not None else "per tensor"
        return (
            qparams,
            f"{node.op_type} bias: {qparams.dtype} at input scale times weight scale, {many} (bias.scale)",
        )

    def _float_reason(self, name: str, value: ir.Value) -> str:
        readers = self.network.readers[name]
        if is_constant(value):
            integer = [node_input for node_input in readers if self.placement.is_integer(node_input.node)]
            if integer:
                return f"{self.network.nodes[integer[0].node].op_type} {integer[0].node!r} reads it as a setting, not as data"
            return "only float nodes read it" if readers else "nothing reads it"
        return "no integer node writes or reads it"

    def _activation_reason(self, name: str, group: int) -> str:
        reason = self.reasons[group]
        members = self.settlement.grouping.groups[group]
        if len(members) == 1:
            return reason
        ties = self.settlement.grouping.ties[group]
        through = f"{self.network.nodes[ties[0]].op_type} {ties[0]!r}" + (
            f" and {len(ties) - 1} more" if len(ties) > 1 else ""
        )
        others = [member for member in members if member != name]
        shown = repr(others[0]) if len(others) == 1 else f"{others[0]!r} and {len(others) - 1} more"
        return f"{reason}; one scale with {shown} through {through} (same_scale)"


def _weight_warnings(network: Network, settlement: Settlement) -> Iterator[str]:
    """Say which weights were enlarged; many for one cause (pruned channels with a bias) in one sentence, each weight's reason has its own."""
    by_cause: dict[str, list[str]] = {}
    for (weight, node, why), text in settlement.enlarged.items():
        sentence = f"{network.nodes[node].op_type} {node!r}: weight {weight!r}: {text}."
        by_cause.setdefault(why, []).append(sentence)
    for why, sentences in by_cause.items():
        if len(sentences) <= _SAID_ONE_BY_ONE:
            yield from sentences
        else:
            yield (
                f"scales of {len(sentences)} weights were enlarged because {why} (of one channel or more); "
                f"the reason of each weight says by how much. The first: {sentences[0]}"
            )


def _accumulator_warnings(
    network: Network,
    placement: Placement,
    profile: CapabilityProfile,
    settlement: Settlement,
    tensors: Mapping[str, TensorPlan],
) -> Iterator[str]:
    """Name nodes whose sum could overflow the accumulator on the worst input; not mended, for no real input is the worst one."""
    for name, node in network.nodes.items():
        weight = weight_of(node)
        if weight is None or node.op_type not in WEIGHTED or not placement.is_integer(name):
            continue
        bits = profile.at(placement.precision[name]).accumulator.bits
        highest = (1 << (bits - 1)) - 1
        source = settlement.seen(NodeInput(node=name, index=data_indices(node)[0]))
        reach = max(source.quant_max - source.zero_point[0], source.zero_point[0] - source.quant_min)
        worst = largest_sums(node, settlement.weights[named(weight)], profile) * reach
        bias = bias_of(node)
        planned = tensors[named(bias)].qparams if bias is not None else None
        if bias is not None and planned is not None:
            own = tensors[named(bias)].values
            codes = np.abs(
                codes_of(np.asarray(constant(bias) if own is None else own, np.float64).reshape(-1), planned)
            )
            worst = worst + (codes if worst.size == codes.size else codes.max())
        if worst.max() > highest:
            yield (
                f"{node.op_type} {name!r}: the worst input would need {worst.max():.3g} in an accumulator of "
                f"{bits} bits (accumulator.bits of {profile.id!r})."
            )
