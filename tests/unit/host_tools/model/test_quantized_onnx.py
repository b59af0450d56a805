"""The codes of a quantized ONNX file are taken out: what is left computes the same, and every number of the file is kept beside it."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from host_tools.errors import ModelError, UnsupportedOperatorError
from host_tools.model import load
from host_tools.model.reference import FloatRunner
from host_tools.model.topology import network_of
from tests.unit.host_tools.model.onnx_models import model_proto, op_types, run, saved
from tests.unit.host_tools.model.quantized_files import QuantType, by_onnxruntime, cnn, qdq


@pytest.mark.parametrize("is_qdq", [True, False], ids=["qdq", "operators"])
@pytest.mark.parametrize("per_channel", [True, False], ids=["channel", "tensor"])
def test_what_onnxruntime_quantizes(is_qdq: bool, per_channel: bool, tmp_path: Path) -> None:
    path = by_onnxruntime(tmp_path, cnn(), is_qdq=is_qdq, per_channel=per_channel)
    model = load(path)
    found = model.quantization
    assert found is not None
    assert op_types(model) == ["Conv", "Relu", "Conv", "Add", "MaxPool", "Flatten", "Gemm"] or op_types(model) == ["Conv", "Conv", "Add", "MaxPool", "Flatten", "Gemm"]  # fmt: skip
    assert found.form == ("ONNX QDQ" if is_qdq else "ONNX operators on codes")
    assert "nothing was calibrated" in model.notes[0]
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    network = network_of(model.graph)
    for node in network.nodes.values():
        if node.op_type not in ("Conv", "Gemm"):
            continue
        name = str(node.inputs[1].name)  # type: ignore[union-attr]
        coding = found.constants[name]
        assert coding.dtype == "int8"
        assert len(coding.scale) == (network.values[name].shape[0] if per_channel else 1)  # type: ignore[index]
        values = network.values[name].const_value.numpy()  # type: ignore[union-attr]
        codes = values / np.reshape(coding.scale, (-1, *[1] * (values.ndim - 1)))
        codes = np.rint(codes).astype(np.int8)
        assert any(array.dtype == np.int8 and np.array_equal(array.reshape(codes.shape), codes) for array in stored.values() if array.size == codes.size), name  # fmt: skip
    # The float model is what the codes stand for: it is nearer to the file than half a step of each of its layers.
    sample = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    (expected,) = run(path.read_bytes(), {"x": sample})
    computed = FloatRunner(model, threads=1).run({"x": sample})["y"]
    step = found.activations["y"].scale[0] if "y" in found.activations else 0.05
    assert np.abs(computed - expected).max() < 4 * step


def test_scales_of_half_floats_and_codes_of_four_bits(tmp_path: Path) -> None:
    codes = np.asarray([[1, -8, 5], [7, 0, -3]])
    proto = qdq(weight_dtype=ml_dtypes.int4, codes=codes)
    found = load(saved(tmp_path, proto)).quantization
    assert found is not None
    (weight,) = (one for one in found.constants.values() if one.dtype == "int4")
    assert weight.scheme == "int4 symmetric per channel"
    with_halves = model_proto(
        "g (float16[1,4] x) => (float16[1,4] y) { q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Neg(d) }",
        opset=19, ir_version=9, s=np.float16(0.1), z=np.uint8(7),
    )  # fmt: skip
    found = load(saved(tmp_path, with_halves)).quantization
    assert found is not None
    assert found.activations["x"].scale == (float(np.float16(0.1)),)
    assert found.activations["x"].zero_point == (7,)


def test_inputs_and_outputs_that_are_codes(tmp_path: Path) -> None:
    proto = model_proto(
        "g (int8[1,4] x) => (int8[1,4] y) { d = DequantizeLinear(x, s, z) r = Neg(d) y = QuantizeLinear(r, t, z) }",
        s=np.float32(0.1), t=np.float32(0.2), z=np.int8(4),
    )  # fmt: skip
    model = load(saved(tmp_path, proto))
    assert [(spec.name, spec.dtype) for spec in (*model.inputs, *model.outputs)] == [("x", "float32"), ("y", "float32")]  # fmt: skip
    assert model.quantization is not None
    assert {name: one.scale[0] for name, one in model.quantization.activations.items()} == {
        "x": pytest.approx(0.1),
        "y": pytest.approx(0.2),
    }


def test_weights_alone_are_a_float_model(tmp_path: Path) -> None:
    proto = model_proto(
        "g (float[1,3] x) => (float[1,2] y) { wd = DequantizeLinear<axis=0>(w, s, z) y = Gemm<transB=1>(x, wd) }",
        w=np.asarray([[1, -127, 5], [127, 0, -3]], np.int8), s=np.float32([0.1, 0.2]), z=np.int8([0, 0]),
    )  # fmt: skip
    model = load(saved(tmp_path, proto))
    assert model.quantization is None
    assert "1 weights are stored as int8" in model.notes[0]


def test_a_second_coding_of_one_value_is_of_the_edge(tmp_path: Path) -> None:
    proto = model_proto(
        """g (float[1,4] x) => (float[1,4] y) { q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
           p = QuantizeLinear(d, t, z) e = DequantizeLinear(p, t, z) y = Add(d, e) }""",
        s=np.float32(0.1), t=np.float32(0.2), z=np.int8(4),
    )  # fmt: skip
    found = load(saved(tmp_path, proto)).quantization
    assert found is not None
    (edge,) = found.edges
    assert (edge.source, edge.output, edge.coding.scale[0]) == ("x", "y", pytest.approx(0.2))


# --- Refused ---


def refused(folder: Path, proto: onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as caught:
        load(saved(folder, proto))
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input_scale": 0.0}, "'x' has the scale 0.0; expected a finite number above 0"),
        ({"input_scale": np.nan}, "'x' has the scale nan"),
        ({"input_scale": np.inf}, "'x' has the scale inf"),
        ({"input_scale": -0.5}, "'x' has the scale -0.5"),
        ({"weight_scale": (0.1, np.nan)}, "'w' has the scale nan"),
        (
            {"weight_scale": (0.1, 0.2, 0.3), "weight_zero": (0, 0, 0)},
            "'w' has 3 scales along axis 0 of the shape [2, 3]; expected 2",
        ),
        ({"weight_zero": (0, 0, 0)}, "'w' has 2 scales and 3 zero points"),
        ({"axis": 2}, "'w' has scales along axis 2; expected one of its 2 axes"),
        ({"axis": -3}, "'w' has scales along axis -3"),
        (
            {"input_scale": (0.1, 0.2, 0.3), "input_zero": (0, 0, 0), "weight_scale": 0.1, "weight_zero": 0},
            "the activation 'x' has 3 scales",
        ),
        ({"weight_scale": ()}, "scale"),
    ],
)
def test_parameters_that_cannot_be_right(changed: dict[str, object], message: str, tmp_path: Path) -> None:
    if changed.get("weight_scale") == ():
        changed = {"weight_scale": np.zeros(0, np.float32), "weight_zero": np.zeros(0, np.int8), "bias": np.zeros(2, np.int32)}  # fmt: skip
    assert message in refused(tmp_path, qdq(**changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z)",
            "DynamicQuantizeLinear 'q': the model is quantized, and this operator finds the scale of what it reads at run time",
            "int8-dynamic",
        ),
        (
            "q = QuantizeLinear(x, s, z) m = MatMulInteger(q, w, z) y = Cast<to=1>(m)",
            "MatMulInteger 'm'",
            "int8-dynamic",
        ),
        (
            "a = Abs(x) m = ReduceMax<keepdims=0>(a) q = QuantizeLinear(x, m, z) y = DequantizeLinear(q, m, z)",
            "its scale 'm' is computed at run time",
            "int8-dynamic",
        ),
        (
            "q = QuantizeLinear(x, s, z) n = Cast<to=6>(q) y = Cast<to=1>(n)",
            "Cast 'n' computes with the codes of 'q'",
            "float model",
        ),
        (
            "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, t, z)",
            "reads 'q' as int8, scale 0.2, zero point 4; it was written as int8, scale 0.1",
            "Export",
        ),
    ],
)
def test_other_ways_to_quantize(text: str, message: str, hint: str, tmp_path: Path) -> None:
    used = {"s": np.float32(0.1), "t": np.float32(0.2), "z": np.int8(4), "w": np.ones((4, 4), np.int8)}
    if "DynamicQuantizeLinear" in text:
        used = {}
    proto = model_proto(
        f"g (float[1,4] x) => (float[1,4] y) {{ {text} }}",
        **{name: array for name, array in used.items() if f" {name})" in text or f" {name}," in text},
    )
    with pytest.raises(UnsupportedOperatorError if "written as" not in message else ModelError) as caught:
        load(saved(tmp_path, proto))
    assert message in str(caught.value)
    assert hint in str(caught.value.hint)


def test_weights_in_blocks(tmp_path: Path) -> None:
    node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], name="m", domain="com.microsoft", K=32, N=4, bits=4, block_size=32)  # fmt: skip
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [
            numpy_helper.from_array(np.zeros((4, 1, 16), np.uint8), "w"),
            numpy_helper.from_array(np.ones(4, np.float32), "s"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)], ir_version=8)  # fmt: skip
    assert "MatMulNBits 'm': the model is quantized, and this operator has its weights in blocks" in refused(tmp_path, proto)  # fmt: skip


@pytest.mark.parametrize("weights", [QuantType.QInt8, QuantType.QUInt8])
def test_unsigned_weights_keep_their_zero_points(weights: QuantType, tmp_path: Path) -> None:
    path = by_onnxruntime(tmp_path, cnn(), per_channel=False, weights=weights)
    found = load(path).quantization
    assert found is not None
    kinds = {one.dtype for one in found.constants.values()} - {"int32"}
    assert kinds == {"int8" if weights is QuantType.QInt8 else "uint8"}
