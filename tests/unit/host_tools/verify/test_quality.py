"""Quality on labelled samples."""

import sys
from pathlib import Path

import numpy as np
import pytest

from host_tools.errors import InputError
from host_tools.verify.quality import load_metric, new_meter


def scores(*values: float) -> dict[str, np.ndarray]:
    return {"logits": np.array([values])}


def test_top_1_and_top_5_with_the_paired_error() -> None:
    meter = new_meter(None)
    meter.add(scores(0, 0, 9, 0, 0, 0), scores(0, 0, 9, 0, 0, 0), 2)
    meter.add(scores(9, 5, 4, 3, 2, 1), scores(5, 9, 4, 3, 2, 1), 0)
    top_1, top_5 = meter.result()
    assert (top_1.float_value, top_1.payload_value, top_1.standard_error) == (1.0, 0.5, 0.5)
    assert (top_5.float_value, top_5.payload_value, top_5.standard_error) == (1.0, 1.0, 0.0)


def test_no_sample_no_quality() -> None:
    assert new_meter(None).result() == ()


@pytest.fixture
def metric_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    source = """
NUMBER = 3

def largest(outputs, label):
    return float(next(iter(outputs.values())).max())

def broken(outputs, label):
    raise KeyError("no such thing")

def lost(outputs, label):
    return float("nan")
"""
    (tmp_path / "metrics_of_a_user.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "metrics_of_a_user", raising=False)
    return "metrics_of_a_user"


def test_a_metric_of_the_user_is_averaged(metric_module: str) -> None:
    meter = new_meter(f"{metric_module}:largest")
    meter.add(scores(1, 2), scores(1, 3), 0)
    meter.add(scores(4, 2), scores(1, 3), 0)
    (result,) = meter.result()
    assert (result.float_value, result.payload_value, result.standard_error) == (3.0, 3.0, None)


@pytest.mark.parametrize(
    ("name", "message"), [("broken", "raised KeyError"), ("lost", "expected a finite number, got nan")]
)
def test_a_metric_that_fails_is_named(metric_module: str, name: str, message: str) -> None:
    meter = new_meter(f"{metric_module}:{name}")
    with pytest.raises(InputError, match=message):
        meter.add(scores(1), scores(1), 0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_colon", "expected module:function"),
        (":f", "expected module:function"),
        ("no_such_module_here:f", "No module named"),
        ("metrics_of_a_user:nothing", "has no attribute"),
        ("metrics_of_a_user:NUMBER", "expected a function, got int"),
    ],
)
def test_a_wrong_metric_is_refused(metric_module: str, spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_metric(spec)
