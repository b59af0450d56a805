"""Scales: shared, fixed, re-quantized, per channel, enlarged for biases, sums and rescale factors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from host_tools.errors import CapabilityError
from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.qparams import real_range
from host_tools.plan.weights import largest_sums
from host_tools.recipe import Recipe
from targets import catalog
from tests.unit.host_tools.plan.plan_models import (
    attention,
    branches,
    classifier,
    conv_relu,
    float_model,
    planned,
    profile,
    ramp,
    residual,
    upsampler,
    with_op,
    without_op,
)


def scale_of(plan, name: str) -> float:
    return plan.tensors[name].qparams.scale[0]


def test_same_scale_operators_share_the_widest_range():
    plan = planned(
        branches(),
        "x86_64-openvino",
        recipe=Recipe(method="minmax"),
        ranges={"j": (-1.0, 3.0), "y": (-0.5, 2.0)},
    )
    assert plan.tensors["j"].qparams == plan.tensors["y"].qparams
    assert scale_of(plan, "j") == pytest.approx(4.0 / 255)
    assert "one scale with 'y' through MaxPool 'pool'" in plan.tensors["j"].reason


def test_a_fixed_output_is_what_the_kernel_says_in_the_targets_signedness():
    plan = planned(classifier())
    assert (plan.tensors["y"].qparams.scale, plan.tensors["y"].qparams.zero_point) == ((1 / 256,), (-128,))
    unsigned = planned(classifier(), profile("cortex-a-tflite", activations={"signed": False}))
    assert (unsigned.tensors["y"].qparams.scale, unsigned.tensors["y"].qparams.zero_point) == (
        (1 / 256,),
        (0,),
    )


def test_a_fixed_output_in_a_wider_group_is_requantized_on_the_edge():
    plan = planned(branches(), ranges={"s": (0.0, 1.0), "c": (-3.0, 3.0), "j": (-3.0, 3.0), "y": (-3.0, 3.0)})
    assert plan.tensors["s"].qparams.scale == (1 / 256,)
    (edge,) = plan.requantize
    assert (edge.node, edge.input_index) == ("join", 0)
    assert edge.qparams == plan.tensors["j"].qparams == plan.tensors["c"].qparams
    assert "'s' must keep its own" in edge.reason


def test_a_group_that_fits_a_fixed_output_takes_it_over():
    fits = {"s": (0.0, 1.0), "c": (0.0, 0.9), "j": (0.0, 1.0), "y": (0.0, 1.0)}
    plan = planned(branches(), ranges=fits)
    assert plan.requantize == ()
    assert {plan.tensors[name].qparams for name in "scjy"} == {plan.tensors["s"].qparams}


def test_a_target_that_cannot_requantize_runs_the_reader_in_float():
    plan = planned(branches(), without_op(catalog.load("cortex-a-tflite"), "QuantizeLinear"))
    assert plan.requantize == ()
    assert plan.nodes["join"].precision == "float32"
    assert "the target must re-quantize it; it cannot (ops.QuantizeLinear" in plan.nodes["join"].reason


def test_a_target_that_neither_requantizes_nor_falls_back_refuses():
    strict = without_op(profile("cortex-a-tflite", fallback={"to": "refuse"}), "QuantizeLinear")
    with pytest.raises(CapabilityError, match="Concat 'join'"):
        planned(branches(), strict)


def test_an_edge_through_float_is_a_warning():
    through_float = with_op(catalog.load("cortex-a-tflite"), "QuantizeLinear", precisions=("float32",))
    plan = planned(branches(), through_float)
    assert len(plan.requantize) == 1
    assert any("changes scale through float" in warning for warning in plan.warnings)


def test_an_edge_outside_the_requantization_ratio_rejects_its_reader():
    narrow = with_op(catalog.load("cortex-a-tflite"), "QuantizeLinear", requantization_ratio=(0.5, 2.0))
    plan = planned(branches(), narrow, ranges={"c": (-30.0, 30.0), "j": (-30.0, 30.0)})
    assert plan.nodes["join"].precision == "float32"
    assert "re-quantize it by" in plan.nodes["join"].reason


def test_constants_of_same_scale_operators_join_the_group():
    model = float_model(
        "g (float[1,2,4,4] x) => (float[1,2,6,6] y) { [pad] y = Pad(x, pads, fill) }",
        {"pads": np.asarray([0, 0, 1, 1, 0, 0, 1, 1]), "fill": np.float32(-5.0)},
    )
    plan = planned(model)
    assert plan.tensors["fill"].role == "constant"
    assert plan.tensors["fill"].qparams == plan.tensors["x"].qparams == plan.tensors["y"].qparams
    code = codes_of(np.asarray([-5.0]), plan.tensors["fill"].qparams)
    assert values_of(code, plan.tensors["fill"].qparams)[0] == pytest.approx(
        -5.0, abs=scale_of(plan, "x") / 2
    )


def test_weights_are_per_channel_where_the_target_allows_it_and_say_why():
    plan = planned(upsampler())
    assert plan.tensors["w1"].qparams.axis is None
    assert "grouped ConvTranspose" in plan.tensors["w1"].reason
    assert plan.tensors["w2"].qparams.axis == 1
    assert len(plan.tensors["w2"].qparams.scale) == 3
    assert plan.tensors["b2"].qparams.axis == 0
    plan = planned(upsampler(), "nxp-neutron")
    assert plan.tensors["w2"].qparams.axis is None
    assert "does not list ConvTranspose" in plan.tensors["w2"].reason


def test_a_matmul_has_its_channels_last_and_only_its_second_input_is_a_weight():
    plan = planned(attention(), "x86_64-onnxruntime")
    assert plan.tensors["wq"].role == "weight"
    assert plan.tensors["wq"].qparams.axis == 1
    assert plan.tensors["t"].role == "activation"


def test_a_prelu_slope_is_symmetric():
    slope = planned(upsampler()).tensors["slope"]
    assert slope.role == "constant"
    assert slope.qparams.zero_point == (0,)
    assert slope.reason.startswith("symmetric")


def test_a_dead_channel_gets_the_usual_scale_of_the_live_ones():
    weight = ramp(3, 2, 3, 3, scale=0.01)
    weight[1] = 0.0
    model = float_model(
        "g (float[1,2,6,6] x) => (float[1,3,4,4] y) { [conv] y = Conv(x, w, b) }", {"w": weight, "b": ramp(3)}
    )
    entry = planned(model).tensors["w"]
    live = sorted((entry.qparams.scale[0], entry.qparams.scale[2]))
    assert live[0] <= entry.qparams.scale[1] <= live[1]
    assert "1 of 3 are zero throughout" in entry.reason


def test_a_bias_has_input_scale_times_weight_scale_exactly():
    plan = planned(residual())
    weight, bias = plan.tensors["w2"].qparams, plan.tensors["b2"].qparams
    assert bias.scale == tuple(scale_of(plan, "r") * scale for scale in weight.scale)
    assert (bias.dtype, bias.zero_point) == ("int32", (0,) * len(weight.scale))


def test_a_bias_that_overflows_enlarges_its_channels_weight_scale_and_no_other():
    weight = ramp(3, 2, 3, 3)
    weight[1] *= 1e-9
    model = float_model(
        "g (float[1,2,6,6] x) => (float[1,3,4,4] y) { [conv] y = Conv(x, w, b) }",
        {"w": weight, "b": np.asarray([0.5, 2.0, 0.5], np.float32)},
    )
    plan = planned(model)
    largest = np.abs(weight).max(axis=(1, 2, 3)) / 127
    scales = plan.tensors["w"].qparams.scale
    assert scales[0] == pytest.approx(float(largest[0]))
    assert scales[2] == pytest.approx(float(largest[2]))
    assert scales[1] > largest[1] * 10
    codes = np.asarray([0.5, 2.0, 0.5]) / np.asarray(plan.tensors["b"].qparams.scale)
    assert np.abs(codes).max() <= 2.0**30
    assert np.abs(codes[1]) > 2.0**29
    assert any(
        "weight 'w': 1 of 3 scales enlarged" in text and "does not fit 32 bits" in text
        for text in plan.warnings
    )
    assert "1 of 3 scales enlarged, by up to" in plan.tensors["w"].reason


def test_many_weights_enlarged_for_one_cause_are_one_warning_and_each_reason_says_its_own():
    tiny, large = ramp(2, 2, 1, 1, scale=1e-9), np.asarray([2.0, -2.0], np.float32)
    steps = "".join(f"[c{n}] v{n + 1} = Conv(v{n}, w{n}, b{n})\n" for n in range(4))
    constants = {f"w{n}": tiny for n in range(4)} | {f"b{n}": large for n in range(4)}
    plan = planned(float_model(f"g (float[1,2,4,4] v0) => (float[1,2,4,4] v4) {{ {steps} }}", constants))
    (said,) = [text for text in plan.warnings if "does not fit 32 bits" in text]
    assert said.startswith("scales of 4 weights were enlarged")
    assert "The first: Conv 'c0'" in said
    assert all("does not fit 32 bits" in plan.tensors[f"w{n}"].reason for n in range(4))


def test_a_float_bias_has_room_too_where_that_costs_nothing():
    """Engines that stand in keep it as an integer. With one scale for all channels the room would cost the others codes."""
    weight = ramp(3, 2, 3, 3)
    weight[1] *= 1e-9
    model = float_model(
        "g (float[1,2,6,6] x) => (float[1,3,4,4] y) { [conv] y = Conv(x, w, b) }",
        {"w": weight, "b": np.asarray([0.5, 2.0, 0.5], np.float32)},
    )
    plan = planned(model, profile("cortex-a-tflite", bias={"quantized": False}))
    assert plan.tensors["b"].qparams is None
    codes = 2.0 / (scale_of(plan, "x") * np.asarray(plan.tensors["w"].qparams.scale))
    assert 2.0**29 < codes[1] <= 2.0**30
    assert any(
        "1 of 3 scales enlarged" in text and "an engine that keeps it as an integer" in text
        for text in plan.warnings
    )
    one_scale = planned(
        model, profile("cortex-a-tflite", bias={"quantized": False}, weights={"per_channel_ops": frozenset()})
    )
    assert one_scale.tensors["w"].qparams.scale == (pytest.approx(float(np.abs(weight).max()) / 127),)


def test_biases_stay_float_where_the_target_wants_them_so():
    plan = planned(conv_relu(), profile("cortex-a-tflite", bias={"quantized": False}))
    assert plan.tensors["b"].role == "bias"
    assert plan.tensors["b"].qparams is None
    assert "bias.quantized" in plan.tensors["b"].reason


def test_wide_biases_are_stored_in_64_bits():
    bias = planned(conv_relu(), profile("cortex-a-tflite", bias={"bits": 40})).tensors["b"].qparams
    assert (bias.dtype, bias.quant_min, bias.quant_max) == ("int64", -(2**39), 2**39 - 1)


def test_weight_sums_stay_within_the_accumulators_limit():
    limited = profile("cortex-a-tflite", accumulator={"max_weight_sum": 700})
    model = conv_relu()
    plan = planned(model, limited, ranges={"y": (0.0, 2.0)})
    conv = next(node for node in model.graph.graph if node.name == "conv")
    sums = largest_sums(conv, plan.tensors["w"].qparams, limited)
    assert sums.shape == (3,)
    assert sums.max() <= 700
    assert largest_sums(conv, planned(model).tensors["w"].qparams, limited).max() > 700
    assert any("exceeds 700" in warning for warning in plan.warnings)


def test_an_accumulator_that_could_overflow_is_a_warning():
    plan = planned(conv_relu(), profile("cortex-a-tflite", accumulator={"bits": 16}))
    assert any("in an accumulator of 16 bits" in warning for warning in plan.warnings)
    assert not any("accumulator" in warning for warning in planned(conv_relu()).warnings)


def test_a_rescale_factor_too_large_widens_the_output():
    narrow = with_op(catalog.load("cortex-a-tflite"), "Add", requantization_ratio=(0.0, 2.0))
    plan = planned(residual(), narrow, ranges={"r": (0.0, 2.0), "b": (-20.0, 20.0), "y": (0.0, 10.0)})
    assert scale_of(plan, "b") / scale_of(plan, "y") < 2.0
    assert any("the range of 'y' is widened by 2" in warning for warning in plan.warnings)


def test_a_rescale_factor_too_small_widens_the_input():
    narrow = with_op(catalog.load("cortex-a-tflite"), "Add", requantization_ratio=(0.5, 256.0))
    plan = planned(residual(), narrow, ranges={"r": (0.0, 2.0), "b": (-1.0, 1.0), "y": (0.0, 6.0)})
    assert scale_of(plan, "b") / scale_of(plan, "y") >= 0.5
    assert any("widened" in warning for warning in plan.warnings)


def test_a_weighted_operators_small_factor_enlarges_the_weights_scale():
    narrow = with_op(catalog.load("cortex-a-tflite"), "Conv", requantization_ratio=(0.01, 256.0))
    plan = planned(conv_relu(), narrow, ranges={"x": (-1.0, 1.0), "y": (0.0, 10.0)})
    factors = [scale_of(plan, "x") * scale / scale_of(plan, "y") for scale in plan.tensors["w"].qparams.scale]
    assert min(factors) >= 0.01
    assert any("rescale factor is too small" in warning for warning in plan.warnings)


def test_a_range_that_would_be_widened_beyond_sense_runs_in_float_instead():
    narrow = with_op(catalog.load("cortex-a-tflite"), "Add", requantization_ratio=(0.0, 2.0))
    plan = planned(residual(), narrow, ranges={"r": (0.0, 2.0), "b": (-900.0, 900.0), "y": (0.0, 2.0)})
    assert plan.nodes["sum"].precision == "float32"
    assert "times the range" in plan.nodes["sum"].reason


def test_a_factor_towards_a_fixed_output_rejects_the_node():
    narrow = with_op(catalog.load("cortex-a-tflite"), "Softmax", requantization_ratio=(0.0, 0.5))
    plan = planned(classifier(), narrow)
    assert plan.nodes["softmax"].precision == "float32"
    assert "because a kernel fixes it" in plan.nodes["softmax"].reason


def test_powers_of_two_are_exact_everywhere():
    plan = planned(residual(), "amd-vitis-dpu", ranges={"r": (0.0, 2.0)})
    scales = [scale for entry in plan.tensors.values() if entry.qparams for scale in entry.qparams.scale]
    assert all(np.frexp(scale)[0] == 0.5 for scale in scales)


def test_four_bit_weights_are_stored_in_int8():
    weight = planned(
        conv_relu(), profile("cortex-a-tflite", weights={"bits": 4, "narrow_range": False})
    ).tensors["w"]
    assert (weight.qparams.dtype, weight.qparams.quant_min, weight.qparams.quant_max) == ("int8", -8, 7)
    assert "int8 of 4 bits" in weight.reason


def test_unsigned_asymmetric_weights():
    weights = profile("cortex-a-tflite", weights={"signed": False, "symmetric": False, "narrow_range": False})
    qparams = planned(conv_relu(), weights).tensors["w"].qparams
    assert (qparams.dtype, qparams.quant_min, qparams.quant_max) == ("uint8", 0, 255)


def test_midpoint_zero_points_are_the_lowest_or_the_middle_code():
    midpoint = profile("cortex-a-tflite", activations={"zero_point": "midpoint"})
    plan = planned(conv_relu(), midpoint, ranges={"x": (-1.0, 2.0), "y": (0.0, 2.0)})
    assert plan.tensors["x"].qparams.zero_point == (0,)
    assert plan.tensors["y"].qparams.zero_point == (-128,)


def test_sixteen_bit_activations():
    base = profile(
        "cortex-a-tflite",
        activations={"bits": 16, "zero_point": "symmetric"},
        bias={"bits": 64},
        fixed_outputs={},
    )
    wide = replace(base, ops={name: replace(op, precisions=("int16",)) for name, op in base.ops.items()})
    plan = planned(conv_relu(), wide, ranges={"y": (0.0, 2.0)})
    assert plan.nodes["conv"].precision == "int16"
    assert plan.tensors["x"].qparams.dtype == "int16"
    assert plan.tensors["b"].qparams.dtype == "int64"


@pytest.mark.parametrize(
    ("operator", "seen", "expected"),
    [
        ("Softmax", (0.0, 0.85), (0.0, 255 / 256)),
        ("Softmax", (0.0, 0.04), (0.0, 0.04)),  # attention over many places: a finer step is worth more
        ("Sigmoid", (0.1, 0.6), (0.0, 255 / 256)),
        ("Tanh", (-0.9, 0.2), (-1.0, 0.2)),
        ("Relu", (0.0, 0.85), (0.0, 0.85)),
    ],
)
def test_a_range_near_what_its_operator_can_give_is_widened_to_it(operator, seen, expected):
    """The most confident answer is seldom among the calibration samples."""
    model = float_model(f"g (float[1,4] x) => (float[1,4] y) {{ [one] y = {operator}(x) }}")
    target = with_op(catalog.load("x86_64-onnxruntime"), operator, precisions=("int8",))
    made = planned(model, target, ranges={"y": seen}, recipe=Recipe(method="minmax"))
    assert real_range(made.tensors["y"].qparams) == pytest.approx(expected, abs=0.01)
    assert ("fitted" in made.tensors["y"].reason) == (
        seen[1] != expected[1] or (seen[0], expected[0]) == (-0.9, -1.0)
    )
