"""What a stage's beginning costs is measured on a real database; here that the figures are of what they say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.fleet import stage_start

if TYPE_CHECKING:
    from pathlib import Path


def test_every_device_outside_of_the_canaries_gets_its_job_and_the_figures_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "rollouts.md"
    document.write_text("before\n\n<!-- stage-start -->\n\n<!-- /stage-start -->\n\nafter\n")
    monkeypatch.setattr(stage_start, "DOCUMENT", document)
    kept = tmp_path / "out" / "stage.json"
    assert stage_start.main(["--sizes", "300", "--json", str(kept), "--write-docs"]) == 0
    (one,) = json.loads(kept.read_text())
    assert 280 < one["jobs"] < 300, "a hundredth are canaries"
    assert 0.0 < one["round_seconds"] <= one["slowest_round_seconds"]
    shown = capsys.readouterr().out
    assert f"| 300 | {one['jobs']} | " in shown
    assert shown in document.read_text()
    assert document.read_text().endswith("after\n")
