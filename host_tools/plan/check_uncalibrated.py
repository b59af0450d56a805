"""Every promise of a plan that no calibration went into, verified against model and profile. Exact, simulates nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from host_tools.model.topology import constant_weight, named, shape_of
from host_tools.plan.codes import group_grid
from host_tools.plan.qparams import SMALLEST_SCALE
from host_tools.plan.uncalibrated_weights import summed_axis

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from targets.profile import CapabilityProfile

_CODES = {
    "int4": (-7, 7), "uint4": (0, 15), "int8": (-127, 127), "uint8": (0, 255),
}  # fmt: skip


def broken_promises(plan: QuantizationPlan, network: Network, profile: CapabilityProfile) -> Iterator[str]:
    """Yield a sentence for each broken promise.

    Args:
        plan: A plan of another precision than int8 that names every node and value of the graph, and nothing else.
        network: The canonical graph.
        profile: The target.
    """
    if plan.precision not in profile.uncalibrated:
        yield f"the plan is {plan.precision}, which {profile.id} does not have"
        return
    if plan.requantize:
        yield f"{len(plan.requantize)} edges change scale, but {plan.precision} plans no activation"
    weights = {}
    for name, node in network.nodes.items():
        entry = plan.nodes[name]
        value = constant_weight(node)
        stored = None if value is None else plan.tensors[named(value)].qparams
        if entry.op_type != node.op_type or entry.fused_into is not None:
            yield f"node {name!r} is {node.op_type} by itself, not {entry.op_type} in {entry.fused_into!r}"
            continue
        yield from _node(plan, name, is_stored=stored is not None)
        if stored is not None and not profile.uncalibrated[plan.precision].groups:
            weights[named(value)] = node
            yield f"weight {named(value)!r} is stored as codes, which {plan.precision} never has"
        elif stored is not None:
            weights[named(value)] = node
            yield from _weight(plan, node, stored, profile)
    for name, tensor in plan.tensors.items():
        if tensor.qparams is not None and name not in weights:
            yield f"value {name!r} has parameters, but is no weight of one node"
        if tensor.values is not None or tensor.codes is not None:
            yield f"value {name!r} has numbers of its own, which {plan.precision} never has"


def _node(plan: QuantizationPlan, name: str, *, is_stored: bool) -> Iterator[str]:
    entry = plan.nodes[name]
    is_dynamic = entry.activations == "dynamic"
    if entry.precision != ("int8" if is_dynamic else "float32"):
        yield f"node {name!r} is {entry.precision} with {entry.activations} activations"
    elif is_dynamic and (plan.precision != "int8-dynamic" or not is_stored):
        yield f"node {name!r} is dynamic, but {'its weight is float' if not is_stored else plan.precision + ' has no such nodes'}"


def _weight(
    plan: QuantizationPlan, node: ir.Node, qparams: QParams, profile: CapabilityProfile
) -> Iterator[str]:
    value = constant_weight(node)
    what, shape = f"weight {named(value)!r}", shape_of(value)
    rules = profile.uncalibrated[plan.precision]
    beside = profile.uncalibrated.get("weights-int8")
    if node.op_type not in rules.ops:
        if beside is None or node.op_type not in beside.ops:
            yield f"{what} is stored as codes, which {profile.id} does not read of {node.op_type}"
            return
        rules = beside
    low, high = _CODES.get(qparams.dtype, (1, 0))
    if not low <= qparams.quant_min < qparams.quant_max <= high:
        yield f"{what} must be of 4 or 8 bits, not {qparams.dtype} [{qparams.quant_min}, {qparams.quant_max}]"
    if rules.symmetric and any(qparams.zero_point):
        yield f"{what} must be symmetric"
    if not all(low <= zero <= high for zero in qparams.zero_point):
        yield f"{what} has zero points outside [{low}, {high}]"
    if qparams.group_size is not None:
        axis = summed_axis(node)
        is_whole = qparams.group_size == shape[axis] and not rules.partial_group
        if (
            qparams.group_axis != axis
            or not (qparams.group_size in rules.groups or is_whole)
            or not qparams.group_size
        ):
            yield f"{what} has groups of {qparams.group_size} along axis {qparams.group_axis}, the target has {rules.groups} along {axis}"
            return
        expected = math.prod(group_grid(shape, axis, qparams.group_size))
    else:
        expected = shape[qparams.axis] if qparams.axis is not None and qparams.axis < len(shape) else -1
    if len(qparams.scale) != expected or len(qparams.zero_point) != expected:
        yield f"{what} has {len(qparams.scale)} scales for its shape {shape}"
    if not all(math.isfinite(scale) and scale >= SMALLEST_SCALE for scale in qparams.scale):
        yield f"{what} has a scale below {SMALLEST_SCALE:g} or not finite"
