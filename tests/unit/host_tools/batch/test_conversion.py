"""What goes wrong in a job becomes its failure, whatever it is; only an interruption goes through."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from host_tools.batch.conversion import run_job
from host_tools.batch.job import Job

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
    from host_tools.progress import Silent

    result = run_job(dataclasses.replace(JOB, out=str(tmp_path), code_folder=str(tmp_path)), Silent())
    assert result.failure is not None
    assert (result.failure.code, result.job) == ("model", "a")
    assert "/none.onnx: no such file" in result.failure.message
