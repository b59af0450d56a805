"""A plan, computed: the float network node by node, every value through its codes. Shares no code with any lowering."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir

from device_agent.engines.onnxruntime_library import onnxruntime as ort

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan

Array = "NDArray[np.generic]"


def simulate(
    model: FloatModel, plan: QuantizationPlan, feeds: Mapping[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """Return the real value of every activation that exists according to the plan."""
    graph = model.graph.graph
    opset = graph.opset_imports[""]
    values: dict[str, NDArray[np.generic]] = {}
    for name, array in (
        *feeds.items(),
        *((name, value.const_value.numpy()) for name, value in graph.initializers.items()),
    ):
        planned = plan.tensors.get(name)
        if planned is not None and planned.values is not None:
            corrected = np.asarray(planned.values, np.float32).reshape(array.shape)
            values[name] = through_codes(corrected, planned.qparams)
        else:
            values[name] = array if planned is None else through_codes(array, planned.qparams)
    edges = {(edge.node, edge.input_index): edge.qparams for edge in plan.requantize}
    for node in graph:
        inputs = {
            f"i{index}": through_codes(values[value.name], edges.get((node.name, index)))
            for index, value in enumerate(node.inputs)
            if value is not None
        }
        for value, array in zip(node.outputs, _run(node, inputs, opset), strict=True):
            values[value.name] = through_codes(array, plan.tensors[value.name].qparams)
    return values


def through_codes(array: NDArray[np.generic], qparams: QParams | None) -> NDArray[np.generic]:
    """Quantize half to even and dequantize, in float64; float32 in, float32 out."""
    if qparams is None or array.dtype != np.float32:
        return array
    aligned = [1] * array.ndim
    if qparams.axis is not None:
        aligned[qparams.axis] = -1
    scale = np.reshape(np.asarray(qparams.scale, np.float64), aligned)
    zero_point = np.reshape(np.asarray(qparams.zero_point, np.float64), aligned)
    codes = np.clip(
        np.rint(array.astype(np.float64) / scale) + zero_point, qparams.quant_min, qparams.quant_max
    )
    return np.asarray((codes - zero_point) * scale, np.float32)


def _run(node: ir.Node, inputs: Mapping[str, NDArray[np.generic]], opset: int) -> list[NDArray[np.generic]]:
    """Run one node in float, without optimization."""
    proto = ir.to_proto(node)
    proto.input[:] = [f"i{index}" if value is not None else "" for index, value in enumerate(node.inputs)]
    proto.output[:] = [f"o{index}" for index in range(len(node.outputs))]
    graph = onnx.helper.make_graph(
        [proto],
        "one",
        [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in proto.output],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {
        name: np.asarray(array) for name, array in inputs.items()
    }  # not a number, of a value without axes
    return [np.asarray(output) for output in session.run(None, feeds)]
