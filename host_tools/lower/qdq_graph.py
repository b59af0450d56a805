"""Write the canonical graph anew with QuantizeLinear and DequantizeLinear exactly where a plan has integers.

Every value that the plan quantizes is followed by Q, and a DQ before its first reader; every constant that it quantizes is stored as
integers with a DQ; a re-quantized edge gets a pair of its own. All readers of a value share its one DQ: engines copy it for each when
they fuse (ONNX Runtime: ``EnsureUniqueDQForNodeUnit``), and run it once when they do not.

A dialect may ask for less (``artifact.quantize_outputs`` is false): then only what an integer operator reads is quantized.

Two things are done beyond the plan, both exact:

- a fused Relu or Clip is left out where QuantizeLinear saturates to the same codes. Engines see that only when a bound and a float32
  product of scale and code agree to the last bit, and otherwise run the whole operator in float. Where it does not saturate and the
  target runs the operator on codes, it stands behind QuantizeLinear: rounding is monotone, so the codes are the same. Where it saturates
  at the upper end alone, a Clip is written as Relu;
- some edges are *shielded*: see `SHIELDED`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx_ir as ir

from host_tools.errors import LoweringError
from host_tools.lower.coverage import require_coverage
from host_tools.lower.integers import dequantize_array, quantize_array, quantize_bias
from host_tools.lower.interface import integer_interface
from host_tools.lower.qdq_nodes import Codes, QdqNodes
from host_tools.lower.qdq_plan import PlannedGraph, name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan, Requantize
    from targets.profile import CapabilityProfile

_WEIGHTED: Final = frozenset({"Conv", "ConvTranspose", "Gemm"})
SHIELDED: Final = _WEIGHTED | frozenset(
    {"Flatten", "MaxPool", "Pad", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Float operators that must not see a DQ: between the two stand half the scale and a Mul by 2, the same to the last bit.

ONNX Runtime, from ORT_ENABLE_BASIC on, quantizes the *float* weights of the first three per tensor when it finds DQ before and Q behind
them, and carries a DQ through the others, or takes them away (Pad), and so brings it before a Conv. Likewise it merges Q-DQ-Q-DQ into
one pair of other parameters.

Source: ONNX Runtime ``weight_bias_quantization.cc``, ``qdq_propagation.cc``, ``pad_fusion.cc``, ``double_qdq_pairs_remover.cc``.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class QdqGraph:
    """A graph with its Q and DQ.

    Attributes:
        graph: A graph of its own; the canonical one is untouched. Its opset is the canonical one.
        tensor_names: Canonical activation to the tensor here that holds its real (dequantized or float) value; a value that exists as
            codes alone (an integer output, or between operators that run on codes) is absent.
        interface_qparams: Parameters of each graph input that takes and each graph output that gives integers.
        notes: What was done beyond the plan.
    """

    graph: ir.Graph
    tensor_names: Mapping[str, str]
    interface_qparams: Mapping[str, QParams]
    notes: tuple[str, ...]


def write_qdq_graph(
    model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile, *, shields: bool
) -> QdqGraph:
    """Return the canonical graph with Q and DQ as the plan has them.

    Args:
        model: The float model.
        plan: A plan for it.
        profile: The target: rounding of constants, interface types, whether biases are integers.
        shields: Whether to shield float operators and re-quantized edges from ONNX Runtime; other readers need it not.

    Raises:
        LoweringError: The plan cannot be written with ONNX's QuantizeLinear; the message names value or node.
    """
    require_coverage(model, plan)
    source = model.graph.graph
    writer = _Writer(graph=PlannedGraph(source=source, plan=plan, profile=profile), shields=shields)
    inputs = [writer.write_input(value) for value in source.inputs if not value.is_initializer()]
    for node in source:
        writer.write_node(node)
    outputs = [writer.write_output(value) for value in source.outputs]
    graph = ir.Graph(
        inputs,
        outputs,
        nodes=writer.out.nodes,
        initializers=writer.out.initializers,
        opset_imports={"": source.opset_imports[""]},
        name=model.name,
    )
    return QdqGraph(
        graph=graph,
        tensor_names=writer.tensor_names(),
        interface_qparams=writer.interface_qparams,
        notes=tuple(writer.notes),
    )


@dataclass(slots=True, kw_only=True)
class _Writer:
    """One run of `write_qdq_graph`, node by node in the canonical order.

    Attributes:
        graph: What is written.
        shields: As for `write_qdq_graph`.
        real: Canonical value (or constant) to the value here that readers get.
        codes: Canonical value to its integers.
        shielded: Canonical value to the shielded copy of its real value.
    """

    graph: PlannedGraph
    shields: bool
    out: QdqNodes = field(default_factory=QdqNodes)
    real: dict[str, ir.Value] = field(default_factory=dict)
    codes: dict[str, Codes] = field(default_factory=dict)
    shielded: dict[str, ir.Value] = field(default_factory=dict)
    interface_qparams: dict[str, QParams] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    # -- the graph, in order ------------------------------------------------------------------------------------------------------

    def write_input(self, value: ir.Value) -> ir.Value:
        """Declare a graph input: float, or integer where the profile wants it."""
        name, interface = name_of(value), self.graph.profile.interface.input_type
        qparams = self.graph.qparams(value)
        if interface == "float32" or value.dtype != ir.DataType.FLOAT:
            declared = self.out.value(name, value.shape, value.dtype)
            self._publish(value, declared, qparams)
            return declared
        outer = self.interface_qparams[name] = integer_interface(name, qparams, interface)
        codes = self.codes[name] = self.out.integer(name, value.shape, outer)
        if qparams is not None and outer.dtype != qparams.dtype:
            self._publish(value, self.out.dequantize(codes, f"{name}/rebased"), qparams)
        return codes.value

    def write_node(self, node: ir.Node) -> None:
        """Write a node with the readers' side of its inputs before it and the producers' side of its outputs behind it."""
        if node.name in self.graph.left_out:
            return
        shared = self.graph.shared_qparams(node)
        if shared is not None:
            self._write_on_codes(node, shared)
            return
        count = 1 if node.name in self.graph.relus else len(node.inputs)
        inputs = [self._read(node, index) for index in range(count)]
        targets = [self.graph.written(value) for value in node.outputs]
        qparams = [self.graph.qparams(value) if value.name else None for value in targets]
        outputs = []
        for target, quantized in zip(targets, qparams, strict=True):
            if not target.name:  # an optional output that is left out
                outputs.append(ir.Value(name=""))
                continue
            name = name_of(target) if quantized is None else f"{name_of(target)}/float"
            outputs.append(self.out.value(name, target.shape, target.dtype))
        op_type = "Relu" if node.name in self.graph.relus else node.op_type
        self.out.add(op_type, inputs, outputs, node.attributes.values(), node.name or "")
        for target, output, quantized in zip(targets, outputs, qparams, strict=True):
            if target.name:
                self._publish(target, output, quantized)

    def write_output(self, value: ir.Value) -> ir.Value:
        """Return the graph output for a canonical one: float, or integer where the profile wants it."""
        name, interface = name_of(value), self.graph.profile.interface.output_type
        if value.is_initializer():
            return self._constant(value, reader="graph output")
        if interface == "float32" or value.dtype != ir.DataType.FLOAT or self.graph.leaves_in_float(value):
            return self._real(value)
        outer = self.interface_qparams[name] = integer_interface(name, self.graph.qparams(value), interface)
        codes = self.codes[name]
        if codes.qparams.dtype != outer.dtype:
            codes = self.out.quantize(self._real(value), outer, name)
        return codes.value

    def tensor_names(self) -> dict[str, str]:
        """Return `QdqGraph.tensor_names`."""
        produced = (self.graph.written(value) for node in self.graph.source for value in node.outputs)
        names: dict[str, str] = {}
        for value in (*self.graph.source.inputs, *produced):
            name = name_of(value)
            if not name or value.is_initializer() or self.graph.plan.tensors[name].role == "fused":
                continue
            carrier = self.real.get(name) or self.shielded.get(name)
            if carrier is not None:
                names[name] = name_of(carrier)
        return names

    # -- activations --------------------------------------------------------------------------------------------------------------

    def _publish(self, value: ir.Value, written: ir.Value, qparams: QParams | None) -> None:
        """Make ``written`` what readers of the canonical ``value`` get, through integers if the plan has them."""
        if qparams is None:
            self.real[name_of(value)] = written
        else:
            self.codes[name_of(value)] = self.out.quantize(written, qparams, self._codes_name(value, qparams))

    def _codes_name(self, value: ir.Value, qparams: QParams) -> str:
        """Return what the codes are called: as the value, if they are the graph output, else something of their own."""
        is_output = (
            self.graph.is_integer_output(value) and self.graph.profile.interface.output_type == qparams.dtype
        )
        return name_of(value) if is_output else f"{name_of(value)}/codes"

    def _read(self, node: ir.Node, index: int) -> ir.Value | None:
        """Return what input ``index`` of the node reads, with whatever must be written before it."""
        value = node.inputs[index]
        if value is None:
            return None
        name = name_of(value)
        if value.is_initializer():
            return self._constant(value, reader=f"{node.op_type} {node.name!r}")
        edge = self.graph.edge(node, index)
        if edge is not None:
            return self.out.dequantize(self._requantized(value, node, edge), _edge_name(edge))
        if name in self.codes and node.op_type in SHIELDED and self.graph.is_float(node):
            if self.shields:
                return self._shielded(value, node)
            if node.op_type in _WEIGHTED:
                self.notes.append(
                    f"{node.op_type} {node.name!r}: float between integers, unshielded as the target's reader wants it; where ONNX Runtime "
                    f"stands in, it quantizes such float weights by itself, so what is verified may be worse than the target."
                )
        return self._real(value)

    def _real(self, value: ir.Value) -> ir.Value:
        """Return the real value of a canonical activation, dequantized on first demand."""
        name = name_of(value)
        if name not in self.real:
            is_taken = value.is_graph_input() or self.graph.is_integer_output(value)
            self.real[name] = self.out.dequantize(
                self.codes[name], f"{name}/dequantized" if is_taken else name
            )
        return self.real[name]

    def _shielded(self, value: ir.Value, node: ir.Node) -> ir.Value:
        """Return the real value by way of half the scale and a Mul by 2 (see `SHIELDED`)."""
        name = name_of(value)
        if name not in self.shielded:
            self.shielded[name] = self.out.dequantize_shielded(self.codes[name], f"{name}/shielded")
            self.notes.append(
                f"{node.op_type} {node.name!r}: {name!r} reaches it as half the scale times 2, so that ONNX Runtime does not quantize "
                f"float weights or merge scales by itself."
            )
        return self.shielded[name]

    def _requantized(self, value: ir.Value, node: ir.Node, edge: Requantize) -> Codes:
        """Return the codes of a re-quantized edge."""
        is_shielded = self.shields and name_of(value) in self.codes
        source = self._shielded(value, node) if is_shielded else self._real(value)
        return self.out.quantize(source, edge.qparams, f"{_edge_name(edge)}/codes")

    # -- operators on codes -------------------------------------------------------------------------------------------------------

    def _write_on_codes(self, node: ir.Node, qparams: QParams) -> None:
        """Write the node with integer inputs and an integer output; its real constants become codes of the same scale."""
        target = self.graph.written(node.outputs[0])
        name = name_of(target)
        codes = self.codes[name] = self.out.integer(self._codes_name(target, qparams), target.shape, qparams)
        inputs = [self._read_codes(node, index, qparams) for index in range(len(node.inputs))]
        op_type, zero_at = node.op_type, None
        if node.op_type == "Relu":
            op_type, zero_at = "Max", 1
        elif node.op_type == "Pad" and (len(inputs) < 3 or inputs[2] is None):
            zero_at = 2
        if zero_at is not None:  # the real 0 that the operator has built in is the code zero_point
            zero = self.out.initializer(f"{name}/zero", np.asarray(qparams.zero_point[0], qparams.dtype))
            inputs[zero_at : zero_at + 1] = [zero]
        self.out.add(op_type, inputs, [codes.value], node.attributes.values(), node.name or "")

    def _read_codes(self, node: ir.Node, index: int, qparams: QParams) -> ir.Value | None:
        """Return the codes that input ``index`` reads; constants that are no real numbers (axes, pads) as they are."""
        value = node.inputs[index]
        if value is None:
            return None
        edge = self.graph.edge(node, index)
        if edge is not None:
            return self._requantized(value, node, edge).value
        if not value.is_initializer():
            return self.codes[name_of(value)].value
        where = f"{node.op_type} {node.name!r}: {name_of(value)!r}"
        if value.dtype != ir.DataType.FLOAT:
            return self._constant(value, reader=where)
        # Half to even, as the QuantizeLinear that this operator moved past.
        return self.out.initializer(
            f"{node.name}/input/{index}", quantize_array(_array(value), qparams, "half_even", where=where)
        )

    # -- constants ----------------------------------------------------------------------------------------------------------------

    def _constant(self, value: ir.Value, *, reader: str) -> ir.Value:
        """Return a constant as its readers get it: float, or integers behind a DQ, written on first demand."""
        name = name_of(value)
        if name in self.real:
            return self.real[name]
        planned = self.graph.plan.tensors.get(name)
        array = _array(value)
        if planned is None or planned.qparams is None:
            is_half = planned is not None and planned.float_type == "float16"
            self.real[name] = (self.out.float16 if is_half else self.out.initializer)(name, array)
            return self.real[name]
        is_bias = planned.role == "bias"
        convert = quantize_bias if is_bias else quantize_array
        codes = convert(
            array, planned.qparams, self.graph.profile.rounding.weights, where=f"{reader}: {name!r}"
        )
        if is_bias and (not self.graph.profile.artifact.qdq_bias or planned.qparams.dtype == "int64"):
            # The target quantizes biases itself, or ONNX dequantizes no codes of that width: it gets those real numbers that its own rounding
            # cannot change.
            real = dequantize_array(codes, planned.qparams, where=name).astype(np.float32)
            self.real[name] = self.out.initializer(name, real)
            return self.real[name]
        stored = self.out.initializer(f"{name}/codes", codes)
        self.real[name] = self.out.dequantize(Codes(value=stored, qparams=planned.qparams), name)
        return self.real[name]


def _edge_name(edge: Requantize) -> str:
    return f"{edge.node}/input/{edge.input_index}"


def _array(value: ir.Value) -> NDArray[Any]:
    """Return a constant's array."""
    if value.const_value is None:
        raise LoweringError(
            f"Constant {value.name!r} has no data.", hint="Load the model with its external data."
        )
    return value.const_value.numpy()
