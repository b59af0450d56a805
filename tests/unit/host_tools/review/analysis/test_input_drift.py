"""Drift of inputs: by hand, on simulated fleets with a known truth, and silence where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from host_tools.review.analysis.input_drift import drifts, told
from host_tools.review.analysis.output_drift import psi
from host_tools.review.analysis.review import review_fleet
from host_tools.review.simulation.fleet import FleetPlan, SimulatedFleet
from host_tools.review.simulation.store import SimulatedStore
from host_tools.review.simulation.truth import Injection
from host_tools.review.store.windows import InputTable, Level, Selection

DAY = 86400.0
GROUP = "cortex-a-tflite"


def sketches(counts: np.ndarray) -> tuple[InputTable, np.ndarray]:
    """Counts [side, device, bucket]; the mean is that of the buckets' places."""
    _, devices, buckets = counts.shape
    flat = counts.reshape(-1, buckets)
    table = InputTable(
        axes=("device",),
        keys=(np.array([f"d{one}" for one in range(devices)] * 2, dtype=object),),
        name=np.full(2 * devices, "image", dtype=object),
        frames=flat.sum(axis=1),
        values=flat.sum(axis=1),
        mean=flat @ np.arange(buckets) / flat.sum(axis=1),
        deviation=np.ones(2 * devices),
        minimum=np.zeros(2 * devices),
        maximum=np.full(2 * devices, float(buckets)),
        saturated=np.full(2 * devices, np.nan),
        buckets=flat,
    )
    return table, np.repeat([0, 1], devices)


def test_index_distance_and_means_by_hand() -> None:
    counts = np.zeros((2, 20, 129), dtype=np.int64)
    counts[0, :, 64:67], counts[1, :, 64:67] = (5000, 3000, 2000), (3000, 3000, 4000)
    table, sides = sketches(counts)
    (one,) = drifts(table, sides, groups={f"d{number}": "all" for number in range(20)})
    assert one.psi == pytest.approx(
        float(psi(np.array([5e4, 3e4, 2e4]) * 2, np.array([3e4, 3e4, 4e4]) * 2)), rel=1e-9
    )
    assert one.psi == pytest.approx(0.2 * np.log(5 / 3) + 0.2 * np.log(2.0), rel=1e-3)
    assert one.distance == pytest.approx(0.2)
    assert (one.mean_before, one.mean_after) == (pytest.approx(64.7), pytest.approx(65.1))
    (finding,) = told([one], artifacts=(), start=0.0, end=1.0, since="since then")
    assert finding.severity == "warning"
    assert "64.7 → 65.1" in finding.what


def test_few_devices_and_other_artifacts_are_not_looked_at() -> None:
    table, sides = sketches(np.full((2, 7, 129), 100))
    assert drifts(table, sides, groups={}) == ()
    table, sides = sketches(np.full((2, 9, 129), 100))
    assert drifts(table, np.full_like(sides, -1), groups={}) == ()


def halves(seed: int, *injections: Injection) -> tuple[InputTable, np.ndarray, SimulatedFleet]:
    plan = FleetPlan(devices=60, days=8.0, rollout_at=None, injections=injections)
    fleet = SimulatedFleet(seed, plan)
    table = SimulatedStore(fleet).inputs(
        Selection(start=plan.start, end=plan.end), level=Level.DAY, by=("device", "time")
    )
    return table, (table.keys[1].astype(np.int64) >= plan.start + 4 * DAY).astype(np.int64), fleet


def test_what_is_found_is_what_was_made_wrong_and_nothing_else() -> None:
    """40 fleets without a fault, and 10 with one on a target: no false alarm, none missed of a quarter of a deviation."""
    false = missed = wrong = 0
    for seed in range(50):
        is_wrong = seed >= 40
        fault = Injection(fault="input_drift", size=0.25, target=GROUP, since=4 * DAY)
        table, sides, fleet = halves(seed, *([fault] if is_wrong else []))
        groups = {one.device: dict(one.labels)["target"] for one in fleet.devices}
        found = {
            one.group
            for one in told(
                drifts(table, sides, groups=groups, seed=seed), artifacts=(), start=0.0, end=1.0, since=""
            )
        }
        false += bool(found - {GROUP}) if is_wrong else bool(found)
        missed += is_wrong and GROUP not in found
        wrong += is_wrong
    assert (false, missed, wrong) == (0, 0, 10)


@pytest.mark.parametrize("rollout_day", [1, 4, 7])
def test_frames_that_a_new_artifact_prepares_otherwise_are_told_whenever_it_came(rollout_day: int) -> None:
    """With the rollout in the second half no device ran one artifact in both halves: then A and B are held apart."""
    fault = Injection(fault="input_drift", size=0.5, target=GROUP, with_artifact=1)
    plan = FleetPlan(devices=60, days=8.0, rollout_at=rollout_day * DAY, injections=(fault,))
    fleet = SimulatedFleet(3, plan)
    review = review_fleet(SimulatedStore(fleet), Selection(start=plan.start, end=plan.end))
    found = [one for one in review.findings if one.kind == "input_drift"]
    assert {one.group for one in found} == {f"target {GROUP}"}
    assert {one.artifacts for one in found} == {fleet.artifacts}
    assert all("with" in one.what and "against" in one.what for one in found), found
    (check,) = [one for one in review.checks if one.kind == "input_drift"]
    assert (check.found, check.note) == (len(found), "")
    assert check.looked_at >= 3


def test_a_fleet_that_tells_of_no_inputs_is_told_so() -> None:
    plan = FleetPlan(devices=9, days=2.0, rollout_at=DAY)
    fleet = SimulatedFleet(3, plan)
    review = review_fleet(SimulatedStore(fleet), Selection(start=plan.start, end=plan.end))
    (check,) = [one for one in review.checks if one.kind == "input_drift"]
    assert (check.looked_at, check.found) == (0, 0)
    assert "Too few devices told of their inputs" in check.note
    assert any(
        "Inputs were not compared: that needs 8 devices" in note for note in review.comparisons[0].notes
    )
