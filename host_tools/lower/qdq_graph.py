"""Write the canonical graph anew with QuantizeLinear and DequantizeLinear exactly where a plan has integers.

Every value that the plan quantizes is followed by Q, and a DQ before its first reader; every constant that it quantizes is stored as
integers with a DQ; a re-quantized edge gets a pair of its own. All readers of a value share its one DQ: engines copy it for each when
they fuse (ONNX Runtime: ``EnsureUniqueDQForNodeUnit``), and run it once when they do not.

Two things are done beyond the plan, both exact:

- a fused Relu or Clip is left out where QuantizeLinear saturates to the same codes. Engines see that only when a bound and a float32
  product of scale and code agree to the last bit, and otherwise run the whole operator in float;
- some edges are *shielded*: see `SHIELDED`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from host_tools.errors import LoweringError
from host_tools.lower.integers import dequantize_array, quantize_array, quantize_bias
from host_tools.lower.interface import integer_interface
from host_tools.lower.saturation import is_done_by_saturation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import NodePlan, QParams, QuantizationPlan, Requantize
    from targets.profile import CapabilityProfile

SHIELDED: Final = frozenset({"Conv", "ConvTranspose", "Gemm"}) | frozenset(
    {"Flatten", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Float operators that must not see a DQ: between the two stand half the scale and a Mul by 2, the same to the last bit.

ONNX Runtime, from ORT_ENABLE_BASIC on, quantizes the *float* weights of the first three per tensor when it finds DQ before and Q behind
them, and carries a DQ through the others, and so in front of a Conv. Likewise it merges Q-DQ-Q-DQ into one pair of other parameters.

Source: ONNX Runtime ``weight_bias_quantization.cc``, ``qdq_propagation.cc`` and ``double_qdq_pairs_remover.cc``.
"""

