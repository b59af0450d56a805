"""A Concat at the outputs whose inputs no one scale serves runs in float where it may, its output leaves so, and it is named where it may not."""

from __future__ import annotations

import pytest

from host_tools.plan.check import check
from host_tools.recipe import KeepFloat, Recipe
from tests.unit.host_tools.plan.plan_models import float_model, planned, profile

DETECTOR = """g (float[1,4,8] x) => (float[1,8,8] y) {
    [pixels] boxes = Mul(x, x)
    [gate] scores = Sigmoid(x)
    [join] joined = Concat<axis = 1>(boxes, scores)
    [turn] y = Transpose<perm = [0, 2, 1]>(joined)
}"""
RANGES = {"boxes": (0.0, 320.0), "scores": (0.0, 1.0), "joined": (0.0, 320.0), "y": (0.0, 320.0)}


def node(plan, op_type: str):
    return next(one for one in plan.nodes.values() if one.op_type == op_type)


def test_boxes_and_scores_keep_scales_of_their_own():
    plan = planned(float_model(DETECTOR), "generic-per-tensor-symmetric", ranges=RANGES)
    assert node(plan, "Concat").precision == node(plan, "Transpose").precision == "float32"
    assert plan.tensors["boxes"].qparams.scale[0] > 100 * plan.tensors["scores"].qparams.scale[0]
    assert plan.tensors["y"].qparams is None
    (warning,) = [text for text in plan.warnings if "Concat" in text]
    assert "'scores' reaches 1" in warning
    assert warning.endswith("Runs in float32 instead.")


@pytest.mark.parametrize("target", ["cortex-a-tflite", "cortex-m-tflm", "ethos-u55", "coral-edgetpu"])
def test_an_integer_interface_does_not_squeeze_them_into_one_scale_either(target):
    model = float_model(DETECTOR)
    plan = planned(model, target, ranges=RANGES)
    assert node(plan, "Concat").precision == node(plan, "Transpose").precision == "float32"
    assert node(plan, "Mul").precision == node(plan, "Sigmoid").precision == "int8"
    assert plan.tensors["x"].qparams is not None
    assert plan.tensors["y"].qparams is None
    (warning,) = [text for text in plan.warnings if "Concat" in text]
    assert f"so 'y' is float32, not int8 (interface.output_type of '{target}')" in warning
    check(plan, model, profile(target))


def test_a_concat_that_is_in_float_for_another_reason_is_not_quantized_at_the_door():
    """Sigmoid fixes its output's scale, and no kernel re-quantizes that to the boxes' scale: the Concat was in float, its output in one scale."""
    far = RANGES | {"boxes": (0.0, 3000.0), "joined": (0.0, 3000.0), "y": (0.0, 3000.0)}
    plan = planned(float_model(DETECTOR), "cortex-a-tflite", ranges=far)
    assert plan.tensors["y"].qparams is None
    keep = Recipe(keep_float=KeepFloat(ops=frozenset({"Concat"})))
    plan = planned(float_model(DETECTOR), "cortex-a-tflite", keep, ranges=RANGES)
    assert plan.tensors["y"].qparams is None


def test_other_outputs_stay_integers():
    model = float_model(
        DETECTOR.replace("=> (float[1,8,8] y)", "=> (float[1,8,8] y, float[1,4,8] z)").replace(
            "(joined)", "(joined)\n    [more] z = Tanh(x)"
        )
    )
    plan = planned(model, "cortex-a-tflite", ranges=RANGES | {"z": (-1.0, 1.0)})
    assert plan.tensors["y"].qparams is None
    assert plan.tensors["z"].qparams is not None


def test_a_second_concat_goes_with_the_first():
    """Its own inputs are of a size; in integers it would put the scores back into one scale with the boxes."""
    model = float_model(
        """g (float[1,4,8] x) => (float[1,12,8] y) {
            [pixels] boxes = Mul(x, x)
            [gate] scores = Sigmoid(x)
            [join] joined = Concat<axis = 1>(boxes, scores)
            [points] marks = Add(x, x)
            [again] y = Concat<axis = 1>(joined, marks)
        }"""
    )
    plan = planned(model, "cortex-a-tflite", ranges=RANGES | {"marks": (0.0, 320.0)})
    assert plan.nodes["join"].precision == plan.nodes["again"].precision == "float32"
    assert plan.tensors["y"].qparams is None


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("generic-per-tensor-symmetric", {"fallback": {"max_float_ops": 0}}),
        ("generic-per-tensor-symmetric", {"fallback": {"max_partitions": 1}}),
        ("generic-per-tensor-symmetric", {"fallback": {"to": "refuse"}}),
    ],
    ids=["no float operators", "one partition", "no fall-back"],
)
def test_where_the_target_takes_integers_only_it_is_said(target, parts):
    plan = planned(float_model(DETECTOR), profile(target, **parts), ranges=RANGES)
    assert node(plan, "Concat").precision == "int8"
    (warning,) = [text for text in plan.warnings if "what is smaller is lost" in text]
    assert "'scores' reaches 1" in warning


@pytest.mark.parametrize(
    "ranges",
    [
        RANGES | {"scores": (0.0, 60.0)},
        RANGES | {"scores": (0.0, 0.0)},
    ],
    ids=["even", "zeros"],
)
def test_what_one_scale_serves_stays_integer(ranges):
    plan = planned(float_model(DETECTOR), "generic-per-tensor-symmetric", ranges=ranges)
    assert node(plan, "Concat").precision == "int8"
    assert not any("lost" in text for text in plan.warnings)


def test_within_the_network_it_stays_integer():
    inner = DETECTOR.replace("[turn] y = Transpose<perm = [0, 2, 1]>(joined)", "[turn] y = Tanh(joined)")
    plan = planned(float_model(inner), "generic-per-tensor-symmetric", ranges=RANGES | {"y": (-1.0, 1.0)})
    assert node(plan, "Concat").precision == "int8"
