"""Files as other tools write them, built by hand: TFLite with its schema's classes, ONNX with its helper, OpenVINO with its own writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from device_agent.engines.openvino_library import openvino as ov

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MIDDLE = np.uint8(128)
WEIGHTS = np.arange(-40, 40, dtype=np.int8).reshape(5, 16)


# --- TFLite ---


class TfliteModel:
    """Tensors and operators in the order they are added."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]
        self.codes: list[Any] = []
        self.operators: list[Any] = []

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: str = "INT8",
        scale: Sequence[float] = (),
        zero_point: Sequence[int] = (0,),
        *,
        axis: int = 0,
        data: NDArray[np.generic] | None = None,
        signature: Sequence[int] | None = None,
    ) -> int:
        index = 0
        if data is not None:
            index = len(self.buffers)
            self.buffers.append(schema.BufferT(data=list(data.tobytes())))
        quantization = schema.QuantizationParametersT(
            scale=list(scale),
            zeroPoint=list(zero_point) * (1 if len(zero_point) > 1 else len(scale)),
            quantizedDimension=axis,
        )
        self.tensors.append(
            schema.TensorT(
                name=name,
                shape=list(shape),
                type=getattr(schema.TensorType, kind),
                buffer=index,
                quantization=quantization if scale else None,
                shapeSignature=None if signature is None else list(signature),
            )
        )
        return len(self.tensors) - 1

    def operator(
        self,
        kind: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        *,
        version: int = 1,
        options: Any = None,
        custom: str | None = None,
    ) -> None:
        code = getattr(schema.BuiltinOperator, kind)
        self.codes.append(
            schema.OperatorCodeT(
                deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=version, customCode=custom
            )
        )
        made = schema.OperatorT(opcodeIndex=len(self.codes) - 1, inputs=list(inputs), outputs=list(outputs))
        if options is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            made.builtinOptions = options
        self.operators.append(made)

    def write(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        graph = schema.SubGraphT(
            tensors=self.tensors,
            inputs=list(inputs),
            outputs=list(outputs),
            operators=self.operators,
            name="main",
        )
        model = schema.ModelT(version=3, operatorCodes=self.codes, subgraphs=[graph], buffers=self.buffers)
        builder = flatbuffers.Builder(1 << 12)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def fully_connected(
    *, version: int, per_channel: bool, zero_point: int = 0, weights: NDArray[np.generic] = WEIGHTS
) -> bytes:
    """One FULLY_CONNECTED, 1x16 to 1x5, int8 at both ends."""
    model = TfliteModel()
    scales = [0.01 * (1 + row) for row in range(5)] if per_channel else [0.01]
    x = model.tensor("x", (1, 16), scale=[0.05], zero_point=[3])
    w = model.tensor("w", (5, 16), scale=scales, zero_point=[zero_point], data=weights)
    bias_scales = [0.05 * scale for scale in scales]
    b = model.tensor("b", (5,), "INT32", scale=bias_scales, data=np.arange(5, dtype=np.int32))
    y = model.tensor("y", (1, 5), scale=[0.1], zero_point=[-4])
    options = schema.FullyConnectedOptionsT()
    model.operator("FULLY_CONNECTED", [x, w, b], [y], version=version, options=options)
    return model.write([x], [y])


def single(
    kind: str,
    inputs: Sequence[dict[str, Any]],
    outputs: Sequence[dict[str, Any]],
    options: Any = None,
    version: int = 2,
) -> Callable[[], bytes]:
    """Return what builds a file of one operator; tensors are 1x4x4x4 of int8 with scale 0.1 unless they say otherwise."""

    def build() -> bytes:
        model = TfliteModel()
        given = [_tensor(model, f"x{index}", one) for index, one in enumerate(inputs)]
        made = [_tensor(model, f"y{index}", one) for index, one in enumerate(outputs)]
        model.operator(kind, given, made, version=version, options=options)
        fed = [index for index, one in zip(given, inputs, strict=True) if "data" not in one]
        return model.write(fed, made)

    return build


def _tensor(model: TfliteModel, name: str, given: dict[str, Any]) -> int:
    settings = {"shape": (1, 4, 4, 4), "kind": "INT8", "scale": (0.1,), **given}
    if settings["kind"] not in ("INT8", "UINT8") and "scale" not in given:
        settings["scale"] = ()
    if "data" in settings:
        settings["shape"] = settings["data"].shape
    return model.tensor(name, settings.pop("shape"), **settings)


def ints(*values: Any, kind: str = "INT32") -> dict[str, Any]:
    return {"data": np.asarray(values, np.int64 if kind == "INT64" else np.int32), "kind": kind}


# --- ONNX ---


class OnnxModel:
    """Nodes and constants in the order they are added."""

    def __init__(self, opset: int = 13) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(
        self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: object
    ) -> str:
        self.nodes.append(
            helper.make_node(kind, list(inputs), [output], name=output, domain=domain, **attributes)
        )
        return output

    def quantized(self, name: str, scale: float, zero_point: np.generic, *, axis: int | None = None) -> str:
        """Add Q and DQ behind a value."""
        parameters = [self.constant(f"{name}_s", np.float32(scale)), self.constant(f"{name}_z", zero_point)]
        self.node("QuantizeLinear", [name, *parameters], f"{name}_q")
        return self.node("DequantizeLinear", [f"{name}_q", *parameters], f"{name}_dq")

    def weight(
        self,
        name: str,
        codes: NDArray[np.generic],
        scale: object,
        zero_point: object,
        axis: int | None = None,
    ) -> str:
        parameters = [
            self.constant(name, codes),
            self.constant(f"{name}_s", np.asarray(scale, np.float32)),
            self.constant(f"{name}_z", np.asarray(zero_point, codes.dtype)),
        ]
        attributes = {} if axis is None else {"axis": axis}
        return self.node("DequantizeLinear", parameters, f"{name}_dq", **attributes)

    def write(
        self,
        inputs: Mapping[str, Sequence[object]],
        outputs: Mapping[str, Sequence[object]],
        kind: int = TensorProto.FLOAT,
    ) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            "peer",
            [helper.make_tensor_value_info(name, kind, list(shape)) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, kind, list(shape)) for name, shape in outputs.items()],
            self.constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)],
            ir_version=8,
        )
        return bytes(model.SerializeToString())


