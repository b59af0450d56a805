"""`PlannedGraph`: the canonical graph and its plan, asked as a QDQ file needs it. Adds nothing to the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from host_tools.errors import LoweringError
from host_tools.lower.saturation import is_done_by_saturation, is_relu_with_saturation

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.plan.quantization_plan import QParams, QuantizationPlan, Requantize
    from targets.profile import CapabilityProfile


@dataclass(slots=True, kw_only=True)
class PlannedGraph:
    """What exists as integers in a dialect of QDQ, and what its producers and readers are.

    Attributes:
        source: The canonical graph.
        plan: Its plan.
        profile: The target.
        left_out: Names of fused Relus and Clips that quantization does anyway.
        relus: Names of fused Clips that are a Relu with quantization behind it.
        stands_for: Canonical value that does not exist to the one its producer writes in its place.
        inner: Value inside a fusion that exists as codes, because the activation behind it works on those, to their parameters.
        requantized: Edges that change scale, by node name and input index.
    """

    source: ir.Graph
    plan: QuantizationPlan
    profile: CapabilityProfile
    left_out: set[str] = field(default_factory=set)
    relus: set[str] = field(default_factory=set)
    stands_for: dict[str, ir.Value] = field(default_factory=dict)
    inner: dict[str, QParams] = field(default_factory=dict)
    requantized: dict[tuple[str, int], Requantize] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.requantized = {(edge.node, edge.input_index): edge for edge in self.plan.requantize}
        for node in self.source:
            if not self._is_stored(node.outputs[0]):
                continue
            if is_relu_with_saturation(node, self.plan):
                self.relus.add(node.name or "")
            if is_done_by_saturation(node, self.plan):
                self.left_out.add(node.name or "")
                self.stands_for[name_of(_first_input(node))] = node.outputs[0]
        for node in reversed(self.source):
            if self._is_absorbed_on_codes(node):
                qparams = self.qparams(self.written(node.outputs[0]))
                if qparams is not None:
                    self.inner[name_of(_first_input(node))] = qparams

    def written(self, value: ir.Value) -> ir.Value:
        """Return the canonical value that a producer of ``value`` writes, past the activations that were left out."""
        while name_of(value) in self.stands_for:
            value = self.stands_for[name_of(value)]
        return value

    def qparams(self, value: ir.Value) -> QParams | None:
        """Return the parameters of a value's codes; None for a float value and for one that nobody reads."""
        if name_of(value) in self.inner:
            return self.inner[name_of(value)]
        planned = self.plan.tensors[name_of(value)]
        is_read = bool(value.uses()) or value.is_graph_output()
        return planned.qparams if planned.role != "fused" and is_read and self._is_stored(value) else None

    def edge(self, node: ir.Node, index: int) -> Requantize | None:
        """Return the change of scale at input ``index`` of a node."""
        return self.requantized.get((node.name or "", index))

    def shared_qparams(self, node: ir.Node) -> QParams | None:
        """Return the one set of parameters of a node that works on the codes themselves; None where it works on real numbers.

        Such an operator only moves and compares, so that it gives the same codes as it would give real numbers.
        """
        planned = self.plan.nodes[node.name or ""]
        if node.op_type not in self.profile.artifact.integer_ops or planned.precision != "int8":
            return None
        output = self.qparams(self.written(node.outputs[0]))
        same = all(
            value is None or value.is_initializer() or self._seen(node, index, value) == output
            for index, value in enumerate(node.inputs)
        )
        return output if same else None

    def is_integer_output(self, value: ir.Value) -> bool:
        """Tell whether a value leaves the graph as integers."""
        is_produced = value.is_graph_output() and not value.is_graph_input()
        return (
            is_produced
            and self.profile.interface.output_type != "float32"
            and not self.leaves_in_float(value)
        )

    def leaves_in_float(self, value: ir.Value) -> bool:
        """Tell whether the plan lets a float node's output leave the graph as it is, though the interface is an integer one."""
        writer = value.producer()
        return (
            writer is not None and self.is_float(writer) and self.plan.tensors[name_of(value)].qparams is None
        )

    def is_float(self, node: ir.Node) -> bool:
        """Tell whether the plan has a node in float."""
        return self.plan.nodes[node.name or ""].precision in {"float32", "float16"}

    def _seen(self, node: ir.Node, index: int, value: ir.Value) -> QParams | None:
        edge = self.edge(node, index)
        return edge.qparams if edge is not None else self.qparams(value)

    def _is_stored(self, value: ir.Value) -> bool:
        """Tell whether a planned value exists as integers in this dialect: everywhere, or only where an integer operator reads it."""
        is_integer_input = value.is_graph_input() and self.profile.interface.input_type != "float32"
        if self.profile.artifact.quantize_outputs or is_integer_input or self.is_integer_output(value):
            return True
        return any(not self.is_float(reader) for reader, _ in value.uses())

    def _is_absorbed_on_codes(self, node: ir.Node) -> bool:
        """Tell whether a fused Relu or Clip, which quantization alone does not do, works on the codes that its producer writes."""
        return (
            node.name not in self.left_out
            and node.op_type in self.profile.artifact.integer_ops & {"Relu", "Clip"}
            and self.plan.nodes[node.name or ""].fused_into is not None
        )


def name_of(value: ir.Value) -> str:
    """Return the name, which every canonical value and every value written here has."""
    return value.name or ""


def _first_input(node: ir.Node) -> ir.Value:
    value = node.inputs[0] if node.inputs else None
    if value is None:
        raise LoweringError(f"{node.op_type} {node.name!r}: its first input is absent.")
    return value
