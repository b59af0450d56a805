"""One test per family of facts: what a source says, said again, so that a slip of the pen is seen."""

from __future__ import annotations

import math

import pytest

from host_tools.plan.qparams import code_range
from targets import catalog
from targets.profile import FixedOutput

TFLITE = tuple(name for name in catalog.ids() if catalog.load(name).artifact.format == "tflite")
ON_XNNPACK = ("cortex-a-tflite", "cortex-a-tflite-legacy")
ONNX = ("x86_64-onnxruntime", "aarch64-onnxruntime", "amd-vitis-dpu")
EVERY = catalog.ids()
MOVED = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "MaxPool")
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "Gemm"})
PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
WEIGHTED = CONVOLUTIONS | PRODUCTS
NONE: frozenset[str] = frozenset()
SCHEMES = {
    # target: (lowest and highest weight, operators with one scale a channel, activations, zero points, scales)
    "aarch64-onnxruntime": ((-127, 127), PRODUCTS, "int8", "asymmetric", "float32"),
    "amd-vitis-dpu": ((-128, 127), NONE, "int8", "symmetric", "power_of_two"),
    "coral-edgetpu": ((-127, 127), frozenset({"Conv", "ConvTranspose"}), "int8", "asymmetric", "float32"),
    "cortex-a-tflite": ((-127, 127), CONVOLUTIONS, "int8", "asymmetric", "float32"),
    "cortex-a-tflite-legacy": ((-127, 127), CONVOLUTIONS, "int8", "asymmetric", "float32"),
    "cortex-m-tflm": ((-127, 127), CONVOLUTIONS, "int8", "asymmetric", "float32"),
    "espressif-esp32p4": ((-128, 127), CONVOLUTIONS, "int8", "symmetric", "power_of_two"),
    "espressif-esp32s3": ((-128, 127), NONE, "int8", "symmetric", "power_of_two"),
    "ethos-u55": ((-127, 127), CONVOLUTIONS, "int8", "asymmetric", "float32"),
    "ethos-u85": ((-127, 127), CONVOLUTIONS, "int8", "asymmetric", "float32"),
    "generic-per-tensor": ((-127, 127), NONE, "int8", "asymmetric", "float32"),
    "generic-per-tensor-symmetric": ((-127, 127), NONE, "int8", "symmetric", "float32"),
    "generic-power-of-two": ((-128, 127), NONE, "int8", "symmetric", "power_of_two"),
    "generic-symmetric": ((-127, 127), PRODUCTS, "int8", "symmetric", "float32"),
    "intel-npu-openvino": ((-127, 127), PRODUCTS, "uint8", "asymmetric", "float32"),
    "kendryte-k230": ((-127, 127), WEIGHTED, "uint8", "asymmetric", "float32"),
    "ncnn": ((-127, 127), frozenset({"Conv", "Gemm"}), "int8", "symmetric", "float32"),
    "nvidia-dla": ((-127, 127), WEIGHTED, "int8", "symmetric", "float32"),
    "nvidia-tensorrt": ((-127, 127), WEIGHTED, "int8", "symmetric", "float32"),
    "nxp-neutron": ((-127, 127), NONE, "int8", "asymmetric", "float32"),
    "nxp-vx": ((-127, 127), NONE, "int8", "asymmetric", "float32"),
    "qualcomm-htp": ((-127, 127), frozenset({"Conv", "ConvTranspose"}), "uint8", "asymmetric", "float32"),
    "rockchip-rknn": ((-127, 127), CONVOLUTIONS, "int8", "asymmetric", "float32"),
    "sony-imx500": ((-128, 127), CONVOLUTIONS, "int8", "midpoint", "power_of_two"),
    "stm32n6": ((-127, 127), CONVOLUTIONS, "int8", "asymmetric", "float32"),
    "x86_64-onnxruntime": ((-127, 127), PRODUCTS, "uint8", "asymmetric", "float32"),
    "x86_64-onnxruntime-avx2": ((-63, 63), PRODUCTS, "uint8", "asymmetric", "float32"),
    "x86_64-openvino": ((-127, 127), PRODUCTS, "uint8", "asymmetric", "float32"),
    "x86_64-openvino-avx2": ((-63, 63), PRODUCTS, "uint8", "asymmetric", "float32"),
}
DOORS = {
    "tflite": ("int8", "tflite"),
    "onnx_qdq": ("float32", "onnx"),
    "openvino_ir": ("float32", "openvino"),
}
"""By format: type of inputs and outputs, and the engine."""


def test_every_target_has_its_row() -> None:
    assert tuple(SCHEMES) == EVERY


@pytest.mark.parametrize("name", EVERY)
def test_scheme(name: str) -> None:
    profile = catalog.load(name)
    weights, activations = profile.weights, profile.activations
    codes = code_range(weights.bits, signed=weights.signed, narrow=weights.narrow_range)
    assert (
        (codes.low, codes.high),
        weights.per_channel_ops,
        f"{'' if activations.signed else 'u'}int{activations.bits}",
        activations.zero_point,
        profile.scale.kind,
    ) == SCHEMES[name]


