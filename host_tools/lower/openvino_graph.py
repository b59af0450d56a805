"""Write the plan's integers into a float network as OpenVINO reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import onnx_ir as ir

from device_agent.engines.openvino_library import openvino as ov
from host_tools.lower.coverage import require_coverage
from host_tools.lower.interface import integer_interface
from host_tools.lower.openvino_codes import codes_of, element_type, real_of
from host_tools.lower.openvino_file import read_float_network
from host_tools.lower.openvino_misread import require_read_right
from host_tools.lower.openvino_ports import Ports
from host_tools.lower.openvino_preparation import (
    add_stand_in,
    stand_in_name,
    with_planned_constants,
    write_counted_padding_out,
)
from host_tools.lower.openvino_weights import write_weights
from host_tools.lower.saturation import is_done_by_saturation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from targets.profile import CapabilityProfile

REARRANGING: Final = frozenset({"Transpose"})
"""Operators whose output is the same codes in another order, and is not quantized again.

Source: OpenVINO 2026.4.1, get_runtime_model: quantization, Transpose, quantization, Convolution runs the Convolution in f32 where the scale is
1 and the zero point 0 (grey levels); without the second quantization in u8, with the same outputs to the bit.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoGraph:
    """An OpenVINO model with the plan's integers.

    Attributes:
        network: The `openvino.Model`.
        tensor_names: Canonical activation to the tensor that holds its real value; a value that exists as codes alone is absent.
        interface_qparams: Parameters of each graph input that takes and each graph output that gives integers.
    """

    network: Any
    tensor_names: Mapping[str, str]
    interface_qparams: Mapping[str, QParams]


def write_openvino_graph(
    model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile
) -> OpenVinoGraph:
    """Return the network with the plan's integers in it.

    Raises:
        LoweringError: OpenVINO cannot read the network, or the plan cannot be written in it; the message names value or node.
        OutputError: There is no room for temporary files.
    """
    require_coverage(model, plan)
    require_read_right(model.graph.graph)
    prepared = with_planned_constants(model, plan, profile)
    for edge in plan.requantize:
        add_stand_in(prepared.graph, edge)
    padded = write_counted_padding_out(prepared.graph)
    network = read_float_network(prepared)
    ports = Ports(network)
    write_weights(model.graph.graph, plan, profile, ports)
    writer = _Writer(
        source=model.graph.graph, plan=plan, profile=profile, network=network, ports=ports, padded=padded
    )
    writer.write_inputs()
    writer.write_activations()
    writer.write_requantized_edges()
    writer.pad_codes()
    writer.network.validate_nodes_and_infer_types()
    return OpenVinoGraph(
        network=writer.network,
        tensor_names=writer.present_names(),
        interface_qparams=writer.interface_qparams,
    )


