"""Weights stored in float16: which are, which are not and why, what is checked of them, and their file."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from host_tools.difference.tensors import plan_scale_changes
from host_tools.errors import CapabilityError, LoweringError
from host_tools.plan.check import PlanError, check
from host_tools.plan.explain import explain
from host_tools.plan.float16 import LARGEST, rounded
from host_tools.plan.plan_file import decode, encode
from host_tools.plan.plan_reader import PlanFileError
from host_tools.plan.planned_values import with_planned_values, with_stored_weights
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.recipe import KeepFloat, Recipe
from host_tools.stages.uncalibrated import as_required
from targets import catalog
from tests.unit.host_tools.lower.uncalibrated_networks import constants, made, network
from tests.unit.host_tools.plan.plan_models import float_model, planned, ramp

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.plan.quantization_plan import QuantizationPlan

TARGET = "x86_64-onnxruntime"
HALF = Recipe(precision="weights-float16")
ISLANDS = Recipe(float_weights="float16", keep_float=KeepFloat(nodes=frozenset({"last"})))


def two_convs(weight: np.ndarray | None = None) -> Any:
    return float_model(
        """g (float[1,2,4,4] x) => (float[1,2,4,4] y) {
            [first] c = Conv(x, v, d)
            [last] y = Conv(c, w, b)
        }""",
        {
            "v": ramp(2, 2, 1, 1),
            "d": ramp(2),
            "w": ramp(2, 2, 1, 1) if weight is None else weight,
            "b": ramp(2),
        },
    )


def halves(plan: QuantizationPlan) -> set[str]:
    return {one.name for one in plan.tensors.values() if one.float_type == "float16"}


def with_tensor(plan: QuantizationPlan, name: str, **change: Any) -> QuantizationPlan:
    tensors = {**plan.tensors, name: dataclasses.replace(plan.tensors[name], **change)}
    return dataclasses.replace(plan, tensors=tensors)


def test_every_weight_is_stored_so_and_biases_are_not(tmp_path: Path) -> None:
    model = network(tmp_path)
    _, plan, _ = made(model, TARGET, "weights-float16")
    assert halves(plan) == {"table", "up", "down", "head"}
    assert {node.precision for node in plan.nodes.values()} == {"float32"}
    assert all(tensor.qparams is None for tensor in plan.tensors.values())
    assert plan.warnings == ()
    assert "no calibration data went into it" in plan.method_reason
    text = explain(plan)
    assert (
        "up (weight): float16\n      as it is: weights-float16 plans no codes for it; its numbers are stored in float16"
        in text
    )


def test_only_what_runs_in_float_is_stored_so_among_integers() -> None:
    plan = planned(two_convs(), TARGET, ISLANDS)
    assert halves(plan) == {"w"}
    assert plan.precision == "int8"
    assert plan.tensors["w"].reason == "float: Conv 'last' runs in float32; its numbers are stored in float16"
    assert halves(planned(two_convs(), TARGET, Recipe())) == set()


def test_what_the_recipe_keeps_stays_in_float32(tmp_path: Path) -> None:
    recipe = dataclasses.replace(HALF, keep_float=KeepFloat(ops=frozenset({"Gemm"})))
    plan = plan_uncalibrated(network(tmp_path), catalog.load(TARGET), recipe)
    assert halves(plan) == {"table", "up", "down"}
    assert plan.tensors["head"].reason.endswith("stays in float32: the recipe keeps it so (keep_float)")
    assert plan.warnings[0].startswith("1 weights stay in float32: Gemm")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (70000.0, "its largest magnitude is 70000, and that of float16 65504"),
        (LARGEST, ""),
        (1e-6, "its numbers are too small for float16: "),
        (1e-9, "its numbers are too small for float16: 100.0% of its length would be lost"),
    ],
)
def test_numbers_that_do_not_fit_stay_in_float32(values: float, why: str) -> None:
    weight = ramp(2, 2, 1, 1, scale=values)
    weight[0, 0] = values
    plan = planned(two_convs(weight), TARGET, ISLANDS)
    assert halves(plan) == (set() if why else {"w"})
    assert why in plan.tensors["w"].reason
    assert bool(why) == any(
        warning.startswith("1 weights stay in float32: Conv 'last'") for warning in plan.warnings
    )


def test_numbers_that_become_zero_are_told() -> None:
    weight = np.full((1000, 2, 1, 1), 0.5, np.float32)
    weight[:100] = 1e-9
    model = float_model(
        "g (float[1,2,4,4] x) => (float[1,1000,4,4] y) { [last] y = Conv(x, w) }", {"w": weight}
    )
    plan = planned(model, TARGET, ISLANDS)
    assert halves(plan) == {"w"}
    assert "of which 10.00% are too small for it and become 0" in plan.tensors["w"].reason
    assert any("weight 'w' is stored in float16" in warning for warning in plan.warnings)


def test_a_weight_that_something_else_reads_stays() -> None:
    model = float_model(
        """g (float[2,2] x) => (float[2,2] y) {
            [last] c = MatMul(x, w)
            [sum] y = Add(c, w)
        }""",
        {"w": ramp(2, 2)},
    )
    plan = planned(model, TARGET, ISLANDS)
    assert halves(plan) == set()
    assert plan.tensors["w"].reason.endswith("stays in float32: Add 'sum' reads it too")


def test_a_target_that_does_not_read_it_is_named() -> None:
    with pytest.raises(
        CapabilityError, match=r"'ethos-u55' reads no weights in float16 .*no \[weights-float16\]"
    ):
        planned(two_convs(), "ethos-u55", ISLANDS)
    with pytest.raises(CapabilityError, match="'ethos-u55' has no kernels for weights-float16"):
        plan_uncalibrated(two_convs(), catalog.load("ethos-u55"), HALF)


def test_an_operator_that_the_target_does_not_read_it_of_stays_in_float32() -> None:
    base = catalog.load(TARGET)
    rules = dataclasses.replace(base.uncalibrated["weights-float16"], ops=frozenset({"Gemm"}))
    fewer = dataclasses.replace(base, uncalibrated={**base.uncalibrated, "weights-float16": rules})
    plan = planned(two_convs(), fewer, ISLANDS)
    assert (
        "x86_64-onnxruntime reads no float16 weight of Conv ([weights-float16] ops)"
        in plan.tensors["w"].reason
    )
    with pytest.raises(
        CapabilityError, match="none of the model's 2 nodes has a weight that becomes smaller"
    ):
        plan_uncalibrated(two_convs(), fewer, HALF)


def test_groups_are_refused() -> None:
    with pytest.raises(CapabilityError, match="weights-float16 has no groups, got 32"):
        plan_uncalibrated(two_convs(), catalog.load(TARGET), dataclasses.replace(HALF, group=32))


# What is checked


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("y", "value 'y' is stored in float16, but no node multiplies by it"),
        ("b", "value 'b' is stored in float16, but no node multiplies by it"),
        ("c", "value 'c' is stored in float16 and as codes"),
        ("v", "value 'v' is stored in float16 and as codes"),
    ],
)
def test_a_plan_that_stores_another_value_so_is_refused(name: str, message: str) -> None:
    model, target = two_convs(), catalog.load(TARGET)
    plan = planned(model, target, ISLANDS)
    check(plan, model, target)
    with pytest.raises(PlanError, match=message):
        check(with_tensor(plan, name, float_type="float16"), model, target)


def test_a_plan_with_numbers_beyond_float16_or_for_another_target_is_refused() -> None:
    large, target = two_convs(ramp(2, 2, 1, 1, scale=1e6)), catalog.load(TARGET)
    plan = planned(large, target, ISLANDS)
    with pytest.raises(PlanError, match="value 'w' is stored in float16, but its largest magnitude is"):
        check(with_tensor(plan, "w", float_type="float16"), large, target)
    model = two_convs()
    without = dataclasses.replace(target, uncalibrated={})
    with pytest.raises(PlanError, match="which x86_64-onnxruntime does not read"):
        check(planned(model, target, ISLANDS), model, without)


def test_codes_are_none_of_this_precision(tmp_path: Path) -> None:
    model = network(tmp_path)
    target, plan, _ = made(model, TARGET, "weights-float16")
    codes = made(model, TARGET, "weights-int8")[1].tensors["up"].qparams
    with pytest.raises(PlanError, match="is stored as codes, which weights-float16 never has"):
        check(with_tensor(plan, "up", float_type="float32", qparams=codes), model, target)


# Its numbers


@settings(max_examples=200, deadline=None)
@given(arrays.arrays(np.float32, st.integers(0, 40), elements=st.floats(-LARGEST, LARGEST, width=32)))
def test_what_is_rounded_is_the_nearest_and_rounded_once(values: np.ndarray) -> None:
    found = rounded(values)
    assert found.dtype == np.float32
    assert np.array_equal(rounded(found), found)
    # 11 bits of mantissa, and steps of 2^-24 where numbers are subnormal.
    room = np.maximum(np.abs(values.astype(np.float64)) * 2.0**-11, 2.0**-25)
    assert (np.abs(found - values.astype(np.float64)) <= room).all()


def test_the_numbers_of_a_plan_are_put_into_the_model(tmp_path: Path) -> None:
    model = network(tmp_path)
    plan = made(model, TARGET, "weights-float16")[1]
    for put in (with_stored_weights, with_planned_values):
        graph = put(model, plan).graph.graph
        for name, values in constants().items():
            held = graph.initializers[name].const_value
            assert held is not None
            assert np.array_equal(held.numpy(), values if name == "head_bias" else rounded(values)), name
    own = model.graph.graph.initializers["up"].const_value
    assert own is not None
    assert np.array_equal(own.numpy(), constants()["up"])


def test_numbers_for_what_is_no_constant_are_refused(tmp_path: Path) -> None:
    model = network(tmp_path)
    plan = with_tensor(made(model, TARGET, "weights-float16")[1], "hidden", float_type="float16")
    with pytest.raises(LoweringError, match=r"Weight 'hidden': the plan has numbers in float16 for it"):
        with_stored_weights(model, plan)
    with pytest.raises(LoweringError, match=r"Constant 'hidden': the plan has numbers in float16 for it"):
        with_planned_values(model, plan)


# Its file


@pytest.mark.parametrize("recipe", [ISLANDS, Recipe()])
def test_a_plan_file_gives_the_plan_back(recipe: Recipe) -> None:
    plan = planned(two_convs(), TARGET, recipe)
    data = encode(plan)
    assert decode(data, where="plan.json") == plan
    assert encode(decode(data, where="plan.json")) == data
    assert json.loads(data)["schema_version"] == ("1.2" if recipe is ISLANDS else "1.0")
    assert (b"float_type" in data) == (recipe is ISLANDS)


def test_a_plan_file_of_the_precision_gives_the_plan_back(tmp_path: Path) -> None:
    plan = made(network(tmp_path), TARGET, "weights-float16")[1]
    data = encode(plan)
    assert decode(data, where="plan.json") == plan
    assert (json.loads(data)["schema_version"], json.loads(data)["precision"]) == ("1.2", "weights-float16")


@pytest.mark.parametrize("value", ["float64", 16, None, ["float16"]])
def test_another_type_is_refused_by_file_and_key(value: object) -> None:
    document = json.loads(encode(planned(two_convs(), TARGET, ISLANDS)))
    next(one for one in document["tensors"] if one["name"] == "w")["float_type"] = value
    with pytest.raises(
        PlanFileError, match=r"plan.json: tensors\['w'\].float_type: expected one of float32, float16"
    ):
        decode(json.dumps(document).encode(), where="plan.json")


def test_the_usual_type_said_aloud_is_the_usual_type() -> None:
    document = json.loads(encode(planned(two_convs(), TARGET, Recipe())))
    document["tensors"][0]["float_type"] = "float32"
    assert decode(json.dumps(document).encode(), where="plan.json") == planned(two_convs(), TARGET, Recipe())


def test_two_plans_differ_in_what_is_stored_so() -> None:
    usual, half = (
        planned(two_convs(), TARGET, dataclasses.replace(ISLANDS, float_weights="float32")),
        planned(two_convs(), TARGET, ISLANDS),
    )
    (change,) = plan_scale_changes(usual, half)
    assert (change.name, change.a_type, change.b_type) == ("w", "float32", "float16")


# Beside it


def test_later_versions_of_libraries_are_asked_for() -> None:
    base = catalog.load("x86_64-openvino")
    half = dataclasses.replace(base.uncalibrated["weights-float16"], min_versions={"openvino": "2025.10"})
    needing = dataclasses.replace(base, uncalibrated={**base.uncalibrated, "weights-float16": half})
    asked = {
        "2024.4": Recipe(),
        "2025.10": Recipe(float_weights="float16"),
        "2026.4": Recipe(precision="weights-int8", float_weights="float16"),
    }
    assert base.engine.min_versions["openvino"] == "2024.4"
    for version, recipe in asked.items():
        assert as_required(needing, recipe).engine.min_versions["openvino"] == version
