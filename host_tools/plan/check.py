"""`check`: every promise of a plan, verified against model and profile. Exact, simulates nothing, runs at the pipeline's door.

It reads the plan as a lowering does and derives each demand from the profile anew, so it also judges plans that were edited by hand.
Not here: whether the scales are good ones (that is verification's question).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import InputError
from host_tools.model.topology import (
    WEIGHTED,
    bias_of,
    channel_axis,
    constant,
    data_inputs,
    float_outputs,
    is_constant,
    is_float,
    named,
    network_of,
    shape_of,
    weight_of,
)
from host_tools.plan.check_uncalibrated import broken_promises
from host_tools.plan.codebooks import broken_codebooks
from host_tools.plan.codes import codes_of
from host_tools.plan.float16 import broken_storage
from host_tools.plan.fusion import bounds_of, expressible
from host_tools.plan.grouping import fixed_qparams, stored_precisions
from host_tools.plan.placement import float_precision
from host_tools.plan.planned_values import codes_in, with_planned_values
from host_tools.plan.qparams import SMALLEST_SCALE, code_range, saturates
from host_tools.plan.settling import bias_type
from host_tools.plan.support import finding_of, integer_precision
from host_tools.plan.weights import largest_sums

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from targets.profile import CapabilityProfile

_INTEGER = ("int8", "int16")


class PlanError(InputError):
    """A plan does not keep what plans promise, or is of another model or target; the message names every breach."""

    code = "plan"


def check(plan: QuantizationPlan, model: FloatModel, profile: CapabilityProfile) -> None:
    """Verify every promise of a plan.

    Args:
        plan: The plan.
        model: The model it should be for.
        profile: The target it should be for.

    Raises:
        PlanError: A promise is broken; the message names all of them.
    """
    broken = breaches(plan, model, profile)
    if broken:
        raise PlanError(
            f"the plan for {plan.target!r} breaks {len(broken)} of its promises:"
            + "".join(f"\n  - {one}." for one in broken)
            + "\n",
            hint="Plan the model anew; if nobody edited the plan, this is a fault in edgewright.",
        )


def breaches(plan: QuantizationPlan, model: FloatModel, profile: CapabilityProfile) -> list[str]:
    """Return a sentence without its full stop for every promise that a plan breaks; see `check`."""
    broken = list(_identity(plan, model, profile))
    if broken:
        return broken
    checker = _Checker(plan=plan, network=network_of(model.graph), profile=profile)
    broken = [*checker.completeness()] or [
        *broken_storage(plan, checker.network, profile),
        *broken_codebooks(plan, checker.network, profile),
    ]
    if not broken:
        is_int8 = plan.precision == "int8"
        broken = [*(checker.codes() if is_int8 else broken_promises(plan, checker.network, profile))]
    if not broken and plan.precision == "int8":
        rounded = _Checker(plan=plan, network=_with_codes(model, plan), profile=profile)
        broken = [*rounded.nodes(), *rounded.values(), *rounded.arithmetic()]
    return broken


def _identity(plan: QuantizationPlan, model: FloatModel, profile: CapabilityProfile) -> Iterator[str]:
    for what, got, expected in (
        ("model_digest", plan.model_digest, model.digest),
        ("target", plan.target, profile.id),
        ("profile_digest", plan.profile_digest, profile.digest),
    ):
        if got != expected:
            yield f"{what}: expected {expected}, got {got}"


def _with_codes(model: FloatModel, plan: QuantizationPlan) -> Network:
    """Return the graph with the weights that the plan has rounded."""
    rounded = {
        name: dataclasses.replace(tensor, values=None)
        for name, tensor in plan.tensors.items()
        if tensor.codes is not None
    }
    return network_of(with_planned_values(model, dataclasses.replace(plan, tensors=rounded)).graph)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Checker:
    """Walks one plan; every method yields a sentence for each broken promise."""

    plan: QuantizationPlan
    network: Network
    profile: CapabilityProfile

    def completeness(self) -> Iterator[str]:
        """Every value and node has one entry, with a reason, and nothing else has."""
        for what, entries, known in (
            ("tensor", self.plan.tensors, self.network.values),
            ("node", self.plan.nodes, self.network.nodes),
        ):
            for name in known:
                if name not in entries:
                    yield f"{what} {name!r} has no entry"
                elif not entries[name].reason or entries[name].name != name:
                    yield f"{what} {name!r} has no reason, or another name"
            for name in entries:
                if name not in known:
                    yield f"{what} {name!r} is not in the model"

    def codes(self) -> Iterator[str]:
        """Codes are those of a quantized weight, one an element, each in use."""
        for name, tensor in self.plan.tensors.items():
            if tensor.codes is None:
                continue
            if tensor.role != "weight" or tensor.qparams is None:
                yield f"value {name!r} has codes, which only a quantized weight may have"
                continue
            shape = shape_of(self.network.values[name])
            codes = codes_in(tensor.codes, tensor.qparams.dtype, shape)
            if codes is None:
                yield f"weight {name!r} must have one code an element, {math.prod(shape)} of {tensor.qparams.dtype}"
            elif (
                codes.size
                and not tensor.qparams.quant_min <= codes.min() <= codes.max() <= tensor.qparams.quant_max
            ):
                yield f"weight {name!r} has codes outside [{tensor.qparams.quant_min}, {tensor.qparams.quant_max}]"

    # Nodes

    def nodes(self) -> Iterator[str]:
        """Precisions are the target's, fusions are its chains, fall-backs are within its limits."""
        for name, node in self.network.nodes.items():
            entry = self.plan.nodes[name]
            if entry.op_type != node.op_type:
                yield f"node {name!r} is {node.op_type}, not {entry.op_type}"
            elif entry.fused_into is not None:
                yield from self._fusion(name, node)
            elif entry.precision in _INTEGER:
                found = finding_of(node, self.profile.at(entry.precision))
                if found is not None or entry.precision != integer_precision(self._rules(name)):
                    yield f"node {name!r} is {entry.precision}: {found.text if found else 'the target has another width'}"
            elif entry.precision != float_precision(node.op_type, self.profile):
                yield f"node {name!r} is {entry.precision}, which {self.profile.id} does not fall back to"
        fallen = [
            name
            for name, node in self.network.nodes.items()
            if self._is_float(name) and finding_of(node, self.profile)
        ]
        limit = self.profile.fallback.max_float_ops
        if limit is not None and len(fallen) > limit:
            yield f"{len(fallen)} nodes fall back, the target accepts {limit}"

    def _rules(self, name: str) -> CapabilityProfile:
        """Return the target as the named node sees it."""
        return self.profile.at(self.plan.nodes[name].precision)

    def _is_float(self, name: str) -> bool:
        return self.plan.nodes[name].precision not in _INTEGER

    def _fusion(self, name: str, node: ir.Node) -> Iterator[str]:
        head = self.plan.nodes[name].fused_into or ""
        chain = self._chain(head)
        if head not in self.plan.nodes or self._is_float(head) or self._is_float(name):
            yield f"node {name!r} is absorbed by {head!r}, but both must be integer"
        elif self.plan.nodes[head].fused_into is not None or chain not in self.profile.fusions:
            yield f"node {name!r} is absorbed by {head!r}, but {'-'.join(chain)} is no fusion of the target"
        inner = named(node.inputs[0])
        if self.plan.tensors[inner].role != "fused" or self.plan.tensors[inner].qparams is not None:
            yield f"value {inner!r} inside a fusion must have role fused and no parameters"
        qparams = self.plan.tensors[named(node.outputs[0])].qparams
        bounds = bounds_of(node)
        if bounds and qparams and not expressible(node, self.profile) and not saturates(qparams, *bounds):
            yield f"node {name!r} can neither be written as a fused activation nor is it done by saturation"

    def _chain(self, head: str) -> tuple[str, ...]:
        tails = [name for name in self.network.nodes if self.plan.nodes[name].fused_into == head]
        return tuple(
            self.network.nodes[name].op_type for name in (head, *tails) if name in self.network.nodes
        )

    # Values

    def values(self) -> Iterator[str]:
        """Exactly the values that integer nodes or an integer interface need have parameters, and those are legal."""
        needed = self._needed()
        precisions = {name: entry.precision for name, entry in self.plan.nodes.items()}
        stored = stored_precisions(self.network, precisions, needed, self.profile)
        for name, value in self.network.values.items():
            entry = self.plan.tensors[name]
            if entry.role in ("weight", "bias"):
                continue
            if (entry.qparams is not None) != (name in needed):
                yield f"value {name!r} {'needs' if name in needed else 'needs no'} parameters: {entry.reason}"
            if entry.qparams is not None and is_float(value) and name in needed:
                yield from self._activation(name, entry.qparams, self.profile.at(stored[name]))
                yield from self._door(name, entry.qparams)
        for edge in self.plan.requantize:
            rules = self._rules(edge.node) if edge.node in self.plan.nodes else self.profile
            yield from self._activation(f"{edge.node}[{edge.input_index}]", edge.qparams, rules)

    def _door(self, name: str, qparams: QParams) -> Iterator[str]:
        """What passes an integer interface is as wide as the interface."""
        interface = self.profile.interface
        is_fed, is_given = name in self.network.inputs, name in self.network.outputs
        for kind, is_there in ((interface.input_type, is_fed), (interface.output_type, is_given)):
            if (
                is_there
                and kind != "float32"
                and qparams.dtype == "int16"
                and self.profile.activations.bits == 8
            ):
                yield f"value {name!r} is int16, but passes an interface of {kind}"

    def _needed(self) -> set[str]:
        needed: set[str] = set()
        for name, node in self.network.nodes.items():
            if self._is_float(name):
                continue
            needed.update(value for _, value in data_inputs(node))
            needed.update(float_outputs(node))
        if self.profile.interface.input_type != "float32":
            needed.update(self.network.inputs)
        if self.profile.interface.output_type != "float32":
            needed.update(name for name in self.network.outputs if not is_constant(self.network.values[name]))
        fused = {name for name, entry in self.plan.tensors.items() if entry.role == "fused"}
        return {name for name in needed - fused if is_float(self.network.values[name])}

    def _activation(self, name: str, qparams: QParams, profile: CapabilityProfile) -> Iterator[str]:
        rules = profile.activations
        codes = code_range(rules.bits, signed=rules.signed)
        if (qparams.dtype, qparams.quant_min, qparams.quant_max) != (
            codes.dtype,
            codes.low,
            codes.high,
        ) or qparams.axis is not None:
            yield f"value {name!r} must be {codes.dtype} [{codes.low}, {codes.high}] per tensor"
            return
        (zero,) = qparams.zero_point
        legal = {"symmetric": (codes.middle,), "midpoint": (codes.low, codes.middle)}.get(
            rules.zero_point, (zero,)
        )
        fixed = any(qparams == fixed_qparams(op_type, profile) for op_type in profile.fixed_outputs)
        if not codes.low <= zero <= codes.high or (zero not in legal and not fixed):
            yield f"value {name!r} has zero point {zero}, against activations.zero_point {rules.zero_point}"
        if not fixed:
            yield from self._scales(f"value {name!r}", qparams)

    def _scales(self, what: str, qparams: QParams) -> Iterator[str]:
        rules = self.profile.scale
        floor = max(rules.minimum, SMALLEST_SCALE)
        if not all(math.isfinite(scale) and scale >= floor for scale in qparams.scale):
            yield f"{what} has a scale below {floor:g} or not finite"
        elif rules.kind == "power_of_two" and any(math.frexp(scale)[0] != 0.5 for scale in qparams.scale):
            yield f"{what} has a scale that is no power of two"

    # Arithmetic

    def arithmetic(self) -> Iterator[str]:
        """Weights, biases, shared and fixed scales and rescale factors are what the target's kernels demand."""
        edges = {(edge.node, edge.input_index): edge.qparams for edge in self.plan.requantize}
        for node_input in edges:
            if node_input[0] not in self.network.nodes or node_input not in {
                (node_input[0], index) for index, _ in data_inputs(self.network.nodes[node_input[0]])
            }:
                yield f"input {node_input[1]} of {node_input[0]!r} is re-quantized, but is no data input"
                return
        for name, node in self.network.nodes.items():
            if self._is_float(name) or self.plan.nodes[name].fused_into is not None:
                continue
            sources = [
                edges.get((name, index)) or self.plan.tensors[value].qparams
                for index, value in data_inputs(node)
            ]
            last = self._last(name)
            results = [self.plan.tensors[value].qparams for value in float_outputs(last)]
            seen = [one for one in sources if one is not None]
            written = [one for one in results if one is not None]
            if len(seen) != len(sources) or len(written) != len(results):
                continue  # said by values()
            yield from self._widths(name, node, seen)
            yield from self._shared(name, node, last, seen, written)
            if weight_of(node) is not None and node.op_type in WEIGHTED:
                yield from self._weight(name, node, seen[0])
            yield from self._ratios(name, node, seen, written)

    def _last(self, name: str) -> ir.Node:
        tails = [tail for tail in self.network.nodes if self.plan.nodes[tail].fused_into == name]
        return self.network.nodes[tails[-1] if tails else name]

    def _widths(self, name: str, node: ir.Node, sources: list[QParams]) -> Iterator[str]:
        wanted = code_range(self._rules(name).activations.bits, signed=self._rules(name).activations.signed)
        for source in sources:
            if source.dtype != wanted.dtype:
                yield f"{node.op_type} {name!r} runs on {wanted.dtype}, but reads {source.dtype}"

    def _shared(
        self, name: str, node: ir.Node, last: ir.Node, sources: list[QParams], results: list[QParams]
    ) -> Iterator[str]:
        rules = self._rules(name)
        if last.op_type in rules.fixed_outputs:
            if any(one != fixed_qparams(last.op_type, rules) for one in results):
                yield f"the output of {last.op_type} {named(last)!r} is not what its kernel fixes"
        elif node.op_type in self.profile.same_scale and len({*sources, *results}) > 1:
            yield f"{node.op_type} {name!r} must have one scale for its inputs and outputs"

    def _weight(self, name: str, node: ir.Node, source: QParams) -> Iterator[str]:
        value, rules = weight_of(node), self.profile.weights
        qparams = self.plan.tensors[named(value)].qparams
        if qparams is None:
            yield f"{node.op_type} {name!r} is integer, but its weight {named(value)!r} is float"
            return
        codes = code_range(rules.bits, signed=rules.signed, narrow=rules.narrow_range)
        if (qparams.dtype, qparams.quant_min, qparams.quant_max) != (codes.dtype, codes.low, codes.high):
            yield f"weight {named(value)!r} must be {codes.dtype} [{codes.low}, {codes.high}]"
        if rules.symmetric and any(zero != codes.middle for zero in qparams.zero_point):
            yield f"weight {named(value)!r} must be symmetric"
        axis = channel_axis(node) if node.op_type in rules.per_channel_ops else None
        if qparams.axis is not None and (
            qparams.axis != axis or len(qparams.scale) != shape_of(value)[axis or 0]
        ):
            yield f"weight {named(value)!r} has {len(qparams.scale)} scales on axis {qparams.axis}, the target allows axis {axis}"
            return
        yield from self._scales(f"weight {named(value)!r}", qparams)
        limit = self._rules(name).accumulator.max_weight_sum
        if limit is not None and largest_sums(node, qparams, self.profile).max() > limit:
            yield f"the codes of weight {named(value)!r} sum up to more than {limit}"
        yield from self._bias(node, qparams, source, self._rules(name))

    def _bias(
        self, node: ir.Node, weight: QParams, source: QParams, rules: CapabilityProfile
    ) -> Iterator[str]:
        value = bias_of(node)
        if value is None:
            return
        qparams = self.plan.tensors[named(value)].qparams
        if (qparams is not None) != self.profile.bias.quantized:
            yield f"bias {named(value)!r} is {'float' if qparams is None else 'integer'}, against bias.quantized"
        if qparams is None:
            return
        dtype, highest = bias_type(rules)
        if (qparams.dtype, qparams.quant_min, qparams.quant_max) != (dtype, -highest - 1, highest) or any(
            qparams.zero_point
        ):
            yield f"bias {named(value)!r} must be {dtype} of {rules.bias.bits} bits with zero point 0"
        if qparams.scale != tuple(source.scale[0] * scale for scale in weight.scale):
            yield f"bias {named(value)!r} must have input scale times weight scale"
            return
        own = self.plan.tensors[named(value)].values
        values = np.asarray(constant(value) if own is None else own, np.float64)
        if values.size != np.size(constant(value)) or not np.isfinite(values).all():
            yield f"bias {named(value)!r} must have one finite value an output channel"
            return
        codes = np.abs(codes_of(values, qparams))
        if codes.max(initial=0.0) >= highest:
            yield f"bias {named(value)!r} overflows {rules.bias.bits} bits"

    def _ratios(
        self, name: str, node: ir.Node, sources: list[QParams], results: list[QParams]
    ) -> Iterator[str]:
        support = self._rules(name).ops.get(node.op_type)
        if support is None or support.requantization_ratio is None:
            return
        low, high = support.requantization_ratio
        scales = [one.scale[0] for one in sources]
        weight = weight_of(node)
        planned = self.plan.tensors[named(weight)].qparams if weight is not None else None
        if planned is not None and node.op_type in WEIGHTED:
            products = [scales[0] * scale for scale in planned.scale]
        elif node.op_type in ("Mul", "MatMul"):
            products = [math.prod(scales)]
        else:
            products = scales
        for result in results:
            outside = [
                product / result.scale[0]
                for product in products
                if not low <= product / result.scale[0] < high
            ]
            if outside:
                yield f"{node.op_type} {name!r} has the rescale factor {outside[0]:.4g}, legal is [{low:g}, {high:g})"