@dataclass(slots=True, kw_only=True)
class _Writer:
    """One run of `write_openvino_graph`, from the inputs on."""

    source: ir.Graph
    plan: QuantizationPlan
    profile: CapabilityProfile
    network: Any
    ports: Ports
    padded: Mapping[str, str]
    tensor_names: dict[str, str] = field(default_factory=dict)
    interface_qparams: dict[str, QParams] = field(default_factory=dict)

    def write_inputs(self) -> None:
        """Turn the network's inputs into integers where the profile wants it; the others are activations like any."""
        interface = self.profile.interface.input_type
        for value in self.source.inputs:
            name = value.name or ""
            if value.is_initializer() or interface == "float32" or value.dtype != ir.DataType.FLOAT:
                continue
            planned = self.plan.tensors[name].qparams
            outer = self.interface_qparams[name] = integer_interface(name, planned, interface)
            qparams = outer if planned is None else planned
            parameter = self.ports.of(name).get_node()
            readers = self.ports.of(name).get_target_inputs()
            parameter.set_element_type(element_type(outer))
            parameter.validate_and_infer_types()
            real = real_of(self.ports.of(name), outer, f"{name}/input" if outer != qparams else name)
            if outer != qparams:  # kernels take the plan's type only; the way there is exact
                codes = codes_of(real.output(0), qparams, name)
                real = real_of(codes.output(0), qparams, name)
            self._give(real, readers, f"{name}/dequantized")
            self.tensor_names[name] = f"{name}/dequantized"

    def write_activations(self) -> None:
        """Send every planned activation through codes."""
        for value in self._activations():
            name = value.name or ""
            if name in self.interface_qparams:
                continue
            qparams = self.plan.tensors[name].qparams
            if qparams is not None and not self._is_rearranged(value, qparams):
                self._write_activation(value, qparams)
                continue
            self.tensor_names[name] = name
            if (
                value.is_graph_output()
                and self.profile.interface.output_type != "float32"
                and value.dtype == ir.DataType.FLOAT
                and not self._is_written_in_float(value)
            ):
                integer_interface(name, None, self.profile.interface.output_type)  # refuses

    def _is_written_in_float(self, value: ir.Value) -> bool:
        """Tell whether a float node writes a value, which the plan may then let leave the graph as it is."""
        writer = value.producer()
        return writer is not None and self.plan.nodes[writer.name or ""].precision in {"float32", "float16"}

    def _is_rearranged(self, value: ir.Value, qparams: QParams) -> bool:
        """Tell whether a value is another of the same codes in another order, so that there is nothing to quantize.

        Done again all the same, OpenVINO's CPU plug-in may take both away and run the Conv behind them in float (`REARRANGING`).
        """
        producer = value.producer()
        if producer is None or producer.op_type not in REARRANGING or value.is_graph_output():
            return False
        is_requantized = any(edge.node == producer.name for edge in self.plan.requantize)
        return not is_requantized and self._qparams_read(producer) == qparams

    def write_requantized_edges(self) -> None:
        """Put re-quantization where the stand-ins are."""
        for edge in self.plan.requantize:
            name = stand_in_name(edge)
            stand_in = self.ports.of(name)
            codes = codes_of(stand_in.get_node().input_value(0), edge.qparams, name)
            self._give(real_of(codes.output(0), edge.qparams, name), stand_in.get_target_inputs(), name)

    def pad_codes(self) -> None:
        """Pad the codes of what an AveragePool counts padding of with the zero point, instead of the real numbers with 0.

        OpenVINO's CPU plug-in merges such a Pad into the pool and then pads codes with 0, whatever the zero point (seen with 2026.4.1: an
        SQNR of -10 dB). It leaves a Pad of codes alone.
        """
        for node in self.source:
            name, qparams = self.padded.get(str(node.name)), self._qparams_read(node)
            if name is None or qparams is None:
                continue
            padding = self.ports.of(name).get_node()
            # Behind the codes stand Convert, Subtract where there is a zero point, and Multiply.
            dequantized = padding.input_value(0).get_node()
            while dequantized.get_type_name() != "Convert":
                dequantized = dequantized.input_value(0).get_node()
            fill = ov.opset13.constant(
                qparams.zero_point[0], dtype=element_type(qparams), name=f"{name}/fill"
            )
            begin, end = padding.input_value(1), padding.input_value(2)
            codes = ov.opset13.pad(
                dequantized.input_value(0), begin, end, "constant", fill, name=f"{name}/codes"
            )
            self._give(real_of(codes.output(0), qparams, name), padding.output(0).get_target_inputs(), name)

    def present_names(self) -> dict[str, str]:
        """Return the names of the real tensors that are still part of the network: what only padded pools read is there as codes alone."""
        there = {
            name
            for node in self.network.get_ordered_ops()
            for port in node.outputs()
            for name in port.get_names()
        }
        return {value: name for value, name in self.tensor_names.items() if name in there}

    def _qparams_read(self, node: ir.Node) -> QParams | None:
        """Return the parameters of the codes behind a node's first input: those of its edge, else those of its value."""
        edges = [edge for edge in self.plan.requantize if (edge.node, edge.input_index) == (node.name, 0)]
        value = node.inputs[0] if node.inputs else None
        planned = None if value is None else self.plan.tensors.get(value.name or "")
        return edges[0].qparams if edges else planned.qparams if planned is not None else None

    def _write_activation(self, value: ir.Value, qparams: QParams) -> None:
        name = value.name or ""
        port = self.ports.of(name)
        producer = value.producer()
        # The values before a left-out Relu or Clip: the nodes between lose their readers, and with them their place in the network.
        source = port
        while (
            producer is not None
            and is_done_by_saturation(producer, self.plan)
            and producer.inputs[0] is not None
        ):
            source = self.ports.of(producer.inputs[0].name or "")
            producer = producer.inputs[0].producer()
        readers = port.get_target_inputs()
        results = {reader for reader in readers if reader.get_node().get_type_name() == "Result"}
        interface = self.profile.interface.output_type
        gives_integers = bool(results) and interface != "float32" and not value.is_graph_input()
        if gives_integers and interface != "float32":
            qparams = self.interface_qparams[name] = integer_interface(name, qparams, interface)
        codes = codes_of(source, qparams, name)
        is_taken = value.is_graph_input() or gives_integers
        real_name = f"{name}/dequantized" if is_taken else name
        if not value.is_graph_input():
            port.set_names(set())
        others = readers
        if gives_integers:
            self._give(codes, results, name)
            others = readers - results
        if others:
            self._give(real_of(codes.output(0), qparams, name), others, real_name)
            self.tensor_names[name] = real_name

    def _give(self, node: Any, readers: Iterable[Any], tensor_name: str) -> None:
        for reader in readers:
            reader.replace_source_output(node.output(0))
        node.output(0).set_names({tensor_name})
        for reader in readers:
            if reader.get_node().get_type_name() == "Result":  # it keeps names of its own
                reader.get_node().output(0).set_names({tensor_name})

    def _activations(self) -> list[ir.Value]:
        produced = [value for node in self.source for value in node.outputs]
        inputs = [value for value in self.source.inputs if not value.is_initializer()]
        existing = [value for value in (*inputs, *produced) if value.name in self.ports]
        return [value for value in existing if self.plan.tensors[value.name or ""].role != "fused"]
