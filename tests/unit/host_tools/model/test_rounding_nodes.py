"""Nodes that quantize as a target rounds give the codes of `codes_of`, halves and both ends included."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from host_tools.model.reference import open_session, run_session
from host_tools.model.rounding import with_rounding
from host_tools.plan.codes import codes_of
from host_tools.plan.quantization_plan import QParams

QUARTERS = np.arange(-700, 700, dtype=np.float32) / 4
ODD = np.asarray([0.0, -0.0, 1e30, -1e30, np.inf, -np.inf, 1e-40, 0.49999997, -0.49999997], np.float32)
VALUES = np.concatenate([QUARTERS, ODD])


def quantizing(scale, zero_point, source: str = "x") -> bytes:
    """Return a graph of one QuantizeLinear with its scale and zero point as initializers."""
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", [source, "scale", "zero"], ["codes"])],
        "net",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, VALUES.shape)],
        [helper.make_empty_tensor_value_info("codes")],
        [numpy_helper.from_array(scale, "scale"), numpy_helper.from_array(zero_point, "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 10
    return model.SerializeToString()


@pytest.mark.parametrize("rounding", ["half_even", "half_up", "half_away_from_zero"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_codes_are_those_of_the_rule(rounding, dtype, scale):
    zero = {"int8": 3, "uint8": 128, "int16": 0}[dtype]
    content = with_rounding(
        quantizing(np.asarray(scale, np.float32), np.asarray(zero, dtype)), lambda _: rounding
    )
    [found] = run_session(
        open_session(content, threads=1, name="net", as_written=True), ["codes"], {"x": VALUES}
    )
    limits = np.iinfo(dtype)
    qparams = QParams(
        scale=(scale,),
        zero_point=(zero,),
        dtype=dtype,
        quant_min=int(limits.min),
        quant_max=int(limits.max),
        axis=None,
    )
    assert found.dtype == dtype
    assert (found == codes_of(VALUES.astype(np.float64), qparams, rounding)).all()


def test_the_rule_is_asked_for_each_value_and_halves_to_even_leave_the_file_alone():
    content = quantizing(np.asarray(0.5, np.float32), np.asarray(0, np.int8), "named")
    asked = []

    def even(name):
        asked.append(name)
        return "half_even"

    assert with_rounding(content, even) is content
    assert asked == ["named"]


def test_scales_of_channels_are_left_to_quantize_linear():
    content = quantizing(np.ones(VALUES.size, np.float32), np.zeros(VALUES.size, np.int8))
    assert with_rounding(content, lambda _: "half_up") is content
    assert onnx.load_model_from_string(content).graph.node[0].op_type == "QuantizeLinear"
