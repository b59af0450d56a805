"""What `explain` says, word for word, at four points of rollouts."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from rollout_world import BEGIN, World, draft, plan, running

from host_tools.fleet.records.gates import Gate, GateFinding
from host_tools.fleet.records.jobs import JobCounts
from host_tools.fleet.records.rollouts import Rollout, ScheduleWindow
from host_tools.fleet.rollout import orders
from host_tools.fleet.rollout.explanation import explain
from host_tools.fleet.rollout.gates import Crashes, Pairs, judge
from host_tools.fleet.rollout.machine import advance

GOLDEN = Path(__file__).parent / "golden_explanation.txt"
GATES = (
    Gate(measure="latency_p95", worst=0.1),
    Gate(measure="temperature", worst=5.0),
    Gate(measure="output_agreement", worst=0.02),
    Gate(measure="crashes", worst=0.05),
    Gate(measure="energy_per_inference", worst=0.1),
)
DONE = JobCounts(total=20, succeeded=19, open=1, absent=1)


def _findings(slower: float) -> list[GateFinding]:
    rng = np.random.default_rng(0)
    before = np.exp(rng.normal(-3, 0.3, 20))
    latency = Pairs(before=before, after=before * (1 + slower) * np.exp(rng.normal(0, 0.02, 20)))
    heat = Pairs(before=np.full(20, 50.0), after=50.0 + rng.normal(0.5, 0.4, 20))
    others = Pairs(before=np.full(80, 50.0), after=50.0 + rng.normal(0.4, 0.4, 80))
    outputs = Pairs(before=np.ones(20), after=1 - rng.uniform(0.002, 0.006, 20))
    nothing = np.zeros(20, dtype=np.int64)
    crashes = Crashes(
        before=nothing, after=nothing, before_hours=np.full(20, 24.0), after_hours=np.full(20, 0.5)
    )
    return [
        judge(GATES[0], latency),
        judge(GATES[1], heat, others),
        judge(GATES[2], outputs),
        judge(GATES[3], crashes),
    ]


def _story() -> str:
    window = ScheduleWindow(weekdays=frozenset({1}), begin_seconds=28_800, end_seconds=57_600)
    world = World(running(plan(gates=GATES)), 0)
    world.tick()
    good, bad = _findings(0.0), _findings(0.4)
    counts = [DONE, JobCounts()]
    now = BEGIN + 600
    second = advance(world.rollout, counts, good, now).rollout
    stopped = advance(world.rollout, counts, bad, now).rollout
    unsure = dataclasses.replace(
        good[0], outcome="undecided", estimate=0.12, text="p95 latency: +12.0 % on 4 devices: undecided."
    )
    asked = advance(world.rollout, counts, [unsure], now + 86_400).rollout
    waiting = JobCounts(total=80, open=30, absent=4, succeeded=49, failed=1)
    shown: list[tuple[Rollout, list[JobCounts], list[GateFinding]]] = [
        (second, [DONE, waiting], good),
        (stopped, counts, bad),
        (asked, counts, [unsure]),
        (running(plan(windows=(window,))), [JobCounts(), JobCounts()], []),
    ]
    return "\n".join(explain(rollout, count, found, now).text() for rollout, count, found in shown)


def test_explanations_word_for_word() -> None:
    """``EDGEWRIGHT_WRITE_GOLDEN=1`` writes the file anew; look at what changed."""
    if os.environ.get("EDGEWRIGHT_WRITE_GOLDEN"):
        GOLDEN.write_text(_story(), encoding="utf-8")
    assert _story() == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("rollout", "says"),
    [
        (draft(plan()), "rollouts submit r1"),
        (orders.submit(draft(plan(needs_approval=True)), "ann", BEGIN).rollout, "rollouts approve r1"),
        (orders.pause(running(plan()), "ann", BEGIN).rollout, "rollouts resume r1"),
        (orders.roll_back(running(plan()), "ann", BEGIN).rollout, "devices go back"),
        (orders.abort(running(plan()), "ann", BEGIN).rollout, "it has ended"),
        (running(plan()), "the next stage begins"),
    ],
)
def test_every_state_says_what_comes_next(rollout: Rollout, says: str) -> None:
    found = explain(rollout, [JobCounts(), JobCounts()], (), BEGIN)
    assert says in found.next_step
    assert found.reason == rollout.reason
