"""Whether weights, biases, scales and rescale factors of a plan are what the target's kernels demand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import (
    WEIGHTED,
    bias_of,
    channel_axis,
    constant,
    data_inputs,
    float_outputs,
    named,
    shape_of,
    weight_of,
)
from host_tools.plan.codes import codes_of
from host_tools.plan.grouping import fixed_qparams
from host_tools.plan.qparams import code_range
from host_tools.plan.settling import bias_type
from host_tools.plan.weights import largest_sums

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from host_tools.plan.checked_plan import CheckedPlan
    from host_tools.plan.quantization_plan import QParams
    from targets.profile import CapabilityProfile


def broken_arithmetic(checked: CheckedPlan) -> Iterator[str]:
    """Weights, biases, shared and fixed scales and rescale factors are what the target's kernels demand."""
    edges = {(edge.node, edge.input_index): edge.qparams for edge in checked.plan.requantize}
    for node_input in edges:
        if node_input[0] not in checked.network.nodes or node_input not in {
            (node_input[0], index) for index, _ in data_inputs(checked.network.nodes[node_input[0]])
        }:
            yield f"input {node_input[1]} of {node_input[0]!r} is re-quantized, but is no data input"
            return
    for name, node in checked.network.nodes.items():
        if checked.is_float(name) or checked.plan.nodes[name].fused_into is not None:
            continue
        sources = [
            edges.get((name, index)) or checked.plan.tensors[value].qparams
            for index, value in data_inputs(node)
        ]
        last = _last(checked, name)
        results = [checked.plan.tensors[value].qparams for value in float_outputs(last)]
        seen = [one for one in sources if one is not None]
        written = [one for one in results if one is not None]
        if len(seen) != len(sources) or len(written) != len(results):
            continue  # said by `broken_values`
        yield from _widths(checked, name, node, seen)
        yield from _shared(checked, name, node, last, seen, written)
        if weight_of(node) is not None and node.op_type in WEIGHTED:
            yield from _weight(checked, name, node, seen[0])
        yield from _ratios(checked, name, node, seen, written)


def _last(checked: CheckedPlan, name: str) -> ir.Node:
    tails = [tail for tail in checked.network.nodes if checked.plan.nodes[tail].fused_into == name]
    return checked.network.nodes[tails[-1] if tails else name]


def _widths(checked: CheckedPlan, name: str, node: ir.Node, sources: list[QParams]) -> Iterator[str]:
    wanted = code_range(checked.rules(name).activations.bits, signed=checked.rules(name).activations.signed)
    for source in sources:
        if source.dtype != wanted.dtype:
            yield f"{node.op_type} {name!r} runs on {wanted.dtype}, but reads {source.dtype}"


def _shared(
    checked: CheckedPlan,
    name: str,
    node: ir.Node,
    last: ir.Node,
    sources: list[QParams],
    results: list[QParams],
) -> Iterator[str]:
    rules = checked.rules(name)
    if last.op_type in rules.fixed_outputs:
        if any(one != fixed_qparams(last.op_type, rules) for one in results):
            yield f"the output of {last.op_type} {named(last)!r} is not what its kernel fixes"
    elif node.op_type in checked.profile.same_scale and len({*sources, *results}) > 1:
        yield f"{node.op_type} {name!r} must have one scale for its inputs and outputs"


def _weight(checked: CheckedPlan, name: str, node: ir.Node, source: QParams) -> Iterator[str]:
    value, rules = weight_of(node), checked.profile.weights
    qparams = checked.plan.tensors[named(value)].qparams
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
    yield from checked.broken_scales(f"weight {named(value)!r}", qparams)
    limit = checked.rules(name).accumulator.max_weight_sum
    if limit is not None and largest_sums(node, qparams, checked.profile).max() > limit:
        yield f"the codes of weight {named(value)!r} sum up to more than {limit}"
    yield from _bias(checked, node, qparams, source, checked.rules(name))


def _bias(
    checked: CheckedPlan, node: ir.Node, weight: QParams, source: QParams, rules: CapabilityProfile
) -> Iterator[str]:
    value = bias_of(node)
    if value is None:
        return
    qparams = checked.plan.tensors[named(value)].qparams
    if (qparams is not None) != checked.profile.bias.quantized:
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
    own = checked.plan.tensors[named(value)].values
    values = np.asarray(constant(value) if own is None else own, np.float64)
    if values.size != np.size(constant(value)) or not np.isfinite(values).all():
        yield f"bias {named(value)!r} must have one finite value an output channel"
        return
    codes = np.abs(codes_of(values, qparams))
    if codes.max(initial=0.0) >= highest:
        yield f"bias {named(value)!r} overflows {rules.bias.bits} bits"


def _ratios(
    checked: CheckedPlan, name: str, node: ir.Node, sources: list[QParams], results: list[QParams]
) -> Iterator[str]:
    support = checked.rules(name).ops.get(node.op_type)
    if support is None or support.requantization_ratio is None:
        return
    low, high = support.requantization_ratio
    scales = [one.scale[0] for one in sources]
    weight = weight_of(node)
    planned = checked.plan.tensors[named(weight)].qparams if weight is not None else None
    if planned is not None and node.op_type in WEIGHTED:
        products = [scales[0] * scale for scale in planned.scale]
    elif node.op_type in ("Mul", "MatMul"):
        products = [math.prod(scales)]
    else:
        products = scales
    for result in results:
        outside = [
            product / result.scale[0] for product in products if not low <= product / result.scale[0] < high
        ]
        if outside:
            yield f"{node.op_type} {name!r} has the rescale factor {outside[0]:.4g}, legal is [{low:g}, {high:g})"
