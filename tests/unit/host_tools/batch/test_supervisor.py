"""One job in a process: how it may end, and what is made of that. The processes are real."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from device_agent.contract.document import write_document
from device_agent.contract.fields import Fields
from host_tools.batch.job import Job
from host_tools.batch.job_document import job_document, read_job
from host_tools.batch.supervisor import NotWantedError, _crash, supervise
from host_tools.output_folder import open_output_folder
from host_tools.verify.verification_report import Budget
from tests.e2e.batch_workplace import ROOT, BatchWorkplace

EVERYTHING = Job(
    name="a",
    model="/a.onnx",
    data="own:data",
    targets=("x", "/y.toml"),
    out="/out/a",
    code_folder="/",
    version="2",
    method="mse",
    recipe="/r.toml",
    preprocess="/p.toml",
    shapes=(("images", (1, 3)), ("mask", (2,))),
    limit=3,
    evaluation="/e",
    labels="/l",
    metric="m:f",
    budget=Budget(min_sqnr_db=-3.0),
    goals=("min_sqnr_db",),
    budget_minutes=0.25,
    heat="/h.toml",
    latency=False,
    diagnosis=False,
    threads=2,
    cache="/c",
)


@pytest.mark.parametrize(
    "job", [EVERYTHING, Job(name="a", model="/a", data="/d", targets=("x",), out="/o", code_folder="/")]
)
def test_a_job_is_the_same_in_another_process(job: Job) -> None:
    from device_agent.contract.document import read_document

    line = write_document(job_document(job), where="job")
    assert read_job(Fields(read_document(line, where="job", max_bytes=1 << 20), where="job")) == job


def job_of(folder: Path, code: str) -> Job:
    workplace = BatchWorkplace.make(folder)
    (folder / "mine.py").write_text(code)
    return workplace.jobs('[[model]]\npath = "a.onnx"\ndata = "mine:data"\n')[0]


@pytest.mark.parametrize(
    ("code", "failure", "message"),
    [
        ("import os\ndef data(): print('last words'); os.abort()", "crashed", r"was ended by SIGABRT"),
        (
            "import os\ndef data():\n os.write(2, b'last words\\n'); os._exit(3)",
            "crashed",
            r"ended with status 3 and without a result \(last words\)",
        ),
        ("def data(): raise ValueError('mine')", "data", r"mine:data raised ValueError: mine"),
    ],
)
def test_an_end_without_a_result_is_told(tmp_path: Path, code: str, failure: str, message: str) -> None:
    import re

    stages: list[str] = []
    result = supervise(job_of(tmp_path, code), tell=stages.append, is_wanted=lambda: True)
    assert result.failure is not None
    assert (result.failure.code, result.targets) == (failure, ())
    assert re.search(message, str(result.failure))
    assert stages[0] == "Starting"


def test_a_job_that_is_not_wanted_is_ended_even_when_it_does_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host_tools.batch.supervisor.GRACE_SECONDS", 0.5)
    code = (
        "import os, signal, time\nfrom pathlib import Path\n"
        "def data():\n signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        " Path(__file__).with_name('pid').write_text(str(os.getpid()))\n time.sleep(600)\n"
    )
    start = time.monotonic()
    with pytest.raises(NotWantedError):
        supervise(
            job_of(tmp_path, code), tell=lambda title: None, is_wanted=lambda: not (tmp_path / "pid").exists()
        )
    assert time.monotonic() - start < 200
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_job_waits_for_the_one_before_it_to_leave(tmp_path: Path) -> None:
    """The processes of a batch that was killed need a moment to end."""
    job = BatchWorkplace.make(tmp_path).jobs('[[model]]\npath = "a.onnx"\n')[0]
    with ExitStack() as held:
        held.enter_context(open_output_folder(Path(job.out)))
        began: list[float] = []

        def tell(title: str) -> None:
            if title == "Starting":
                began.append(time.monotonic())
                threading.Timer(4.0, held.close).start()

        result = supervise(job, tell=tell, is_wanted=lambda: True)
    assert result.failure is None
    assert time.monotonic() - began[0] >= 4.0


def test_what_no_job_says_is_told(tmp_path: Path) -> None:
    code = (
        "import os, sys\ndef data():\n"
        ' os.write(int(sys.argv[1]), b\'{"what": "else"}\\n\')\n raise ValueError\n'
    )
    result = supervise(job_of(tmp_path, code), tell=lambda title: None, is_wanted=lambda: True)
    assert result.failure is not None
    assert (result.failure.code, result.failure.message) == ("internal", "message: stage is missing.")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    job = dataclasses.replace(EVERYTHING, out=str(tmp_path / "file" / "a"))
    result = supervise(job, tell=lambda title: None, is_wanted=lambda: True)
    assert result.failure is not None
    assert (result.failure.code, "Not a directory" in result.failure.message) == ("output", True)


def test_a_log_that_is_gone_is_not_quoted(tmp_path: Path) -> None:
    assert _crash(-signal.SIGKILL, tmp_path / "none").message.endswith("not enough memory.")


def test_a_child_that_is_told_nothing_ends() -> None:
    """A supervisor that died before it could say anything."""
    reading, writing = os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with os.fdopen(reading, "rb"):
        done = subprocess.run(
            [sys.executable, "-m", "host_tools.batch.child", str(writing)],
            stdin=subprocess.DEVNULL,
            pass_fds=(writing,),
            capture_output=True,
            timeout=60,
            check=False,
            env=environment,
        )
        os.close(writing)
    assert done.returncode == 130
    assert done.stderr == b""
