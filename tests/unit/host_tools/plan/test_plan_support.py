"""One test a capability rule: the sentence names operator, node, rule, what was found, the limit and the profile's key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from host_tools.errors import CapabilityError
from host_tools.plan.support import finding_of
from targets import catalog
from targets.profile import OpConstraints
from tests.unit.host_tools.plan.plan_models import (
    attention,
    conv_relu,
    float_model,
    planned,
    profile,
    ramp,
    upsampler,
    with_op,
    without_op,
)


def limited(op_type: str, **limits):
    return with_op(catalog.load("cortex-a-tflite"), op_type, constraints=OpConstraints(**limits))


def node_of(model, name: str):
    return next(node for node in model.graph.graph if node.name == name)


def big_conv():
    return float_model(
        """g (float[2,2,16,16] x) => (float[2,3,5,4] y) {
            [conv] y = Conv<kernel_shape=[3,5], strides=[2,3], dilations=[3,1]>(x, w, b)
        }""",
        {"w": ramp(3, 2, 3, 5), "b": ramp(3)},
    )


def test_a_node_within_all_limits_breaks_no_rule():
    assert finding_of(node_of(conv_relu(), "conv"), catalog.load("cortex-a-tflite")) is None


def test_operator_is_known():
    model = float_model("g (float[1,4] x) => (float[1,4] y) { [odd] y = Erf(x) }")
    found = finding_of(node_of(model, "odd"), catalog.load("cortex-a-tflite"))
    assert found is not None
    assert found.rule == "operator_is_known"
    assert (
        found.text
        == "Erf 'odd': the target must list the operator; it lists no Erf (ops of 'cortex-a-tflite')"
    )


def test_operator_of_another_domain_is_not_known():
    model = float_model("g (float[1,4] x) => (float[1,4] y) { [odd] y = odd.domain.Relu(x) }")
    found = finding_of(node_of(model, "odd"), catalog.load("cortex-a-tflite"))
    assert found is not None
    assert "it lists no odd.domain.Relu" in found.text


def test_operator_is_allowed():
    found = finding_of(
        node_of(conv_relu(), "relu"), with_op(catalog.load("cortex-a-tflite"), "Relu", precisions=())
    )
    assert found is not None
    assert found.rule == "operator_is_allowed"
    assert "must not forbid the operator" in found.text


def test_kernel_is_integer():
    found = finding_of(
        node_of(conv_relu(), "conv"),
        with_op(catalog.load("cortex-a-tflite"), "Conv", precisions=("float32",)),
    )
    assert found is not None
    assert found.text == (
        "Conv 'conv': the operator must have an int8 kernel; it has float32 (ops.Conv.precisions of 'cortex-a-tflite')"
    )


def test_data_are_float():
    model = float_model("g (int64[1,4] x) => (int64[4,1] y) { [turn] y = Transpose(x) }")
    found = finding_of(node_of(model, "turn"), catalog.load("cortex-a-tflite"))
    assert found is not None
    assert "only float tensors can be quantized; 'x' is INT64, 'y' is INT64" in found.text


def test_weights_are_constant():
    model = float_model(
        "g (float[1,2,4,4] x, float[3,2,1,1] w) => (float[1,3,4,4] y) { [conv] y = Conv(x, w) }",
    )
    found = finding_of(node_of(model, "conv"), catalog.load("cortex-a-tflite"))
    assert found is not None
    assert "the weight must be a constant; 'w' is computed" in found.text


def test_bias_is_constant():
    model = float_model(
        "g (float[1,2,4,4] x, float[3] b) => (float[1,3,4,4] y) { [conv] y = Conv(x, w, b) }",
        {"w": ramp(3, 2, 1, 1)},
    )
    found = finding_of(node_of(model, "conv"), catalog.load("cortex-a-tflite"))
    assert found is not None
    assert "one value per output channel, 3; 'b' is computed" in found.text


def test_bias_is_one_per_channel():
    model = float_model(
        "g (float[1,4] x) => (float[1,5] y) { [gemm] y = Gemm<transB=1>(x, w, b) }",
        {"w": ramp(5, 4), "b": np.asarray([1.0], np.float32)},
    )
    found = finding_of(node_of(model, "gemm"), catalog.load("cortex-a-tflite"))
    assert found is not None
    assert found.rule == "bias_is_one_per_channel"
    assert "5; 'b' has shape (1,)" in found.text


def test_rank_is_within():
    found = finding_of(node_of(conv_relu(), "relu"), limited("Relu", max_rank=3))
    assert found is not None
    assert "at most 3; it is 4 (ops.Relu.max_rank" in found.text


def test_batch_is_within():
    found = finding_of(node_of(big_conv(), "conv"), limited("Conv", max_batch=1))
    assert found is not None
    assert "at most 1; it is 2 (ops.Conv.max_batch" in found.text


def test_stride_is_within():
    found = finding_of(node_of(big_conv(), "conv"), limited("Conv", max_stride=2))
    assert found is not None
    assert "at most 2 on every axis; it is 2x3 (ops.Conv.max_stride" in found.text


def test_kernel_is_within():
    found = finding_of(node_of(big_conv(), "conv"), limited("Conv", max_kernel=4))
    assert found is not None
    assert "at most 4 on every axis; it is 3x5 (ops.Conv.max_kernel" in found.text


def test_dilation_is_within():
    found = finding_of(node_of(big_conv(), "conv"), limited("Conv", max_dilation=2))
    assert found is not None
    assert "at most 2 on every axis; it is 3x1 (ops.Conv.max_dilation" in found.text


@pytest.mark.parametrize(
    ("operator", "constants", "axes"),
    [
        ("Softmax<axis=-1>(x)", {}, "3"),
        ("Concat<axis=1>(x, x)", {}, "1"),
        ("Split<num_outputs=1>(x)", {}, "0"),
        ("ReduceMean(x, axes)", {"axes": np.asarray([2, -1])}, "2, 3"),
        ("Squeeze(x, axes)", {"axes": np.asarray([0])}, "0"),
        (
            "Slice(x, one, four, axes)",
            {"one": np.asarray([1]), "four": np.asarray([4]), "axes": np.asarray([2])},
            "2",
        ),
        ("Pad(x, pads)", {"pads": np.asarray([0, 0, 1, 0, 0, 0, 0, 2])}, "2, 3"),
    ],
)
def test_axes_are_allowed(operator, constants, axes):
    model = float_model(f"g (float[1,4,6,6] x) => (float y) {{ [node] y = {operator} }}", constants)
    op_type = operator.partition("(")[0].partition("<")[0]
    forbidden = limited(op_type, axes=(9,))
    found = finding_of(node_of(model, "node"), forbidden)
    assert found is not None
    assert f"axes 9 only; it works on {axes} (ops.{op_type}.axes" in found.text
    allowed = limited(op_type, axes=tuple(int(axis) for axis in axes.split(", ")))
    assert finding_of(node_of(model, "node"), allowed) is None


def test_axes_do_not_apply_to_an_operator_without_them():
    assert finding_of(node_of(conv_relu(), "relu"), limited("Relu", axes=(1,))) is None


def test_mode_is_allowed():
    found = finding_of(node_of(upsampler(), "resize"), limited("Resize", modes=("linear", "cubic")))
    assert found is not None
    assert "the mode must be linear or cubic; it is nearest (ops.Resize.modes" in found.text


def test_second_operand_is_constant():
    constant = limited("MatMul", constant_operand=True)
    assert finding_of(node_of(attention(), "query"), constant) is None
    found = finding_of(node_of(attention(), "scores"), constant)
    assert found is not None
    assert "the second operand must be a constant; 't' is computed" in found.text


def test_sixteen_bit_activations_ask_for_int16_kernels():
    wide = profile("cortex-a-tflite", activations={"bits": 16, "zero_point": "symmetric"})
    found = finding_of(node_of(conv_relu(), "conv"), wide)
    assert found is not None
    assert "must have an int16 kernel" in found.text


def test_a_broken_rule_falls_back_and_says_where_to():
    plan = planned(big_conv(), limited("Conv", max_stride=2))
    assert plan.nodes["conv"].precision == "float32"
    assert "it is 2x3" in plan.nodes["conv"].reason
    assert "falls back to float32 as fallback.to says" in plan.nodes["conv"].reason
    assert any("it is 2x3" in warning and "Runs in float32 instead" in warning for warning in plan.warnings)


def test_an_unknown_operator_is_refused_by_name_where_the_target_refuses():
    strict = without_op(profile("cortex-a-tflite", fallback={"to": "refuse"}), "Relu")
    model = float_model("g (float[1,4] x) => (float[1,4] y) { [odd] e = Erf(x)\n [act] y = Relu(e) }")
    with pytest.raises(CapabilityError) as caught:
        planned(model, strict)
    assert "2 nodes cannot run on 'cortex-a-tflite', and it refuses to fall back" in str(caught.value)
    assert "Erf 'odd'" in str(caught.value)
    assert "Relu 'act'" in str(caught.value)
    assert "choose a target" in str(caught.value)


def test_an_operator_that_is_forbidden_is_refused_even_where_others_fall_back():
    forbidden = with_op(catalog.load("cortex-a-tflite"), "Relu", precisions=())
    model = float_model("g (float[1,4] x) => (float[1,4] y) { [act] y = Relu(x) }")
    with pytest.raises(CapabilityError, match="no float kernel"):
        planned(model, forbidden)


def test_a_float16_fallback_is_taken_where_the_operator_has_it():
    half = profile("cortex-a-tflite", fallback={"to": "float16"})
    half = with_op(with_op(half, "Conv", precisions=("float16", "float32")), "Relu", precisions=("float32",))
    plan = planned(conv_relu(), replace(half, fusions=()))
    assert plan.nodes["conv"].precision == "float16"
    assert plan.nodes["relu"].precision == "float32"
