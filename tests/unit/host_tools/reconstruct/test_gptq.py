"""Matrices rounded by what they give: on their grid, never worse than the nearest codes, and in a model that every lowering writes alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.errors import DataError, InputError
from host_tools.lower.lowering import lower
from host_tools.model.reference import FloatRunner
from host_tools.observe import open_data
from host_tools.plan.check import check
from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.planned_values import with_stored_weights
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.progress import Silent
from host_tools.recipe import KeepFloat, Recipe
from host_tools.reconstruct import compensation, read_moments, round_by_outputs
from host_tools.reconstruct.successive import rounded_successively
from targets import catalog
from tests.unit.host_tools.lower.uncalibrated_networks import network

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from host_tools.model import FloatModel
    from host_tools.observe import CalibrationSet

    Float64 = NDArray[np.float64]

FOUR_BITS = (-7, 7)


def drawn(outputs: int, inputs: int, samples: int, seed: int) -> tuple[Float64, Float64, Float64]:
    """A matrix, one scale a row, and inputs that follow one another, as those of networks do."""
    numbers = np.random.default_rng(seed)
    weight = numbers.standard_normal((outputs, inputs))
    scale = np.repeat(np.abs(weight).max(axis=1, keepdims=True) / 7.0, inputs, axis=1)
    mixed = numbers.standard_normal((inputs, inputs)) * np.geomspace(1.0, 0.05, inputs)
    return weight, scale, numbers.standard_normal((samples, inputs)) @ mixed.T


@given(
    outputs=st.integers(1, 6), inputs=st.integers(1, 40), samples=st.integers(1, 80), seed=st.integers(0, 500)
)
def test_every_row_is_on_its_grid_and_no_worse_than_its_nearest_codes(
    outputs: int, inputs: int, samples: int, seed: int
) -> None:
    weight, scale, seen = drawn(outputs, inputs, samples, seed)
    zero_point = np.random.default_rng(seed).integers(-3, 4, weight.shape).astype(np.float64)
    found = rounded_successively(weight, scale, zero_point, FOUR_BITS, seen.T @ seen)
    codes = found.values / scale + zero_point
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-9)
    assert codes.min() >= FOUR_BITS[0] - 1e-9
    assert codes.max() <= FOUR_BITS[1] + 1e-9
    nearest = (np.clip(np.rint(weight / scale) + zero_point, *FOUR_BITS) - zero_point) * scale
    own, plain = (np.square(seen @ (one - weight).T).sum(axis=0) for one in (found.values, nearest))
    assert (own <= plain + 1e-6 * (1.0 + plain)).all()
    np.testing.assert_allclose(found.error, own.sum(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.nearest_error, plain.sum(), rtol=1e-6, atol=1e-6)


def test_what_one_input_loses_the_next_makes_good() -> None:
    """Two inputs that are always equal: 0.4 and 0.4 are 0.8 of one, and 1 is nearer to that than 0 is."""
    weight, ones = np.full((1, 2), 0.4), np.ones((1, 2))
    found = rounded_successively(weight, ones, 0 * ones, FOUR_BITS, np.full((2, 2), 10.0))
    assert sorted(found.values[0]) == [0.0, 1.0]
    assert found.error == pytest.approx(10.0 * 0.2**2)
    assert found.nearest_error == pytest.approx(10.0 * 0.8**2)


def test_inputs_that_know_nothing_of_one_another_leave_the_nearest_codes() -> None:
    weight, scale, _ = drawn(5, 30, 1, 3)
    second = np.diag(np.random.default_rng(0).uniform(0.5, 2.0, 30))
    found = rounded_successively(weight, scale, 0 * scale, FOUR_BITS, second)
    np.testing.assert_allclose(found.values, np.clip(np.rint(weight / scale), *FOUR_BITS) * scale)
    assert found.error == found.nearest_error


def test_it_gains_where_inputs_follow_one_another() -> None:
    weight, scale, seen = drawn(48, 96, 400, 1)
    found = rounded_successively(weight, scale, 0 * scale, FOUR_BITS, seen.T @ seen)
    assert found.error < 0.5 * found.nearest_error


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, scale, seen = drawn(4, 50, 90, 2)
    whole = rounded_successively(weight, scale, 0 * scale, FOUR_BITS, seen.T @ seen)
    for block in (1, 7, 49):
        monkeypatch.setattr(compensation, "_BLOCK", block)
        part = rounded_successively(weight, scale, 0 * scale, FOUR_BITS, seen.T @ seen)
        np.testing.assert_array_equal(part.values, whole.values)


def test_inputs_that_are_always_zero_leave_the_nearest_codes() -> None:
    weight, scale, _ = drawn(3, 8, 1, 4)
    found = rounded_successively(weight, scale, 0 * scale, FOUR_BITS, np.zeros((8, 8)))
    np.testing.assert_array_equal(found.values, np.rint(weight / scale) * scale)


# --- a model ---


def samples(folder: Path, model: FloatModel, count: int, seed: int) -> CalibrationSet:
    """Inputs that follow one another in the same way whatever the seed."""
    mixed = np.random.default_rng(0).standard_normal((40, 40)) * np.geomspace(1.0, 0.05, 40)
    numbers = np.random.default_rng(seed)
    path = folder / f"samples{seed}.npz"
    np.savez(
        path,
        ids=numbers.integers(0, 50, (count, 1, 6)),
        more=(numbers.standard_normal((count, 1, 6, 40)) @ mixed.T).astype(np.float32),
    )
    return open_data(path, inputs=model.inputs)


def error_of(exact: FloatModel, found: FloatModel, data: CalibrationSet) -> float:
    runners = [FloatRunner(one, threads=1) for one in (exact, found)]
    wanted, got = ([runner.run(one.arrays)["hidden"] for one in data] for runner in runners)
    return float(np.square(np.subtract(wanted, got)).sum())


@pytest.mark.parametrize("target", ["x86_64-onnxruntime", "x86_64-openvino"])
@pytest.mark.parametrize("precision", ["weights-int4", "weights-int8"])
def test_a_rounded_model_keeps_its_plan_and_its_engine_gives_what_the_plan_says(
    tmp_path: Path, target: str, precision: str
) -> None:
    model, profile = network(tmp_path), catalog.load(target)
    plan = plan_uncalibrated(model, profile, Recipe(precision=precision, rounding="gptq"))
    data = samples(tmp_path, model, 24, 1)
    before = {name: np.array(value.const_value.numpy()) for name, value in model.graph.graph.initializers.items()}  # fmt: skip
    rounded, planned = round_by_outputs(model, plan, data, threads=1, progress=Silent())
    check(planned, rounded, profile)
    for name, array in before.items():
        np.testing.assert_array_equal(model.graph.graph.initializers[name].const_value.numpy(), array)
    assert planned.model_digest == rounded.digest != model.digest
    assert planned.data_digest != plan.data_digest
    assert {name: one.qparams for name, one in planned.tensors.items()} == {
        name: one.qparams for name, one in plan.tensors.items()
    }
    assert "on 24 calibration samples (GPTQ)" in planned.method_reason
    for name, tensor in planned.tensors.items():
        if tensor.reason.endswith("(GPTQ)") and tensor.qparams is not None:
            values = rounded.graph.graph.initializers[name].const_value.numpy().astype(np.float64)
            again = values_of(codes_of(values, tensor.qparams), tensor.qparams)
            np.testing.assert_array_equal(again.astype(np.float32), values.astype(np.float32))
    payload = lower(rounded, planned, profile)
    exact = FloatRunner(with_stored_weights(rounded, planned), threads=1)
    engine = load_engine("onnx" if target.endswith("runtime") else "openvino", payload.files, threads=1)
    for sample in data:
        outputs = [np.array(one) for one in engine.infer(to_payload(sample.arrays, payload.inputs))]
        found, wanted = to_source(outputs, payload.outputs), exact.run(sample.arrays)
        for name in ("scores", "hidden"):
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-3, atol=1e-3)
    engine.close()


@pytest.mark.parametrize(("count", "is_told"), [(1, True), (8, True), (24, False)])
def test_too_few_rows_to_fit_to_are_told(tmp_path: Path, count: int, *, is_told: bool) -> None:
    model, profile = network(tmp_path), catalog.load("x86_64-onnxruntime")
    keep = KeepFloat(ops=frozenset({"Gemm"}))  # it reads one row of 240 a sample
    plan = plan_uncalibrated(model, profile, Recipe(precision="weights-int4", keep_float=keep))
    data = samples(tmp_path, model, count, 1)
    _, planned = round_by_outputs(model, plan, data, threads=1, progress=Silent())
    told = [warning for warning in planned.warnings if "too few rows" in warning]
    assert len(told) == is_told
    assert not told or f"reads {6 * count} in {count} samples and has" in told[0]


def test_outputs_are_nearer_to_float_on_samples_that_nothing_was_fitted_to(tmp_path: Path) -> None:
    model, profile = network(tmp_path), catalog.load("x86_64-onnxruntime")
    keep = KeepFloat(ops=frozenset({"Gather", "Gemm"}))
    plan = plan_uncalibrated(model, profile, Recipe(precision="weights-int4", keep_float=keep))
    fitted = samples(tmp_path, model, 64, 1)
    rounded, planned = round_by_outputs(model, plan, fitted, threads=1, progress=Silent())
    others = samples(tmp_path, model, 32, 9)
    nearest, better = (
        error_of(model, with_stored_weights(one, own), others) for one, own in ((model, plan), (rounded, planned))
    )  # fmt: skip
    assert better < 0.8 * nearest


def test_matrices_that_memory_is_too_small_for_together_come_out_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, profile = network(tmp_path), catalog.load("x86_64-onnxruntime")
    plan = plan_uncalibrated(model, profile, Recipe(precision="weights-int4"))
    data = samples(tmp_path, model, 8, 2)
    at_once = round_by_outputs(model, plan, data, threads=1, progress=Silent())[0]
    monkeypatch.setattr(read_moments, "_MOST_BYTES", 1)
    told = Told()
    one_by_one = round_by_outputs(model, plan, data, threads=1, progress=told)[0]
    assert one_by_one.digest == at_once.digest
    assert told.stages.count("Observing what matrices read") == 3
    assert told.steps == 3 * 8 + 3


class Told:
    """Counts what a progress is told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.steps = 0

    def stage(self, title: str, total: int | None) -> None:
        assert total
        self.stages.append(title)

    def step(self, count: int = 1) -> None:
        self.steps += count


