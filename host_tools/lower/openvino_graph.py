"""Write the plan's integers into a float network as OpenVINO reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx_ir as ir

from device_agent.engines.openvino_library import openvino as ov
from host_tools.errors import LoweringError
from host_tools.lower.coverage import require_coverage
from host_tools.lower.integers import dequantize_array, quantize_array, quantize_bias
from host_tools.lower.interface import integer_interface
from host_tools.lower.openvino_codes import (
    codes_of,
    element_type,
    real_of,
    replace_groups,
    replace_table,
    replace_weight,
    store_in_codebook,
    store_in_float16,
)
from host_tools.lower.openvino_file import read_float_network
from host_tools.lower.openvino_misread import require_read_right
from host_tools.lower.saturation import is_done_by_saturation
from host_tools.model.topology import constant, integers, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan, Requantize
    from targets.profile import CapabilityProfile

_WEIGHTED: Final = frozenset(
    {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul"}
)
"""OpenVINO's operators for Conv, ConvTranspose, Gemm and MatMul; the weight is their second input."""


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
    prepared = _with_planned_constants(model, plan, profile)
    for edge in plan.requantize:
        _add_stand_in(prepared.graph, edge)
    padded = _write_counted_padding_out(prepared.graph)
    writer = _Writer(
        source=model.graph.graph,
        plan=plan,
        profile=profile,
        network=read_float_network(prepared),
        padded=padded,
    )
    writer.find_ports()
    writer.write_weights()
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


def _with_planned_constants(
    model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile
) -> ir.Model:
    """Return a copy whose biases and other small constants have the plan's real numbers, in float: OpenVINO keeps them so.

    Weights are left alone here, for they become integers.
    """
    copy = model.graph.clone()
    for name, value in copy.graph.initializers.items():
        planned = plan.tensors.get(name)
        if (
            planned is None
            or planned.qparams is None
            or planned.role == "weight"
            or value.const_value is None
        ):
            continue
        convert = quantize_bias if planned.role == "bias" else quantize_array
        codes = convert(
            value.const_value.numpy(), planned.qparams, profile.rounding.weights, where=f"Constant {name!r}"
        )
        real = dequantize_array(codes, planned.qparams, where=f"Constant {name!r}")
        value.const_value = ir.tensor(real.astype(np.float32), name=name)
    return copy


def _stand_in_name(edge: Requantize) -> str:
    return f"{edge.node}/input/{edge.input_index}"


def _add_stand_in(graph: ir.Graph, edge: Requantize) -> None:
    """Put a Neg on the edge, so that it is a tensor of its own after reading; re-quantization takes its place."""
    node = next(node for node in graph if node.name == edge.node)
    value = node.inputs[edge.input_index]
    name = _stand_in_name(edge)
    result = ir.Value(name=name, shape=value.shape if value else None, type=value.type if value else None)
    graph.insert_before(node, ir.Node("", "Neg", [value], outputs=[result], name=name))
    node.replace_input_with(edge.input_index, result)


def _counts_padding(node: ir.Node) -> bool:
    is_counting = node.op_type == "AveragePool" and any(integers(node, "count_include_pad", (0,)))
    return is_counting and any(integers(node, "pads", ()))


def _write_counted_padding_out(graph: ir.Graph) -> dict[str, str]:
    """Put a Pad before every AveragePool that counts its padding; `_Writer.pad_codes` says why.

    Returns:
        The Pad's output by the pool's name.
    """
    taken = {value.name for node in graph for value in (*node.inputs, *node.outputs) if value is not None}
    padded_names: dict[str, str] = {}
    for node in list(graph):
        if not _counts_padding(node):
            continue
        pads = integers(node, "pads", ())
        value, name = node.inputs[0], f"{node.name}/padded"
        while {name, f"{name}/widths"} & taken:
            name += "_"
        padded_names[str(node.name)] = name
        spatial = len(pads) // 2
        amounts = np.array([0, 0, *pads[:spatial], 0, 0, *pads[spatial:]], np.int64)
        widths = ir.Value(name=f"{name}/widths", const_value=ir.tensor(amounts, name=f"{name}/widths"))
        graph.register_initializer(widths)
        extents = tuple(
            extent + int(sum(amounts[axis :: spatial + 2])) for axis, extent in enumerate(shape_of(value))
        )
        padded = ir.Value(name=name, shape=ir.Shape(extents), type=value.type if value else None)
        graph.insert_before(node, ir.Node("", "Pad", [value, widths], outputs=[padded], name=name))
        node.replace_input_with(0, padded)
        node.attributes["pads"] = ir.AttrInt64s("pads", [0] * len(pads))
        node.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 0)
    return padded_names


