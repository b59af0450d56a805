"""What the simulator refuses, and what it says."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
import pytest

from host_tools.errors import DataError, LoweringError, ModelError, VerificationError
from host_tools.plan.quantization_plan import QParams, TensorPlan
from host_tools.simulate import simulate
from host_tools.simulate.constants import constant_codes
from host_tools.simulate.float_node import FloatNode
from host_tools.simulate.operators import OPERATORS as PREPARED
from host_tools.simulate.products import ConstantMatrix, product, require_accumulator
from host_tools.simulate.quantizer import Grid
from host_tools.simulate.reading import integer_node
from targets import catalog
from tests.unit.host_tools.lower.lowering_cases import CASES, TWO_ENDS, Case
from tests.unit.host_tools.plan.plan_models import float_model
from tests.unit.host_tools.plan.plan_models import planned as plan_of
from tests.unit.host_tools.simulate.parity import planned

if TYPE_CHECKING:
    from host_tools.model import FloatModel
    from tests.unit.host_tools.simulate.parity import Planned

INT8 = QParams(scale=(0.02,), zero_point=(0,), dtype="int8", quant_min=-128, quant_max=127, axis=None)
CONV = next(case for case in CASES if case.name == "conv")


@pytest.fixture(scope="module")
def made() -> Planned:
    return planned(TWO_ENDS, catalog.load("cortex-a-tflite"))


@pytest.fixture(scope="module")
def sample(made: Planned) -> dict[str, Any]:
    return next(made.samples(np.random.default_rng(0), 1))


def with_tensor(made: Planned, name: str, **change: Any) -> Planned:
    entry = dataclasses.replace(made.plan.tensors[name], **change)
    plan = dataclasses.replace(made.plan, tensors={**made.plan.tensors, name: entry})
    return dataclasses.replace(made, plan=plan)


def with_node(made: Planned, name: str, **change: Any) -> Planned:
    entry = dataclasses.replace(made.plan.nodes[name], **change)
    plan = dataclasses.replace(made.plan, nodes={**made.plan.nodes, name: entry})
    return dataclasses.replace(made, plan=plan)


def refused(made: Planned, match: str, error: type[Exception] = LoweringError) -> None:
    with pytest.raises(error, match=match):
        simulate(made.model, made.plan, made.profile)


# -- the plan ---------------------------------------------------------------------------------------------------------------------------


def test_a_plan_for_another_model(made: Planned) -> None:
    refused(
        dataclasses.replace(made, model=dataclasses.replace(made.model, digest="sha256:" + "1" * 64)),
        "digest",
    )


def test_a_plan_for_another_version_of_the_target(made: Planned) -> None:
    profile = dataclasses.replace(made.profile, digest="sha256:" + "1" * 64)
    refused(dataclasses.replace(made, profile=profile), "cortex-a-tflite")


def test_a_plan_with_a_hole(made: Planned) -> None:
    nodes = dict(made.plan.nodes)
    nodes.popitem()
    refused(
        dataclasses.replace(made, plan=dataclasses.replace(made.plan, nodes=nodes)), "does not have this node"
    )


def test_a_precision_that_is_not_simulated(made: Planned) -> None:
    name = next(iter(made.plan.nodes))
    refused(with_node(made, name, precision="float16"), f"{name}' is planned as float16")


def test_values_that_do_not_fit_the_model(made: Planned) -> None:
    for change in ({"values": (1.0, 2.0)}, {"codes": b"\x01\x02"}):
        refused(with_tensor(made, "front_w", **change), "front_w.*do not fit the model")


def test_codes_that_do_not_fit_the_model() -> None:
    planned_codes = TensorPlan(name="w", role="weight", qparams=INT8, reason="test", codes=b"\x01\x02")
    with pytest.raises(LoweringError, match=r"Constant 'w': the codes.*do not fit"):
        constant_codes(np.zeros(3, np.float32), planned_codes, INT8, "half_even")


def test_a_node_fused_into_one_that_is_not_there(made: Planned) -> None:
    refused(
        with_node(made, list(made.plan.nodes)[1], fused_into="nowhere"), "'nowhere', which it does not have"
    )


def test_a_node_fused_into_itself(made: Planned) -> None:
    name = list(made.plan.nodes)[1]
    refused(with_node(made, name, fused_into=name), f"{name}.*into itself")


@pytest.mark.parametrize("name", ["a", "s", "y", "x"])
def test_a_float_value_at_an_integer_node(made: Planned, name: str) -> None:
    refused(with_tensor(made, name, qparams=None), "planned as float")


def test_a_float_weight_at_an_integer_node(made: Planned) -> None:
    refused(with_tensor(made, "front_w", qparams=None), "weight 'front_w' is planned as float")


def test_an_activation_with_a_scale_a_channel(made: Planned) -> None:
    many = dataclasses.replace(INT8, scale=(0.02,) * 8, zero_point=(0,) * 8, axis=1)
    refused(with_tensor(made, "a", qparams=many), "expected one scale, got 8")


def test_a_bias_that_overflows(made: Planned) -> None:
    bias = made.plan.tensors["front_b"].qparams
    tiny = dataclasses.replace(bias, scale=tuple(1e-13 for _ in bias.scale))
    refused(with_tensor(made, "front_b", qparams=tiny), "front_b.*overflow")


def test_an_operator_that_is_not_simulated() -> None:
    made = planned(
        Case("erf", "net (float[1,4] x) => (float[1,4] y) { e = Erf (x) y = Relu (e) }", {}),
        catalog.load("cortex-a-tflite"),
    )
    erf = next(name for name, node in made.plan.nodes.items() if node.op_type == "Erf")
    refused(with_node(made, erf, precision="int8"), "Erf.*not simulated for this operator")


def test_a_chain_that_is_not_simulated() -> None:
    made = planned(
        Case("chain", "net (float[1,4] x) => (float[1,4] y) { e = Sigmoid (x) y = Erf (e) }", {}),
        catalog.load("cortex-a-tflite"),
    )
    sigmoid, erf = made.plan.nodes
    fused = with_node(made, erf, fused_into=sigmoid, precision="int8")
    fused = with_tensor(with_tensor(fused, "e", role="fused", qparams=None), "y", qparams=INT8)
    refused(fused, "Erf.*absorbed by another operator")


# -- operators --------------------------------------------------------------------------------------------------------------------------

OPERATORS: dict[str, tuple[str, dict[str, Any], str]] = {
    "max_pool_indices": (
        "g (float[1,2,4,4] x) => (float[1,2,3,3] y, int64[1,2,3,3] i) { [n] y, i = MaxPool <kernel_shape = [2,2]> (x) }",
        {},
        "second output",
    ),
    "resize_cubic": (
        'g (float[1,2,4,4] x) => (float[1,2,8,8] y) { [n] y = Resize <mode = "cubic"> (x, , scales) }',
        {"scales": np.array([1, 1, 2, 2], np.float32)},
        "mode 'cubic'",
    ),
    "resize_antialias": (
        'g (float[1,2,4,4] x) => (float[1,2,2,2] y) { [n] y = Resize <mode = "linear", antialias = 1> (x, , scales) }',
        {"scales": np.array([1, 1, 0.5, 0.5], np.float32)},
        "mode 'linear' and antialias",
    ),
    "resize_crop": (
        "g (float[1,2,4,4] x) => (float[1,2,8,8] y) {"
        ' [n] y = Resize <mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize"> (x, roi, scales) }',
        {"scales": np.array([1, 1, 2, 2], np.float32), "roi": np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)},
        "tf_crop_and_resize",
    ),
    "resize_policy": (
        'g (float[1,2,4,4] x) => (float[1,2,8,8] y) { [n] y = Resize <keep_aspect_ratio_policy = "not_larger"> (x, , , sizes) }',
        {"sizes": np.array([1, 2, 8, 8], np.int64)},
        "keep_aspect_ratio_policy",
    ),
    "computed_weight": (
        "g (float[1,2,4,4] x, float[1,2,1,1] w) => (float[1,1,4,4] y) { [n] y = Conv (x, w) }",
        {},
        "'w' must be a constant",
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_beyond_what_is_simulated(name: str) -> None:
    text, constants, match = OPERATORS[name]
    model = float_model(text, constants)
    profile = catalog.load("cortex-a-tflite")
    plan = plan_of(model, profile)
    activations = [*model.graph.graph.inputs, model.graph.graph.node(0).outputs[0]]
    entries = {
        value.name: TensorPlan(name=value.name, role="activation", qparams=INT8, reason="test")
        for value in activations
    }
    plan = dataclasses.replace(plan, tensors={**plan.tensors, **entries})
    node = model.graph.graph.node(0)
    with pytest.raises(LoweringError, match=match):
        PREPARED[node.op_type](integer_node(node, (), plan, profile, {}))


def test_an_input_that_is_left_out(made: Planned) -> None:
    seen = integer_node(made.model.graph.graph.node(0), (), made.plan, made.profile, {})
    with pytest.raises(LoweringError, match="input 5 is missing"):
        seen.operand(5)


# -- the samples ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"x": None}, "'x'.*got nothing"),
        ({"x": np.zeros((1, 4, 8, 8))}, "'x'.*got float64"),
        ({"x": np.zeros((1, 4, 8, 7), np.float32)}, "'x'.*8, 7"),
        ({"z": np.full((1, 8, 8, 8), np.nan, np.float32)}, "'z'.*NaN or infinite"),
    ],
)
def test_a_bad_sample(made: Planned, sample: dict[str, Any], change: dict[str, Any], match: str) -> None:
    feeds = {name: array for name, array in {**sample, **change}.items() if array is not None}
    simulator = simulate(made.model, made.plan, made.profile)
    with pytest.raises(DataError, match=match):
        simulator.run(feeds)
    with pytest.raises(DataError, match=match):
        simulator.trace(feeds)


def test_a_float_node_that_gives_nan() -> None:
    text = "net (float[1,4] x) => (float[1,4] y) { a = Abs (x) l = Div (x, a) y = Relu (l) }"
    made = planned(Case("nan", text, {}), catalog.load("cortex-a-tflite"))
    made = with_tensor(with_tensor(made, "l", qparams=INT8), "y", qparams=INT8)
    made = with_node(made, list(made.plan.nodes)[2], precision="int8")
    simulator = simulate(made.model, made.plan, made.profile)
    with pytest.raises(DataError, match="'l': NaN has no code"):
        simulator.run({"x": np.zeros((1, 4), np.float32)})


def test_a_float_node_that_onnx_runtime_refuses(made: Planned) -> None:
    model = broken(made.model)
    plan = dataclasses.replace(
        made.plan,
        nodes={
            name: dataclasses.replace(node, precision="float32", fused_into=None)
            for name, node in made.plan.nodes.items()
        },
        tensors={
            name: dataclasses.replace(tensor, qparams=None) for name, tensor in made.plan.tensors.items()
        },
    )
    with pytest.raises(ModelError, match="refuses"):
        simulate(model, plan, made.profile)


def test_a_float_node_with_a_value_of_no_known_type() -> None:
    node = ir.Node("", "Relu", [ir.Value(name="x", shape=ir.Shape([1]))], name="r")
    node.outputs[0].name = "y"
    with pytest.raises(ModelError, match="'x' has no known type"):
        FloatNode([node], {}, 18)


def broken(model: FloatModel) -> FloatModel:
    clone = model.graph.clone()
    clone.graph.node(0).attributes["strides"] = ir.AttrInt64s("strides", [0, 0])
    return dataclasses.replace(model, graph=clone)


# -- numbers ----------------------------------------------------------------------------------------------------------------------------


def test_an_accumulator_that_overflows() -> None:
    profile = catalog.load("cortex-a-tflite")
    narrow = dataclasses.replace(profile, accumulator=dataclasses.replace(profile.accumulator, bits=12))
    made = planned(CONV, narrow)
    sample = next(made.samples(np.random.default_rng(0), 1))
    with pytest.raises(
        VerificationError, match=r"Conv '.*sums overflow the accumulator of 12 bits.*\[-2048, 2047\]"
    ):
        simulate(made.model, made.plan, made.profile).run(sample)


@pytest.mark.parametrize(("value", "fits"), [(127, True), (-128, True), (128, False), (-129, False)])
def test_the_ends_of_an_accumulator(value: int, *, fits: bool) -> None:
    sums = np.array([0.0, value])
    if fits:
        require_accumulator(sums, 8, where="n")
    else:
        with pytest.raises(VerificationError, match=f"n: 1 of 2 sums overflow.*{value} is outside"):
            require_accumulator(sums, 8, where="n")
    require_accumulator(np.empty(0), 8, where="n")


def test_sums_that_float64_does_not_hold() -> None:
    with pytest.raises(VerificationError, match="n: sums of products may reach"):
        ConstantMatrix.of(np.full((1, 1, 4), 2**31), 2**30, where="n")
    with pytest.raises(VerificationError, match="n: sums of products may reach"):
        product(np.ones((1, 4)), np.ones((4, 1)), 2**52, where="n")


def test_zero_divided_by_zero() -> None:
    text = "net (float[1,4] x, float[1,4] z) => (float[1,4] y) { y = Div (x, z) }"
    made = planned(Case("div", text, {}), catalog.load("x86_64-onnxruntime"))
    name = next(iter(made.plan.nodes))
    made = with_node(made, name, precision="int8")
    for value in "xzy":
        made = with_tensor(made, value, qparams=INT8)
    simulator = simulate(made.model, made.plan, made.profile)
    one, zero = (np.array([[number, -1, 1, 1]], np.float32) for number in (1, 0))
    divisor = np.array([[0, 0, 1, -1]], np.float32)
    # By zero: towards the dividend's sign.
    assert simulator.trace({"x": one, "z": divisor})["y"].tolist() == [[127, -128, 50, -50]]
    with pytest.raises(VerificationError, match="zero is divided by zero"):
        simulator.run({"x": zero, "z": divisor})


def test_a_grid_of_several_scales() -> None:
    with pytest.raises(LoweringError, match="w: expected one scale, got 2"):
        Grid.of(dataclasses.replace(INT8, scale=(1.0, 2.0), zero_point=(0, 0), axis=0), where="w")
