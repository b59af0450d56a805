"""One test per family of facts: what a source says, said again, so that a slip of the pen is seen."""

from __future__ import annotations

import math

import pytest

from targets import catalog
from targets.profile import FixedOutput

TFLITE = ("cortex-a-tflite", "cortex-a-tflite-legacy", "nxp-neutron")
ONNX = ("x86_64-onnxruntime", "aarch64-onnxruntime", "amd-vitis-dpu")
PER_TENSOR = ("nxp-neutron", "amd-vitis-dpu")
EVERY = catalog.ids()
MOVED = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "MaxPool")


@pytest.mark.parametrize("name", TFLITE)
def test_fixed_outputs_are_those_of_the_tflite_specification(name: str) -> None:
    assert dict(catalog.load(name).fixed_outputs) == {
        "Softmax": FixedOutput(scale=1 / 256, zero_point=-128),
        "Sigmoid": FixedOutput(scale=1 / 256, zero_point=-128),
        "Tanh": FixedOutput(scale=1 / 128, zero_point=0),
    }


@pytest.mark.parametrize(
    "name", ["x86_64-onnxruntime", "aarch64-onnxruntime", "x86_64-openvino", "amd-vitis-dpu"]
)
def test_other_kernels_fix_no_output(name: str) -> None:
    assert dict(catalog.load(name).fixed_outputs) == {}


@pytest.mark.parametrize("name", EVERY)
def test_weights_are_int8_symmetric(name: str) -> None:
    weights = catalog.load(name).weights
    assert (weights.bits, weights.signed, weights.symmetric) == (8, True, True)
    assert weights.narrow_range == (name != "amd-vitis-dpu")


@pytest.mark.parametrize("name", EVERY)
def test_activations_are_signed_but_on_x86(name: str) -> None:
    activations = catalog.load(name).activations
    assert activations.bits == 8
    assert activations.signed == (not name.startswith("x86_64"))
    assert activations.zero_point == ("symmetric" if name == "amd-vitis-dpu" else "asymmetric")


@pytest.mark.parametrize("name", EVERY)
def test_granularity(name: str) -> None:
    expected = {
        "tflite": {"Conv", "ConvTranspose", "Gemm"},
        "onnx_qdq": {"Conv", "Gemm", "MatMul"},
        "openvino_ir": {"Conv", "Gemm", "MatMul"},
    }[catalog.load(name).artifact.format]
    assert catalog.load(name).weights.per_channel_ops == (set() if name in PER_TENSOR else expected)


@pytest.mark.parametrize("name", EVERY)
def test_scales_are_normal_float32_and_powers_of_two_on_the_dpu(name: str) -> None:
    scale = catalog.load(name).scale
    assert scale.minimum == 2.0**-126
    assert scale.kind == ("power_of_two" if name == "amd-vitis-dpu" else "float32")


@pytest.mark.parametrize("name", EVERY)
def test_formats_interfaces_and_engines(name: str) -> None:
    profile = catalog.load(name)
    if name in TFLITE:
        expected = ("tflite", 3, "int8", "tflite", False)
    elif name in ONNX:
        expected = ("onnx_qdq", 21, "float32", "onnx", True)
    else:
        expected = ("openvino_ir", 21, "float32", "openvino", True)
    artifact, interface = profile.artifact, profile.interface
    assert (
        artifact.format,
        artifact.opset,
        interface.input_type,
        profile.engine.name,
        artifact.qdq_bias,
    ) == expected
    assert interface.input_type == interface.output_type


@pytest.mark.parametrize("name", EVERY)
def test_what_moves_data_keeps_its_scale(name: str) -> None:
    assert set(MOVED) <= catalog.load(name).same_scale


@pytest.mark.parametrize("name", TFLITE)
def test_tflite_concat_and_pools_keep_their_scale(name: str) -> None:
    assert {"Concat", "AveragePool", "Pad", "Resize", "Min", "Max"} <= catalog.load(name).same_scale


@pytest.mark.parametrize("name", ["x86_64-onnxruntime", "aarch64-onnxruntime", "x86_64-openvino"])
def test_qlinear_concat_and_average_pool_need_not(name: str) -> None:
    assert not {"Concat", "AveragePool", "GlobalAveragePool"} & catalog.load(name).same_scale