@pytest.mark.parametrize("name", EVERY)
def test_scales_are_normal_float32(name: str) -> None:
    assert catalog.load(name).scale.minimum >= 2.0**-126


@pytest.mark.parametrize("name", EVERY)
def test_doors_and_engines_are_those_of_the_format(name: str) -> None:
    profile = catalog.load(name)
    expected = DOORS[profile.artifact.format]
    assert (profile.interface.input_type, profile.engine.name) == expected
    assert profile.interface.output_type == profile.interface.input_type


@pytest.mark.parametrize("name", TFLITE)
def test_fixed_outputs_are_those_of_the_tflite_specification(name: str) -> None:
    assert dict(catalog.load(name).fixed_outputs) == {
        "Softmax": FixedOutput(scale=1 / 256, zero_point=-128),
        "Sigmoid": FixedOutput(scale=1 / 256, zero_point=-128),
        "Tanh": FixedOutput(scale=1 / 128, zero_point=0),
    }


@pytest.mark.parametrize("name", [*ONNX, "x86_64-openvino"])
def test_other_kernels_fix_no_output(name: str) -> None:
    assert dict(catalog.load(name).fixed_outputs) == {}


@pytest.mark.parametrize("name", EVERY)
def test_what_moves_data_on_integers_keeps_its_scale(name: str) -> None:
    profile = catalog.load(name)
    assert {op for op in MOVED if "int8" in profile.ops[op].precisions} <= profile.same_scale


@pytest.mark.parametrize("name", TFLITE)
def test_tflite_concat_and_pools_keep_their_scale(name: str) -> None:
    assert {"Concat", "AveragePool", "Pad", "Resize", "Min", "Max"} <= catalog.load(name).same_scale


@pytest.mark.parametrize("name", ["x86_64-onnxruntime", "aarch64-onnxruntime", "x86_64-openvino"])
def test_qlinear_concat_and_average_pool_need_not(name: str) -> None:
    assert not {"Concat", "AveragePool", "GlobalAveragePool"} & catalog.load(name).same_scale


@pytest.mark.parametrize("name", ON_XNNPACK)
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


@pytest.mark.parametrize("name", [*ONNX, "x86_64-openvino"])
def test_no_other_ratio_is_known(name: str) -> None:
    assert all(support.requantization_ratio is None for support in catalog.load(name).ops.values())


def test_neutrons_files_keep_the_ratio_that_litert_must_have_and_no_other() -> None:
    """LiteRT runs them here and beside the NPU. What only makes its built-in kernels run instead of XNNPACK's is no limit of the NPU."""
    ratios = {name: support.requantization_ratio for name, support in catalog.load("nxp-neutron").ops.items()}
    assert {name: ratio for name, ratio in ratios.items() if ratio is not None} == dict.fromkeys(
        ("Conv", "ConvTranspose", "Gemm"), (0.0, 256.0)
    )


@pytest.mark.parametrize("name", EVERY)
def test_activations_fuse_into_convolutions(name: str) -> None:
    fusions = catalog.load(name).fusions
    assert {("Conv", "Relu"), ("Conv", "Clip"), ("Gemm", "Relu")} <= set(fusions)


def test_only_openvino_fuses_hard_swish() -> None:
    fusing = [name for name in EVERY if ("Conv", "HardSwish") in catalog.load(name).fusions]
    assert fusing == ["intel-npu-openvino", "x86_64-openvino", "x86_64-openvino-avx2"]


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


def test_constraints_of_ethos_are_velas() -> None:
    u55, u85 = catalog.load("ethos-u55"), catalog.load("ethos-u85")
    assert u55.accumulator.max_weight_sum == u85.accumulator.max_weight_sum == 127 * 65536
    assert (u55.ops["Conv"].constraints.max_stride, u55.ops["ConvTranspose"].constraints.max_stride) == (3, 2)
    assert (u85.ops["Conv"].constraints.max_stride, u85.ops["ConvTranspose"].constraints.max_stride) == (
        None,
        None,
    )
    assert u55.ops["ReduceMean"].constraints.max_batch == u85.ops["ReduceMean"].constraints.max_batch == 1


def test_generic_targets_bound_activations_on_codes() -> None:
    for name in EVERY:
        if name.startswith("generic-"):
            profile = catalog.load(name)
            on_codes = {"Relu", "Clip", "Min", "Max", "Pad"}
            assert profile.artifact.integer_ops == on_codes
            assert on_codes <= profile.same_scale


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


@pytest.mark.parametrize("name", [name for name in EVERY if catalog.load(name).proof == "document"])
def test_what_was_never_run_says_so(name: str) -> None:
    profile = catalog.load(name)
    supports = [fact for fact in profile.facts if fact.key.endswith(".precisions")]
    assert all("not run" in fact.source or fact.source.startswith("run:") for fact in supports)


