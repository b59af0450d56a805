"""A Concat at the outputs whose inputs no one scale serves runs in float where it may, and is named where it may not."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("generic-per-tensor-symmetric", {"interface": {"output_type": "int8"}}),
        ("generic-per-tensor-symmetric", {"fallback": {"max_float_ops": 0}}),
    ],
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
