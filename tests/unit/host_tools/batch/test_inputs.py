"""The digest of a job's inputs changes with everything that the result depends on, and with nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from host_tools.batch.inputs import InputDigests
from host_tools.batch.job import Job
from host_tools.verify.verification_report import Budget
from targets import show
from tests.e2e.small_network import samples, write_network


@pytest.fixture
def job(tmp_path: Path) -> Job:
    write_network(tmp_path / "a.onnx")
    for folder in ("data", "eval"):
        (tmp_path / folder).mkdir()
        for index, sample in enumerate(samples(3)):
            np.save(tmp_path / folder / f"{index}.npy", sample)
    (tmp_path / "labels.txt").write_text("1\n2\n3\n")
    (tmp_path / "recipe.toml").write_text('method = "mse"\n')
    (tmp_path / "scores.py").write_text("def score(): ...\n")
    (tmp_path / "heat.toml").write_text("pause_celsius = 85.0\n")
    (tmp_path / "mine.toml").write_text(show.template("mine", "cortex-a-tflite"))
    return Job(
        name="a",
        model=str(tmp_path / "a.onnx"),
        data=str(tmp_path / "data"),
        targets=("x86_64-onnxruntime", str(tmp_path / "mine.toml")),
        out=str(tmp_path / "out" / "a"),
        code_folder=str(tmp_path),
        recipe=str(tmp_path / "recipe.toml"),
        evaluation=str(tmp_path / "eval"),
        labels=str(tmp_path / "labels.txt"),
        metric="scores:score",
        heat=str(tmp_path / "heat.toml"),
    )


def append(text: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(path.read_text() + text)

    return change


TOOLS = {"edgewright": "1"}
PREPROCESS = '[preprocess]\nresize = [16, 16]\nresample = "bilinear"\ncolor = "RGB"\nlayout = "NCHW"\nmean = [1, 1, 1]\nstd = [1, 1, 1]\n'


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("a.onnx", lambda path: write_network(path, seed=8)),
        ("data/1.npy", lambda path: np.save(path, samples(1, seed=9)[0])),
        ("data/2.npy", Path.unlink),
        ("data/2.npy", lambda path: path.rename(path.with_name("3.npy"))),
        ("data/4.npy", lambda path: np.save(path, samples(1)[0])),
        ("data/preprocess.toml", lambda path: path.write_text(PREPROCESS)),
        ("preprocess.toml", lambda path: path.write_text(PREPROCESS)),
        ("eval/1.npy", lambda path: np.save(path, samples(1, seed=9)[0])),
        ("labels.txt", append("4\n")),
        ("recipe.toml", append("percentile = 99.9\n")),
        ("scores.py", append("# changed\n")),
        ("heat.toml", append("slow_celsius = 70.0\n")),
        ("mine.toml", append("# changed\n")),
    ],
)
def test_a_changed_file_changes_the_digest(job: Job, file: str, change: Callable[[Path], None]) -> None:
    before = InputDigests(TOOLS).of(job)
    assert before is not None
    assert InputDigests(TOOLS).of(job) == before
    change(Path(job.code_folder) / file)
    assert InputDigests(TOOLS).of(job) not in (before, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "b"},
        {"version": "9"},
        {"limit": 2},
        {"targets": ("x86_64-onnxruntime",)},
        {"shapes": (("images", (1, 3, 16, 16)),)},
        {"budget": Budget(margin=0.2)},
        {"latency": False},
        {"diagnosis": False},
        {"goals": ("min_sqnr_db",)},
        {"budget_minutes": 3.0},
        {"heat": None},
        {"recipe": None},
        {"recipe": None, "method": "mse"},
        {"metric": None},
        {"labels": None, "metric": None},
        {"evaluation": None, "labels": None, "metric": None},
    ],
)
def test_a_changed_setting_changes_the_digest(job: Job, changed: dict[str, object]) -> None:
    assert InputDigests(TOOLS).of(dataclasses.replace(job, **changed)) not in (
        InputDigests(TOOLS).of(job),
        None,
    )


def test_what_changes_no_result_changes_no_digest(job: Job) -> None:
    before = InputDigests(TOOLS).of(job)
    (Path(job.data) / ".hidden").write_text("x")
    append("\n# a remark\n")(Path(job.code_folder) / "recipe.toml")
    elsewhere = dataclasses.replace(job, threads=3, cache="/elsewhere", out="/elsewhere/a")
    assert InputDigests(TOOLS).of(elsewhere) == before


@pytest.mark.parametrize(
    "changed",
    [
        {"data": "own:samples"},
        {"evaluation": "own:samples"},
        {"metric": "no_such_module:score"},
        {"data": "/no/such/folder"},
        {"model": "/no/such/file.onnx"},
        {"recipe": "/no/such/file.toml"},
    ],
)
def test_what_only_running_would_tell_has_no_digest(job: Job, changed: dict[str, object]) -> None:
    assert InputDigests(TOOLS).of(dataclasses.replace(job, **changed)) is None


def test_other_versions_of_the_tools_change_the_digest(job: Job) -> None:
    assert InputDigests({"edgewright": "2"}).of(job) not in (InputDigests(TOOLS).of(job), None)


def test_data_that_models_share_are_read_once(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = InputDigests(TOOLS)
    first = digests.of(job)
    monkeypatch.setattr(
        "host_tools.batch.inputs.digest_of_file", lambda path: pytest.fail(f"{path} is read again")
    )
    assert digests.of(dataclasses.replace(job, metric=None)) not in (first, None)