@pytest.mark.parametrize("name", EVERY)
def test_parity_limits_are_between_none_and_sloppy(name: str) -> None:
    parity = catalog.load(name).parity
    assert 1 <= parity.max_lsb <= 8
    assert 0.8 <= parity.min_share_within_one < 1.0
    assert math.isfinite(parity.min_share_within_one)


BIASES = {"espressif-esp32s3": 20}
FLOAT_BIASES = {"nvidia-tensorrt", "nvidia-dla", "sony-imx500", "ncnn"}


@pytest.mark.parametrize("name", EVERY)
def test_biases(name: str) -> None:
    profile = catalog.load(name)
    assert profile.bias.bits == BIASES.get(name, 32)
    assert profile.bias.quantized == (name not in FLOAT_BIASES)
    quantized_by_the_reader = FLOAT_BIASES | {"rockchip-rknn"}
    assert profile.artifact.qdq_bias == (
        profile.artifact.format != "tflite" and name not in quantized_by_the_reader
    )


def test_rounding_of_the_chips_that_do_not_round_half_to_even() -> None:
    odd = {
        name: catalog.load(name).rounding.requantization
        for name in EVERY
        if catalog.load(name).rounding.requantization != "half_even"
    }
    assert odd == {
        "amd-vitis-dpu": "half_up",
        "coral-edgetpu": "half_away_from_zero",
        "cortex-a-tflite-legacy": "half_away_from_zero",
        "cortex-m-tflm": "half_away_from_zero",
        "espressif-esp32s3": "half_up",
        "ethos-u55": "half_away_from_zero",
        "ethos-u85": "half_away_from_zero",
        "ncnn": "half_away_from_zero",
        "nxp-neutron": "half_away_from_zero",
    }


def test_tensorrt_wants_integers_at_the_inputs_of_weighted_operators_only() -> None:
    profile = catalog.load("nvidia-tensorrt")
    integer = {op for op, support in profile.ops.items() if "int8" in support.precisions}
    assert integer == WEIGHTED
    assert not profile.artifact.quantize_outputs
    assert not profile.artifact.shields
    dla = catalog.load("nvidia-dla")
    assert dla.artifact.quantize_outputs
    assert {"AveragePool", "GlobalAveragePool", "MaxPool"} <= dla.same_scale
    assert dla.ops["Concat"].constraints.axes == (1,)


def test_sidecars_are_for_compilers_that_read_them() -> None:
    sidecars = {
        name: catalog.load(name).artifact.sidecars for name in EVERY if catalog.load(name).artifact.sidecars
    }
    assert sidecars == {
        "amd-vitis-dpu": ("float_onnx",),
        "espressif-esp32p4": ("float_onnx",),
        "espressif-esp32s3": ("float_onnx",),
        "kendryte-k230": ("float_onnx", "nncase_quant_scheme"),
        "ncnn": ("float_onnx",),
        "qualcomm-htp": ("float_onnx", "qualcomm_encodings"),
    }


def test_qnn_ranges_are_never_narrower_than_the_quantizer_of_onnx_runtime_makes_them() -> None:
    assert catalog.load("qualcomm-htp").scale.minimum_range == 1e-4


@pytest.mark.parametrize("name", EVERY)
def test_proof_is_what_was_run(name: str) -> None:
    run = {
        "aarch64-onnxruntime",
        "cortex-a-tflite",
        "cortex-a-tflite-legacy",
        "x86_64-onnxruntime",
        "x86_64-onnxruntime-avx2",
        "x86_64-openvino",
        "x86_64-openvino-avx2",
    }
    judged = {"cortex-m-tflm", "ethos-u55", "ethos-u85", "qualcomm-htp", "rockchip-rknn"}
    expected = (
        "engine"
        if name in run or name.startswith("generic-")
        else "vendor_tool"
        if name in judged
        else "document"
    )
    assert catalog.load(name).proof == expected


@pytest.mark.parametrize("name", [name for name in EVERY if catalog.load(name).proof == "vendor_tool"])
def test_what_a_vendors_tool_judged_says_which(name: str) -> None:
    sources = " ".join(fact.source for fact in catalog.load(name).facts)
    assert any(
        tool in sources
        for tool in ("tflite-micro 0.", "ethos-u-vela 5.", "onnxruntime-qnn 2.", "rknn-toolkit2 2.")
    )
    assert "no board was run" in sources or "no device was run" in sources


@pytest.mark.parametrize("target", ["x86_64-onnxruntime-avx2", "x86_64-openvino-avx2"])
def test_seven_bits_cannot_overflow_sixteen(target: str) -> None:
    low, high = SCHEMES[target][0]
    assert 2 * 255 * high <= 2**15 - 1
    assert 2 * 255 * low >= -(2**15)
    assert 2 * 255 * SCHEMES["x86_64-onnxruntime"][0][1] > 2**15 - 1, "eight bits can"
