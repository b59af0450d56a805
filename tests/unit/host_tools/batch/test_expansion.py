"""From JOBS.toml to jobs: patterns, paths, names, and what must be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tools.batch.expansion import expand
from host_tools.batch.job import Job
from host_tools.batch.jobs_file import JobsFileError, parse_jobs

DEFAULTS = '[defaults]\ndata = "d.npy"\ntargets = ["x86_64-onnxruntime"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "d.npy",
        "b.onnx",
        "a.onnx",
        "sub/deep/c.onnx",
        "calib-a.npz",
        "eval/1.npy",
        "labels.csv",
        "p.toml",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "recipe.toml").write_text('method = "mse"\n')
    (tmp_path / "heat.toml").write_text("pause_celsius = 85.0\n")
    return tmp_path


def jobs(folder: Path, text: str, *, defaults: str = DEFAULTS) -> tuple[Job, ...]:
    return expand(
        parse_jobs((defaults + text).encode(), where="jobs.toml"), folder=folder, out=folder / "out"
    )


def test_patterns_become_jobs_in_the_order_of_names(folder: Path) -> None:
    found = jobs(folder, '[[model]]\npath = "**/*.onnx"\n')
    assert [job.name for job in found] == ["a", "b", "c"]
    assert found[2].model == str(folder / "sub/deep/c.onnx")
    assert found[2].out == str(folder / "out" / "c")
    assert all(
        Path(path).is_absolute() for job in found for path in (job.model, job.data, job.out, job.code_folder)
    )


def test_every_setting_reaches_the_job(folder: Path) -> None:
    text = """[[model]]
