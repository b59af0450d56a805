"""Weights by codebooks: which are, which are not and why, what is checked of them, and their file."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from host_tools.difference.tensors import plan_scale_changes
from host_tools.errors import CapabilityError, LoweringError
from host_tools.lower.lowering import lower
from host_tools.plan.check import PlanError, check
from host_tools.plan.codebooks import looked_up
from host_tools.plan.explain import explain
from host_tools.plan.plan_file import decode, encode
from host_tools.plan.plan_reader import PlanFileError
from host_tools.plan.planned_values import with_planned_values, with_stored_weights
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.recipe import KeepFloat, Recipe
from targets import catalog
from targets.profile import CLUSTERED, UncalibratedRules
from tests.unit.host_tools.lower.uncalibrated_networks import IMAGE, constants, image_constants, made, network
from tests.unit.host_tools.plan.plan_models import float_model, planned, ramp

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.plan.quantization_plan import QuantizationPlan

TARGET = "x86_64-onnxruntime"
SIXTEEN = Recipe(precision="weights-kmeans4")


def sizes(plan: QuantizationPlan) -> dict[str, int]:
    return {one.name: len(one.codebook) for one in plan.tensors.values() if one.codebook is not None}


def with_tensor(plan: QuantizationPlan, name: str, **change: Any) -> QuantizationPlan:
    tensors = {**plan.tensors, name: dataclasses.replace(plan.tensors[name], **change)}
    return dataclasses.replace(plan, tensors=tensors)


def test_every_weight_gets_a_codebook_and_biases_do_not(tmp_path: Path) -> None:
    _, plan, _ = made(network(tmp_path), TARGET, "weights-kmeans4")
    assert sizes(plan) == dict.fromkeys(("table", "up", "down", "head"), 16)
    assert {node.precision for node in plan.nodes.values()} == {"float32"}
    assert all((one.qparams, one.float_type) == (None, "float32") for one in plan.tensors.values())
    assert plan.warnings == ()
    assert plan.method_reason.startswith(
        "weights-kmeans4: each weight's numbers in clusters of least squared"
    )
    text = explain(plan)
    assert (
        "up (weight): codebook of 16 numbers\n      float32: weight stored as indices of 4 bits into 16 numbers"
        in text
    )


def test_eight_bits_take_up_to_256_numbers(tmp_path: Path) -> None:
    _, plan, _ = made(network(tmp_path), TARGET, "weights-kmeans8")
    found = sizes(plan)
    assert set(found) == {"table", "up", "down", "head"}
    assert all(200 < size <= 256 for size in found.values())


def test_a_weight_of_few_numbers_keeps_them_all(tmp_path: Path) -> None:
    weights = constants()
    weights["up"] = np.sign(weights["up"]) * np.float32(0.25)
    _, plan, _ = made(network(tmp_path, weights=weights), TARGET, "weights-kmeans8")
    assert plan.tensors["up"].codebook == (-0.25, 0.25)
    assert "indices of 4 bits into 2 numbers" in plan.tensors["up"].reason


def test_a_small_weight_that_would_not_shrink_stays(tmp_path: Path) -> None:
    model = network(tmp_path, IMAGE, image_constants())
    _, plan, _ = made(model, TARGET, "weights-kmeans8")
    assert set(sizes(plan)) == {"first"}
    # 144 different numbers: a codebook of them all, and an index each.
    assert "its indices and codebook would take 720 bytes instead of 576" in plan.tensors["deep"].reason
    assert plan.warnings[0].startswith("2 weights stay in float32: Conv ")
    assert ", Gemm " in plan.warnings[0]


def test_what_the_recipe_keeps_stays_in_float32(tmp_path: Path) -> None:
    recipe = dataclasses.replace(SIXTEEN, keep_float=KeepFloat(ops=frozenset({"Gemm"})))
    plan = plan_uncalibrated(network(tmp_path), catalog.load(TARGET), recipe)
    assert set(sizes(plan)) == {"table", "up", "down"}
    assert plan.tensors["head"].reason.endswith("stays in float32: the recipe keeps it so (keep_float)")


def test_what_is_kept_may_be_stored_in_float16(tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        SIXTEEN, keep_float=KeepFloat(ops=frozenset({"Gemm"})), float_weights="float16"
    )
    model, target = network(tmp_path), catalog.load(TARGET)
    plan = plan_uncalibrated(model, target, recipe)
    check(plan, model, target)
    assert set(sizes(plan)) == {"table", "up", "down"}
    assert plan.tensors["head"].float_type == "float16"


def test_a_weight_that_something_else_reads_stays() -> None:
    model = float_model(
        """g (float[16,16] x) => (float[16,16] y) {
            [first] b = MatMul(x, v)
            [last] c = MatMul(b, w)
            [sum] y = Add(c, w)
        }""",
        {"v": ramp(16, 16), "w": ramp(16, 16)},
    )
    plan = plan_uncalibrated(model, catalog.load(TARGET), SIXTEEN)
    assert set(sizes(plan)) == {"v"}
    assert plan.tensors["w"].reason.endswith("stays in float32: Add 'sum' reads it too")


def test_a_model_of_which_nothing_becomes_smaller_is_refused() -> None:
    model = float_model("g (float[2,2] x) => (float[2,2] y) { [last] y = MatMul(x, w) }", {"w": ramp(2, 2)})
    with pytest.raises(
        CapabilityError, match="none of the model's 1 nodes has a weight that becomes smaller"
    ):
        plan_uncalibrated(model, catalog.load(TARGET), SIXTEEN)


@pytest.mark.parametrize("precision", CLUSTERED)
def test_a_target_that_has_none_says_why(tmp_path: Path, precision: Any) -> None:
    message = (
        rf"'cortex-a-tflite' has no kernels for {precision} \(LiteRT looks nothing up by indices of 8 bits"
    )
    with pytest.raises(CapabilityError, match=message):
        plan_uncalibrated(network(tmp_path), catalog.load("cortex-a-tflite"), Recipe(precision=precision))


def test_groups_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match="weights-kmeans4 has no groups, got 32"):
        plan_uncalibrated(network(tmp_path), catalog.load(TARGET), dataclasses.replace(SIXTEEN, group=32))


def test_an_own_profile_cannot_make_tflite_look_numbers_up(tmp_path: Path) -> None:
    base = catalog.load("cortex-a-tflite")
    rules = UncalibratedRules(
        ops=frozenset({"MatMul"}), symmetric=True, groups=(), partial_group=True, min_versions={}
    )
    own = dataclasses.replace(base, uncalibrated={"weights-kmeans4": rules})
    model = network(tmp_path)
    plan = plan_uncalibrated(model, own, SIXTEEN)
    with pytest.raises(LoweringError, match="weights-kmeans4, which tflite files do not have"):
        lower(model, plan, own)


# What is checked


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("hidden", {"codebook": (0.0, 1.0)}, "value 'hidden' has a codebook, but no node multiplies by it"),
        ("head_bias", {"codebook": (0.0, 1.0)}, "value 'head_bias' has a codebook, but no node multiplies"),
        ("up", {"float_type": "float16"}, "value 'up' is stored in float16 and as numbers of a codebook"),
        ("up", {"codebook": tuple(map(float, range(17)))}, "of 17 numbers, weights-kmeans4 has at most 16"),
    ],
)
def test_a_plan_with_another_codebook_is_refused(
    tmp_path: Path, name: str, change: dict[str, Any], message: str
) -> None:
    model = network(tmp_path)
    target, plan, _ = made(model, TARGET, "weights-kmeans4")
    with pytest.raises(PlanError, match=message):
        check(with_tensor(plan, name, **change), model, target)


def test_codes_and_a_codebook_exclude_each_other(tmp_path: Path) -> None:
    model = network(tmp_path)
    target, plan, _ = made(model, TARGET, "weights-kmeans4")
    codes = made(model, TARGET, "weights-int8")[1].tensors["up"].qparams
    with pytest.raises(PlanError, match="value 'up' has a codebook and parameters of codes"):
        check(with_tensor(plan, "up", qparams=codes), model, target)
    with pytest.raises(PlanError, match="is stored as codes, which weights-kmeans4 never has"):
        check(with_tensor(plan, "up", qparams=codes, codebook=None), model, target)
    other = made(model, TARGET, "weights-float16")[1]
    with pytest.raises(PlanError, match="value 'up' has a codebook, which weights-float16 never has"):
        check(with_tensor(other, "up", float_type="float32", codebook=(0.0, 1.0)), model, target)


def test_a_target_that_lacks_it_or_its_operator_is_told(tmp_path: Path) -> None:
    model = network(tmp_path)
    target, plan, _ = made(model, TARGET, "weights-kmeans4")
    with pytest.raises(
        PlanError, match="the plan is weights-kmeans4, which x86_64-onnxruntime does not have"
    ):
        check(plan, model, dataclasses.replace(target, uncalibrated={}))
    rules = dataclasses.replace(target.uncalibrated["weights-kmeans4"], ops=frozenset({"Gemm"}))
    fewer = dataclasses.replace(target, uncalibrated={"weights-kmeans4": rules})
    with pytest.raises(PlanError, match="x86_64-onnxruntime reads no kmeans4 weight of MatMul"):
        check(plan, model, fewer)


def test_a_codebook_that_saves_nothing_is_refused() -> None:
    model = float_model(
        """g (float[2,2] x) => (float[2,64] y) {
            [first] a = MatMul(x, v)
            [last] y = MatMul(a, w)
        }""",
        {"v": ramp(2, 2), "w": ramp(2, 64)},
    )
    target = catalog.load(TARGET)
    plan = plan_uncalibrated(model, target, SIXTEEN)
    check(plan, model, target)
    message = "value 'v' has a codebook, but its indices and codebook would take 18 bytes instead of 16"
    with pytest.raises(PlanError, match=message):
        check(with_tensor(plan, "v", codebook=(0.0, 1.0, 2.0, 3.0)), model, target)


# Its numbers


def test_the_numbers_of_a_plan_are_put_into_the_model(tmp_path: Path) -> None:
    model = network(tmp_path)
    plan = made(model, TARGET, "weights-kmeans4")[1]
    for put in (with_stored_weights, with_planned_values):
        graph = put(model, plan).graph.graph
        for name, values in constants().items():
            held, codebook = graph.initializers[name].const_value, plan.tensors[name].codebook
            assert held is not None
            expected = values if codebook is None else looked_up(values, codebook)
            assert np.array_equal(held.numpy(), expected), name
            assert len(np.unique(held.numpy())) == (16 if codebook is not None else values.size)
    own = model.graph.graph.initializers["up"].const_value
    assert own is not None
    assert np.array_equal(own.numpy(), constants()["up"])


def test_numbers_for_what_is_no_constant_are_refused(tmp_path: Path) -> None:
    model = network(tmp_path)
    plan = with_tensor(made(model, TARGET, "weights-kmeans4")[1], "hidden", codebook=(0.0, 1.0))
    with pytest.raises(LoweringError, match="Weight 'hidden': the plan has 2 numbers of a codebook for it"):
        with_stored_weights(model, plan)
    with pytest.raises(LoweringError, match="Constant 'hidden': the plan has 2 numbers of a codebook for it"):
        with_planned_values(model, plan)


# Its file


@pytest.mark.parametrize("precision", CLUSTERED)
def test_a_plan_file_gives_the_plan_back(tmp_path: Path, precision: Any) -> None:
    plan = made(network(tmp_path), TARGET, precision)[1]
    data = encode(plan)
    assert decode(data, where="plan.json") == plan
    assert encode(decode(data, where="plan.json")) == data
    assert (json.loads(data)["schema_version"], json.loads(data)["precision"]) == ("1.3", precision)


def test_other_plans_are_written_as_before() -> None:
    model = float_model("g (float[2,2] x) => (float[2,2] y) { y = MatMul(x, w) }", {"w": ramp(2, 2)})
    data = encode(planned(model, TARGET, Recipe()))
    assert b"codebook" not in data
    assert json.loads(data)["schema_version"] == "1.0"


@pytest.mark.parametrize(
    "value",
    [
        None, "0", 1.0, [], [1.0, 0.0], [1.0, 1.0], [0.1], [1e39], ["0"], [True], [[0.0]], list(range(257)),
    ],
)  # fmt: skip
def test_another_codebook_is_refused_by_file_and_key(tmp_path: Path, value: object) -> None:
    document = json.loads(encode(made(network(tmp_path), TARGET, "weights-kmeans4")[1]))
    next(one for one in document["tensors"] if one["name"] == "up")["codebook"] = value
    with pytest.raises(PlanFileError, match=r"plan.json: tensors\['up'\].codebook: expected "):
        decode(json.dumps(document).encode(), where="plan.json")


def test_two_plans_differ_in_their_codebooks(tmp_path: Path) -> None:
    model = network(tmp_path)
    eight, four = (made(model, TARGET, precision)[1] for precision in CLUSTERED)
    assert plan_scale_changes(four, four) == ()
    changes = {one.name: one for one in plan_scale_changes(four, eight)}
    assert set(changes) == {"table", "up", "down", "head"}
    assert (changes["up"].a_type, changes["up"].lowest_ratio) == ("codebook of 16", None)
    moved = with_tensor(four, "up", codebook=tuple(map(float, range(16))))
    assert [one.name for one in plan_scale_changes(four, moved)] == ["up"]
