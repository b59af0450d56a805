"""`edgewright batch` in processes: real conversions, and everything that can befall them."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_agent.contract.archive import ArtifactArchive
from host_tools.batch.batch import Batch, run_batch
from host_tools.batch.manifest import read_manifest
from host_tools.errors import InputError, OutputError
from host_tools.output_folder import open_output_folder
from tests.e2e.batch_workplace import DEFAULTS, BatchWorkplace, is_running, wait_for
from tests.e2e.small_network import samples, write_network

BOTH = '[[model]]\npath = "?.onnx"\n'


@pytest.fixture
def workplace(tmp_path: Path) -> BatchWorkplace:
    return BatchWorkplace.make(tmp_path)


def states(batch: Batch) -> dict[str, str]:
    return {entry.result.job: entry.state for entry in batch.entries}


def test_models_by_targets_with_one_table(workplace: BatchWorkplace) -> None:
    np.save(workplace.folder / "eval.npy", samples(10, seed=5))
    (workplace.folder / "labels.txt").write_text("\n".join(str(index) for index in range(10)))
    workplace.list_jobs(
        BOTH,
        DEFAULTS.replace('["x86_64-onnxruntime"]', '["x86_64-onnxruntime", "cortex-a-tflite"]')
        + 'eval = "eval.npy"\nlabels = "labels.txt"\n',
    )
    process = workplace.start("--executor", "processes:2")
    shown, told = process.communicate(timeout=120)
    assert process.returncode in (0, 4), told
    assert "[2/2]" in told
    assert "Traceback" not in told
    for word in ("a", "b", "x86_64-onnxruntime", "cortex-a-tflite", "top-1 %", "done"):
        assert word in shown
    document = json.loads((workplace.out / "batch.json").read_text())
    assert [job["job"] for job in document["jobs"]] == ["a", "b"]
    assert [target["target"] for target in document["jobs"][1]["targets"]] == [
        "x86_64-onnxruntime",
        "cortex-a-tflite",
    ]
    for job in document["jobs"]:
        for target in job["targets"]:
            if target["artifact"] is not None:
                archive = ArtifactArchive.open(workplace.out / job["job"] / target["artifact"])
                assert archive.manifest.target == target["target"]
    assert len((workplace.out / "batch.csv").read_text().splitlines()) == 5
    page = (workplace.out / "batch.html").read_text()
    assert 'href="b/report.html#cortex-a-tflite"' in page


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
    assert run(chosen=["b"]) == {"a": "not chosen", "b": "done"}
    assert run() == {"a": "kept", "b": "kept"}


def test_one_bad_model_is_no_loss_to_the_others(workplace: BatchWorkplace) -> None:
    (workplace.folder / "bad.onnx").write_bytes(b"these are not the bytes of a model")
    workplace.list_jobs('[[model]]\npath = "bad.onnx"\n[[model]]\npath = "a.onnx"\n')
    process = workplace.start("--json", "--executor", "processes:2")
    shown, told = process.communicate(timeout=60)
    assert process.returncode == 2, told
    bad, good = json.loads(shown)["jobs"]
    assert bad["failure"]["code"] == "model"
    assert "bad.onnx" in bad["failure"]["message"]
    assert good["targets"][0]["verdict"] == "pass"
    assert "bad: failed" in told
    assert "Traceback" not in told


def test_a_process_that_is_killed_is_one_failed_job(workplace: BatchWorkplace) -> None:
    killed = '[[model]]\npath = "b.onnx"\ndata = "own:killed"\n[[model]]\npath = "a.onnx"\n'
    batch = run_batch(workplace.jobs(killed), out=workplace.out, executor="processes:2")
    assert states(batch) == {"a": "done", "b": "failed"}
    failure = batch.entries[0].result.failure
    assert failure is not None
    assert (failure.code, "SIGKILL" in failure.message, "processes:1" in failure.hint) == (
        "crashed",
        True,
        True,
    )


SLOW = '[[model]]\npath = "a.onnx"\n[[model]]\npath = "b.onnx"\ndata = "own:slow"\n'


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_an_ended_batch_leaves_no_process_and_goes_on(workplace: BatchWorkplace, end: signal.Signals) -> None:
    workplace.list_jobs(SLOW)
    process = workplace.start("--executor", "processes:2")
    slow = workplace.slow_process()
    wait_for(lambda: "a" in read_manifest(workplace.out))
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

    (workplace.folder / "go").touch()
    assert states(run_batch(workplace.jobs(SLOW), out=workplace.out)) == {"a": "kept", "b": "done"}


def test_what_is_asked_to_be_done_again_is(workplace: BatchWorkplace) -> None:
    """Data from code are never taken for unchanged; of the rest the user may want it."""
    (workplace.folder / "go").touch()
    for asked, expected in ((False, ["done", "done"]), (False, ["kept", "done"]), (True, ["done", "done"])):
        batch = run_batch(workplace.jobs(SLOW), out=workplace.out, executor="processes:2", redo=asked)
        assert [entry.state for entry in batch.entries] == expected


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
