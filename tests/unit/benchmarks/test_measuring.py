"""What turns raw observations into figures: logits, telemetry windows, laps, processes, photos and the fair float file."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import LIMITS, compared, sqnr_db
from benchmarks.agent.artifacts import null_artifact, tiny_artifact
from benchmarks.agent.footprint import smaps_rollup
from benchmarks.agent.overhead import loop_cost
from benchmarks.contestants import open_contestant
from benchmarks.conversion import ORT, ORT_SLOW, OURS_FULL, RATIOS, SLOW_RATIO, ratios
from benchmarks.float_tflite import write_fair
from benchmarks.machine import commit, facts
from benchmarks.made import ENTRIES
from benchmarks.material import prepare
from benchmarks.options import Options
from benchmarks.peers.edgewright import VERIFICATION, Laps
from benchmarks.tasks import NotMeasuredError, Outcome, Stopwatch, Task, run_once, run_python, run_task
from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.telemetry.measurements import ExponentialHistogram, InferenceWindow
from device_agent.contract.telemetry.message import Envelope
from device_agent.engines.onnxruntime_library import onnxruntime as ort
from host_tools.errors import DataError
from host_tools.progress import Silent


def window(*, seconds: float, count: int, in_engine: float) -> InferenceWindow:
    return InferenceWindow(
        envelope=Envelope(time=0.0, boot_id="b", seq=0, uptime_seconds=1.0, clock="synced", artifact=None),
        window_seconds=seconds,
        inferences_total=count,
        errors_total=0,
        dropped_frames_total=0,
        throughput_per_second=None,
        latency_count=count,
        latency_sum_seconds=in_engine,
        latency_min_seconds=None,
        latency_max_seconds=None,
        latency_p50_seconds=None,
        latency_p90_seconds=None,
        latency_p95_seconds=None,
        latency_p99_seconds=None,
        hist=ExponentialHistogram(scale=0, zero_count=0, counts={}),
    )


def test_what_is_not_spent_in_the_engine_is_the_agents() -> None:
    period, outside = loop_cost(
        [window(seconds=1.0, count=90, in_engine=0.9), window(seconds=1.0, count=110, in_engine=1.0)]
    )
    assert math.isclose(period, 0.01)
    assert math.isclose(outside, 0.1 / 200)


def test_windows_without_inference_are_no_measurement() -> None:
    with pytest.raises(NotMeasuredError, match="no telemetry window"):
        loop_cost([window(seconds=1.0, count=0, in_engine=0.0)])


def test_sqnr_is_ten_decibels_a_tenfold() -> None:
    exact = np.full((4, 10), 2.0)
    assert math.isclose(sqnr_db(exact, exact + 0.2).value, 20.0)
    assert sqnr_db(exact, exact).value == math.inf


def test_accuracy_is_held_against_the_limits_that_it_is_given() -> None:
    exact, labels = np.eye(10), np.arange(10)
    worse = exact.copy()
    worse[0] = exact[1]  # one of ten pictures in a wrong class
    for limits in (LIMITS, {}):
        found = {finding.figure: finding for finding in compared("file", exact, worse, labels, limits=limits)}
        assert math.isclose(found["top-1"].value or 0.0, 0.9)
        assert math.isclose(found["top-1 minus float"].value or 0.0, -10.0)
        assert math.isclose(found["same class as float"].value or 0.0, 0.9)
        expected = False if limits else None
        assert found["top-1 minus float"].is_met is expected
        assert found["same class as float"].is_met is expected


def test_standard_targets_agree_with_float_on_985_of_1000() -> None:
    exact, labels = np.eye(200), np.arange(200)
    for wrong, is_met in ((3, True), (4, False)):
        scores = exact.copy()
        scores[:wrong] = exact[-1]
        found = {one.figure: one for one in compared("file", exact, scores, labels, limits=LIMITS)}
        assert found["same class as float"].is_met is is_met


def test_every_statistic_in_one_pass_takes_a_fifth_of_one_percentile() -> None:
    assert SLOW_RATIO == (OURS_FULL, ORT_SLOW, 0.2)
    assert all(peer is ORT for _, peer, _ in RATIOS)
    mine = [Outcome(laps={"imports": 9.0, "conversion": seconds}, peak_bytes=1) for seconds in (8.0, 99.0)]
    for theirs, is_met in ((40.0, True), (39.0, False)):
        slow = [Outcome(laps={"imports": 1.0, "conversion": theirs}, peak_bytes=1)]
        ratio, *_ = ratios(*SLOW_RATIO, "arrays", {OURS_FULL: mine, ORT_SLOW: slow}, {})
        assert math.isclose(ratio.value or 0.0, 8.0 / theirs)
        assert ratio.sample == "1 fresh process"
        assert ratio.is_met is is_met
    [absent] = ratios(*SLOW_RATIO, "arrays", {OURS_FULL: mine, ORT_SLOW: []}, {ORT_SLOW: "no memory"})
    assert (absent.missing, absent.is_met) == ("no memory", None)


def test_a_run_says_which_commit_it_was_made_with(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=n", "-c", "user.email=e")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert commit(tmp_path) == "unknown"
    assert commit(tmp_path / "absent") == "unknown"
    git("init", "--quiet")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--quiet", "--message", "first")
    head = git("rev-parse", "HEAD")[:12]
    assert commit(tmp_path) == head
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == f"{head}, and changes to it"
    assert "commit" in facts()


def test_memory_is_read_as_the_kernel_writes_it() -> None:
    sizes = smaps_rollup(Path("/proc/self/smaps_rollup").read_text())
    assert 0 < sizes["Pss"] <= sizes["Rss"]


def test_verification_is_a_lap_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: sum(passed))
    stopwatch = Stopwatch(latest=time.monotonic())
    laps = Laps(stopwatch)
    for title, seconds in (
        ("Observing", 2.0),
        ("Planning for one target", 2.0),
        ("Running float and int8 side by side", 6.0),
        ("Writing", 1.0),
    ):
        laps.stage(title, 1)
        passed.append(seconds)
        laps.step()
        if title == "Planning for one target":
            passed.append(4.0)  # engines are loaded before the next stage is told
    stopwatch.lap("conversion")
    assert stopwatch.laps == {"conversion": 5.0, VERIFICATION: 10.0}


def test_a_task_that_fails_is_an_outcome_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    (tmp_path / "preprocess.toml").write_text("")
    np.save(tmp_path / "data.npy", np.zeros((1, 3, 8, 8), np.float32))
    outcome = run_task(
        Task(
            doer="edgewright",
            model=tmp_path / "model.onnx",
            data=tmp_path / "data.npy",
            preprocess=tmp_path / "preprocess.toml",
            out=tmp_path / "out",
            targets=("x86_64-onnxruntime",),
        )
    )
    assert outcome.laps == {}
    assert "failed with status 1" in outcome.missing
    assert "out.log" in outcome.missing


def test_a_module_that_is_not_there_is_an_outcome(tmp_path: Path) -> None:
    assert "No module named" in run_python("benchmarks.nothing", {}, log=tmp_path / "nothing.log").missing


def test_what_was_done_in_a_run_is_not_done_again_but_what_failed_is(tmp_path: Path) -> None:
    task = Task(doer="edgewright", model=tmp_path, data=tmp_path, preprocess=tmp_path, out=tmp_path / "out")
    done = Outcome(laps={"imports": 1.0}, peak_bytes=7)
    (tmp_path / "out.answer.json").write_text(json.dumps(dataclasses.asdict(done)))
    assert run_once(task) == done
    failed = Outcome(laps={}, peak_bytes=0, missing="out of luck")
    (tmp_path / "out.answer.json").write_text(json.dumps(dataclasses.asdict(failed)))
    (task.out / "cache").mkdir(parents=True)
    assert "failed with status 1" in run_once(task).missing  # a folder is no model
    assert not (task.out / "cache").exists()  # or a conversion that was cut off would seem quick


def test_a_task_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    task = Task(
        doer="edgewright",
        model=tmp_path,
        data=tmp_path,
        preprocess=tmp_path,
        out=tmp_path / "out",
        most_seconds=0.01,
    )
    assert run_task(task).missing == "not done after 0 s; see out.log"


def test_laps_can_be_left_out() -> None:
    outcome = Outcome(laps={"imports": 1.0, "conversion": 2.0, VERIFICATION: 4.0}, peak_bytes=0)
    assert outcome.seconds() == 7.0
    assert outcome.seconds("imports", VERIFICATION) == 2.0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,label\na.jpg,1\n", "columns file, index and split"),
        ("file,index,split\na.jpg,1,train\n", "the split calib or eval"),
        ("file,index,split\na.jpg,x,calib\n", "expected an index"),
        ("file,index,split\na.jpg,1,calib\n", "both splits"),
    ],
)
def test_labels_that_say_something_else_are_refused(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(table)
    options = Options(
        data=tmp_path, work=tmp_path / "w", images=1, rounds=1, repeats=1, agent_seconds=1.0, slow_peers=False
    )
    with pytest.raises(DataError, match=message):
        prepare(options, Silent())


def test_every_engine_has_all_three_sides() -> None:
    assert {(entry.side, entry.engine) for entry in ENTRIES} == {
        (side, engine) for side in ("ours", "peer", "float") for engine in ("onnx", "openvino", "tflite")
    }


def test_the_null_artifact_is_one(tmp_path: Path) -> None:
    archive = ArtifactArchive.open(null_artifact(tmp_path / "nothing.ewa", latency_seconds=0.001))
    assert archive.manifest.requires.engine == "null"
    assert list(archive.payload()) == ["payload/null.json"]


def test_the_fair_float_file_has_float_doors_fused_activations_and_the_same_outputs(tmp_path: Path) -> None:
    from host_tools import Budget, Recipe, convert
    from host_tools.recipe import KeepFloat

    tiny_artifact(tmp_path, "tflite")
    ops = frozenset({"Conv", "Relu", "Clip", "GlobalAveragePool", "Flatten", "Reshape", "Gemm"})
    model = ort.InferenceSession(str(clipped(tmp_path)), providers=["CPUExecutionProvider"])
    present = frozenset(op for op in ops if op in operators(tmp_path / "clipped.onnx"))
    convert(
        tmp_path / "clipped.onnx",
        data=tmp_path / "samples.npy",
        targets=["cortex-a-tflite"],
        out=tmp_path / "float",
        recipe=Recipe(method="minmax", keep_float=KeepFloat(ops=present)),
        budget=Budget(min_agreement=0.0, min_sqnr_db=-100.0),
        latency=False,
        threads=1,
        cache=tmp_path / "cache",
    )
    write_fair(tmp_path / "float" / "cortex-a-tflite" / "model.tflite", tmp_path / "fair" / "model.tflite")
    fair = open_contestant(tmp_path / "fair" / "model.tflite", "tflite", threads=1)
    assert fair.doors == "float32 → float32"
    for sample in np.load(tmp_path / "samples.npy")[:4]:
        fair.feed(sample[np.newaxis])
        fair.run()
        np.testing.assert_allclose(
            fair.scores(), model.run(None, {"x": sample[np.newaxis]})[0][0], rtol=1e-4, atol=1e-5
        )


def clipped(folder: Path) -> Path:
    """Write the tiny model with a ReLU6 in place of its Relu."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(folder / "tiny.onnx")
    place = next(index for index, node in enumerate(model.graph.node) if node.op_type == "Relu")
    relu = model.graph.node[place]
    clip = helper.make_node("Clip", [relu.input[0], "low", "high"], list(relu.output), name="relu6")
    model.graph.node.remove(relu)
    model.graph.node.insert(place, clip)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(bound, np.float32), name)
        for name, bound in (("low", 0.0), ("high", 6.0))
    )
    onnx.save(model, folder / "clipped.onnx")
    return folder / "clipped.onnx"


def operators(path: Path) -> set[str]:
    """Return the operator types of the canonical model, which is what a recipe names."""
    from host_tools.model import load

    return {str(node.op_type) for node in load(path).graph.graph}