path = "a.onnx"
name = "A-1"
version = "2.0"
data = "calib-{stem}.npz"
recipe = "recipe.toml"
preprocess = "p.toml"
limit = 3
eval = "eval"
labels = "labels.csv"
metric = "own:score"
latency = false
diagnose = false
heat = "heat.toml"
budget_minutes = 0.5
shapes = { z = [1, 2], a = [3] }
budget = { margin = 0.2, min_sqnr_db = 9.0 }
"""
    (job,) = jobs(folder, text)
    assert (job.name, job.version, job.data) == ("A-1", "2.0", str(folder / "calib-a.npz"))
    assert (job.recipe, job.preprocess) == (str(folder / "recipe.toml"), str(folder / "p.toml"))
    assert (job.evaluation, job.labels, job.metric) == (
        str(folder / "eval"),
        str(folder / "labels.csv"),
        "own:score",
    )
    assert (job.limit, job.latency, job.budget.margin) == (3, False, 0.2)
    assert (job.diagnosis, job.heat, job.budget_minutes) == (False, str(folder / "heat.toml"), 0.5)
    assert (job.goals, job.budget.min_sqnr_db) == (("min_sqnr_db",), 9.0)
    assert job.shapes == (("a", (3,)), ("z", (1, 2)))


def test_only_limits_that_the_list_names_are_goals(folder: Path) -> None:
    plain, both = jobs(
        folder,
        '[[model]]\npath = "a.onnx"\nbudget = { margin = 0.2 }\n[[model]]\npath = "b.onnx"\nbudget = { min_agreement = 0.9 }\n',
    )
    assert (plain.goals, both.goals) == ((), ("min_agreement",))


def test_a_function_stays_a_function(folder: Path) -> None:
    (job,) = jobs(folder, '[[model]]\npath = "a.onnx"\ndata = "own.data:samples"\n')
    assert job.data == "own.data:samples"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'path = "none.onnx"',
            r"model\[0\].path: .*/none.onnx: no such file.*relative to the folder of JOBS.toml",
        ),
        ('path = "none*.onnx"', r"model\[0\].path: no file is like .*/none\*.onnx"),
        ('path = "sub*"', r"model\[0\].path: no file is like"),
        ('path = "?.onnx"\nname = "x"', r"model\[0\].name: one name for 2 files"),
        ('path = "a.onnx"\ndata = "{stem}.npz"', r"model\[0\].data: .*/a.npz: no such file"),
        ('path = "a.onnx"\neval = "none"', r"model\[0\].eval: .*/none: no such file"),
        ('path = "a.onnx"\neval = "eval"\nlabels = "none"', r"model\[0\].labels: .*/none: no such file"),
        ('path = "a.onnx"\npreprocess = "none"', r"model\[0\].preprocess: .*/none: no such file"),
        ('path = "a.onnx"\nheat = "none"', r"model\[0\].heat: .*/none: no such file"),
        ('path = "a.onnx"\nrecipe = "none"', r"model\[0\].recipe: .*/none: no such file"),
        ('path = "a.onnx"\nrecipe = "d.npy/x"', r"model\[0\].recipe: .*no such file"),
        (f'path = "{"x" * 400}"', r"model\[0\].path: .*no such file"),
        ('path = "a.onnx"\ntargets = ["x86"]', r"model\[0\].targets: .*x86"),
        (
            'path = "a.onnx"\ntargets = ["x86_64-onnxruntime", "x86_64-onnxruntime"]',
            r"model\[0\].targets: .*named twice",
        ),
        ('path = "a.onnx"\ntargets = ["none.toml"]', r"model\[0\].targets: .*none.toml"),
        (
            'path = "a.onnx"\nname = "batch.json"',
            r"model\[0\].name: batch.json is the name of a file of the batch",
        ),
        (
            'path = "a.onnx"\neval = "eval"\nlabels = "labels.csv"\nmetric = "f"',
            r"model\[0\].metric: expected module:function, got 'f'",
        ),
        (
            'path = "a.onnx"\n[[model]]\npath = "sub/../a.onnx"',
            r"model\[1\]: the name 'a' is already that of .*\(model\[0\]\).*give one of them a name",
        ),
        ('path = "a.onnx"\n[[model]]\npath = "b.onnx"\nname = "A"', r"model\[1\]: the name 'A' is already"),
    ],
)
def test_a_slip_is_told_before_anything_begins(folder: Path, text: str, message: str) -> None:
    with pytest.raises(JobsFileError, match=rf"jobs.toml: {message}"):
        jobs(folder, f"[[model]]\n{text}\n")


def test_a_wrong_recipe_is_told_before_anything_begins(folder: Path) -> None:
    (folder / "recipe.toml").write_text('metod = "mse"\n')
    with pytest.raises(JobsFileError, match=r"model\[0\].recipe: .*recipe.toml: metod"):
        jobs(folder, '[[model]]\npath = "a.onnx"\nrecipe = "recipe.toml"\n')


def test_a_wrong_heat_file_is_told_before_anything_begins(folder: Path) -> None:
    (folder / "heat.toml").write_text("pause_celcius = 85.0\n")
    with pytest.raises(JobsFileError, match=r"model\[0\].heat: --heat: .*heat.toml: pause_celcius: unknown"):
        jobs(folder, '[[model]]\npath = "a.onnx"\nheat = "heat.toml"\n')


def test_a_file_that_makes_no_name(folder: Path) -> None:
    (folder / "-.onnx").write_bytes(b"")
    with pytest.raises(JobsFileError, match=r"model\[0\].path: -.onnx makes no name"):
        jobs(folder, '[[model]]\npath = "-.onnx"\n')


def test_own_profiles_are_found_from_the_folder(folder: Path) -> None:
    from targets import show

    (folder / "mine.toml").write_text(show.template("mine", "cortex-a-tflite"))
    (job,) = jobs(folder, '[[model]]\npath = "a.onnx"\ntargets = ["mine.toml"]\n')
    assert job.targets == (str(folder / "mine.toml"),)


def test_more_models_than_a_batch_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host_tools.batch.expansion.MOST_MODELS", 2)
    with pytest.raises(JobsFileError, match="more than 2 models"):
        jobs(folder, '[[model]]\npath = "**/*.onnx"\n')
