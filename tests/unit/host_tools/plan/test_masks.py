"""A sum that a Softmax alone reads saturates below the scores where a mask is added; every other sum keeps its range."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.host_tools.plan.plan_models import float_model, planned

ATTENTION = """g (float[1,2,4,4] scores, float[1,1,1,4] mask) => (float[1,2,4,4] y) {
    [sum] masked = Add(scores, mask)
    [weigh] y = Softmax<axis = -1>(masked)
}"""
SCORES, MASK = (-6.0, 9.0), (-10000.0, 0.0)


def low_end(text: str, target: str = "x86_64-onnxruntime", **ranges: tuple[float, float]) -> float:
    plan = planned(float_model(text), target, ranges=ranges)
    qparams = plan.tensors["masked"].qparams
    assert qparams is not None
    return qparams.scale[0] * (qparams.quant_min - qparams.zero_point[0])


@pytest.mark.parametrize("target", ["x86_64-onnxruntime", "x86_64-openvino", "generic-per-tensor"])
def test_what_a_mask_takes_out_needs_no_codes(target: str) -> None:
    low = low_end(ATTENTION, target, scores=SCORES, mask=MASK, masked=(-10006.0, 9.0))
    assert -22.5 < low < -21.5


def test_scores_of_a_wide_range_are_scores_all_the_same() -> None:
    """The first layer of all-MiniLM-L6-v2: 10,000 is not far from such scores, and far enough."""
    low = low_end(ATTENTION, scores=(-30.0, 60.0), mask=MASK, masked=(-10030.0, 60.0))
    assert -47.0 < low < -45.0


def test_the_mask_may_be_the_first_operand() -> None:
    turned = ATTENTION.replace("Add(scores, mask)", "Add(mask, scores)")
    assert low_end(turned, scores=SCORES, mask=MASK, masked=(-10006.0, 9.0)) > -22.5


@pytest.mark.parametrize("where", ["Where(seen, scores, far)", "Where(seen, far, scores)"])
def test_a_mask_may_stand_in_the_place_of_scores(where: str) -> None:
    text = f"""g (float[1,2,4,4] scores, bool[1,1,1,4] seen) => (float[1,2,4,4] y) {{
        [choose] masked = {where}
        [weigh] y = Softmax<axis = -1>(masked)
    }}"""
    model = float_model(text, {"far": np.asarray(-1e4, np.float32)})
    plan = planned(model, "x86_64-onnxruntime", ranges={"scores": SCORES, "masked": (-10000.0, 9.0)})
    qparams = plan.tensors["masked"].qparams
    if qparams is not None:
        assert -22.5 < qparams.scale[0] * (qparams.quant_min - qparams.zero_point[0]) < -21.5


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        (ATTENTION, (-100.0, 0.0)),  # a bias of position, which counts
        (ATTENTION, (-10000.0, 500.0)),  # adds to scores, so no mask
        (ATTENTION.replace("Softmax<axis = -1>", "Sigmoid"), MASK),
        (ATTENTION.replace("float[1,2,4,4] y)", "float[1,2,4,4] y, float[1,2,4,4] masked)"), MASK),
    ],
    ids=["near", "positive", "other reader", "output"],
)
def test_other_sums_keep_their_range(text: str, mask: tuple[float, float]) -> None:
    low = low_end(text, scores=SCORES, mask=mask, masked=(mask[0] - 6.0, 9.0))
    assert low < mask[0]
