"""`edgewright batch` on Dask: a real scheduler and real workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from device_agent.contract.errors import TransferError
from host_tools.batch.batch import Batch, run_batch
from host_tools.batch.dask_cluster import require_able
from host_tools.batch.dask_worker import look
from host_tools.batch.manifest import read_manifest
from host_tools.batch.progress import Silent
from host_tools.errors import InputError, OutputError
from host_tools.free_port import free_port
from tests.e2e.batch_workplace import ROOT, BatchWorkplace, is_running, wait_for

MODELS = '[[model]]\npath = "?.onnx"\n'
SLOW = '[[model]]\npath = "b.onnx"\ndata = "own:slow"\n'


@pytest.fixture
def workplace(tmp_path: Path) -> BatchWorkplace:
    return BatchWorkplace.make(tmp_path)


def start(*arguments: str, cwd: Path, **variables: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
        cwd=cwd,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler without workers; its ``HOST:PORT``."""
    port = free_port()
    process = start(
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-dashboard",
        cwd=tmp_path_factory.mktemp("scheduler"),
    )
    yield f"127.0.0.1:{port}"
    stop(process)


@pytest.fixture
def worker(scheduler: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    folder = tmp_path / "worker"  # not the submitter's folder: paths must mean the same there
    folder.mkdir()
    process = start(
        "worker",
        f"tcp://{scheduler}",
        "--no-dashboard",
        "--no-nanny",
        "--nthreads",
        "2",
        "--host",
        "127.0.0.1",
        cwd=folder,
    )
    yield process
    stop(process)


def states(batch: Batch) -> dict[str, str]:
    return {entry.result.job: entry.state for entry in batch.entries}


def test_a_cluster_in_this_process(workplace: BatchWorkplace) -> None:
    class Doors(Silent):
        def stage(self, job: str, title: str) -> None:
            """Look who listens while jobs run."""
            for connection in psutil.Process().net_connections():
                if connection.status == psutil.CONN_LISTEN:
                    doors.add(connection.laddr.ip)

    doors: set[str] = set()
    batch = run_batch(workplace.jobs(MODELS), out=workplace.out, executor="dask", progress=Doors())
    assert doors <= {"127.0.0.1", "::1"}, "nothing is open to the network"
    assert states(batch) == {"a": "done", "b": "done"}
    assert states(run_batch(workplace.jobs(MODELS), out=workplace.out)) == {"a": "kept", "b": "kept"}, (
        "what one executor did, another keeps"
    )


@pytest.mark.usefixtures("worker")
def test_jobs_on_a_worker_elsewhere(workplace: BatchWorkplace, scheduler: str) -> None:
    killed = '[[model]]\npath = "b.onnx"\ndata = "own:killed"\n[[model]]\npath = "a.onnx"\n'
    stages: list[str] = []

    class Stages(Silent):
        def stage(self, job: str, title: str) -> None:
            stages.append(f"{job}: {title}")

    batch = run_batch(
        workplace.jobs(killed), out=workplace.out, executor=f"dask://{scheduler}", progress=Stages()
    )
    assert states(batch) == {"a": "done", "b": "failed"}
    assert "a: Starting" in stages
    assert (workplace.out / "a" / "report.html").is_file()
    assert not list(workplace.out.glob(".shared-*"))


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_an_ended_submitter_ends_its_jobs(
    workplace: BatchWorkplace, scheduler: str, end: signal.Signals
) -> None:
    workplace.list_jobs(SLOW)
    process = workplace.start("--executor", f"dask://{scheduler}")
    slow = workplace.slow_process()
    process.send_signal(end)
    _, told = process.communicate(timeout=30)
    assert "Traceback" not in told
    if end is signal.SIGINT:
        assert process.returncode == 130
    wait_for(lambda: not is_running(slow), seconds=60)


def test_a_worker_that_dies_takes_its_process_along(
    workplace: BatchWorkplace, scheduler: str, worker: subprocess.Popen[bytes]
) -> None:
    workplace.list_jobs(SLOW)
    process = workplace.start("--executor", f"dask://{scheduler}")
    slow = workplace.slow_process()
    worker.kill()
    wait_for(lambda: not is_running(slow), seconds=60)
    (workplace.folder / "go").touch()
    again = start(
        "worker",
        f"tcp://{scheduler}",
        "--no-dashboard",
        "--no-nanny",
        "--host",
        "127.0.0.1",
        cwd=workplace.folder,
    )
    try:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
    finally:
        stop(again)
    assert "b" in read_manifest(workplace.out)


def test_a_scheduler_that_is_lost(workplace: BatchWorkplace, tmp_path: Path) -> None:
    port = free_port()
    lost = start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", cwd=tmp_path)
    serving = start(
        "worker",
        f"tcp://127.0.0.1:{port}",
        "--no-dashboard",
        "--no-nanny",
        "--host",
        "127.0.0.1",
        cwd=tmp_path,
    )
    try:
        workplace.list_jobs(SLOW)
        process = workplace.start("--executor", f"dask://127.0.0.1:{port}")
        slow = workplace.slow_process()
        lost.kill()
        _, told = process.communicate(timeout=60)
        assert process.returncode == 6
        assert "is lost" in told
        assert "Traceback" not in told
        wait_for(lambda: not is_running(slow), seconds=60)  # its worker still runs
    finally:
        stop(serving)
        stop(lost)


def test_a_scheduler_that_is_not_there(workplace: BatchWorkplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host_tools.batch.dask_cluster._CONNECT_SECONDS", 1.0)
    with pytest.raises(
        TransferError, match=r"no Dask scheduler answers at tcp://127.0.0.1:\d+ within 1 s.*dask scheduler"
    ):
        run_batch(workplace.jobs(MODELS), out=workplace.out, executor=f"dask://127.0.0.1:{free_port()}")


def test_a_scheduler_without_workers(
    workplace: BatchWorkplace, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host_tools.batch.dask_cluster._CONNECT_SECONDS", 3.0)
    with pytest.raises(TransferError, match=r"has no worker.*dask worker tcp://"):
        run_batch(workplace.jobs(MODELS), out=workplace.out, executor=f"dask://{scheduler}")


def test_a_folder_that_is_not_shared(tmp_path: Path) -> None:
    """What a worker sees of a submitter's folder, and what is made of its answer."""
    token = tmp_path / "token"
    token.write_text("mine")
    good = look(str(token), "mine", [str(token)])
    require_able("tcp://w:1", good)
    assert [path.name for path in tmp_path.iterdir()] == ["token"]
    for answer, error, message in (
        (
            look(str(token), "yours", []),
            OutputError,
            r"tcp://w:1 \(.*\) cannot write results: .* is another folder there.*share",
        ),
        (
            look(str(tmp_path / "none" / "token"), "mine", []),
            OutputError,
            r"cannot write results: .*No such file",
        ),
        (
            look(str(token), "mine", ["/no/such/a", "/no/such/b"]),
            InputError,
            r"cannot see 2 of the jobs' files: /no/such/a, /no/such/b",
        ),
        (
            {**good, "version": "0.0.1"},
            InputError,
            r"has edgewright 0.0.1, here it is .*Install the same version",
        ),
        (
            ModuleNotFoundError("No module named 'host_tools'"),
            InputError,
            r"cannot run jobs: ModuleNotFoundError.*edgewright\[host,dask\]",
        ),
    ):
        with pytest.raises(error, match=message):
            require_able("tcp://w:1", answer)
