"""Networks with one known fault: the diagnosis finds the layer, says why, and what it tried holds when it is done."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from host_tools.diagnose.diagnosis_file import decode, encode
from host_tools.observe import open_data
from host_tools.progress import Silent
from host_tools.recipe import KeepFloat, Recipe, TensorOverride
from host_tools.recipe_file import parse_recipe
from targets import catalog
from tests.e2e.small_network import samples, write_network
from tests.unit.host_tools.diagnose.networks import diagnosed, diagnosed_together, planned
from tests.unit.host_tools.lower.lowering_cases import CASES, TWO_ENDS, Case

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.diagnose.diagnosis import Diagnosis, LayerDiagnosis

PER_TENSOR = "nxp-neutron"
ONNX = "x86_64-onnxruntime"


def small(folder: Path, change: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    """Return the small network, some of its constants multiplied."""
    model = onnx.load(write_network(folder / "plain.onnx"))
    for tensor in model.graph.initializer:
        if tensor.name in (change or {}):
            array = numpy_helper.to_array(tensor) * (change or {})[tensor.name]
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))
    return model


def costliest(diagnosis: Diagnosis) -> LayerDiagnosis:
    (layer,) = diagnosis.costliest(1)
    return layer


def one_wide_channel() -> np.ndarray:
    """Return factors for the depthwise weights: one channel a thousand times the others."""
    factors = np.ones((8, 1, 1, 1))
    factors[3] = 1000.0
    return factors


def test_an_outlier_channel_of_weights_is_found(tmp_path: Path) -> None:
    model = small(tmp_path, {"w1": one_wide_channel()})
    found = diagnosed(planned(model, tmp_path, PER_TENSOR, samples=samples(8)))
    layer = costliest(found)
    assert layer.name == "depthwise"
    assert layer.findings[0].cause == "weight_channels"
    assert layer.weights is not None
    assert layer.weights.narrow_channels == 7
    assert layer.weights_db is not None
    assert layer.weights_db < 20.0
    assert any(remedy.recipe for remedy in layer.remedies)


def test_the_recipe_that_is_suggested_does_what_it_says(tmp_path: Path) -> None:
    model = small(tmp_path, {"w1": one_wide_channel()})
    before = diagnosed(planned(model, tmp_path, PER_TENSOR, samples=samples(8)))
    remedy = next(remedy for remedy in costliest(before).remedies if "keep_float" in remedy.recipe)
    recipe = parse_recipe(remedy.recipe.encode(), where="remedy")
    after = diagnosed(planned(model, tmp_path, PER_TENSOR, samples=samples(8), recipe=recipe))
    assert before.output_sqnr_db is not None
    assert after.output_sqnr_db is not None
    assert remedy.gain_db is not None
    assert after.output_sqnr_db - before.output_sqnr_db == pytest.approx(remedy.gain_db, abs=1.5)


def test_a_range_that_clips_is_found_and_widened(tmp_path: Path) -> None:
    recipe = Recipe(tensors={"s": TensorOverride(range=(-0.5, 0.5))})
    found = diagnosed(planned(small(tmp_path), tmp_path, ONNX, samples=samples(8), recipe=recipe))
    layer = costliest(found)
    assert layer.value == "s"
    assert layer.findings[0].cause == "clipping"
    assert layer.output is not None
    assert layer.output.clipped_share > 0.1
    widened = next(remedy for remedy in layer.remedies if remedy.text.startswith("Widen"))
    override = parse_recipe(widened.recipe.encode(), where="remedy").tensors["s"].range
    assert override is not None
    assert override[1] > 0.5


def test_a_range_that_is_far_too_wide_is_found_and_narrowed(tmp_path: Path) -> None:
    recipe = Recipe(tensors={"s": TensorOverride(range=(-300.0, 300.0))})
    layer = costliest(diagnosed(planned(small(tmp_path), tmp_path, ONNX, samples=samples(8), recipe=recipe)))
    assert layer.value == "s"
    assert "unused_codes" in [finding.cause for finding in layer.findings]
    assert any(remedy.text.startswith("Narrow") for remedy in layer.remedies)


def test_samples_beyond_calibration_are_named(tmp_path: Path) -> None:
    network = planned(small(tmp_path), tmp_path, ONNX, samples=samples(8), recipe=Recipe(method="minmax"))
    np.save(tmp_path / "far.npy", 20 * samples(4, seed=5))
    far = open_data(tmp_path / "far.npy", inputs=network.model.inputs)
    found = diagnosed(network, evaluation=far)
    causes = {finding.cause for layer in found.layers for finding in layer.findings}
    assert "beyond_calibration" in causes


def test_one_outlier_channel_of_an_activation_is_named(tmp_path: Path) -> None:
    factors = np.ones((8, 8, 1, 1))
    factors[2] = 300.0
    network = planned(small(tmp_path, {"w2": factors}), tmp_path, ONNX, samples=samples(8))
    causes = {finding.cause for layer in diagnosed(network).layers for finding in layer.findings}
    assert "outlier_channels" in causes


def test_rounding_that_no_setting_mends_is_called_so(tmp_path: Path) -> None:
    found = diagnosed(planned(small(tmp_path), tmp_path, ONNX, samples=samples(8)))
    causes = {finding.cause for layer in found.layers for finding in layer.findings}
    assert causes & {"rounding", "weight_rounding"}


def test_shares_add_up_and_the_ladder_rises(tmp_path: Path) -> None:
    model = small(tmp_path, {"w1": one_wide_channel()})
    found = diagnosed(planned(model, tmp_path, PER_TENSOR, samples=samples(8)))
    shares = [layer.what_if.noise_share for layer in found.layers if layer.what_if is not None]
    assert sum(shares) == pytest.approx(1.0, abs=1e-3)
    assert found.ladder
    assert found.output_sqnr_db is not None
    assert (found.ladder[0].sqnr_db or 200.0) > found.output_sqnr_db


def test_the_outputs_error_is_that_of_the_engine(tmp_path: Path) -> None:
    network = planned(small(tmp_path), tmp_path, ONNX, samples=samples(4))
    found = diagnosed(network)
    last = found.layers[-1]
    assert last.is_seen
    assert last.cumulative_db == pytest.approx(found.output_sqnr_db, abs=1.0)


def test_a_layer_kept_in_float_is_not_among_the_quantized(tmp_path: Path) -> None:
    recipe = Recipe(keep_float=KeepFloat(nodes=frozenset({"depthwise"})))
    found = diagnosed(planned(small(tmp_path), tmp_path, ONNX, samples=samples(8), recipe=recipe))
    depthwise = [layer for layer in found.layers if layer.name == "depthwise"]
    assert all(layer.weights is None for layer in depthwise)


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_histograms_come_with_and_without_those_of_calibration(method: str, tmp_path: Path) -> None:
    recipe = Recipe(method=method)  # type: ignore[arg-type]
    found = diagnosed(planned(small(tmp_path), tmp_path, ONNX, samples=samples(8), recipe=recipe))
    origins = {layer.output.histogram.origin for layer in found.layers if layer.output is not None}
    assert origins == {"calibration samples" if method == "mse" else "the diagnosed samples"}
    for layer in found.layers:
        for tensor in (layer.output, layer.weights):
            if tensor is not None:
                assert sum(tensor.histogram.shares) == pytest.approx(1.0, abs=1e-3)
                assert tensor.histogram.low <= tensor.low or tensor.histogram.origin
                assert 1 <= tensor.bulk_levels <= tensor.levels


@pytest.mark.parametrize("target", catalog.ids())
@pytest.mark.parametrize("case", [CASES[0], CASES[3], TWO_ENDS], ids=lambda case: case.name)
def test_every_target_is_diagnosed_and_written(case: Case, target: str, tmp_path: Path) -> None:
    found = diagnosed(planned(case.proto(), tmp_path, target))
    assert found.layers
    assert decode(encode(found), where="diagnosis.json") == found
    assert encode(found) == encode(dataclasses.replace(found))


def test_plans_that_come_to_the_same_arithmetic_are_measured_once(tmp_path: Path) -> None:
    networks = [
        planned(small(tmp_path), tmp_path, target, samples=samples(8))
        for target in ("x86_64-onnxruntime", "aarch64-onnxruntime", PER_TENSOR)
    ]
    stages = Stages()
    found = diagnosed_together(networks, progress=stages)
    assert stages.titles == ["Diagnosing x86_64-onnxruntime", f"Diagnosing {PER_TENSOR}"]
    first, second, third = found.values()
    assert first.output_sqnr_db == second.output_sqnr_db != third.output_sqnr_db
    assert [layer.what_if for layer in first.layers] == [layer.what_if for layer in second.layers]


class Stages(Silent):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def stage(self, title: str, total: int | None) -> None:
        self.titles.append(title)


def test_inner_values_that_are_not_finite_are_numbers_in_the_file(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]> net (float[1,4] x) => (float[1,4] y) {
        zero = Constant <value = float {0.0}> ()
        six = Constant <value = float {6.0}> ()
        a = Relu (x)
        b = Log (a)
        y = Clip (b, zero, six)
    }"""
    calibration = np.full((4, 4), 2.0, np.float32)
    network = planned(onnx.parser.parse_model(text), tmp_path, ONNX, samples=calibration)
    np.save(tmp_path / "zeros.npy", np.array([[0.0, 1.0, 2.0, 3.0]] * 2, np.float32))
    found = diagnosed(network, evaluation=open_data(tmp_path / "zeros.npy", inputs=network.model.inputs))
    assert decode(encode(found), where="diagnosis.json") == found


def test_constant_samples_and_dead_channels_give_numbers(tmp_path: Path) -> None:
    dead = np.ones((8, 1, 1, 1))
    dead[:4] = 0.0
    still = np.zeros((4, 3, 16, 16), np.float32)
    found = diagnosed(planned(small(tmp_path, {"w1": dead}), tmp_path, PER_TENSOR, samples=still))
    assert decode(encode(found), where="diagnosis.json") == found