@dataclass(slots=True, kw_only=True)
class _Writer:
    """One run of `write_openvino_graph`. A port is an output of an OpenVINO node."""

    source: ir.Graph
    plan: QuantizationPlan
    profile: CapabilityProfile
    network: Any
    padded: Mapping[str, str]
    ports: dict[str, Any] = field(default_factory=dict)
    tensor_names: dict[str, str] = field(default_factory=dict)
    interface_qparams: dict[str, QParams] = field(default_factory=dict)

    def find_ports(self) -> None:
        """Find the port of every tensor by its name, which the reader keeps."""
        for node in self.network.get_ordered_ops():
            if node.get_type_name() == "Result":  # bears its source's names too, but nothing reads from it
                continue
            for port in node.outputs():
                self.ports.update(dict.fromkeys(port.get_names(), port))

    def write_weights(self) -> None:
        """Replace every planned weight by a constant of codes, of float16, or of indices into a codebook."""
        for node in self.source:
            at = 0 if node.op_type == "Gather" else 1
            for value in node.inputs[at : at + 1]:
                planned = None if value is None else self.plan.tensors.get(value.name or "")
                if value is not None and planned is not None and planned.float_type == "float16":
                    store_in_float16(self._read_weight(node), value.name or "")
                    continue
                if value is not None and planned is not None and planned.codebook is not None:
                    numbers = np.asarray(planned.codebook, np.float32)
                    store_in_codebook(self._read_weight(node), numbers, value.name or "")
                    continue
                if value is None or planned is None or planned.role != "weight" or planned.qparams is None:
                    continue
                if node.op_type == "Gather":
                    gather = self._port(node.outputs[0].name or "").get_node()
                    replace_table(gather, constant(value), planned.qparams, value.name or "")
                    continue
                if planned.qparams.group_size is not None:
                    is_transposed = node.op_type == "Gemm"
                    weight = constant(value) if is_transposed else constant(value).T
                    replace_groups(
                        self._weighted(node),
                        weight,
                        planned.qparams,
                        value.name or "",
                        was_transposed=is_transposed,
                    )
                    continue
                where = f"{node.op_type} {node.name!r}: {value.name!r}"
                codes = quantize_array(
                    constant(value), planned.qparams, self.profile.rounding.weights, where=where
                )
                replace_weight(self._weighted(node), codes, planned.qparams, value.name or "")

    def _read_weight(self, node: ir.Node) -> Any:
        """Return the input of OpenVINO's node by which it reads a weight, or a table."""
        if node.op_type == "Gather":
            return self._port(node.outputs[0].name or "").get_node().input(0)
        return self._weighted(node).input(1)

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
            parameter = self._port(name).get_node()
            readers = self._port(name).get_target_inputs()
            parameter.set_element_type(element_type(outer))
            parameter.validate_and_infer_types()
            real = real_of(self._port(name), outer, f"{name}/input" if outer != qparams else name)
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
            ):
                integer_interface(name, None, self.profile.interface.output_type)  # refuses

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
            name = _stand_in_name(edge)
            stand_in = self._port(name)
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
            padding = self._port(name).get_node()
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
        port = self._port(name)
        producer = value.producer()
        # The values before a left-out Relu or Clip: the nodes between lose their readers, and with them their place in the network.
        source = port
        while (
            producer is not None
            and is_done_by_saturation(producer, self.plan)
            and producer.inputs[0] is not None
        ):
            source = self._port(producer.inputs[0].name or "")
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

    def _port(self, name: str) -> Any:
        try:
            return self.ports[name]
        except KeyError:
            raise LoweringError(f"Value {name!r}: OpenVINO's reader did not keep this tensor.") from None

    def _weighted(self, node: ir.Node) -> Any:
        """Return OpenVINO's node for a weighted node: the producer of its output, behind the Add of a bias."""
        found = self._port(node.outputs[0].name or "").get_node()
        while found.get_type_name() not in _WEIGHTED:
            if found.get_input_size() == 0:
                raise LoweringError(
                    f"{node.op_type} {node.name!r}: OpenVINO's reader did not make a weighted operator of it."
                )
            found = found.input_value(0).get_node()
        return found
