"""Check that a plan speaks of everything in a model, so that a lowering may look things up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.errors import LoweringError

if TYPE_CHECKING:
    from collections.abc import Collection

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile


def require_coverage(model: FloatModel, plan: QuantizationPlan) -> None:
    """Check that the plan has every node and every activation, and no edge to re-quantize that the model lacks.

    Raises:
        LoweringError: It has not; the message names the first that is missing.
    """
    graph = model.graph.graph
    for node in graph:
        if (node.name or "") not in plan.nodes:
            raise LoweringError(
                f"{node.op_type} {node.name!r}: the plan does not have this node.", hint=_HINT
            )
    activations = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    for value in activations:  # an optional output that is left out has no name
        if value.name and value.name not in plan.tensors and not value.is_initializer():
            raise LoweringError(f"Value {value.name!r}: the plan does not have it.", hint=_HINT)
    widths = {node.name: len(node.inputs) for node in graph}
    for edge in plan.requantize:
        if edge.input_index not in range(widths.get(edge.node, 0)):
            raise LoweringError(
                f"Node {edge.node!r}, input {edge.input_index}: the model has no such edge to re-quantize.",
                hint=_HINT,
            )


def require_precisions(plan: QuantizationPlan, profile: CapabilityProfile, written: Collection[str]) -> None:
    """Check that a lowering writes every precision that the plan asks for: another one would be a file that does something else.

    Args:
        plan: The plan.
        profile: Its target.
        written: The precisions that the lowering writes.

    Raises:
        LoweringError: A node has another precision; the message names the first.
    """
    for node in plan.nodes.values():
        if node.precision not in written:
            raise LoweringError(
                f"{node.op_type} {node.name!r} is planned as {node.precision}; "
                f"{profile.artifact.format} files are written with {' and '.join(written)}.",
                hint=f"In the profile of {profile.id!r}, leave {node.precision} out of the operator's precisions and of fallback.to.",
            )


_HINT = "Plan this model anew."
