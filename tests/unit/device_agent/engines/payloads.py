"""One small network in every format: ``difference = a - b`` and ``active = relu(a + bias)``, in float32 and in int8.

The int8 one has one input and one output, ``relu`` of the codes: its scale is the same on both sides, its zero point 0.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper

from device_agent.engines.openvino_library import openvino as ov

SHAPE = (1, 4)
BIAS = np.array([[0.5, -0.5, 1.0, 0.0]], np.float32)
INT8_SCALE = 0.25


# --- ONNX ---


def onnx_float(*, batch: int | str = 1) -> dict[str, bytes]:
    shape = [batch, 4]
    nodes = [
        helper.make_node("Sub", ["a", "b"], ["difference"]),
        helper.make_node("Add", ["a", "bias"], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["active"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("a", "b")]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("difference", "active")
    ]
    bias = onnx.numpy_helper.from_array(BIAS, "bias")
    return {"model.onnx": _onnx_file(nodes, inputs, outputs, [bias])}


def onnx_one_float() -> dict[str, bytes]:
    """One input and one output, ``y = relu(x)``, as nearly every network has."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)]
    return {"model.onnx": _onnx_file([helper.make_node("Relu", ["x"], ["y"])], inputs, outputs, [])}


def onnx_int8() -> dict[str, bytes]:
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [INT8_SCALE])
    zero = helper.make_tensor("zero", TensorProto.INT8, [], [0])
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["real"]),
        helper.make_node("Relu", ["real"], ["active"]),
        helper.make_node("QuantizeLinear", ["active", "scale", "zero"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.INT8, SHAPE)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.INT8, SHAPE)]
    return {"model.onnx": _onnx_file(nodes, inputs, outputs, [scale, zero])}


def _onnx_file(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: list[onnx.TensorProto],
) -> bytes:
    graph = helper.make_graph(nodes, "small", inputs, outputs, initializer=constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


# --- OpenVINO ---


def openvino_float(*, batch: int = 1) -> dict[str, bytes]:
    """``batch`` -1 leaves the first axis open."""
    a, b = (
        ov.opset13.parameter([batch, 4], np.float32, name="a"),
        ov.opset13.parameter([batch, 4], np.float32, name="b"),
    )
    difference = ov.opset13.subtract(a, b)
    active = ov.opset13.relu(ov.opset13.add(a, ov.opset13.constant(BIAS)))
    for node, name in ((a, "a"), (b, "b"), (difference, "difference"), (active, "active")):
        node.output(0).set_names({name})
    return _openvino_files(ov.Model([difference, active], [a, b], "small"))


def openvino_int8() -> dict[str, bytes]:
    x = ov.opset13.parameter(SHAPE, np.int8, name="x")
    y = ov.opset13.convert(ov.opset13.relu(ov.opset13.convert(x, "f32")), "i8")
    for node, name in ((x, "x"), (y, "y")):
        node.output(0).set_names({name})
    return _openvino_files(ov.Model([y], [x], "small"))


def _openvino_files(model: ov.Model) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        xml, weights = Path(folder, "model.xml"), Path(folder, "model.bin")
        ov.serialize(model, xml, weights)
        return {"model.xml": xml.read_bytes(), "model.bin": weights.read_bytes()}


# --- TFLite ---


def tflite_float(*, is_open: bool = False) -> dict[str, bytes]:
    """``is_open`` leaves the first axis of the inputs open, as a converter does for a Keras model."""
    tensors = [_tensor(name) for name in ("a", "b", "difference", "active")]
    tensors.append(_tensor("bias", buffer=1))
    if is_open:
        for tensor in tensors[:2]:
            tensor.shapeSignature = [-1, 4]
    operators = [
        _operator(0, [0, 1], [2], schema.BuiltinOptions.SubOptions, schema.SubOptionsT()),
        _operator(1, [0, 4], [3], schema.BuiltinOptions.AddOptions, _relu_after_add()),
    ]
    codes = [_code(schema.BuiltinOperator.SUB), _code(schema.BuiltinOperator.ADD)]
    return {"model.tflite": _tflite_file(codes, tensors, operators, inputs=[0, 1], outputs=[2, 3])}


def tflite_int8() -> dict[str, bytes]:
    tensors = [_tensor(name, dtype=schema.TensorType.INT8) for name in ("x", "y")]
    for tensor in tensors:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [INT8_SCALE], [0]
    codes = [_code(schema.BuiltinOperator.RELU, version=2)]
    operators = [_operator(0, [0], [1], schema.BuiltinOptions.NONE, None)]
    return {"model.tflite": _tflite_file(codes, tensors, operators, inputs=[0], outputs=[1])}


def _tensor(name: str, *, dtype: int = schema.TensorType.FLOAT32, buffer: int = 0) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(SHAPE), dtype, buffer
    return tensor


def _relu_after_add() -> schema.AddOptionsT:
    options = schema.AddOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    return options


def _code(operator: int, *, version: int = 1) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = version
    return code


def _operator(
    code: int, inputs: list[int], outputs: list[int], kind: int, options: object
) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    return operator


def _tflite_file(
    codes: list[schema.OperatorCodeT],
    tensors: list[schema.TensorT],
    operators: list[schema.OperatorT],
    *,
    inputs: list[int],
    outputs: list[int],
) -> bytes:
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, operators, inputs, outputs
    empty, bias = schema.BufferT(), schema.BufferT()
    bias.data = np.frombuffer(BIAS.tobytes(), np.uint8)
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, codes, [graph], [empty, bias]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