def test_a_sample_that_overflows_inside_the_model_is_named(tmp_path: Path) -> None:
    model, profile = network(tmp_path), catalog.load("x86_64-onnxruntime")
    plan = plan_uncalibrated(model, profile, Recipe(precision="weights-int4"))
    more = np.ones((3, 1, 6, 40), np.float32)
    more[1] = 3e38
    np.savez(tmp_path / "large.npz", ids=np.zeros((3, 1, 6), np.int64), more=more)
    data = open_data(tmp_path / "large.npz", inputs=model.inputs)
    with pytest.raises(
        DataError, match=r"large\.npz: sample 1: '\w+' inside the model becomes NaN or infinite"
    ):
        round_by_outputs(model, plan, data, threads=1, progress=Silent())


def test_a_plan_without_matrices_is_refused(tmp_path: Path) -> None:
    model, profile = network(tmp_path), catalog.load("x86_64-onnxruntime")
    recipe = Recipe(precision="weights-int8", keep_float=KeepFloat(ops=frozenset({"MatMul", "Gemm"})))
    plan = plan_uncalibrated(model, profile, recipe)
    data = samples(tmp_path, model, 2, 2)
    with pytest.raises(InputError, match=r"none of the weights that are stored .* is a matrix"):
        round_by_outputs(model, plan, data, threads=1, progress=Silent())
