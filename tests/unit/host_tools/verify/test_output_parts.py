"""Outputs are measured each by itself, and an output that a Concat writes operand by operand: the worst decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from host_tools.model import load
from host_tools.verify.metrics import sqnr_db
from host_tools.verify.output_parts import OutputParts, OutputsComparison
from tests.unit.host_tools.model.onnx_models import model_proto

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.model import FloatModel

JOINED = """net (float[1,3,4,4] x) => (float[1,5,4,4] y, float[1,3,4,4] z) {
    boxes = Mul (x, pixels)
    scores = Conv (x, w)
    y = Concat <axis = AXIS> (boxes, scores)
    z = Relu (x)
}"""


def network(folder: Path, *, axis: int = 1) -> FloatModel:
    weights = {"pixels": np.full((1, 3, 1, 1), 100.0, np.float32), "w": np.ones((2, 3, 1, 1), np.float32)}
    onnx.save(model_proto(JOINED.replace("AXIS", str(axis)), **weights), folder / "joined.onnx")
    return load(folder / "joined.onnx")


@pytest.mark.parametrize("axis", [1, -3])
def test_boxes_in_pixels_do_not_hide_what_becomes_of_scores(tmp_path: Path, axis: int) -> None:
    rng = np.random.default_rng(0)
    boxes, scores, z = (rng.normal(size=(1, count, 4, 4)) for count in (3, 2, 3))
    boxes *= 1000.0
    comparison = OutputsComparison(OutputParts(network(tmp_path, axis=axis)))
    comparison.add(
        {"y": np.concatenate([boxes, scores], 1), "z": z},
        {"y": np.concatenate([boxes, scores * 0.5], 1), "z": (z + 0.01).reshape(-1)},
    )
    exact, halved, near = comparison.outputs()
    assert [one.name for one in (exact, halved, near)] == ["y[:, 0:3]", "y[:, 3:5]", "z"]
    assert exact.sqnr_db is None
    assert halved.sqnr_db == pytest.approx(sqnr_db(4.0, 1.0))
    assert near.max_absolute == pytest.approx(0.01)
    assert comparison.sqnr_db == halved.sqnr_db
    assert comparison.absolute_max == halved.max_absolute


def test_the_least_agreement_of_all_classifiers_counts(tmp_path: Path) -> None:
    comparison = OutputsComparison(OutputParts(network(tmp_path)))
    right, wrong = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
    comparison.add({"a": right, "b": right}, {"a": right, "b": wrong})
    comparison.add({"a": right, "b": right}, {"a": right, "b": right})
    assert comparison.same_top_class == 0.5


def test_an_output_of_zeros_is_measured_but_does_not_decide_beside_others(tmp_path: Path) -> None:
    comparison = OutputsComparison(OutputParts(network(tmp_path)))
    comparison.add(
        {"a": np.ones((1, 2)), "b": np.zeros((1, 2))}, {"a": np.full((1, 2), 0.9), "b": np.ones((1, 2))}
    )
    assert comparison.sqnr_db == pytest.approx(20.0)
    silent = comparison.outputs()[1]
    assert not silent.has_signal
    assert silent.max_absolute == 1.0


def test_one_output_of_zeros_alone_decides(tmp_path: Path) -> None:
    comparison = OutputsComparison(OutputParts(network(tmp_path)))
    comparison.add({"b": np.zeros((1, 2))}, {"b": np.ones((1, 2))})
    assert comparison.sqnr_db == -200.0


def test_several_outputs_of_zeros_that_differ_are_not_exact(tmp_path: Path) -> None:
    comparison = OutputsComparison(OutputParts(network(tmp_path)))
    silent = {"a": np.zeros((1, 2)), "b": np.zeros((1, 2))}
    comparison.add(silent, silent)
    assert comparison.sqnr_db is None
    comparison.add(silent, {**silent, "b": np.ones((1, 2))})
    assert comparison.sqnr_db == -200.0


def test_what_is_not_finite_is_counted_over_all_outputs(tmp_path: Path) -> None:
    comparison = OutputsComparison(OutputParts(network(tmp_path)))
    comparison.add(
        {"a": np.ones((1, 2)), "b": np.ones((1, 2))},
        {"a": np.array([[np.nan, 1.0]]), "b": np.array([[np.inf, np.nan]])},
    )
    assert comparison.nonfinite_count == 3


def test_nothing_was_compared(tmp_path: Path) -> None:
    comparison = OutputsComparison(OutputParts(network(tmp_path)))
    assert comparison.outputs() == ()
    assert comparison.sqnr_db is None
    assert comparison.same_top_class is None
    assert comparison.mean_absolute == comparison.absolute_max == 0.0
