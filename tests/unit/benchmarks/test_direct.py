"""The bare engine's own load: importing its library, numpy in it, is what is timed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.agent.artifacts import tiny_artifact
from benchmarks.agent.direct import main
from benchmarks.tasks import run_python

if TYPE_CHECKING:
    from pathlib import Path


def _request(path: Path) -> dict[str, object]:
    return {"artifact": str(path), "engine": "onnx", "threads": 1, "seconds": 0.01, "compare": True}


def test_a_fresh_process_times_load_period_and_adapter(tmp_path: Path) -> None:
    outcome = run_python(
        "benchmarks.agent.direct", _request(tiny_artifact(tmp_path, "onnx")), log=tmp_path / "log"
    )
    assert not outcome.missing
    assert set(outcome.laps) == {"load", "period", "adapter"}
    assert outcome.laps["load"] > outcome.laps["period"] > 0


def test_a_library_that_is_there_before_the_clock_starts_is_refused(tmp_path: Path) -> None:
    assert np.__name__ == "numpy"
    path = tmp_path / "request.json"
    path.write_text(json.dumps(_request(tiny_artifact(tmp_path, "onnx"))), encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"numpy.* imported before the clock"):
        main(path)
