"""Files by other tools' conventions: read for what they are, and breaking just the rules that they break."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from host_tools.lint.reading import read
from host_tools.lint.rules import check, precisions
from targets import catalog
from tests.integration.support import TARGET, onnx_artifact
from tests.unit.host_tools.lint.peers import (
    OnnxModel,
    TfliteModel,
    fully_connected,
    onnx_conv,
    openvino_fake_quantized,
)

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.lint.facts import LintedFile


def opened(folder: Path, data: bytes, ending: str) -> LintedFile:
    path = folder / f"peer{ending}"
    path.write_bytes(data)
    return read(path)


def broken(file: LintedFile, target: str) -> set[str]:
    return {one.rule for one in check(file, catalog.load(target)) if one.severity == "error"}


# --- TFLite ---


def test_tflite_facts(tmp_path: Path) -> None:
    (op,) = opened(tmp_path, fully_connected(version=12, per_channel=True), ".tflite").ops
    assert (op.kind, op.version, op.stands_for) == ("FULLY_CONNECTED", 12, ("Gemm", "MatMul"))
    assert op.computed_in == "int8"
    assert (op.data[0].scale, op.data[0].zero_point) == ((pytest.approx(0.05),), (3,))
    assert op.weight is not None
    assert op.weight.axis == 0
    assert op.weight.scale == pytest.approx((0.01, 0.02, 0.03, 0.04, 0.05))
    assert op.weight.codes is not None
    assert op.weight.codes[4, 15] == 39
    assert op.bias is not None
    assert op.bias.codes is not None
    assert op.bias.codes.tolist() == [0, 1, 2, 3, 4]


def test_a_newer_fully_connected_is_beyond_an_old_runtime(tmp_path: Path) -> None:
    file = opened(tmp_path, fully_connected(version=12, per_channel=True), ".tflite")
    assert broken(file, "cortex-a-tflite-legacy") == {"operator-version"}
    assert broken(file, "cortex-a-tflite") == set()
    assert broken(file, "nxp-neutron") == {"weight-granularity"}


def test_asymmetric_weights(tmp_path: Path) -> None:
    file = opened(tmp_path, fully_connected(version=4, per_channel=False, zero_point=9), ".tflite")
    assert broken(file, "cortex-a-tflite") == {"weight-zero-point"}


def test_the_lowest_code(tmp_path: Path) -> None:
    weights = np.full((5, 16), -128, np.int8)
    file = opened(tmp_path, fully_connected(version=4, per_channel=False, weights=weights), ".tflite")
    assert broken(file, "cortex-a-tflite") == {"narrow-range"}
    assert "narrow-range" not in broken(file, "amd-vitis-dpu")


def test_an_int8_file_is_not_one_for_a_power_of_two_target(tmp_path: Path) -> None:
    file = opened(tmp_path, fully_connected(version=4, per_channel=True), ".tflite")
    assert broken(file, "amd-vitis-dpu") == {
        "format", "input-type", "output-type", "power-of-two", "weight-granularity", "zero-point",
    }  # fmt: skip


def test_depthwise_weights_have_their_channels_last(tmp_path: Path) -> None:
    model = TfliteModel()
    x = model.tensor("x", (1, 8, 8, 3), scale=[0.1])
    w = model.tensor("w", (1, 3, 5, 3), scale=[0.1, 0.2, 0.3], axis=3, data=np.arange(-22, 23, dtype=np.int8))
    b = model.tensor("b", (3,), "INT32", scale=[0.01, 0.02, 0.03], data=np.zeros(3, np.int32))
    y = model.tensor("y", (1, 3, 2, 3), scale=[0.1])
    options = schema.DepthwiseConv2DOptionsT(
        strideW=3, strideH=2, depthMultiplier=1, dilationHFactor=1, dilationWFactor=1, padding=1
    )
    model.operator("DEPTHWISE_CONV_2D", [x, w, b], [y], version=3, options=options)
    file = opened(tmp_path, model.write([x], [y]), ".tflite")
    (op,) = file.ops
    assert op.weight is not None
    assert (op.weight.shape, op.weight.axis) == ((3, 1, 3, 5), 0)
    assert op.weight.codes is not None
    assert op.weight.codes[1].reshape(-1).tolist() == list(range(-21, 23, 3))
    assert (op.strides, op.kernel, op.dilations) == ((2, 3), (3, 5), (1, 1))
    assert broken(file, "cortex-a-tflite") == set()


def test_a_batch_that_is_left_open(tmp_path: Path) -> None:
    model = TfliteModel()
    x = model.tensor("x", (1, 4), scale=[0.1], signature=(-1, 4))
    y = model.tensor("y", (1, 4), scale=[1 / 256], zero_point=[-128])
    model.operator("LOGISTIC", [x], [y], version=2)
    assert broken(opened(tmp_path, model.write([x], [y]), ".tflite"), "cortex-a-tflite") == {"static-shape"}


def test_dynamic_range_quantization_runs_in_float(tmp_path: Path) -> None:
    model = TfliteModel()
    x, y = model.tensor("x", (1, 16), "FLOAT32"), model.tensor("y", (1, 5), "FLOAT32")
    w = model.tensor("w", (5, 16), scale=[0.01], data=np.zeros((5, 16), np.int8))
    model.operator("FULLY_CONNECTED", [x, w], [y], version=3)
    file = opened(tmp_path, model.write([x], [y]), ".tflite")
    assert file.ops[0].computed_in == "float32"
    found = check(file, catalog.load("cortex-a-tflite"))
    assert {one.rule for one in found} == {"input-type", "output-type", "could-be-integer"}


def test_what_no_profile_has_a_word_for(tmp_path: Path) -> None:
    model = TfliteModel()
    x, y, z = (model.tensor(name, (1, 16), scale=[0.1]) for name in "xyz")
    model.operator("CUMSUM", [x], [y])
    model.operator("CUSTOM", [y], [z], custom="MyOwn")
    file = opened(tmp_path, model.write([x], [z]), ".tflite")
    assert [op.kind for op in file.ops] == ["CUMSUM", "custom 'MyOwn'"]
    assert broken(file, "cortex-a-tflite") == {"operator"}


def test_four_bit_weights(tmp_path: Path) -> None:
    model = TfliteModel()
    x, y = model.tensor("x", (1, 4), scale=[0.1]), model.tensor("y", (1, 1), scale=[0.1])
    w = model.tensor("w", (1, 4), "INT4", scale=[0.1], data=np.asarray([0x8F, 0x17], np.uint8))
    model.operator("FULLY_CONNECTED", [x, w], [y], version=10)
    (op,) = opened(tmp_path, model.write([x], [y]), ".tflite").ops
    assert op.weight is not None
    assert op.weight.codes is not None
    assert op.weight.codes.reshape(-1).tolist() == [-1, -8, 7, 1]
    assert op.computed_in == "int8"


# --- ONNX ---


def test_onnx_facts(tmp_path: Path) -> None:
    file = opened(tmp_path, onnx_conv(activation="Relu"), ".onnx")
    conv, relu = file.ops
    assert (conv.kind, conv.stands_for, conv.kernel) == ("Conv", ("Conv",), (3, 3))
    assert (conv.data[0].dtype, conv.data[0].zero_point) == ("uint8", (128,))
    assert conv.outputs[0].is_float
    assert relu.outputs[0].name == "a_q"
    assert conv.weight is not None
    assert conv.weight.axis == 0
    assert conv.bias is not None
    assert conv.bias.dtype == "int32"
    assert file.schema == 13


def test_an_onnx_file_for_x86(tmp_path: Path) -> None:
    plain, fused = (
        opened(tmp_path, onnx_conv(activation=activation), ".onnx") for activation in (None, "Relu")
    )
    assert check(plain, catalog.load("x86_64-onnxruntime")) == ()
    assert check(fused, catalog.load("x86_64-onnxruntime")) == ()


def test_an_activation_that_the_target_does_not_fuse_keeps_the_conv_in_float(tmp_path: Path) -> None:
    file = opened(tmp_path, onnx_conv(activation="HardSwish", opset=14), ".onnx")
    found = check(file, catalog.load("x86_64-onnxruntime"))
    assert [(one.rule, one.where) for one in found] == [
        ("could-be-integer", "Conv 'c'"), ("falls-back", "HardSwish 'a'"),
    ]  # fmt: skip


def test_operators_are_counted_as_the_target_runs_them(tmp_path: Path) -> None:
    fused = opened(tmp_path, onnx_conv(activation="Relu"), ".onnx")
    apart = opened(tmp_path, onnx_conv(activation="HardSwish", opset=14), ".onnx")
    x86 = catalog.load("x86_64-onnxruntime")
    assert precisions(fused, x86) == {"int8": 1}
    assert precisions(apart, x86) == {"float32": 2}
    assert precisions(opened(tmp_path, fully_connected(version=4, per_channel=False), ".tflite"), x86) == {
        "int8": 1
    }


def test_signed_activations_on_x86(tmp_path: Path) -> None:
    file = opened(tmp_path, onnx_conv(zero_point=np.int8(0)), ".onnx")
    assert broken(file, "x86_64-onnxruntime") == {"activation-type"}
    assert broken(file, "aarch64-onnxruntime") == set()


def test_a_scale_that_is_no_power_of_two(tmp_path: Path) -> None:
    file = opened(tmp_path, onnx_conv(zero_point=np.int8(0), per_channel=False), ".onnx")
    found = [one for one in check(file, catalog.load("amd-vitis-dpu")) if one.severity == "error"]
    assert {one.rule for one in found} == {"power-of-two"}
    assert {one.where for one in found} == {"x_q", "w", "c_q"}
    assert "XINT8" in found[0].source


def test_an_opset_that_is_too_new_and_a_batch_that_is_open(tmp_path: Path) -> None:
    file = opened(tmp_path, onnx_conv(opset=22, batch="N"), ".onnx")
    assert broken(file, "x86_64-onnxruntime") == {"schema", "static-shape"}


def test_asymmetric_weights_in_onnx(tmp_path: Path) -> None:
    file = opened(tmp_path, onnx_conv(weight_zero_point=5), ".onnx")
    assert broken(file, "x86_64-onnxruntime") == {"weight-zero-point"}


def test_the_operator_form_of_onnx_runtime_is_not_qdq(tmp_path: Path) -> None:
    """Each of its operators is named once, also where ONNX cannot infer that codes flow."""
    model = OnnxModel()
    for name, value in (("s", np.float32(0.1)), ("z", np.uint8(0))):
        model.constant(name, value)
    model.node("QuantizeLinear", ["x", "s", "z"], "q")
    model.node("QLinearAdd", ["q", "s", "z", "q", "s", "z", "s", "z"], "a", domain="com.microsoft")
    model.node("QLinearSigmoid", ["a", "s", "z", "s", "z"], "b", domain="com.microsoft")
    model.node("DequantizeLinear", ["b", "s", "z"], "y")
    file = opened(tmp_path, model.write({"x": [1, 4]}, {"y": [1, 4]}), ".onnx")
    found = check(file, catalog.load("amd-vitis-dpu"))
    assert [(one.rule, one.where) for one in found] == [
        ("operator", "com.microsoft::QLinearAdd 'a'"), ("operator", "com.microsoft::QLinearSigmoid 'b'"),
    ]  # fmt: skip


@pytest.mark.parametrize("transposed", [0, 1])
def test_the_channels_of_a_gemm(transposed: int, tmp_path: Path) -> None:
    model = OnnxModel()
    x = model.quantized("x", 0.1, np.uint8(0))
    codes = np.arange(12, dtype=np.int8).reshape(3, 4)
    w = model.weight(
        "w", codes if transposed else codes.T.copy(), [0.1, 0.2, 0.3], [0, 0, 0], 0 if transposed else 1
    )
    y = model.quantized(model.node("Gemm", [x, w], "g", transB=transposed), 0.1, np.uint8(0))
    (op,) = opened(tmp_path, model.write({"x": [1, 4]}, {y: [1, 3]}), ".onnx").ops
    assert op.weight is not None
    assert op.weight.codes is not None
    assert op.weight.codes.tolist() == codes.tolist()
    assert op.weight.axis == 0


def test_the_channels_of_a_grouped_transposed_conv(tmp_path: Path) -> None:
    model = OnnxModel()
    x = model.quantized("x", 0.1, np.uint8(0))
    codes = np.arange(24, dtype=np.int8).reshape(4, 3, 2, 1)
    w = model.weight("w", codes, [0.1, 0.2, 0.3], [0, 0, 0], 1)
    t = model.node("ConvTranspose", [x, w], "t", group=2)
    y = model.quantized(t, 0.1, np.uint8(0))
    (op,) = opened(tmp_path, model.write({"x": [1, 4, 5, 5]}, {y: [1, 6, 6, 5]}), ".onnx").ops
    assert op.weight is not None
    assert op.weight.codes is not None
    assert op.weight.shape == (6, 2, 2, 1)
    assert (op.weight.codes[4] == codes[2:, 1]).all()
    assert op.weight.scale == pytest.approx((0.1, 0.2, 0.3) * 2)
    assert op.weight.axis == 0


def test_constants_that_lie_in_another_file_are_told(tmp_path: Path) -> None:
    model = onnx.ModelProto.FromString(onnx_conv())
    (weight,) = (one for one in model.graph.initializer if one.name == "w")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.ClearField("raw_data")
    weight.external_data.add(key="location", value="/etc/hostname")
    found = check(opened(tmp_path, model.SerializeToString(), ".onnx"), catalog.load("x86_64-onnxruntime"))
    assert [(one.rule, one.where) for one in found] == [("readable-constant", "w")]


# --- OpenVINO ---


def test_openvino_facts(tmp_path: Path) -> None:
    file = read(openvino_fake_quantized(tmp_path))
    assert [op.kind for op in file.ops] == ["Convolution", "ReLU", "MaxPool"]
    conv = file.ops[0]
    assert conv.data[0].scale == (pytest.approx(0.01),)
    assert conv.data[0].zero_point == (100,)
    assert conv.weight is not None
    assert (conv.weight.dtype, conv.weight.axis) == ("int8", 0)
    assert conv.weight.scale == pytest.approx((0.01, 0.02, 0.03))
    assert conv.bias is not None
    assert conv.kernel == (3, 3)


def test_an_openvino_file_by_nncfs_conventions(tmp_path: Path) -> None:
    file = read(openvino_fake_quantized(tmp_path))
    assert broken(file, "x86_64-openvino") == set()
    assert {"format", "power-of-two", "weight-granularity"} < broken(file, "amd-vitis-dpu")


def test_an_openvino_file_with_an_open_batch(tmp_path: Path) -> None:
    assert broken(read(openvino_fake_quantized(tmp_path, dynamic=True)), "x86_64-openvino") == {
        "static-shape"
    }


# --- artifacts ---


def test_an_artifact_is_read_by_its_payload_and_remembers_its_target(tmp_path: Path) -> None:
    file = read(onnx_artifact(tmp_path / "small.ewa"))
    assert (file.format, file.made_for) == ("onnx_qdq", TARGET)
    assert [op.kind for op in file.ops] == ["MatMul"]
    rules = [one.rule for one in check(file, catalog.load("aarch64-onnxruntime"))]
    assert rules == ["artifact-target"]