def onnx_conv(
    *,
    opset: int = 13,
    scale: float = 0.05,
    zero_point: np.generic = MIDDLE,
    weight_zero_point: int = 0,
    per_channel: bool = True,
    activation: str | None = None,
    batch: object = 1,
) -> bytes:
    """Conv between Q and DQ, as ONNX Runtime's tool writes it: uint8 activations, int8 weights."""
    model = OnnxModel(opset)
    x = model.quantized("x", scale, zero_point)
    codes = np.arange(-18, 18, dtype=np.int8).reshape(4, 1, 3, 3)
    scales, axis = ([0.01, 0.02, 0.03, 0.04], 0) if per_channel else (0.01, None)
    w = model.weight("w", codes, scales, np.full(np.shape(scales), weight_zero_point), axis)
    bias_scale = np.asarray(scales) * np.float64(np.float32(scale))
    b = model.weight("b", np.arange(4, dtype=np.int32), bias_scale, np.zeros(np.shape(scales)), axis)
    c = model.node("Conv", [x, w, b], "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    last = model.node(activation, [c], "a") if activation else c
    y = model.quantized(last, 0.2, zero_point)
    return model.write({"x": [batch, 1, 8, 8]}, {y: [batch, 4, 8, 8]})


# --- OpenVINO ---


def openvino_fake_quantized(
    folder: Path, *, low: float = -1.0, high: float = 1.55, dynamic: bool = False
) -> Path:
    """Convolution and Relu with FakeQuantize on activations and codes for weights, as NNCF saves them."""
    op = ov.opset13
    x = op.parameter(ov.PartialShape([-1 if dynamic else 1, 2, 8, 8]), ov.Type.f32, name="x")
    quantized = op.fake_quantize(x, *(np.float32(one) for one in (low, high, low, high)), 256, name="x/fq")
    codes = op.constant(np.arange(-27, 27, dtype=np.int8).reshape(3, 2, 3, 3), name="w")
    scale = op.constant(np.asarray([0.01, 0.02, 0.03], np.float32).reshape(3, 1, 1, 1))
    weight = op.multiply(op.convert(codes, "f32"), scale)
    conv = op.convolution(quantized, weight, [1, 1], [0, 0], [0, 0], [1, 1], name="conv")
    bias = op.add(conv, op.constant(np.ones((1, 3, 1, 1), np.float32)))
    relu = op.relu(bias, name="relu")
    out = op.fake_quantize(
        relu, np.float32(0), np.float32(2.55), np.float32(0), np.float32(2.55), 256, name="y/fq"
    )
    last = op.max_pool(out, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2], name="pool").output(0)
    path = folder / "peer.xml"
    ov.serialize(ov.Model([last], [x], "peer"), str(path), str(path.with_suffix(".bin")))
    return path