@pytest.mark.parametrize("name", TFLITE[:2])
@pytest.mark.parametrize(
    ("operators", "ratio"),
    [
        (("Conv", "ConvTranspose", "Gemm"), (0.0, 256.0)),
        (("Add", "Sub"), (2.0**-10, 256.0)),
        (("Mul",), (2.0**-16, 256.0)),
        (("LeakyRelu", "QuantizeLinear"), (2.0**-8, 128.0)),
    ],
)
def test_requantization_ratios_are_xnnpacks(
    name: str, operators: tuple[str, ...], ratio: tuple[float, float]
) -> None:
    for operator in operators:
        assert catalog.load(name).ops[operator].requantization_ratio == ratio


@pytest.mark.parametrize("name", [*ONNX, "x86_64-openvino", "nxp-neutron"])
def test_no_other_ratio_is_known(name: str) -> None:
    assert all(support.requantization_ratio is None for support in catalog.load(name).ops.values())


@pytest.mark.parametrize("name", EVERY)
def test_activations_fuse_into_convolutions(name: str) -> None:
    fusions = catalog.load(name).fusions
    assert {("Conv", "Relu"), ("Conv", "Clip"), ("Gemm", "Relu")} <= set(fusions)
    assert (("Conv", "HardSwish") in fusions) == (name == "x86_64-openvino")


def test_float_only_operators_of_onnx_runtime() -> None:
    ops = catalog.load("x86_64-onnxruntime").ops
    floats = {name for name, support in ops.items() if "int8" not in support.precisions}
    assert floats == {
        "ConvTranspose", "Sub", "Div", "Relu", "PRelu", "Tanh", "HardSwish", "HardSigmoid", "ReduceMean",
        "BatchNormalization", "QuantizeLinear",
    }  # fmt: skip


def test_operators_written_on_codes_for_onnx_runtime() -> None:
    assert catalog.load("x86_64-onnxruntime").artifact.integer_ops == {"Pad", "Clip", "Min", "Max"}
    assert catalog.load("aarch64-onnxruntime").artifact.integer_ops == {"Pad", "Clip", "Min", "Max", "Relu"}


def test_constraints() -> None:
    assert catalog.load("x86_64-onnxruntime").ops["Resize"].constraints.modes == ("nearest",)
    assert catalog.load("cortex-a-tflite").ops["Resize"].constraints.modes == ("nearest", "linear")
    assert catalog.load("x86_64-openvino").ops["MatMul"].constraints.constant_operand
    assert not catalog.load("x86_64-onnxruntime").ops["MatMul"].constraints.constant_operand
    assert catalog.load("nxp-neutron").ops["Conv"].constraints.max_batch == 1
    dpu = catalog.load("amd-vitis-dpu").ops["Conv"].constraints
    assert (dpu.max_kernel, dpu.max_stride) == (16, 8)


def test_legacy_versions_are_never_above_the_current_ones() -> None:
    current = catalog.load("cortex-a-tflite").artifact.max_op_versions
    legacy = catalog.load("cortex-a-tflite-legacy").artifact.max_op_versions
    assert set(legacy) == set(current)
    assert all(legacy[name] <= current[name] for name in legacy)
    assert (legacy["FULLY_CONNECTED"], current["FULLY_CONNECTED"]) == (10, 14)


@pytest.mark.parametrize("name", TFLITE)
def test_int8_division_can_fail_at_run_time_so_it_is_float(name: str) -> None:
    assert catalog.load(name).ops["Div"].precisions == ("float32",)


def test_rounding() -> None:
    dpu = catalog.load("amd-vitis-dpu").rounding
    assert (dpu.weights, dpu.activations) == ("half_even", "half_up")
    assert catalog.load("x86_64-onnxruntime").rounding.activations == "half_even"
    assert catalog.load("cortex-a-tflite-legacy").rounding.requantization == "half_away_from_zero"


@pytest.mark.parametrize("name", PER_TENSOR)
def test_what_was_never_run_says_so(name: str) -> None:
    profile = catalog.load(name)
    assert profile.proof == "document"
    supports = [fact for fact in profile.facts if fact.key.endswith(".precisions")]
    assert all("not run" in fact.source or fact.source.startswith("run:") for fact in supports)


@pytest.mark.parametrize("name", EVERY)
def test_parity_limits_are_between_none_and_sloppy(name: str) -> None:
    parity = catalog.load(name).parity
    assert 1 <= parity.max_lsb <= 8
    assert 0.8 <= parity.min_share_within_one < 1.0
    assert math.isfinite(parity.min_share_within_one)
