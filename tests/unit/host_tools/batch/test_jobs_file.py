"""JOBS.toml: what it may say, and what every slip is told as."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tools.batch.jobs_file import MAX_BYTES, JobsFileError, Settings, parse_jobs, read_jobs_file

GOOD = """
schema_version = "1.0"
[defaults]
targets = ["x86_64-onnxruntime"]
data = "calibration/"
version = "1.2.0"
recipe = "recipe.toml"
shapes = { images = [1, 3, 224, 224] }
budget = { min_agreement = 0.9, min_sqnr_db = 10 }

[[model]]
path = "models/*.onnx"

[[model]]
path = "detector.onnx"
name = "detector-2"
data = "my_data:frames"
targets = ["cortex-a-tflite", "own.toml"]
method = "mse"
limit = 100
eval = "eval.npz"
labels = "labels.csv"
metric = "my_metrics:mean_iou"
latency = false
diagnose = false
heat = "heat.toml"
budget_minutes = 2.5
preprocess = "preprocess.toml"
shapes = { mask = [1, 8] }
budget = { min_sqnr_db = 12.5 }
"""


def test_a_models_settings_stand_over_the_defaults() -> None:
    plain, own = parse_jobs(GOOD.encode(), where="jobs.toml").models
    assert (plain.key, plain.path, plain.name) == ("model[0]", "models/*.onnx", None)
    assert plain.settings == Settings(
        targets=("x86_64-onnxruntime",),
        data="calibration/",
        version="1.2.0",
        recipe="recipe.toml",
        shapes={"images": (1, 3, 224, 224)},
        budget={"min_agreement": 0.9, "min_sqnr_db": 10.0},
    )
    assert own.name == "detector-2"
    assert own.settings == Settings(
        targets=("cortex-a-tflite", "own.toml"),
        data="my_data:frames",
        version="1.2.0",
        method="mse",  # which replaces the default recipe
        limit=100,
        eval="eval.npz",
        labels="labels.csv",
        metric="my_metrics:mean_iou",
        latency=False,
        diagnose=False,
        heat="heat.toml",
        budget_minutes=2.5,
        preprocess="preprocess.toml",
        shapes={"images": (1, 3, 224, 224), "mask": (1, 8)},
        budget={"min_agreement": 0.9, "min_sqnr_db": 12.5},
    )


MINIMAL = '[[model]]\npath = "a.onnx"\ndata = "d.npy"\ntargets = ["x86_64-onnxruntime"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[model", r"jobs.toml: not TOML: "),
        ("", r"jobs.toml: model: is missing. Add \[\[model\]\]"),
        ("model = []", r"model: expected 1 to 10000 items, got '0 items'"),
        ('model = ["a.onnx"]', r"model\[0\]: expected an object, got 'a.onnx'"),
        ("defaults = 1\n" + MINIMAL, r"defaults: expected an object, got 1"),
        ("modell = 1\n" + MINIMAL, r"jobs.toml: modell: unknown. Did you mean 'model'\?"),
        ("[defaults]\ntarget = []\n" + MINIMAL, r"defaults: target: unknown. Did you mean 'targets'\?"),
        ("[defaults]\npath = 'x'\n" + MINIMAL, r"defaults: path: unknown"),
        (MINIMAL + "zzz = 1", r"model\[0\]: zzz: unknown. Known: path, name, targets, "),
        ('schema_version = "2.0"\n' + MINIMAL, r"schema_version 2.0 is newer than 1.0"),
        (MINIMAL.replace('path = "a.onnx"\n', ""), r"model\[0\].path: is missing"),
        (
            MINIMAL.replace('data = "d.npy"\n', ""),
            r"model\[0\].data: is missing. Give it here or under \[defaults\].data",
        ),
        (MINIMAL.replace('targets = ["x86_64-onnxruntime"]\n', ""), r"model\[0\].targets: is missing"),
        (MINIMAL.replace('["x86_64-onnxruntime"]', "[]"), r"model\[0\].targets: expected 1 to 1024 items"),
        (MINIMAL.replace('["x86_64-onnxruntime"]', '"x"'), r"model\[0\].targets: expected an array, got 'x'"),
        (MINIMAL.replace('"d.npy"', "3"), r"model\[0\].data: expected a text"),
        (MINIMAL.replace('"d.npy"', '"d\\u0000"'), r"model\[0\].data: expected a text without a zero byte"),
        (MINIMAL + 'name = "a/b"', r"model\[0\].name: expected letters, digits"),
        (MINIMAL + 'version = "1 0"', r"model\[0\].version: expected letters, digits"),
        (MINIMAL + 'method = "best"', r"model\[0\].method: expected one of minmax, "),
        (MINIMAL + 'method = "mse"\nrecipe = "r.toml"', r"model\[0\]: method and recipe exclude each other"),
        (MINIMAL + "limit = 0", r"model\[0\].limit: expected an integer from 1"),
        (MINIMAL + "latency = 1", r"model\[0\].latency: expected true or false, got 1"),
        (MINIMAL + 'diagnose = "no"', r"model\[0\].diagnose: expected true or false, got 'no'"),
        (
            MINIMAL + "budget_minutes = 0",
            r"model\[0\].budget_minutes: expected a number from 1e-06 to 43200, got 0",
        ),
        (MINIMAL + "budget_minutes = nan", r"model\[0\].budget_minutes: expected a number from"),
        (MINIMAL + 'labels = "l.csv"', r"model\[0\].labels: needs eval"),
        (MINIMAL + 'eval = "e.npy"\nmetric = "m:f"', r"model\[0\].metric: needs labels"),
        (MINIMAL + "shapes = { x = [1, 0] }", r"model\[0\].shapes.x\[1\]: expected an integer from 1"),
        (MINIMAL + "shapes = { x = [] }", r"model\[0\].shapes.x: expected 1 to 1024 items"),
        (
            MINIMAL + "budget = { min_agreement = 2 }",
            r"model\[0\].budget: min_agreement: expected a finite number from 0 to 1",
        ),
        (MINIMAL + "budget = { min_agreement = nan }", r"model\[0\].budget.min_agreement: expected a number"),
        (
            MINIMAL + "budget = { agreement = 1 }",
            r"model\[0\].budget: agreement: unknown. Did you mean 'min_agreement'\?",
        ),
    ],
)
def test_a_slip_is_told_with_file_and_key(text: str, message: str) -> None:
    with pytest.raises(JobsFileError, match=message) as caught:
        parse_jobs(text.encode(), where="jobs.toml")
    assert str(caught.value).startswith("jobs.toml: ")


def test_not_utf8_and_too_large() -> None:
    with pytest.raises(JobsFileError, match=r"jobs.toml: not TOML"):
        parse_jobs(b"\xff\xfe", where="jobs.toml")
    with pytest.raises(JobsFileError, match=r"jobs.toml: larger than 1048576 bytes"):
        parse_jobs(b"#" * (MAX_BYTES + 1), where="jobs.toml")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(JobsFileError, match=r"none.toml: cannot be read: No such file.*batch --help"):
        read_jobs_file(tmp_path / "none.toml")
    with pytest.raises(JobsFileError, match="cannot be read: Is a directory"):
        read_jobs_file(tmp_path)
    with (tmp_path / "large.toml").open("wb") as stream:
        stream.truncate(1 << 34)  # sparse: it must not be read whole
    with pytest.raises(JobsFileError, match="larger than"):
        read_jobs_file(tmp_path / "large.toml")
