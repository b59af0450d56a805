"""A plan as text: what every node and tensor becomes, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.plan.quantization_plan import NodePlan, QParams, QuantizationPlan


def explain(plan: QuantizationPlan) -> str:
    """Return the whole plan as text for a terminal or a diff, in the order of the graph."""
    return "\n".join((*_head(plan), *_nodes(plan), *_tensors(plan), *_edges(plan), *_warnings(plan))) + "\n"


def _head(plan: QuantizationPlan) -> Iterator[str]:
    precisions: dict[str, int] = {}
    for node in plan.nodes.values():
        kind = "int8 (dynamic)" if node.activations == "dynamic" else node.precision
        precisions[kind] = precisions.get(kind, 0) + 1
    counts = ", ".join(f"{count} in {precision}" for precision, count in sorted(precisions.items()))
    yield f"Plan for {plan.target}: {count_of(len(plan.nodes), 'node')} ({counts or 'none'})"
    yield plan.method_reason or f"method {plan.method}"


def _nodes(plan: QuantizationPlan) -> Iterator[str]:
    yield from ("", "Nodes")
    for node in plan.nodes.values():
        yield f"  {_node_title(node)}"
        yield f"      {node.reason}"


def _node_title(node: NodePlan) -> str:
    return f"{node.op_type} {node.name}" + (f" -> {node.fused_into}" if node.fused_into else "")


def _tensors(plan: QuantizationPlan) -> Iterator[str]:
    yield from ("", "Tensors")
    for tensor in plan.tensors.values():
        stored = "" if tensor.float_type == "float32" else f": {tensor.float_type}"
        if tensor.codebook is not None:
            stored = f": codebook of {count_of(len(tensor.codebook), 'number')}"
        yield f"  {tensor.name} ({tensor.role}){stored if tensor.qparams is None else ': ' + described(tensor.qparams)}"
        yield f"      {tensor.reason}"


def described(qparams: QParams) -> str:
    """Return parameters in one line; of many scales the smallest and largest are shown."""
    codes = f"{qparams.dtype} [{qparams.quant_min}, {qparams.quant_max}]"
    zeros = sorted(set(qparams.zero_point))
    zero = str(zeros[0]) if len(zeros) == 1 else f"{zeros[0]} to {zeros[-1]}"
    if qparams.axis is None and qparams.group_size is None:
        return f"{codes} scale {qparams.scale[0]:.9g} zero point {zero}"
    where = f"on axis {qparams.axis}"
    if qparams.group_size is not None:
        where = f"in groups of {qparams.group_size} along axis {qparams.group_axis}"
    span = f"{min(qparams.scale):.9g} to {max(qparams.scale):.9g}"
    return f"{codes} {count_of(len(qparams.scale), 'scale')} {span} {where} zero point {zero}"


def count_of(count: int, noun: str) -> str:
    """Return e.g. ``1 node`` or ``3 nodes``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _edges(plan: QuantizationPlan) -> Iterator[str]:
    if plan.requantize:
        yield from ("", "Re-quantized edges")
    for edge in plan.requantize:
        yield f"  input {edge.input_index} of {edge.node}: {described(edge.qparams)}"
        yield f"      {edge.reason}"


def _warnings(plan: QuantizationPlan) -> Iterator[str]:
    if plan.warnings:
        yield from ("", "Warnings")
    for warning in plan.warnings:
        yield f"  - {warning}"
