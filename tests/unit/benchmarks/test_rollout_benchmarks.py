"""The benchmarks of rollouts: what they count, keep and write."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.fleet import detection, scale
from host_tools.fleet.records.gates import Gate, GateFinding
from host_tools.fleet.simulation.fixtures import new_rollout
from host_tools.fleet.simulation.rollout import SimulatedRollout

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.fleet.records.gates import GateOutcome
    from host_tools.fleet.records.rollouts import RolloutState, StageState

SLOW = "40 % slower"


def _outcome(**changes: object) -> detection.Outcome:
    one: detection.Outcome = {
        "candidate": SLOW,
        "seed": 0,
        "state": "rolled_back",
        "stopped_stage": 0,
        "by": "latency_p50",
        "minutes": 9,
        "had": 7,
        "stuck": 0,
    }
    one.update(changes)  # type: ignore[typeddict-item]  # fields of it
    return one


def test_what_counts_as_found_and_as_a_false_alarm() -> None:
    assert detection.is_found(_outcome())
    assert not detection.is_found(_outcome(stopped_stage=1))
    assert not detection.is_found(_outcome(state="paused"))
    assert detection.is_alarm(_outcome(state="paused", stopped_stage=None))
    assert not detection.is_alarm(_outcome(state="finished", stopped_stage=None))


def test_rollouts_are_simulated_kept_and_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "out" / "rollouts.json"
    options = ["--only", SLOW, "--json", str(kept)]
    assert detection.main(["--rollouts", "1", *options]) == 0
    first = json.loads(kept.read_text(encoding="utf-8"))
    assert detection.main(["--rollouts", "2", *options]) == 0
    both = json.loads(kept.read_text(encoding="utf-8"))
    assert both[:1] == first
    assert [one["seed"] for one in both] == [0, 1]
    assert all(map(detection.is_found, both))
    assert "| 40 % slower | 2 | 2 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "stage", "gate", "by"),
    [
        ("finished", "passed", "undecided", ""),
        ("running", "running", "undecided", detection.NOT_OVER),
        ("paused", "awaiting_approval", "undecided", detection.ASKED),
        ("rolled_back", "stopped", "undecided", "jobs"),
        ("rolled_back", "stopped", "failed", "latency_p95"),
    ],
)
def test_what_stopped_a_rollout_is_told_apart(
    state: RolloutState, stage: StageState, gate: GateOutcome, by: str
) -> None:
    rollout = new_rollout(detection.PLAN)
    first = dataclasses.replace(rollout.stages[0], state=stage)
    measured = GateFinding(gate=Gate(measure="latency_p95", worst=0.1), outcome=gate, text="")
    found = SimulatedRollout(
        rollout=dataclasses.replace(rollout, state=state, stages=(first, *rollout.stages[1:])),
        counts=(),
        findings=(measured,),
        said=(),
        minutes=1,
        had_candidate=0,
        have_candidate=0,
    )
    assert detection.stopped_by(found) == by


def test_the_table_is_put_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "rollouts.md"
    page.write_text("before\n<!-- detection -->\nold\n<!-- /detection -->\nafter\n", encoding="utf-8")
    detection.write_tables([_outcome()], page)
    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert "| 40 % slower | 1 | 1 | 20.65 to 100.00 % |" in text
    assert text.startswith("before\n<!-- detection -->")
    assert text.endswith("<!-- /detection -->\nafter\n")


def test_the_page_of_rollouts_has_both_places() -> None:
    text = detection.DOCUMENT.read_text(encoding="utf-8")
    for name in ("detection", "scale"):
        assert text.count(f"<!-- {name} -->\n") == text.count(f"<!-- /{name} -->") == 1


def test_the_core_goes_to_the_end_and_says_what_it_took() -> None:
    found = scale.measure(300)
    assert found["minutes"] == 151
    assert "| 300 |" in scale.table([found])
