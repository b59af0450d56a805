"""What is done to the float network before OpenVINO reads it, so that the plan's integers find their places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.lower.integers import dequantize_array, quantize_array, quantize_bias
from host_tools.model.topology import integers, shape_of

if TYPE_CHECKING:
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan, Requantize
    from targets.profile import CapabilityProfile


def with_planned_constants(model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> ir.Model:
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


def stand_in_name(edge: Requantize) -> str:
    """Return the name of what stands on an edge until it is re-quantized."""
    return f"{edge.node}/input/{edge.input_index}"


def add_stand_in(graph: ir.Graph, edge: Requantize) -> None:
    """Put a Neg on the edge, so that it is a tensor of its own after reading; re-quantization takes its place."""
    node = next(node for node in graph if node.name == edge.node)
    value = node.inputs[edge.input_index]
    name = stand_in_name(edge)
    result = ir.Value(name=name, shape=value.shape if value else None, type=value.type if value else None)
    graph.insert_before(node, ir.Node("", "Neg", [value], outputs=[result], name=name))
    node.replace_input_with(edge.input_index, result)


def _counts_padding(node: ir.Node) -> bool:
    is_counting = node.op_type == "AveragePool" and any(integers(node, "count_include_pad", (0,)))
    return is_counting and any(integers(node, "pads", ()))


def write_counted_padding_out(graph: ir.Graph) -> dict[str, str]:
    """Put a Pad before every AveragePool that counts its padding; `openvino_graph` says why where it pads codes.

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
