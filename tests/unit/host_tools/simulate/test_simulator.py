"""The simulator, operator by operator against real arithmetic on the codes it read, and against integers by hand."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from host_tools.simulate import simulate
from targets import catalog
from targets.profile import OpSupport
from tests.unit.host_tools.lower.lowering_cases import CASES, TWO_ENDS, Case
from tests.unit.host_tools.plan.plan_models import profile as changed
from tests.unit.host_tools.simulate.parity import planned
from tests.unit.host_tools.simulate.rare_operators import RARE
from tests.unit.host_tools.simulate.real_arithmetic import assert_real

if TYPE_CHECKING:
    from targets.profile import CapabilityProfile

TARGETS = (
    "x86_64-onnxruntime",
    "x86_64-openvino",
    "cortex-a-tflite",
    "nxp-neutron",
    "amd-vitis-dpu",
    "espressif-esp32s3",
    "nvidia-tensorrt",
)


def sixteen_bits() -> CapabilityProfile:
    """A target with 16-bit activations, an accumulator of 48 bits and biases of 40."""
    base = changed(
        "x86_64-onnxruntime",
        activations={"bits": 16, "signed": True, "zero_point": "symmetric"},
        bias={"bits": 40},
        accumulator={"bits": 48},
    )
    ops = {name: dataclasses.replace(op, precisions=("int16", "float32")) for name, op in base.ops.items()}
    return dataclasses.replace(base, ops=ops)


def everything() -> CapabilityProfile:
    """Every operator in integers, nothing shares a scale, and all that may follow a convolution is fused with it."""
    base = catalog.load("x86_64-onnxruntime")
    curves = ("Relu", "Clip", "HardSwish", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid")
    return dataclasses.replace(
        base,
        ops={name: OpSupport(precisions=("int8", "float32")) for name in base.ops},
        same_scale=frozenset(),
        fusions=(*base.fusions, *(("Conv", curve) for curve in curves)),
        artifact=dataclasses.replace(base.artifact, integer_ops=frozenset()),
    )


PROFILES = {target: catalog.load(target) for target in TARGETS} | {
    "sixteen bits": sixteen_bits(),
    "everything": everything(),
}


@pytest.mark.parametrize("target", PROFILES)
@pytest.mark.parametrize("case", [*CASES, TWO_ENDS], ids=lambda case: case.name)
def test_every_code_is_the_nearest_to_the_real_number(case: Case, target: str) -> None:
    made = planned(case, PROFILES[target])
    simulator = simulate(made.model, made.plan, made.profile)
    compared = 0
    for sample in made.samples(np.random.default_rng(3), 2):
        stored = simulator.trace(sample)
        assert_real(made, stored)
        compared += len(stored)
        for name, real in simulator.run(sample).items():
            qparams = made.plan.tensors[name].qparams
            assert real.dtype == np.float64
            if qparams is None:
                assert (real == stored[name]).all()
                continue
            codes = np.rint(real / np.float32(qparams.scale[0])) + qparams.zero_point[0]
            assert stored[name].dtype == qparams.dtype
            assert (codes == stored[name]).all()
    assert compared >= 4


@pytest.mark.parametrize("case", RARE, ids=lambda case: case.name)
def test_rare_attributes(case: Case) -> None:
    made = planned(case, PROFILES["everything"])
    assert {node.precision for node in made.plan.nodes.values()} == {"int8"}
    simulator = simulate(made.model, made.plan, made.profile)
    for sample in made.samples(np.random.default_rng(3), 2):
        assert_real(made, simulator.trace(sample))


def test_a_convolution_by_shifts() -> None:
    """On a target of powers of two, in Python's integers: products, bias, half, shift, saturation."""
    case = Case(
        "conv",
        "net (float[1,3,5,5] x) => (float[1,4,3,3] y) { y = Conv (x, w, b) }",
        {
            "w": np.random.default_rng(1).normal(0, 0.5, (4, 3, 3, 3)).astype(np.float32),
            "b": np.random.default_rng(2).normal(0, 0.5, 4).astype(np.float32),
        },
    )
    made = planned(case, catalog.load("espressif-esp32s3"))
    scale_of = {name: made.plan.tensors[name].qparams.scale[0] for name in ("x", "w", "y")}
    shift = -int(np.log2(scale_of["x"] * scale_of["w"] / scale_of["y"]))
    assert shift > 0
    weight = [
        int(code) for code in np.floor(case.constants["w"] / scale_of["w"] + 0.5).clip(-128, 127).reshape(-1)
    ]
    bias_tensor = made.plan.tensors["b"]
    reals = case.constants["b"] if bias_tensor.values is None else np.asarray(bias_tensor.values, np.float32)
    bias = [int(code) for code in np.floor(reals / (scale_of["x"] * scale_of["w"]) + 0.5)]
    assert bias_tensor.qparams.quant_max == 2**19 - 1
    ties = 0
    for sample in made.samples(np.random.default_rng(4), 20):
        stored = simulate(made.model, made.plan, made.profile).trace(sample)
        for filter_, row, column in np.ndindex(4, 3, 3):
            patch = stored["x"][0, :, row : row + 3, column : column + 3].reshape(-1)
            kernel = weight[27 * filter_ : 27 * filter_ + 27]
            total = bias[filter_] + sum(int(a) * b for a, b in zip(patch, kernel, strict=True))
            ties += total % (1 << shift) == 1 << (shift - 1)
            code = min(max((total + (1 << (shift - 1))) >> shift, -128), 127)
            assert stored["y"][0, filter_, row, column] == code
    assert ties


