"""`edgewright batch`: exit status of jobs, progress with and without a terminal."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from host_tools.batch.job import Failure, JobResult, TargetVerdict
from host_tools.cli.batch_progress import BatchBar
from host_tools.cli.batch_run import job_status
from tests.unit.host_tools.batch.batch_results import EXACT, FAILED, GOOD


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        (("pass", "marginal"), 0),
        (("pass", "refused"), 3),
        (("refused", "fail"), 4),
        (("nonfinite",), 4),
    ],
)
def test_verdicts_to_status(verdicts: tuple[TargetVerdict, ...], status: int) -> None:
    targets = tuple(dataclasses.replace(GOOD.targets[0], verdict=verdict) for verdict in verdicts)
    assert job_status(dataclasses.replace(GOOD, targets=targets)) == status


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("model", 2),
        ("data", 2),
        ("config", 2),
        ("dynamic_shape", 2),
        ("capability", 3),
        ("lowering", 3),
        ("verification", 4),
        ("output", 7),
        ("engine", 7),
        ("crashed", 7),
        ("memory", 7),
        ("internal", 7),
    ],
)
def test_failures_to_status(code: str, status: int) -> None:
    assert (
        job_status(JobResult(job="a", seconds=0.0, host="", failure=Failure(code=code, message="x")))
        == status
    )


def play(bar: BatchBar) -> None:
    with bar:
        bar.look("good")
        bar.begin(3, kept=1)
        bar.stage("good", "Starting")
        bar.stage("good", "Observing")
        bar.finish(GOOD)
        bar.finish(FAILED)


def test_without_a_terminal_there_is_a_line_a_job(capsys: pytest.CaptureFixture[str]) -> None:
    play(BatchBar(quiet=False))
    assert capsys.readouterr().err.splitlines() == [
        "1 of 3 kept from an earlier run",
        "[2/3] good: x86_64-onnxruntime pass, nxp-neutron fail, amd-vitis-dpu refused (12.3 s)",
        "[3/3] failed: failed (0.5 s)",
    ]


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    play(BatchBar(quiet=True))
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar_and_a_line_for_what_runs() -> None:
    screen = io.StringIO()
    bar = BatchBar(quiet=False, console=Console(file=screen, force_terminal=True, width=100))
    with bar:
        bar.begin(2, kept=0)
        bar.stage("exact", "Observing")
        bar.refresh()
        assert "All jobs" in screen.getvalue()
        assert "exact: Observing" in screen.getvalue()
        assert "0/2" in screen.getvalue()
        bar.finish(EXACT)
    assert "[1/2] exact: x86_64-onnxruntime marginal (1.0 s)" in screen.getvalue()
    assert "1/2" in screen.getvalue()
