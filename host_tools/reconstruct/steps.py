"""The plan cut into steps: one operator and what it absorbs, as two small graphs that ONNX Runtime runs, one in float, one on codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from host_tools.model.reference import open_session, run_session
from host_tools.model.rounding import RoundingNodes
from host_tools.model.topology import constant, is_constant, named, outputs_of
from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.planned_values import planned_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from device_agent.engines.onnxruntime_library import onnxruntime as ort
    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from targets.profile import CapabilityProfile, Rounding, RoundingRules

    Arrays = Mapping[str, NDArray[np.generic]]

_TYPES: Final = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "int16": TensorProto.INT16}
_INTEGER: Final = ("int8", "int16")
_IR_VERSION: Final = 10
_WIDE_DOMAIN: Final = "com.microsoft"  # has 16-bit QuantizeLinear at every opset


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One operator and what it absorbs.

    Attributes:
        head: The operator.
        tails: What it absorbs, in order.
        reads: Activations that are read, each once.
        writes: What is left behind, in order.
    """

    head: ir.Node
    tails: tuple[ir.Node, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]

    @property
    def nodes(self) -> tuple[ir.Node, ...]:
        """Head and tails."""
        return (self.head, *self.tails)

    @property
    def head_result(self) -> str:
        """What the head gives, before anything absorbed: its first output that is not left out."""
        return named(outputs_of(self.head)[0])


def steps_of(network: Network, plan: QuantizationPlan) -> tuple[Step, ...]:
    """Cut a plan into steps, in topological order."""
    tails: dict[str, list[ir.Node]] = {}
    for name, node in network.nodes.items():
        into = plan.nodes[name].fused_into
        if into is not None:
            tails.setdefault(into, []).append(node)
    return tuple(
        _step(node, tuple(tails.get(name, ())))
        for name, node in network.nodes.items()
        if plan.nodes[name].fused_into is None
    )


def rounding_of_inputs(profile: CapabilityProfile) -> Rounding:
    """Return what becomes of halves where the network's inputs are quantized: by the device, or by the agent, which rounds to even."""
    return profile.rounding.activations if profile.interface.input_type == "float32" else "half_even"


def _step(head: ir.Node, tails: tuple[ir.Node, ...]) -> Step:
    inner = {named(value) for node in (head, *tails[:-1]) for value in outputs_of(node)} if tails else set()
    reads = [
        named(value)
        for node in (head, *tails)
        for value in node.inputs
        if value is not None and not is_constant(value) and named(value) not in inner
    ]
    writes = tuple(named(value) for value in outputs_of(tails[-1] if tails else head))
    return Step(head=head, tails=tails, reads=tuple(dict.fromkeys(reads)), writes=writes)


class StepRunner:
    """Runs one step; thread safe."""

    def __init__(
        self, graph: onnx.ModelProto, reads: Sequence[str], writes: Mapping[str, str], *, threads: int
    ) -> None:
        """Open a graph.

        Args:
            graph: The step.
            reads: Its inputs.
            writes: The name of each value that it gives, by the graph output that holds it.
            threads: Threads of one inference.

        Raises:
            ModelError: ONNX Runtime refuses it.
        """
        self._session: ort.InferenceSession = open_session(
            graph.SerializeToString(), threads=threads, name=graph.graph.name, arena=False, as_written=True
        )
        self._reads, self._writes = tuple(reads), dict(writes)

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """Return what the step writes.

        Args:
            arrays: At least what it reads, by value name.

        Raises:
            ModelError: ONNX Runtime failed.
        """
        found = run_session(self._session, tuple(self._writes), {name: arrays[name] for name in self._reads})
        return dict(zip(self._writes.values(), found, strict=True))