def test_inputs_are_rounded_as_the_device_rounds_and_codes_as_the_agent_does() -> None:
    text = "net (float[1,4,1,1] x) => (float[1,4,1,1] y) { y = MaxPool <kernel_shape = [1,1]> (x) }"
    halves = np.array([0.5, 1.5, -0.5, -1.5], np.float32).reshape(1, 4, 1, 1)
    for interface, wanted in (("float32", [1, 2, 0, -1]), ("int8", [0, 2, 0, -2])):
        base = catalog.load("espressif-esp32s3")
        types = dataclasses.replace(base.interface, input_type=interface)
        made = planned(Case("copy", text, {}), dataclasses.replace(base, interface=types))
        scale = made.plan.tensors["x"].qparams.scale[0]
        stored = simulate(made.model, made.plan, made.profile).trace({"x": halves * np.float32(scale)})
        assert stored["x"].reshape(-1).tolist() == wanted


def test_values_are_let_go_but_outputs_kept() -> None:
    made = planned(TWO_ENDS, PROFILES["x86_64-onnxruntime"])
    sample = next(made.samples(np.random.default_rng(0), 1))
    simulator = simulate(made.model, made.plan, made.profile)
    assert set(simulator.run(sample)) == {"s", "y"}
    assert set(simulator.trace(sample)) == {"x", "z", "a", "s", "y"}


def test_the_same_again() -> None:
    made = planned(TWO_ENDS, PROFILES["amd-vitis-dpu"])
    sample = next(made.samples(np.random.default_rng(0), 1))
    simulator = simulate(made.model, made.plan, made.profile)
    first = simulator.run(sample)
    again = simulate(made.model, made.plan, made.profile).run(sample)
    assert all((first[name] == again[name]).all() for name in first)


def test_a_weight_that_is_rounded_already_keeps_its_codes() -> None:
    case = Case(
        "gemm",
        "net (float[1,3] x) => (float[1,2] y) { y = Gemm <transB = 1> (x, w) }",
        {"w": np.eye(2, 3, dtype=np.float32)},
    )
    made = planned(case, PROFILES["cortex-a-tflite"])
    weight = made.plan.tensors["w"]
    codes = np.array([[3, -5, 7], [0, 127, -127]], np.int8)
    tensors = {**made.plan.tensors, "w": dataclasses.replace(weight, codes=codes.tobytes())}
    plan = dataclasses.replace(made.plan, tensors=tensors)
    sample = next(made.samples(np.random.default_rng(1), 1))
    stored = simulate(made.model, plan, made.profile).trace(sample)
    x, y = (made.plan.tensors[name].qparams for name in "xy")
    sums = (stored["x"].astype(np.int64) - x.zero_point[0]) @ codes.T.astype(np.int64)
    bias = next(tensor for tensor in plan.tensors.values() if tensor.role == "bias")
    shift = 0 if bias.values is None else np.rint(np.asarray(bias.values) / np.asarray(bias.qparams.scale))
    real = (sums + shift) * x.scale[0] * np.asarray(weight.qparams.scale) / y.scale[0]
    wanted = np.clip(real + y.zero_point[0], -128, 127)
    assert np.abs(wanted - stored["y"]).max() <= 0.501
