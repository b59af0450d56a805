"""The hard chapter: its rows, what it holds them against, the Min operators that it takes out, and peers with environments of their own."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchmarks.accuracy import better
from benchmarks.contestants import open_contestant
from benchmarks.hard.conversions import PEAK_LIMIT, SHORT_LIMIT, WHOLE_LIMIT, own_cost, peers_of
from benchmarks.hard.evaluation import own
from benchmarks.hard.minimums import without_min
from benchmarks.hard.rows import ROWS, Row
from benchmarks.hard.simulation import open_simulation
from benchmarks.options import HARD_TARGETS
from benchmarks.peers import HOW_TO_INSTALL
from benchmarks.tasks import Outcome, Task, run_task
from host_tools import Budget, Recipe, convert
from host_tools.errors import LoweringError
from host_tools.target_profiles import load_profiles

if TYPE_CHECKING:
    from benchmarks.findings import Finding

RNG = np.random.default_rng(5)
TARGETS = ("generic-per-tensor-symmetric", "nxp-neutron", "espressif-esp32s3")


def bounded_model(path: Path) -> None:
    """Write a convolution whose channels have bounds of their own, and a head."""
    constants = {
        "w": RNG.normal(size=(4, 3, 3, 3)),
        "bounds": np.array([0.3, 0.6, 1.2, 2.4]).reshape(1, 4, 1, 1),
        "head": RNG.normal(size=(5, 4)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Min", ["b", "bounds"], ["c"], name="bound"),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], name="pool"),
        helper.make_node("Flatten", ["d"], ["e"], name="flatten"),
        helper.make_node("Gemm", ["e", "head"], ["y"], name="head_gemm", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "bounded",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``bounded.onnx``, ``samples.npy`` and what it is for the three kinds of targets."""
    folder = tmp_path_factory.mktemp("hard")
    bounded_model(folder / "bounded.onnx")
    np.save(folder / "samples.npy", RNG.normal(size=(12, 3, 8, 8)).astype(np.float32))
    convert(
        folder / "bounded.onnx",
        data=folder / "samples.npy",
        targets=TARGETS,
        out=folder,
        recipe=Recipe(method="minmax"),
        budget=Budget(min_agreement=0.0, min_sqnr_db=-100.0),
        latency=False,
        diagnosis=False,
        threads=1,
        cache=folder / "cache",
    )
    return folder


def scores_of(file: Path, engine: str, samples: np.ndarray) -> np.ndarray:
    contestant = open_contestant(file, engine, threads=1)  # type: ignore[arg-type]
    rows = []
    for index in range(len(samples)):
        contestant.feed(samples[index : index + 1])
        contestant.run()
        rows.append(contestant.scores())
    return np.stack(rows)


def test_every_row_is_a_target_that_can_be_asked_for() -> None:
    assert tuple(row.target for row in ROWS) == HARD_TARGETS
    engines = {profile.id: profile.engine.name for profile in load_profiles(HARD_TARGETS)}
    assert {row.target: row.engine for row in ROWS} == engines
    assert {peer.doer for row in ROWS for peer in row.peers} <= set(HOW_TO_INSTALL)


@pytest.mark.parametrize(
    ("target", "engine", "file"),
    [(TARGETS[0], "onnx", "model.onnx"), (TARGETS[1], "tflite", "model.tflite")],
)
def test_without_its_min_a_file_runs_and_computes_something_else(
    converted: Path, target: str, engine: str, file: str
) -> None:
    whole, bare = converted / target / file, converted / target / f"bare_{file}"
    assert without_min(whole, bare) == 1
    assert without_min(bare, converted / "barer.tmp" if engine == "onnx" else bare) == 0
    samples = np.load(converted / "samples.npy")
    with_min, without = scores_of(whole, engine, samples), scores_of(bare, engine, samples)
    assert with_min.shape == without.shape
    assert np.abs(with_min - without).max() > 0.05


