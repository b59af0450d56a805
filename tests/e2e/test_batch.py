"""`edgewright batch` in processes: real conversions, and everything that can befall them."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_agent.contract.archive import ArtifactArchive
from host_tools.batch.batch import Batch, run_batch
from host_tools.batch.manifest import read_manifest
from host_tools.errors import InputError, OutputError
from host_tools.output_folder import open_output_folder
from tests.e2e.batch_workplace import BatchWorkplace, is_running, wait_for
from tests.e2e.small_network import samples, write_network

BOTH = '[[model]]\npath = "?.onnx"\n'


@pytest.fixture
def workplace(tmp_path: Path) -> BatchWorkplace:
    return BatchWorkplace.make(tmp_path)


def states(batch: Batch) -> dict[str, str]:
    return {entry.result.job: entry.state for entry in batch.entries}


@dataclass(frozen=True)
class Finished:
    """A batch of a good model for two targets, a bad one, and one whose process is killed; what it said."""

    out: Path
    status: int
    shown: str
    told: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    workplace = BatchWorkplace.make(tmp_path_factory.mktemp("batch"))
    np.save(workplace.folder / "eval.npy", samples(10, seed=5))
    (workplace.folder / "labels.txt").write_text("\n".join(str(index) for index in range(10)))
    (workplace.folder / "bad.onnx").write_bytes(b"these are not the bytes of a model")
    workplace.list_jobs(
        """
