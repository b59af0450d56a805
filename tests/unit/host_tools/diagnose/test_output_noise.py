"""What a layer costs is told by the part of the outputs that it harms, however small beside the others that part is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from host_tools.diagnose.output_noise import OutputNoise
from host_tools.model import load
from tests.unit.host_tools.diagnose.networks import diagnosed, planned
from tests.unit.host_tools.lower.lowering_cases import CASES, DETECTOR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from host_tools.model.float_model import FloatModel

    Values = dict[str, np.ndarray]

BOXES, SCORES = np.full((1, 8, 8, 8), 1000.0), np.full((1, 8, 8, 8), 0.1)
JOINED = {"y": np.concatenate([BOXES, SCORES], axis=1)}


def detector(folder: Path) -> FloatModel:
    onnx.save(DETECTOR.proto(), folder / "detector.onnx")
    return load(folder / "detector.onnx")


def moved(boxes: float, scores: float) -> Values:
    return {"y": np.concatenate([BOXES + boxes, SCORES + scores], axis=1)}


def test_parts_count_by_their_own_signal(tmp_path: Path) -> None:
    outputs = OutputNoise(detector(tmp_path), ["y"], [JOINED])
    assert outputs.signal(JOINED) == pytest.approx(np.sum(JOINED["y"] ** 2))
    assert outputs.noise(JOINED, moved(100.0, 0.0)) == pytest.approx(0.005 * outputs.signal(JOINED))
    assert outputs.noise(JOINED, moved(0.0, 0.01)) == pytest.approx(0.005 * outputs.signal(JOINED))


def test_a_part_without_signal_does_not_count_beside_one_with(tmp_path: Path) -> None:
    silent = {"y": np.concatenate([BOXES, 0.0 * SCORES], axis=1)}
    outputs = OutputNoise(detector(tmp_path), ["y"], [silent])
    assert outputs.noise(silent, moved(0.0, 1.0)) == 0.0
    assert outputs.noise(silent, moved(1.0, 0.0)) > 0.0


@pytest.mark.parametrize("value", [0.0, math.inf, math.nan], ids=["silence", "infinite", "no number"])
def test_where_no_part_can_be_weighed_all_count_alike(tmp_path: Path, value: float) -> None:
    odd = {"y": np.full((1, 16, 8, 8), value)}
    outputs = OutputNoise(detector(tmp_path), ["y"], [odd])
    assert outputs.noise(JOINED, moved(0.0, 0.5)) == pytest.approx(0.25 * SCORES.size)
    assert outputs.noise(JOINED, odd) == (
        pytest.approx(np.sum(JOINED["y"] ** 2)) if value == 0.0 else math.inf
    )


def test_one_part_is_a_plain_sum_and_runs_nothing(tmp_path: Path) -> None:
    def runs() -> Iterator[Values]:
        pytest.fail("a sample was run")
        yield {}

    onnx.save(CASES[0].proto(), tmp_path / "one.onnx")
    outputs = OutputNoise(load(tmp_path / "one.onnx"), ["y"], runs())
    before, after = {"y": np.full((1, 4, 8, 8), 3.0)}, {"y": np.full((1, 4, 8, 8), 5.0)}
    assert (outputs.signal(before), outputs.noise(before, after)) == (9.0 * 256, 4.0 * 256)


def test_a_layer_that_only_the_scores_need_is_named_first(tmp_path: Path) -> None:
    """One scale for all weights, one channel far larger: what is left of the other scores, boxes of thousands do not show."""
    model = DETECTOR.proto()
    for tensor in model.graph.initializer:
        if tensor.name == "other_w":
            factors = np.where(np.arange(8) == 3, 1000.0, 1.0).reshape(8, 1, 1, 1)
            array = (numpy_helper.to_array(tensor) * factors).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    found = diagnosed(planned(model, tmp_path, "nxp-neutron"))
    (worst,) = found.costliest(1)
    assert (worst.op_type, worst.value) == ("Conv", "c")
    assert worst.what_if is not None
    assert worst.what_if.noise_share > 0.5
