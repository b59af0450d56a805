"""Gates on what a telemetry store answers: simulated fleets whose truth is known, of three kinds of hardware."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rollout_world import NEW, OLD, PROFILE, RELEASE, artifact, draft, plan

from host_tools.fleet.records.gates import Gate, GateFinding, GateMeasure
from host_tools.fleet.rollout.measured import find, versions_of
from host_tools.fleet.rollout.plan_file import DEFAULT_GATES
from host_tools.fleet.rollout.telemetry import TelemetryFindings
from host_tools.review.analysis.regroup import chosen
from host_tools.review.simulation.fleet import SimulatedFleet
from host_tools.review.simulation.plan import FleetPlan
from host_tools.review.simulation.store import SimulatedStore
from host_tools.review.simulation.truth import Injection
from host_tools.review.store.windows import Level, Selection, StoredEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.review.store.windows import WindowTable

_DAY = 86_400.0
AXES = ("device", "artifact", "time")


def found(*injections: Injection, agreement: float = 0.999) -> dict[GateMeasure, GateFinding]:
    """Canaries of 30 % of 100 devices for six hours of the fleet's third day."""
    fleet = SimulatedFleet(
        5,
        FleetPlan(
            devices=100,
            days=2.25,
            rollout_at=2 * _DAY,
            rollout_share=0.3,
            outages_a_day=0.0,
            injections=injections,
        ),
    )
    selection = Selection(start=fleet.plan.start + _DAY, end=fleet.plan.end)
    table = SimulatedStore(fleet).windows(selection, level=Level.HOUR, by=AXES)
    agreements = {f"d{number}": agreement - 0.0001 * number for number in range(30)}
    results = find(DEFAULT_GATES, table, [(fleet.artifacts[0], fleet.artifacts[1])], agreements)
    assert [one.gate for one in results] == list(DEFAULT_GATES)
    return {one.gate.measure: one for one in results}


def test_a_good_release_fails_no_gate_and_is_held_against_those_that_kept_the_old_one() -> None:
    results = found()
    outcomes = {measure: one.outcome for measure, one in results.items()}
    assert "failed" not in outcomes.values()
    assert "not_measured" not in outcomes.values()
    assert [
        outcomes[one] for one in ("latency_p50", "latency_p95", "energy_per_inference", "temperature")
    ] == ["passed"] * 4
    assert "beside 70 that kept" in results["temperature"].text
    assert results["crashes"].devices == 30


@pytest.mark.parametrize(
    ("injection", "measure"),
    [
        (Injection(fault="latency", size=0.4, with_artifact=1), "latency_p95"),
        (Injection(fault="energy", size=0.6, with_artifact=1), "energy_per_inference"),
    ],
)
def test_a_release_that_costs_more_fails_its_gate(injection: Injection, measure: GateMeasure) -> None:
    assert found(injection)[measure].outcome == "failed"


@pytest.mark.parametrize(("ran_before", "counted"), [(False, 0), (True, 30)])
def test_the_start_with_which_an_artifact_begins_is_no_crash_of_it_on_either_side(
    ran_before: bool, counted: int
) -> None:
    """Devices of which nothing else ends; their first start is in the telemetry, or is the first thing in it."""
    fleet = SimulatedFleet(
        5,
        FleetPlan(
            devices=100,
            days=2.25,
            rollout_at=2 * _DAY,
            rollout_share=0.3,
            outages_a_day=0.0,
            restarts_a_day=0.0,
        ),
    )
    selection = Selection(start=fleet.plan.start, end=fleet.plan.end)
    table = SimulatedStore(fleet).windows(selection, level=Level.HOUR, by=AXES)
    since = fleet.plan.start - (0.0 if ran_before else _DAY)
    (one,) = find(
        [Gate(measure="crashes", worst=0.05)],
        table,
        [(fleet.artifacts[0], fleet.artifacts[1])],
        {},
        since_seconds=since,
    )
    assert one.devices == 30
    assert ", 0 in " in one.text
    assert f" after {counted} in " in one.text


def test_outputs_that_disagree_with_those_before_fail_theirs() -> None:
    assert found(agreement=0.9)["output_agreement"].outcome == "failed"


def test_a_group_without_telemetry_is_not_measured() -> None:
    fleet = SimulatedFleet(1, FleetPlan(devices=2, days=1.0, rollout_at=None))
    table = SimulatedStore(fleet).windows(
        Selection(start=fleet.plan.start, end=fleet.plan.end), level=Level.HOUR, by=AXES
    )
    outcomes = {one.outcome for one in find(DEFAULT_GATES, table, [(OLD, NEW)], {})}
    assert outcomes == {"not_measured"}
    assert {one.outcome for one in find(DEFAULT_GATES, table, [], {})} == {"not_measured"}
    empty = chosen(table, np.zeros(len(table.inferences), dtype=bool))
    assert {one.outcome for one in find(DEFAULT_GATES, empty, [(OLD, NEW)], {})} == {"not_measured"}


