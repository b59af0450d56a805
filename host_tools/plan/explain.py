"""A plan in words: what every node and tensor becomes, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan


def explain(plan: QuantizationPlan) -> str:
    """Return the plan as text: warnings, nodes in order, tensors in order, edges that change scale."""
    lines = [f"Plan for {plan.target}, ranges by {plan.method}", ""]
    if plan.warnings:
        lines += ["Warnings", *(f"  {warning}" for warning in plan.warnings), ""]
    lines.append("Nodes")
    for node in plan.nodes.values():
        where = f", done by {node.fused_into}" if node.fused_into else ""
        lines.append(f"  {node.name} ({node.op_type}): {node.precision}{where}: {node.reason}")
    lines += ["", "Tensors"]
    for tensor in plan.tensors.values():
        shown = "float" if tensor.qparams is None else described(tensor.qparams)
        lines.append(f"  {tensor.name} ({tensor.role}): {shown}: {tensor.reason}")
    if plan.requantize:
        lines += ["", "Edges that change scale"]
        lines += [
            f"  {edge.node}, input {edge.input_index}: {described(edge.qparams)}: {edge.reason}"
            for edge in plan.requantize
        ]
    return "\n".join(lines)


def described(qparams: QParams) -> str:
    """Return quantization parameters in a few words."""
    kind = f"{qparams.dtype} [{qparams.quant_min}, {qparams.quant_max}]"
    if qparams.axis is not None:
        low, high = min(qparams.scale), max(qparams.scale)
        return f"{kind}, {len(qparams.scale)} scales along axis {qparams.axis} from {low:.4g} to {high:.4g}"
    return f"{kind}, scale {qparams.scale[0]:.6g}, zero point {qparams.zero_point[0]}"
