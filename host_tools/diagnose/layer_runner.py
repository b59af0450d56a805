"""`LayerRunner`: the network one layer at a time, each with float or with quantized weights.

Each layer is a small model of its own, so that a run can start anywhere, from values that were kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir

from host_tools.diagnose.fake_quantize import fake_quantize
from host_tools.lower.integers import dequantize_array, quantize_array, quantize_bias
from host_tools.model.graph_editor import constant_of, static_shape
from host_tools.model.reference import open_session, run_session
from host_tools.model.topology import named
from host_tools.plan.planned_values import with_planned_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from device_agent.engines.onnxruntime_library import onnxruntime as ort
    from host_tools.diagnose.layers import Layer
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from targets.profile import Rounding

    Array = NDArray[np.generic]
    Values = Mapping[str, Array]

_IR_VERSION = 10  # of the small models; ONNX Runtime 1.18 reads it


class LayerRunner:
    """Runs layers of one model as one plan has them; several threads may use it at the same time."""

    def __init__(
        self, model: FloatModel, plan: QuantizationPlan, layers: Sequence[Layer], *, rounding: Rounding
    ) -> None:
        """Make a session a layer, and a second one where weights are quantized.

        Args:
            model: The model that the plan is about.
            plan: The plan.
            layers: `host_tools.diagnose.layers.layers_of` the two.
            rounding: How the target rounds weights.

        Raises:
            ModelError: ONNX Runtime refuses a layer.
            LoweringError: A constant does not fit its parameters.
        """
        self._edges = {(edge.node, edge.input_index): edge.qparams for edge in plan.requantize}
        self._opset = model.graph.graph.opset_imports[""]
        self._reads = [self._edges_into(layer) for layer in layers]
        planned = with_planned_values(model, plan).graph.graph.initializers
        self._floats: list[ort.InferenceSession | None] = []
        self._integers: list[ort.InferenceSession | None] = []
        for layer in layers:
            own = _constants(layer)
            plain = self._session(layer, own)
            self._floats.append(plain)
            quantized = {
                name: quantized_constant(_array(planned[name]), name, plan, rounding)
                for name in layer.weights
            }
            self._integers.append(self._session(layer, own | quantized) if quantized else plain)

    def reads(self, layer: Layer) -> frozenset[str]:
        """Return the names of the values that a layer reads."""
        return frozenset(value for value, _ in self._reads[layer.rank].values())

    def run(
        self,
        layer: Layer,
        values: Values,
        *,
        quantized_weights: bool,
        is_edge_quantized: Callable[[str], bool],
    ) -> list[Array]:
        """Return a layer's outputs, not quantized.

        Args:
            layer: Any but a graph input.
            values: At least what the layer reads, by name.
            quantized_weights: Whether its constants are those of the plan or those of the model.
            is_edge_quantized: Whether edges that re-quantize the named value are quantized.

        Raises:
            ModelError: ONNX Runtime failed.
        """
        sessions = self._integers if quantized_weights else self._floats
        session = sessions[layer.rank]
        if session is None:  # a graph input
            return [values[name] for name in layer.outputs]
        feeds: dict[str, Array] = {}
        for name, (value, qparams) in self._reads[layer.rank].items():
            array = values[value]
            if qparams is not None and is_edge_quantized(value):
                array = fake_quantize(np.asarray(array, np.float32), qparams)
            feeds[name] = array
        return run_session(session, layer.outputs, feeds)

    def _edges_into(self, layer: Layer) -> dict[str, tuple[str, QParams | None]]:
        """Return what the small model's inputs are fed: the value, and how it is re-quantized on the way."""
        inside = {named(value) for node in layer.nodes for value in node.outputs}
        reads: dict[str, tuple[str, QParams | None]] = {}
        for node in layer.nodes:
            for index, value in enumerate(node.inputs):
                name = named(value)
                if value is None or value.is_initializer() or name in inside:
                    continue
                edge = self._edges.get((named(node), index))
                reads[name if edge is None else _edge_name(node, index)] = (name, edge)
        return reads

    def _session(self, layer: Layer, constants: Values) -> ort.InferenceSession | None:
        if not layer.nodes:
            return None
        protos = []
        inputs: dict[str, onnx.ValueInfoProto] = {}
        reads = self._reads[layer.rank]
        for node in layer.nodes:
            proto = ir.to_proto(node)
            for index, value in enumerate(node.inputs):
                if (named(node), index) in self._edges and value is not None and not value.is_initializer():
                    proto.input[index] = _edge_name(node, index)
                if value is not None and proto.input[index] in reads:
                    inputs[proto.input[index]] = _declared(proto.input[index], value)
            protos.append(proto)
        outputs = {named(value): value for value in layer.nodes[-1].outputs}
        graph = onnx.helper.make_graph(
            protos,
            "layer",
            list(inputs.values()),
            [_declared(name, outputs[name]) for name in layer.outputs],
            [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
        )
        content = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", self._opset)], ir_version=_IR_VERSION
        ).SerializeToString()
        return open_session(content, threads=1, name=layer.name, arena=False)


def quantized_constant(array: Array, name: str, plan: QuantizationPlan, rounding: Rounding) -> Array:
    """Return what a constant is on the device, as real numbers in float32.

    Raises:
        LoweringError: It does not fit its parameters.
    """
    planned = plan.tensors[name]
    if planned.qparams is None:
        return array
    convert = quantize_bias if planned.role == "bias" else quantize_array
    codes = convert(array, planned.qparams, rounding, where=name)
    return dequantize_array(codes, planned.qparams, where=name).astype(np.float32)


def _constants(layer: Layer) -> dict[str, Array]:
    return {
        named(value): _array(value)
        for node in layer.nodes
        for value in node.inputs
        if value is not None and value.is_initializer()
    }


def _array(value: ir.Value) -> Array:
    array = constant_of(value)
    return np.zeros(0, np.float32) if array is None else array


def _declared(name: str, value: ir.Value) -> onnx.ValueInfoProto:
    data_type = value.dtype or ir.DataType.FLOAT
    return onnx.helper.make_tensor_value_info(name, int(data_type), static_shape(value))


def _edge_name(node: ir.Node, index: int) -> str:
    return f"{node.name}/input/{index}"
