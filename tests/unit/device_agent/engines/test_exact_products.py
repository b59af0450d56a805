"""On which processors ONNX Runtime is asked for products that do not saturate."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from device_agent.engines.onnx import open_session
from device_agent.engines.onnxruntime_library import onnxruntime as ort

ASKED = "session.x64quantprecision"
AVX2 = frozenset({"avx", "avx2", "fma"})


def product() -> bytes:
    """Return a MatMul of uint8 codes and 8-bit weights, as large as they can be: 16 bits do not hold the sum of two products."""
    weights = np.full((64, 8), 127, np.int8)
    constants = {
        "scale": np.float32(1),
        "zero": np.uint8(0),
        "weights": weights,
        "weight_scale": np.float32(1),
        "weight_zero": np.int8(0),
        "out_scale": np.float32(8192),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x_codes"]),
        helper.make_node("DequantizeLinear", ["x_codes", "scale", "zero"], ["x_back"]),
        helper.make_node("DequantizeLinear", ["weights", "weight_scale", "weight_zero"], ["w_back"]),
        helper.make_node("MatMul", ["x_back", "w_back"], ["y"]),
        helper.make_node("QuantizeLinear", ["y", "out_scale", "zero"], ["y_codes"]),
        helper.make_node("DequantizeLinear", ["y_codes", "out_scale", "zero"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [16, 64])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [16, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def is_asked(session: ort.InferenceSession) -> bool:
    try:
        return session.get_session_options().get_session_config_entry(ASKED) == "1"
    except RuntimeError:  # ONNX Runtime's word for a setting that nobody made
        return False


@pytest.mark.parametrize("vnni", ["avx512_vnni", "avx_vnni"])
def test_a_processor_with_vnni_keeps_its_quick_kernels(vnni: str) -> None:
    assert not is_asked(open_session(product(), ort.SessionOptions, processor=AVX2 | {vnni}))


@pytest.mark.parametrize("processor", [AVX2, frozenset()])
def test_a_processor_without_vnni_is_asked_for_exact_products(processor: frozenset[str]) -> None:
    assert is_asked(open_session(product(), ort.SessionOptions, processor=processor))


def test_nothing_saturates_on_this_processor() -> None:
    session = open_session(product(), ort.SessionOptions)
    (found,) = session.run(None, {"x": np.full((16, 64), 255, np.float32)})
    np.testing.assert_array_equal(found, np.full((16, 8), round(64 * 255 * 127 / 8192) * 8192, np.float32))
