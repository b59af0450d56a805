"""Which node runs where: fusions, followers, float islands, limits, and what the recipe keeps in float."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from host_tools.errors import CapabilityError
from host_tools.plan.qparams import saturates
from host_tools.recipe import KeepFloat, Recipe
from targets import catalog
from tests.unit.host_tools.plan.plan_models import (
    conv_clip,
    conv_relu,
    float_model,
    gated,
    planned,
    profile,
    ramp,
    residual,
    with_op,
)

ACTIVATED = {"y": (0.0, 2.0), "r": (0.0, 2.0)}


def test_an_activation_is_absorbed_by_its_only_producer():
    plan = planned(conv_relu(), ranges=ACTIVATED)
    assert plan.nodes["relu"].fused_into == "conv"
    assert plan.tensors["c"].role == "fused"
    assert plan.tensors["c"].qparams is None
    assert plan.tensors["y"].qparams is not None


def test_a_value_with_two_readers_is_not_fused():
    model = float_model(
        """g (float[1,2,4,4] x) => (float[1,2,4,4] y) {
            [conv] c = Conv(x, w, b)
            [relu] r = Relu(c)
            [sum] y = Add(c, r)
        }""",
        {"w": ramp(2, 2, 1, 1), "b": ramp(2)},
    )
    plan = planned(model)
    assert plan.nodes["relu"].fused_into is None
    assert plan.tensors["c"].qparams is not None


def test_a_graph_output_is_not_fused():
    model = float_model(
        """g (float[1,2,4,4] x) => (float[1,2,4,4] c, float[1,2,4,4] y) {
            [conv] c = Conv(x, w, b)
            [relu] y = Relu(c)
        }""",
        {"w": ramp(2, 2, 1, 1), "b": ramp(2)},
    )
    plan = planned(model)
    assert plan.nodes["relu"].fused_into is None
    assert plan.tensors["c"].role == "output"


def test_the_longest_chain_is_taken():
    model = float_model(
        """g (float[1,2,4,4] x) => (float[1,2,4,4] y) {
            [conv] c = Conv(x, w, b)
            [relu] r = Relu(c)
            [leaky] y = LeakyRelu(r)
        }""",
        {"w": ramp(2, 2, 1, 1), "b": ramp(2)},
    )
    base = replace(
        catalog.load("x86_64-onnxruntime"), fusions=(("Conv", "Relu"), ("Conv", "Relu", "LeakyRelu"))
    )
    plan = planned(model, base)
    assert plan.nodes["relu"].fused_into == "conv"
    assert plan.nodes["leaky"].fused_into == "conv"
    assert plan.tensors["c"].role == plan.tensors["r"].role == "fused"


@pytest.mark.parametrize("bounds", [(0.0, 6.0), (-1.0, 1.0), (0.0, 4.2), (-2.0, 5.0)])
def test_a_fused_clip_confines_its_range_so_that_saturation_does_it(bounds):
    plan = planned(conv_clip(*bounds), ranges={"y": (-9.0, 9.0)})
    assert plan.nodes["clip"].fused_into == "conv"
    assert saturates(plan.tensors["y"].qparams, *bounds)


def test_a_clip_that_neither_the_format_nor_saturation_can_do_stays_a_node():
    plan = planned(conv_clip(1.0, 4.0), ranges={"y": (1.0, 4.0)})
    assert plan.nodes["clip"].fused_into is None
    assert plan.tensors["c"].qparams is not None
    symmetric = profile("cortex-a-tflite", activations={"zero_point": "symmetric"})
    assert planned(conv_clip(0.0, 4.2), symmetric).nodes["clip"].fused_into is None
    assert planned(conv_clip(0.0, 6.0), symmetric).nodes["clip"].fused_into == "conv"


def test_symmetric_codes_need_the_activation_itself():
    plan = planned(conv_relu(), "amd-vitis-dpu", ranges=ACTIVATED)
    assert plan.nodes["relu"].fused_into == "conv"
    assert not saturates(plan.tensors["y"].qparams, 0.0, np.inf)


def test_an_odd_clip_whose_group_is_wider_keeps_its_own_scale():
    model = float_model(
        """g (float[1,2,4,4] x) => (float[1,4,4,4] y) {
            [conv] c = Conv(x, w, b)
            [clip] k = Clip(c, low, high)
            [join] y = Concat<axis=1>(k, x)
        }""",
        {"w": ramp(2, 2, 1, 1), "b": ramp(2), "low": np.float32(0), "high": np.float32(4.2)},
    )
    plan = planned(model, ranges={"x": (-8.0, 8.0), "k": (0.0, 4.2), "y": (-8.0, 8.0)})
    assert plan.nodes["clip"].fused_into == "conv"
    assert saturates(plan.tensors["k"].qparams, 0.0, 4.2)
    assert [(edge.node, edge.input_index) for edge in plan.requantize] == [("join", 0)]
    assert plan.requantize[0].qparams == plan.tensors["y"].qparams


def test_an_activation_behind_a_float_convolution_stays_with_it():
    base = with_op(catalog.load("cortex-a-tflite"), "Conv", precisions=("float32",))
    plan = planned(conv_relu(), replace(base, interface=replace(base.interface, output_type="float32")))
    assert plan.nodes["relu"].precision == "float32"
    assert "stays with Conv 'conv'" in plan.nodes["relu"].reason
    assert plan.tensors["w"].qparams is None
    assert plan.tensors["b"].qparams is None


def test_a_float_weight_is_never_left_between_integers():
    plan = planned(residual(), recipe=Recipe(keep_float=KeepFloat(nodes=frozenset({"second"}))))
    assert plan.nodes["second"].precision == "float32"
    assert plan.tensors["w2"].qparams is None
    assert plan.tensors["b"].qparams is not None  # Add reads it in integers
    assert plan.tensors["r"].qparams is not None


def test_operators_that_move_data_between_float_operators_stay_float():
    model = float_model(
        """g (float[1,4] x) => (float[4,1] y) {
            [first] a = Erf(x)
            [turn] b = Transpose(a)
            [again] c = Relu(b)
            [last] y = Erf(c)
        }"""
    )
    plan = planned(model, "x86_64-openvino")
    assert {node.precision for node in plan.nodes.values()} == {"float32"}
    assert "moves data between float operators" in plan.nodes["turn"].reason
    assert all(tensor.qparams is None for tensor in plan.tensors.values())
    assert not any("'turn'" in warning for warning in plan.warnings)


SPECTRUM = """g (float[1,4] x) => (float[1,4] y) {
    [real] a = Erf(x)
    [imaginary] b = Exp(x)
    [sum] c = Add(a, b)
    [turned] d = Reshape(c, shape)
    [scaled] e = Mul(d, half)
    [back] f = Reshape(e, shape)
    [root] y = Sqrt(f)
}"""


def test_light_arithmetic_between_float_operators_stays_float():
    constants = {"shape": np.array([1, 4], np.int64), "half": np.array([0.5], np.float32)}
    plan = planned(float_model(SPECTRUM, constants), "x86_64-openvino")
    assert {node.precision for node in plan.nodes.values()} == {"float32"}
    assert "computes little between float operators" in plan.nodes["sum"].reason
    assert "moves data between float operators" in plan.nodes["turned"].reason
    assert not any("'sum'" in warning for warning in plan.warnings), "it is no fall-back"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("g (float[1,4] x) => (float[1,4] y) { [sum] a = Add(x, x) [root] y = Sqrt(a) }", "an input"),
        ("g (float[1,4] x) => (float[1,4] y) { [root] a = Sqrt(x) [sum] y = Add(a, a) }", "an output"),
        (
            "g (float[1,4] x) => (float[1,4] y) { [turn] t = Reshape(x, shape) [sum] a = Add(t, t) [root] y = Sqrt(a) }",
            "an input, through what moves it",
        ),
        (
            """g (float[1,4] x) => (float[1,4] y, float[1,4,1,1] z) {
                [root] a = Sqrt(x) [sum] b = Add(a, a) [again] y = Sqrt(b)
                [turn] c = Reshape(b, four) [conv] z = Conv(c, w, bias)
            }""",
            "a convolution, through what moves its result",
        ),
        (
            "g (float[1,4] x) => (float[1,4] y) { [root] a = Sqrt(x) [sum] b = Add(a, a) [relu] c = Relu(b) [again] y = Sqrt(c) }",
            "an activation that it absorbs",
        ),
    ],
)
def test_light_arithmetic_beside_anything_else_is_integer(text: str, why: str):
    constants = {
        "shape": np.array([1, 4], np.int64),
        "four": np.array([1, 4, 1, 1], np.int64),
        "w": ramp(4, 4, 1, 1),
        "bias": ramp(4),
    }
    plan = planned(
        float_model(text, {name: one for name, one in constants.items() if name in text}),
        "x86_64-onnxruntime",
    )
    assert plan.nodes["sum"].precision == "int8", why


def test_operators_that_move_data_towards_integer_arithmetic_are_integer():
    model = float_model(
        """g (float[1,4,2,2] x) => (float[1,4,2,2] y) {
            [first] a = Erf(x)
            [turn] b = Transpose<perm=[0,1,3,2]>(a)
            [conv] y = Conv(b, w, bias)
        }""",
        {"w": ramp(4, 4, 1, 1), "bias": ramp(4)},
    )
    plan = planned(model, "x86_64-openvino")
    assert plan.nodes["turn"].precision == "int8"
    assert plan.tensors["x"].qparams is None
    assert plan.tensors["a"].qparams is not None


def test_a_model_that_only_moves_data_is_still_quantized():
    model = float_model(
        "g (float[1,4,4,4] x) => (float[1,4,2,2] y) { [pool] y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) }"
    )
    assert planned(model, "x86_64-openvino").nodes["pool"].precision == "int8"


def test_values_between_float_nodes_stay_float_and_those_at_the_door_do_not():
    plan = planned(gated(), "cortex-a-tflite")
    assert plan.nodes["gate"].precision == "float32"
    assert plan.tensors["e"].qparams is not None
    assert plan.tensors["h"].qparams is not None


def test_an_integer_interface_quantizes_what_crosses_it():
    model = float_model("g (float[1,4] x) => (float[1,4] y) { [odd] y = Erf(x) }")
    plan = planned(model, "cortex-a-tflite")
    assert plan.tensors["x"].role == "input"
    assert plan.tensors["x"].qparams is not None
    assert plan.tensors["y"].role == "output"
    assert plan.tensors["y"].qparams is not None
    plan = planned(model, "x86_64-onnxruntime")
    assert plan.tensors["x"].qparams is None


def test_the_recipe_keeps_operators_and_nodes_in_float():
    plan = planned(residual(), recipe=Recipe(keep_float=KeepFloat(ops=frozenset({"Add"}))))
    assert plan.nodes["sum"].precision == "float32"
    assert "keep_float.ops" in plan.nodes["sum"].reason
    plan = planned(residual(), recipe=Recipe(keep_float=KeepFloat(nodes=frozenset({"act"}))))
    assert plan.nodes["act"].fused_into is None
    assert plan.nodes["act"].precision == "float32"
    assert plan.nodes["first"].precision == "int8"


def test_what_the_recipe_keeps_in_float_is_refused_where_the_target_has_no_float():
    strict = profile("cortex-a-tflite", fallback={"to": "refuse"})
    with pytest.raises(CapabilityError, match="the recipe keeps it in float"):
        planned(residual(), strict, Recipe(keep_float=KeepFloat(nodes=frozenset({"sum"}))))


def test_more_float_operators_than_the_target_accepts_are_refused():
    limited = profile("cortex-a-tflite", fallback={"max_float_ops": 1})
    assert planned(gated(), limited).nodes["gate"].precision == "float32"
    with pytest.raises(
        CapabilityError, match=r"2 nodes fall back to float, but 'cortex-a-tflite' accepts 1"
    ) as caught:
        planned(gated(), limited, Recipe(keep_float=KeepFloat(nodes=frozenset({"squeeze"}))))
    assert "'gate'" in str(caught.value)
    assert "'squeeze'" in str(caught.value)


def test_more_integer_regions_than_the_target_accepts_are_refused():
    model = float_model(
        """g (float[1,2,4,4] x) => (float[1,2,4,4] y) {
            [first] a = Conv(x, w1, b1)
            [cut] e = Erf(a)
            [second] y = Conv(e, w2, b2)
        }""",
        {"w1": ramp(2, 2, 1, 1), "b1": ramp(2), "w2": ramp(2, 2, 1, 1), "b2": ramp(2)},
    )
    assert (
        planned(model, profile("cortex-a-tflite", fallback={"max_partitions": 2})).nodes["cut"].precision
        == "float32"
    )
    with pytest.raises(
        CapabilityError, match=r"2 separate integer regions, but 'cortex-a-tflite' accepts 1"
    ) as caught:
        planned(model, profile("cortex-a-tflite", fallback={"max_partitions": 1}))
    assert "Erf 'cut'" in str(caught.value)


def test_unsigned_sixteen_bit_activations_are_refused():
    with pytest.raises(CapabilityError, match="unsigned 16-bit"):
        planned(conv_relu(), profile("cortex-a-tflite", activations={"bits": 16, "signed": False}))