def test_the_simulator_computes_what_the_file_does(converted: Path) -> None:
    folder = converted / "espressif-esp32s3"
    samples = np.load(converted / "samples.npy")
    simulation = open_simulation(folder, "espressif-esp32s3")
    found = []
    for index in range(len(samples)):
        simulation.feed(samples[index : index + 1])
        simulation.run()
        found.append(simulation.scores())
    expected = scores_of(folder / "model.onnx", "onnx", samples)
    assert np.abs(np.stack(found) - expected).max() < 0.2 * np.abs(expected).max()


def test_a_plan_of_another_target_is_not_simulated(converted: Path, tmp_path: Path) -> None:
    for name in ("plan.json", "model_float.onnx"):
        (tmp_path / name).write_bytes((converted / "espressif-esp32s3" / name).read_bytes())
    with pytest.raises(LoweringError, match="amd-vitis-dpu"):
        open_simulation(tmp_path, "amd-vitis-dpu")


def test_a_rows_limits_are_held_against_as_many_pictures_as_there_are() -> None:
    row = Row(target="generic-power-of-two", least_gain=-1.0, least_same=0.97)
    exact = np.eye(10)
    found = {one.figure: one for one in own(row, "ours", exact, exact[:4], np.arange(10))}
    assert found["same class as float"].sample == "4 pictures"
    assert found["same class as float"].is_met is True
    assert found["top-1 minus float"].is_met is True
    assert found["SQNR"].limit is None
    worse = exact.copy()
    worse[0] = exact[1]
    found = {one.figure: one for one in own(row, "ours", exact, worse, np.arange(10))}
    assert found["same class as float"].is_met is False
    assert found["top-1 minus float"].is_met is False


def test_a_row_that_promised_nothing_has_no_limit() -> None:
    found = own(Row(target="generic-per-tensor"), "ours", np.eye(3), np.eye(3), np.arange(3))
    assert all(one.limit is None for one in found)


def test_better_than_a_peer_is_a_difference_on_the_same_pictures() -> None:
    exact = 3.0 * np.eye(8)
    ours, theirs = exact + 0.1, exact + 0.2
    theirs[0] = exact[1]
    same, noise = better("ours / theirs", exact, ours, theirs)
    assert math.isclose(same.value or 0.0, 100.0 / 8)
    assert same.is_met is True
    assert noise.is_met is True
    same, noise = better("theirs / ours", exact, theirs, ours)
    assert same.is_met is False
    assert noise.is_met is False


def test_a_peer_without_its_environment_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = Task(
        doer="quark", model=tmp_path, data=tmp_path, preprocess=tmp_path, out=tmp_path / "out", method="XINT8"
    )
    assert "make bench-peers" in run_task(task).missing


def cost_of(folder: Path, stages: list[str], outcome: Outcome) -> list[Finding]:
    """Return what the chapter makes of a conversion that took these stages."""
    report = {"stages": [{"name": name, "is_kept": name != "equalization"} for name in stages]}
    (folder / "report.json").write_text(json.dumps({"targets": [report]}))
    return own_cost("generic-symmetric", outcome, folder)


def test_a_conversion_without_reconstruction_must_be_short(tmp_path: Path) -> None:
    outcome = Outcome(laps={"imports": 2.0, "conversion": 198.0}, peak_bytes=3 << 30)
    whole, peak = cost_of(tmp_path, ["ranges", "equalization"], outcome)
    assert (whole.value, whole.limit, whole.is_met) == (200.0, SHORT_LIMIT, False)
    assert (peak.limit, peak.is_met) == (PEAK_LIMIT, False)
    assert whole.note.endswith("stages kept: ranges")
    whole, _ = cost_of(tmp_path, ["ranges", "equalization", "reconstruction"], outcome)
    assert (whole.limit, whole.is_met) == (WHOLE_LIMIT, True)
    assert whole.note.endswith("stages kept: ranges, reconstruction")


def test_a_conversion_that_failed_is_said() -> None:
    failed = Outcome(laps={}, peak_bytes=0, missing="failed with status 1")
    [finding] = own_cost("generic-symmetric", failed, Path("nowhere"))
    assert (finding.missing, finding.is_met) == ("failed with status 1", None)


def test_a_peer_of_two_rows_is_asked_once() -> None:
    peers = peers_of(ROWS)
    assert len(peers) == len(set(peers)) == 8