class StepWriter:
    """Writes steps as graphs."""

    def __init__(
        self, model: FloatModel, network: Network, profile: CapabilityProfile, *, threads: int
    ) -> None:
        self._network = network
        self._rounding = profile.rounding
        self._opset = model.graph.graph.opset_imports[""]
        self._threads = threads

    def exact(self, step: Step) -> StepRunner:
        """Return the step in float; it also writes the head's result.

        Raises:
            ModelError: ONNX Runtime refuses it.
        """
        writes = {name: name for name in (step.head_result, *step.writes)}
        nodes = [ir.to_proto(node) for node in step.nodes]
        constants = {
            named(value): constant(value)
            for node in step.nodes
            for value in node.inputs
            if value is not None and is_constant(value)
        }
        inputs = [self._declared(name, None) for name in step.reads]
        return self._runner(step, nodes, constants, inputs, writes)

    def quantized(self, step: Step, plan: QuantizationPlan) -> StepRunner:
        """Return the step as the plan has it: codes in, codes out, where values are quantized.

        Raises:
            ModelError: ONNX Runtime refuses it.
        """
        graph = _Graph(plan=plan, rounding=self._rounding)
        is_integer = plan.nodes[named(step.head)].precision in _INTEGER
        rounding = self._rounding.requantization if is_integer else self._rounding.activations
        for node in step.nodes:
            graph.add(node, self._constant_values(node, plan))
        inputs = [self._declared(name, plan.tensors[name].qparams) for name in step.reads]
        for name in step.writes:
            qparams = plan.tensors[name].qparams
            if qparams is not None:
                graph.quantize(name, qparams, name + _CODES, rounding)
        writes = {name if plan.tensors[name].qparams is None else name + _CODES: name for name in step.writes}
        return self._runner(step, graph.nodes, graph.constants, inputs, writes)

    def _constant_values(
        self, node: ir.Node, plan: QuantizationPlan
    ) -> Iterator[tuple[str, NDArray[np.generic]]]:
        for value in node.inputs:
            if value is None or not is_constant(value):
                continue
            planned, array = plan.tensors[named(value)], constant(value)
            own = planned_values(planned, array.shape)
            array = array if own is None else own.astype(np.float32)
            if planned.qparams is not None:
                codes = codes_of(np.asarray(array, np.float64), planned.qparams, self._rounding.weights)
                array = values_of(codes, planned.qparams).astype(np.float32)
            yield named(value), array

    def _declared(self, name: str, qparams: QParams | None) -> onnx.ValueInfoProto:
        value = self._network.values[name]
        kind = _TYPES[qparams.dtype] if qparams is not None else int(value.dtype or TensorProto.FLOAT)
        return helper.make_tensor_value_info(name, kind, None)

    def _runner(
        self,
        step: Step,
        nodes: Sequence[onnx.NodeProto],
        constants: Arrays,
        inputs: Sequence[onnx.ValueInfoProto],
        writes: Mapping[str, str],
    ) -> StepRunner:
        outputs = [helper.make_empty_tensor_value_info(name) for name in writes]
        initializers = [
            numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in constants.items()
        ]
        graph = helper.make_graph(list(nodes), named(step.head), list(inputs), outputs, initializers)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self._opset), helper.make_opsetid(_WIDE_DOMAIN, 1)],
        )
        model.ir_version = _IR_VERSION
        return StepRunner(model, step.reads, writes, threads=self._threads)


_CODES: Final = "/edgewright_codes"


class _Graph:
    """Nodes with QuantizeLinear and DequantizeLinear around them."""

    def __init__(self, *, plan: QuantizationPlan, rounding: RoundingRules) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {}
        self._rounding = rounding
        self._edges = {(edge.node, edge.input_index): edge.qparams for edge in plan.requantize}
        self._plan = plan
        self._inner: set[str] = set()
        self._real: dict[str, str] = {}

    def add(self, node: ir.Node, constants: Iterator[tuple[str, NDArray[np.generic]]]) -> None:
        """Add a node that reads real numbers; its constants are given as what they stand for."""
        self.constants.update(constants)
        proto = ir.to_proto(node)
        for index, value in enumerate(node.inputs):
            if value is not None and not is_constant(value) and named(value) not in self._inner:
                proto.input[index] = self._read(named(node), index, named(value))
        self._inner.update(named(value) for value in outputs_of(node))
        self.nodes.append(proto)

    def quantize(self, source: str, qparams: QParams, result: str, rounding: Rounding) -> None:
        """Add what quantizes a value."""
        if rounding == "half_even":
            self._linear("QuantizeLinear", source, qparams, result)
            return
        writer = RoundingNodes()
        scale = np.asarray(qparams.scale[0], np.float32)
        zero_point = np.asarray(qparams.zero_point[0], qparams.dtype)
        self.nodes.extend(writer.write(source, result, scale=scale, zero_point=zero_point, rounding=rounding))
        self.constants.update(writer.constants)

    def _read(self, node: str, index: int, name: str) -> str:
        qparams = self._plan.tensors[name].qparams
        real = name
        if qparams is not None:
            real = self._real.get(name) or f"{name}/edgewright_real"
            if name not in self._real:
                self._linear("DequantizeLinear", name, qparams, real)
                self._real[name] = real
        edge = self._edges.get((node, index))
        if edge is None:
            return real
        changed = f"{name}/edgewright_edge_{node}_{index}"
        rounding = self._rounding.activations if qparams is None else self._rounding.requantization
        self.quantize(real, edge, f"{changed}_codes", rounding)
        self._linear("DequantizeLinear", f"{changed}_codes", edge, changed)
        return changed

    def _linear(self, op_type: str, source: str, qparams: QParams, result: str) -> None:
        scale, zero = f"{result}/scale", f"{result}/zero"
        self.constants[scale] = np.asarray(qparams.scale[0], np.float32)
        self.constants[zero] = np.asarray(qparams.zero_point[0], qparams.dtype)
        domain = _WIDE_DOMAIN if qparams.dtype == "int16" else ""
        self.nodes.append(helper.make_node(op_type, [source, scale, zero], [result], domain=domain))
