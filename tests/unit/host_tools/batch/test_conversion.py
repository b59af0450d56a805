"""What goes wrong in a job becomes its failure, whatever it is; only an interruption goes through."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from host_tools.batch.conversion import run_job
from host_tools.batch.job import GOALS, Job
from host_tools.mixed_precision import Goal
from host_tools.progress import Silent
from host_tools.verify.verification_report import Budget
from tests.e2e.small_network import samples, write_network

JOB = Job(
    name="a", model="/none.onnx", data="/none", targets=("x86_64-onnxruntime",), out="/none", code_folder="/"
)


class Faulty:
    """A progress that raises when it is told of the first stage."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def stage(self, title: str, total: int | None) -> None:
        raise self._error

    def step(self, count: int = 1) -> None: ...


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), "memory", "There is not enough memory. Run fewer jobs side by side."),
        (
            RuntimeError("odd"),
            "internal",
            "RuntimeError: odd A fault of Edgewright or of a library; a/job.log has the traceback.",
        ),
        (OSError("\udcff"), "internal", "OSError: \\udcff A fault"),
    ],
)
def test_an_unforeseen_error_is_told_and_logged(
    capsys: pytest.CaptureFixture[str], error: Exception, code: str, message: str
) -> None:
    result = run_job(JOB, Faulty(error))
    assert result.failure is not None
    assert result.failure.code == code
    assert str(result.failure).startswith(message)
    assert ("Traceback" in capsys.readouterr().err) == (code == "internal")


def test_an_interruption_is_none_of_the_jobs_failures() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_job(JOB, Faulty(KeyboardInterrupt()))


def test_an_error_of_ours_keeps_its_code(tmp_path: Path) -> None:
    result = run_job(dataclasses.replace(JOB, out=str(tmp_path), code_folder=str(tmp_path)), Silent())
    assert result.failure is not None
    assert (result.failure.code, result.job) == ("model", "a")
    assert "/none.onnx: no such file" in result.failure.message


def test_a_limit_that_the_list_names_is_worked_towards_and_another_only_judges(tmp_path: Path) -> None:
    """As on the command line: what ``--min-sqnr`` names moves operators to float, what nobody named does not."""
    write_network(tmp_path / "a.onnx")
    np.save(tmp_path / "data.npy", samples(10))
    job = dataclasses.replace(
        JOB,
        model=str(tmp_path / "a.onnx"),
        data=str(tmp_path / "data.npy"),
        cache=str(tmp_path / "cache"),
        code_folder=str(tmp_path),
        budget=Budget(min_sqnr_db=60.0),
        latency=False,
        diagnosis=False,
    )
    reached: dict[str, tuple[float, str]] = {}
    for name, goals in {"judged": (), "goal": ("min_sqnr_db",)}.items():
        out = tmp_path / name
        result = run_job(dataclasses.replace(job, out=str(out), goals=goals), Silent())
        assert result.failure is None
        (target,) = result.targets
        stages = json.loads((out / "report.json").read_text())["targets"][0]["stages"]
        reached[name] = (target.sqnr_db or math.inf, stages[-1]["name"])
        assert not (out / "x86_64-onnxruntime" / "diagnosis.json").exists()
    assert reached["judged"][1] != "mixed precision"
    assert reached["goal"][1] == "mixed precision"
    assert reached["goal"][0] > reached["judged"][0] + 6.0


def test_limits_that_can_be_goals_are_those_that_methods_know() -> None:
    assert set(GOALS) == {field.name for field in dataclasses.fields(Goal)}