[[model]]
path = "b.onnx"
data = "own:killed"
[[model]]
path = "bad.onnx"
[[model]]
path = "a.onnx"
targets = ["x86_64-onnxruntime", "cortex-a-tflite"]
eval = "eval.npy"
labels = "labels.txt"
budget = { max_quality_drop = 1.0 }
"""
    )
    process = workplace.start("--executor", "processes:2")
    shown, told = process.communicate(timeout=120)
    return Finished(out=workplace.out, status=process.returncode, shown=shown, told=told)


def test_a_good_model_is_converted_for_its_targets(finished: Finished) -> None:
    *_, good = json.loads((finished.out / "batch.json").read_text())["jobs"]
    assert [target["target"] for target in good["targets"]] == ["x86_64-onnxruntime", "cortex-a-tflite"]
    for target in good["targets"]:
        assert target["verdict"] in ("pass", "marginal")
        archive = ArtifactArchive.open(finished.out / "a" / target["artifact"])
        assert archive.manifest.target == target["target"]
        report = json.loads((finished.out / "a" / "report.json").read_text())
        (same,) = (one for one in report["targets"] if one["target"] == target["target"])
        assert target["sqnr_db"] == same["agreement"]["sqnr_db"]
        assert target["payload_bytes"] == same["payload_bytes"]


def test_one_bad_model_is_no_loss_to_the_others(finished: Finished) -> None:
    _, bad, _ = json.loads((finished.out / "batch.json").read_text())["jobs"]
    assert bad["failure"]["code"] == "model"
    assert "bad.onnx" in bad["failure"]["message"]
    assert bad["targets"] == []


def test_a_process_that_is_killed_is_one_failed_job(finished: Finished) -> None:
    killed, _, _ = json.loads((finished.out / "batch.json").read_text())["jobs"]
    assert killed["failure"]["code"] == "crashed"
    assert "SIGKILL" in killed["failure"]["message"]
    assert "processes:1" in killed["failure"]["hint"]


def test_all_is_said_in_one_table_and_one_status(finished: Finished) -> None:
    assert finished.status == 7, finished.told  # that of the gravest: the process that was killed
    for word in ("a", "b", "x86_64-onnxruntime", "cortex-a-tflite", "top-1 %", "done", "failed"):
        assert word in finished.shown
    assert "[3/3]" in finished.told
    assert "bad: failed" in finished.told
    assert "Traceback" not in finished.told + finished.shown
    assert [
        row["model"] for row in csv.DictReader((finished.out / "batch.csv").read_text().splitlines())
    ] == [
        "b",
        "bad",
        "a",
        "a",
    ]
    page = (finished.out / "batch.html").read_text()
    assert 'href="a/report.html#cortex-a-tflite"' in page
    assert "SIGKILL" in page


def test_what_is_done_is_kept_until_something_changes(workplace: BatchWorkplace) -> None:
    def run(**options: Any) -> dict[str, str]:
        return states(run_batch(workplace.jobs(BOTH), out=workplace.out, executor="processes:2", **options))

    assert run() == {"a": "done", "b": "done"}
    report = (workplace.out / "a" / "report.json").stat().st_mtime_ns
    assert run() == {"a": "kept", "b": "kept"}
    assert (workplace.out / "a" / "report.json").stat().st_mtime_ns == report

    write_network(workplace.folder / "a.onnx", seed=8)  # a changed input
    assert run() == {"a": "done", "b": "kept"}

    (workplace.out / "b" / "x86_64-onnxruntime" / "model.onnx").unlink()  # an incomplete result
    assert run() == {"a": "kept", "b": "done"}
    assert run(chosen=["b"], redo=True) == {"a": "not chosen", "b": "done"}


SLOW = '[[model]]\npath = "a.onnx"\n[[model]]\npath = "b.onnx"\ndata = "own:slow"\n'


def told_after_manifest(out: Path) -> bool:
    """Whether the table, the last of the three files, is of the manifest that lies there."""
    table = out / "batch.csv"
    return table.is_file() and table.stat().st_mtime_ns >= (out / "batch.json").stat().st_mtime_ns


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_an_ended_batch_leaves_no_process_and_goes_on(workplace: BatchWorkplace, end: signal.Signals) -> None:
    workplace.list_jobs(SLOW)
    process = workplace.start("--executor", "processes:2")
    slow = workplace.slow_process()
    wait_for(lambda: "a" in read_manifest(workplace.out))
    wait_for(lambda: told_after_manifest(workplace.out))  # kill -9 between two files may leave a partial one
    process.send_signal(end)
    _, told = process.communicate(timeout=30)
    assert "Traceback" not in told
    if end is signal.SIGINT:
        assert process.returncode == 130
        assert "Interrupted" in told
        assert not is_running(slow)
    wait_for(lambda: not is_running(slow), seconds=15)
    assert not list(workplace.out.rglob("*.partial"))
    assert set(read_manifest(workplace.out)) == {"a"}
    if end is signal.SIGINT:
        return

    (workplace.folder / "go").touch()
    assert states(run_batch(workplace.jobs(SLOW), out=workplace.out)) == {"a": "kept", "b": "done"}


def test_two_batches_in_one_folder_are_refused(workplace: BatchWorkplace) -> None:
    jobs = workplace.jobs(BOTH)
    with (
        open_output_folder(workplace.out),
        pytest.raises(OutputError, match="another run is writing here"),
    ):
        run_batch(jobs, out=workplace.out)


def test_a_folder_of_something_else_is_refused(workplace: BatchWorkplace) -> None:
    workplace.out.mkdir()
    (workplace.out / "batch.json").write_text('{"what": "else"}')
    with pytest.raises(InputError, match=r"batch.json: schema_version is missing.*Choose another --out"):
        run_batch(workplace.jobs(BOTH), out=workplace.out)


def test_a_pattern_without_a_job_is_refused(workplace: BatchWorkplace) -> None:
    with pytest.raises(
        InputError, match=r"--jobs: no job is named '4'; there are: a, b.*--executor processes:N"
    ):
        run_batch(workplace.jobs(BOTH), out=workplace.out, chosen=["4"])


@pytest.mark.parametrize(
    "executor",
    [
        "",
        "threads",
        "processes:0",
        "processes:x",
        "dask:8786",
        "dask://host",
        "dask://host:0",
        "dask://host:70000",
    ],
)
def test_an_unknown_executor_is_refused(workplace: BatchWorkplace, executor: str) -> None:
    with pytest.raises(InputError, match="--executor: expected"):
        run_batch(workplace.jobs(BOTH), out=workplace.out, executor=executor)
    assert not workplace.out.exists()
