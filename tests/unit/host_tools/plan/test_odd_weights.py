"""Weights that no training leaves behind are named in every precision, and ordinary ones are not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from host_tools.plan.planner import plan
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.recipe import Recipe
from targets import catalog
from tests.unit.host_tools.plan.plan_models import MODEL_DIGEST, float_model, profile, statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

TARGET = "x86_64-onnxruntime"
TEXT = "g (float[1,40] x) => (float[1,48] y) { [last] y = MatMul(x, w) }"


def normal() -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((40, 48)).astype(np.float32)


def notes(weight: NDArray[np.float32], precision: Any) -> tuple[str, ...]:
    model = float_model(TEXT, {"w": weight})
    if precision != "int8":
        return plan_uncalibrated(model, catalog.load(TARGET), Recipe(precision=precision)).warnings
    model = dataclasses.replace(model, digest=MODEL_DIGEST)
    return plan(model, statistics(model), profile(TARGET), Recipe(method="minmax")).warnings


@pytest.mark.parametrize(
    "precision",
    ["int8", "int8-dynamic", "weights-int8", "weights-int4", "weights-kmeans4", "weights-float16"],
)
@pytest.mark.parametrize("far", [2.0**16, -(2.0**16)])
def test_a_number_far_beyond_all_others_is_named(precision: str, far: float) -> None:
    weight = np.clip(normal(), -0.5, 0.5)
    weight[5, 7] = far / 2  # of float16 too
    (said,) = [note for note in notes(weight, precision) if "far beyond all others" in note]
    assert "1 of 1920 numbers" in said
    assert "up to 3.277e+04; the others reach 0.5" in said
    assert "'last'" in said


@pytest.mark.parametrize("precision", ["int8", "weights-int8", "weights-kmeans8"])
def test_a_weight_of_zeros_is_named(precision: str) -> None:
    (said,) = [note for note in notes(np.zeros((40, 48), np.float32), precision) if "zero throughout" in note]
    assert "'last'" in said


@pytest.mark.parametrize("case", ["ordinary", "dead channels", "pruned", "one small channel", "few numbers"])
def test_what_training_leaves_is_worth_no_word(case: str) -> None:
    weight = normal()
    text = TEXT
    if case == "dead channels":
        weight[:, 1:] *= 1e-38
    elif case == "pruned":
        weight[1:] = 0.0
        weight[0, 1:] = 0.0
    elif case == "one small channel":
        weight[:, 3] = 1e-12
    elif case == "few numbers":
        weight = np.asarray([[1.0, 1e-6], [1e-7, 1e-6]], np.float32)
        text = "g (float[1,2] x) => (float[1,2] y) { [last] y = MatMul(x, w) }"
    model = dataclasses.replace(float_model(text, {"w": weight}), digest=MODEL_DIGEST)
    said = plan(model, statistics(model), profile(TARGET), Recipe(method="minmax")).warnings
    assert not [note for note in said if "export the model again" in note]
