"""What passes between two calls of the library: the figures, and a run with a real model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.agent.artifacts import null_artifact, tiny_artifact
from benchmarks.agent.floor import findings_of, main

if TYPE_CHECKING:
    from pathlib import Path


def test_the_agents_loop_is_held_against_the_plain_one() -> None:
    found = {"plain loop": [4e-6, 5e-6], "counting loop": [9e-6, 9e-6], "agent's loop": [14e-6, 17e-6]}
    plain, counting, agent, more, more_than_counting = findings_of("m", found, "2 rounds")
    assert [one.value for one in (plain, counting, agent)] == pytest.approx([4.5e-6, 9e-6, 15.5e-6])
    assert (more.value, more.is_met) == (pytest.approx(11e-6), True)
    assert (more_than_counting.value, more_than_counting.is_met) == (pytest.approx(6.5e-6), None)


def test_every_loop_runs_the_model_and_gives_a_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = tiny_artifact(tmp_path, "onnx")
    given = [
        str(artifact),
        "--threads",
        "1",
        "--rounds",
        "2",
        "--frames",
        "70",
        "--json",
        str(tmp_path / "f"),
    ]
    assert main(given) == 0
    assert "agent's loop" in capsys.readouterr().out
    findings = json.loads((tmp_path / "f").read_text())["findings"]
    assert findings[3]["figure"] == "agent's loop, more than the plain loop"
    assert all(one["value"] > 0 for one in findings[:3])


def test_an_artifact_for_another_engine_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = null_artifact(tmp_path / "a.ewa", latency_seconds=0.0)
    assert main([str(artifact)]) == 2
    assert "expected an artifact for onnx, got one for null" in capsys.readouterr().err