def test_windows_of_no_device_are_refused() -> None:
    fleet = SimulatedFleet(1, FleetPlan(devices=2, days=1.0))
    table = SimulatedStore(fleet).windows(
        Selection(start=fleet.plan.start, end=fleet.plan.end), level=Level.HOUR, by=("time",)
    )
    with pytest.raises(ValueError, match="expected windows by device and artifact"):
        find(DEFAULT_GATES, table, [(OLD, NEW)], {})


def test_versions_are_told_profile_by_profile_where_something_changes() -> None:
    other = "sha256:" + "7" * 64
    rollout = dataclasses.replace(
        draft(plan()), previous={PROFILE: artifact(OLD), "same": artifact(other), "gone": artifact(OLD)}
    )
    release = dataclasses.replace(
        RELEASE, artifacts={PROFILE: artifact(NEW), "same": artifact(other), "first": artifact(NEW)}
    )
    assert versions_of(rollout, release) == ((OLD, NEW),)


class _Store:
    """A simulated store that also has what devices told of their shadow runs, and counts how often it is asked."""

    def __init__(self, fleet: SimulatedFleet) -> None:
        self._store = SimulatedStore(fleet)
        self._fleet = fleet
        self.asked: list[Selection] = []

    def windows(self, selection: Selection, *, level: Level, by: Sequence[str]) -> WindowTable:
        self.asked.append(selection)
        return self._store.windows(selection, level=level, by=by)

    def events(
        self, selection: Selection, *, names: Sequence[str] | None = None, limit: int = 1000
    ) -> tuple[StoredEvent, ...]:
        assert (names, limit) == (("update_activated",), 1_000_000)
        assert selection.devices is not None
        new = self._fleet.artifacts[1]
        details = [
            {"digest": new, "shadow_cosine": 0.9},
            {"digest": new, "shadow_cosine": None},
            {"digest": OLD, "shadow_cosine": 1.0},
        ]
        return tuple(
            StoredEvent(
                device=device,
                time=selection.start,
                artifact=None,
                kind="event",
                name="update_activated",
                severity="info",
                text="",
                details=json.dumps(details[0] if number < 8 else details[number % 3]),
            )
            for number, device in enumerate(selection.devices)
        )


def test_a_store_is_asked_once_a_minute_for_the_devices_of_the_group() -> None:
    fleet = SimulatedFleet(
        5, FleetPlan(devices=60, days=2.25, rollout_at=2 * _DAY, rollout_share=0.5, outages_a_day=0.0)
    )
    store = _Store(fleet)
    names = [one.device for one in fleet.devices]
    findings = TelemetryFindings(store, lambda group: names[:40] if group == "lab" else names)
    rollout = dataclasses.replace(
        draft(plan(gates=DEFAULT_GATES)), state="running", previous={PROFILE: artifact(fleet.artifacts[0])}
    )
    release = dataclasses.replace(RELEASE, artifacts={PROFILE: artifact(fleet.artifacts[1])})
    assert findings(rollout, release, fleet.plan.start) == ()
    began = dataclasses.replace(rollout.stages[0], state="running", began_seconds=fleet.plan.start + 2 * _DAY)
    rollout = dataclasses.replace(rollout, stages=(began, rollout.stages[1]))
    first = findings(rollout, release, fleet.plan.end)
    by = {one.gate.measure: one for one in first}
    assert by["latency_p95"].outcome == "passed"
    assert by["output_agreement"].outcome == "failed"
    assert by["latency_p50"].devices < 40
    assert store.asked[0].start == fleet.plan.start + _DAY
    assert store.asked[0].devices == tuple(sorted(names[:40]))
    assert findings(rollout, release, fleet.plan.end + 59) is first
    assert len(store.asked) == 1
    findings(rollout, release, fleet.plan.end + 60)
    assert len(store.asked) == 2


def test_a_group_without_devices_or_without_a_previous_artifact_asks_nothing() -> None:
    fleet = SimulatedFleet(5, FleetPlan(devices=2, days=1.0))
    store = _Store(fleet)
    rollout = draft(plan(gates=DEFAULT_GATES))
    began = dataclasses.replace(rollout.stages[0], state="running", began_seconds=fleet.plan.start)
    rollout = dataclasses.replace(rollout, stages=(began, rollout.stages[1]))
    first = dataclasses.replace(rollout, previous={})
    for one, members in ((rollout, []), (first, ["device-00000"])):
        found = TelemetryFindings(store, lambda _, members=members: members)(one, RELEASE, fleet.plan.end)
        assert {finding.outcome for finding in found} == {"not_measured"}
    assert store.asked == []
