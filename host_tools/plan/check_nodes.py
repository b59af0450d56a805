"""Whether the nodes of a plan run where and as the target can run them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.model.topology import named
from host_tools.plan.fusion import bounds_of, expressible
from host_tools.plan.placement import float_precision
from host_tools.plan.qparams import saturates
from host_tools.plan.support import finding_of, integer_precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from host_tools.plan.checked_plan import CheckedPlan


def broken_nodes(checked: CheckedPlan) -> Iterator[str]:
    """Precisions are the target's, fusions are its chains, fall-backs are within its limits."""
    for name, node in checked.network.nodes.items():
        entry = checked.plan.nodes[name]
        if entry.op_type != node.op_type:
            yield f"node {name!r} is {node.op_type}, not {entry.op_type}"
        elif entry.fused_into is not None:
            yield from _fusion(checked, name, node)
        elif not checked.is_float(name):
            found = finding_of(node, checked.profile.at(entry.precision))
            if found is not None or entry.precision != integer_precision(checked.rules(name)):
                yield f"node {name!r} is {entry.precision}: {found.text if found else 'the target has another width'}"
        elif entry.precision != float_precision(node.op_type, checked.profile):
            yield f"node {name!r} is {entry.precision}, which {checked.profile.id} does not fall back to"
    fallen = [
        name
        for name, node in checked.network.nodes.items()
        if checked.is_float(name) and finding_of(node, checked.profile)
    ]
    limit = checked.profile.fallback.max_float_ops
    if limit is not None and len(fallen) > limit:
        yield f"{len(fallen)} nodes fall back, the target accepts {limit}"


def _fusion(checked: CheckedPlan, name: str, node: ir.Node) -> Iterator[str]:
    head = checked.plan.nodes[name].fused_into or ""
    chain = _chain(checked, head)
    if head not in checked.plan.nodes or checked.is_float(head) or checked.is_float(name):
        yield f"node {name!r} is absorbed by {head!r}, but both must be integer"
    elif checked.plan.nodes[head].fused_into is not None or chain not in checked.profile.fusions:
        yield f"node {name!r} is absorbed by {head!r}, but {'-'.join(chain)} is no fusion of the target"
    inner = named(node.inputs[0])
    if checked.plan.tensors[inner].role != "fused" or checked.plan.tensors[inner].qparams is not None:
        yield f"value {inner!r} inside a fusion must have role fused and no parameters"
    qparams = checked.plan.tensors[named(node.outputs[0])].qparams
    bounds = bounds_of(node)
    if bounds and qparams and not expressible(node, checked.profile) and not saturates(qparams, *bounds):
        yield f"node {name!r} can neither be written as a fused activation nor is it done by saturation"


def _chain(checked: CheckedPlan, head: str) -> tuple[str, ...]:
    tails = [name for name in checked.network.nodes if checked.plan.nodes[name].fused_into == head]
    return tuple(
        checked.network.nodes[name].op_type for name in (head, *tails) if name in checked.network.nodes
    )