_DATA_TYPES: Final[Mapping[str, ir.DataType]] = {
    "int8": ir.DataType.INT8,
    "uint8": ir.DataType.UINT8,
    "int16": ir.DataType.INT16,
    "int32": ir.DataType.INT32,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QdqGraph:
    """A graph with its Q and DQ.

    Attributes:
        graph: A graph of its own; the canonical one is untouched. Its opset is the canonical one.
        tensor_names: Canonical activation to the tensor here that holds its real (dequantized or float) value; a value that exists only
            as an integer graph output is named itself, as codes.
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
    source = model.graph.graph
    writer = _Writer(source=source, plan=plan, profile=profile, shields=shields)
    inputs = [writer.write_input(value) for value in source.inputs if not value.is_initializer()]
    for node in source:
        writer.write_node(node)
    outputs = [writer.write_output(value) for value in source.outputs]
    graph = ir.Graph(
        inputs,
        outputs,
        nodes=writer.nodes,
        initializers=tuple(writer.initializers.values()),
        opset_imports={"": source.opset_imports[""]},
        name=model.name,
    )
    return QdqGraph(
        graph=graph,
        tensor_names=writer.tensor_names(),
        interface_qparams=writer.interface_qparams,
        notes=tuple(writer.notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Codes:
    """A value as integers."""

    value: ir.Value
    qparams: QParams


@dataclass(slots=True, kw_only=True)
class _Writer:
    """One run of `write_qdq_graph`, node by node in the canonical order.

    Attributes:
        real: Canonical value (or constant) to the value here that readers get.
        codes: Canonical value to its integers.
        shielded: Canonical value to the shielded copy of its real value.
        stands_for: Canonical value that does not exist to the one its producer writes in its place.
    """

    source: ir.Graph
    plan: QuantizationPlan
    profile: CapabilityProfile
    shields: bool
    nodes: list[ir.Node] = field(default_factory=list)
    initializers: dict[str, ir.Value] = field(default_factory=dict)
    real: dict[str, ir.Value] = field(default_factory=dict)
    codes: dict[str, _Codes] = field(default_factory=dict)
    shielded: dict[str, ir.Value] = field(default_factory=dict)
    stands_for: dict[str, ir.Value] = field(default_factory=dict)
    interface_qparams: dict[str, QParams] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    requantized: dict[tuple[str, int], Requantize] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.requantized = {(edge.node, edge.input_index): edge for edge in self.plan.requantize}
        for node in self.source:
            if is_done_by_saturation(node, self.plan):
                self.left_out.add(node.name or "")
                self.stands_for[_name(_first_input(node))] = node.outputs[0]

    # -- the graph, in order ------------------------------------------------------------------------------------------------------

    def write_input(self, value: ir.Value) -> ir.Value:
        """Declare a graph input: float, or integer where the profile wants it."""
        name, interface = _name(value), self.profile.interface.input_type
        qparams = self._qparams(value)
        if interface == "float32" or value.dtype != ir.DataType.FLOAT:
            declared = self._value(name, value.shape, value.dtype)
            self._publish(value, declared, qparams)
            return declared
        outer = self.interface_qparams[name] = integer_interface(name, qparams, interface)
        declared = self._value(name, value.shape, _data_type(outer, name))
        self.codes[name] = _Codes(value=declared, qparams=outer)
        if qparams is not None and outer.dtype != qparams.dtype:
            self._publish(value, self._dequantize(self.codes[name], f"{name}/rebased"), qparams)
        return declared

    def write_node(self, node: ir.Node) -> None:
        """Write a node with the readers' side of its inputs before it and the producers' side of its outputs behind it."""
        if node.name in self.left_out:
            return
        inputs = [self._read(node, index) for index in range(len(node.inputs))]
        targets = [self._target(value) for value in node.outputs]
        qparams = [self._qparams(value) for value in targets]
        outputs = []
        for target, quantized in zip(targets, qparams, strict=True):
            name = _name(target) if quantized is None else f"{_name(target)}/float"
            outputs.append(self._value(name, target.shape, target.dtype))
        self.nodes.append(ir.Node("", node.op_type, inputs, node.attributes.values(), outputs=outputs, name=node.name))
        for target, output, quantized in zip(targets, outputs, qparams, strict=True):
            self._publish(target, output, quantized)

    def write_output(self, value: ir.Value) -> ir.Value:
        """Return the graph output for a canonical one: float, or integer where the profile wants it."""
        name, interface = _name(value), self.profile.interface.output_type
        if value.is_initializer():
            return self._constant(value, reader="graph output")
        if interface == "float32" or value.dtype != ir.DataType.FLOAT:
            return self._real(value)
        outer = self.interface_qparams[name] = integer_interface(name, self._qparams(value), interface)
        codes = self.codes[name]
        return codes.value if codes.qparams.dtype == outer.dtype else self._quantize(self._real(value), outer, name).value

    def tensor_names(self) -> dict[str, str]:
        """Return `QdqGraph.tensor_names`."""
        produced = (self._target(value) for node in self.source for value in node.outputs)
        names: dict[str, str] = {}
        for value in (*self.source.inputs, *produced):
            name = _name(value)
            if value.is_initializer() or self.plan.tensors[name].role == "fused":
                continue
            carrier = self.real.get(name) or self.shielded.get(name) or self.codes[name].value
            names[name] = _name(carrier)
        return names

    # -- activations --------------------------------------------------------------------------------------------------------------

    def _publish(self, value: ir.Value, written: ir.Value, qparams: QParams | None) -> None:
        """Make ``written`` what readers of the canonical ``value`` get, through integers if the plan has them."""
        name = _name(value)
        if qparams is None:
            self.real[name] = written
            return
        dtype = qparams.dtype
        is_integer_output = self._is_integer_output(value) and self.profile.interface.output_type == dtype
        self.codes[name] = self._quantize(written, qparams, name if is_integer_output else f"{name}/codes")

    def _read(self, node: ir.Node, index: int) -> ir.Value | None:
        """Return what input ``index`` of the node reads, with whatever must be written before it."""
        value = node.inputs[index]
        if value is None:
            return None
        name = _name(value)
        if value.is_initializer():
            return self._constant(value, reader=f"{node.op_type} {node.name!r}")
        edge = self.requantized.get((node.name or "", index))
        if edge is not None:
            source = self._shielded(value, node) if self.shields and name in self.codes else self._real(value)
            codes = self._quantize(source, edge.qparams, f"{name}/for/{edge.node}/{index}/codes")
            return self._dequantize(codes, f"{name}/for/{edge.node}/{index}")
        if self.shields and name in self.codes and self._stays_float(node):
            return self._shielded(value, node)
        return self._real(value)

    def _real(self, value: ir.Value) -> ir.Value:
        """Return the real value of a canonical activation, dequantized on first demand."""
        name = _name(value)
        if name not in self.real:
            is_taken = value.is_graph_input() or self._is_integer_output(value)
            self.real[name] = self._dequantize(self.codes[name], f"{name}/dequantized" if is_taken else name)
        return self.real[name]

    def _shielded(self, value: ir.Value, node: ir.Node) -> ir.Value:
        """Return the real value by way of half the scale and a Mul by 2 (see `SHIELDED`)."""
        name = _name(value)
        if name not in self.shielded:
            codes = self.codes[name]
            half = replace(codes.qparams, scale=tuple(scale / 2 for scale in codes.qparams.scale))
            halved = self._dequantize(_Codes(value=codes.value, qparams=half), f"{name}/half", parameters=f"{name}/half")
            two = self._initializer("shield/two", np.asarray(2, np.float32))
            self.shielded[name] = self._value(f"{name}/shielded", value.shape, ir.DataType.FLOAT)
            self._node("Mul", [halved, two], self.shielded[name])
            self.notes.append(
                f"{node.op_type} {node.name!r}: {name!r} reaches it as half the scale times 2, so that ONNX Runtime does not quantize "
                f"float weights or merge scales by itself."
            )
        return self.shielded[name]

    # -- constants ----------------------------------------------------------------------------------------------------------------

    def _constant(self, value: ir.Value, *, reader: str) -> ir.Value:
        """Return a constant as its readers get it: float, or integers behind a DQ, written on first demand."""
        name = _name(value)
        if name in self.real:
            return self.real[name]
        planned = self.plan.tensors.get(name)
        array = _array(value)
        if planned is None or planned.qparams is None:
            self.real[name] = self._initializer(name, array)
            return self.real[name]
        is_bias = planned.role == "bias"
        convert = quantize_bias if is_bias else quantize_array
        codes = convert(array, planned.qparams, self.profile.rounding.weights, where=f"{reader}: {name!r}")
        if is_bias and not self.profile.artifact.qdq_bias:
            # The target quantizes biases itself: it gets those real numbers that its own rounding cannot change.
            real = dequantize_array(codes, planned.qparams, where=name).astype(np.float32)
            self.real[name] = self._initializer(name, real)
            return self.real[name]
        stored = self._initializer(f"{name}/codes", codes)
        self.real[name] = self._dequantize(_Codes(value=stored, qparams=planned.qparams), name)
        return self.real[name]

    def _initializer(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        """Return the initializer of that name, written on first demand."""
        if name not in self.initializers:
            tensor = ir.tensor(array, name=name)
            self.initializers[name] = self._value(name, ir.Shape(array.shape), tensor.dtype)
            self.initializers[name].const_value = tensor
        return self.initializers[name]

    # -- Q and DQ -----------------------------------------------------------------------------------------------------------------

    def _quantize(self, real: ir.Value, qparams: QParams, name: str) -> _Codes:
        data_type = _data_type(qparams, name)
        limits = np.iinfo(data_type.numpy())
        if (qparams.quant_min, qparams.quant_max) != (limits.min, limits.max):
            raise LoweringError(
                f"Value {name!r}: QuantizeLinear saturates to [{limits.min}, {limits.max}], the plan to "
                f"[{qparams.quant_min}, {qparams.quant_max}].",
                hint="A profile for ONNX must let activations use every code of their type.",
            )
        codes = self._value(name, real.shape, data_type)
        self._node("QuantizeLinear", [real, *self._parameters(name, qparams)], codes, axis=qparams.axis)
        return _Codes(value=codes, qparams=qparams)

    def _dequantize(self, codes: _Codes, name: str, *, parameters: str = "") -> ir.Value:
        """Write a DQ named after its output; ``parameters`` names the initializers when they are not those of the codes."""
        real = self._value(name, codes.value.shape, ir.DataType.FLOAT)
        inputs = [codes.value, *self._parameters(parameters or _name(codes.value), codes.qparams)]
        self._node("DequantizeLinear", inputs, real, axis=codes.qparams.axis)
        return real

    def _parameters(self, name: str, qparams: QParams) -> list[ir.Value]:
        """Return the initializers of scale and zero point, shared by the Q and the DQs of one value."""
        data_type = _data_type(qparams, name)
        scale = np.asarray(qparams.scale, np.float64).astype(np.float32)
        zero_point = np.asarray(qparams.zero_point).astype(data_type.numpy())
        if not np.isfinite(scale).all() or (scale < np.finfo(np.float32).tiny).any():
            raise LoweringError(f"Value {name!r}: a scale is not a normal float32: {min(qparams.scale)} to {max(qparams.scale)}.")
        if qparams.axis is None:
            scale, zero_point = scale.reshape(()), zero_point.reshape(())
        inputs = [self._initializer(f"{name}/scale", scale)]
        # The zero point of int32 codes must be 0, and some readers take no such input.
        if data_type != ir.DataType.INT32:
            inputs.append(self._initializer(f"{name}/zero_point", zero_point))
        return inputs

    def _node(self, op_type: str, inputs: list[ir.Value], output: ir.Value, *, axis: int | None = None) -> None:
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        self.nodes.append(ir.Node("", op_type, inputs, attributes, outputs=[output], name=f"{output.name}/{op_type}"))

    def _value(self, name: str, shape: ir.Shape | None, data_type: ir.DataType | None) -> ir.Value:
        """Return a new value, once it is certain that the model's own names do not meet those made here."""
        if name in self.written:
            raise LoweringError(f"Value {name!r}: the lowering needs this name for itself.", hint="Rename that value in the model.")
        self.written.add(name)
        return ir.Value(name=name, shape=shape, type=None if data_type is None else ir.TensorType(data_type))

    # -- what the plan says -------------------------------------------------------------------------------------------------------

    def _target(self, value: ir.Value) -> ir.Value:
        """Return the canonical value that a producer of ``value`` writes, past the activations that were left out."""
        while _name(value) in self.stands_for:
            value = self.stands_for[_name(value)]
        return value

    def _qparams(self, value: ir.Value) -> QParams | None:
        """Return the plan's parameters; None for a float value and for one that nobody reads."""
        planned = self.plan.tensors.get(_name(value))
        if planned is None:
            raise LoweringError(f"Value {value.name!r}: the plan does not have it.", hint="Plan this model anew.")
        if planned.role == "fused" or not (value.uses() or value.is_graph_output()):
            return None
        return planned.qparams

    def _is_integer_output(self, value: ir.Value) -> bool:
        is_produced = value.is_graph_output() and not value.is_graph_input()
        return is_produced and self.profile.interface.output_type != "float32"

    def _stays_float(self, node: ir.Node) -> bool:
        return node.op_type in SHIELDED and self._node_plan(node).precision in {"float32", "float16"}

    def _node_plan(self, node: ir.Node) -> NodePlan:
        planned = self.plan.nodes.get(node.name or "")
        if planned is None:
            raise LoweringError(f"{node.op_type} {node.name!r}: the plan does not have this node.", hint="Plan this model anew.")
        return planned


def _data_type(qparams: QParams, name: str) -> ir.DataType:
    try:
        return _DATA_TYPES[qparams.dtype]
    except KeyError:
        raise LoweringError(f"Value {name!r}: ONNX has no DequantizeLinear of {qparams.dtype}.") from None


def _name(value: ir.Value) -> str:
    """Return the name, which every canonical value and every value written here has."""
    return value.name or ""


def _first_input(node: ir.Node) -> ir.Value:
    value = node.inputs[0] if node.inputs else None
    if value is None:
        raise LoweringError(f"{node.op_type} {node.name!r}: its first input is absent.")
    return value


def _array(value: ir.Value) -> NDArray[np.generic]:
    """Return a constant's array."""
    if value.const_value is None:
        raise LoweringError(f"Constant {value.name!r} has no data.", hint="Load the model with its external data.")
    return value.const_value.numpy()
