"""The whole review on simulated fleets: what was made wrong is found, where nothing is wrong nothing is, and bad questions are told so."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from host_tools.errors import InputError
from host_tools.review.analysis.artifacts import compare
from host_tools.review.analysis.findings import SEVERITIES, Review
from host_tools.review.analysis.reading import level_for
from host_tools.review.analysis.review import examine_device, review_fleet, weekly
from host_tools.review.simulation.boards import BOARDS
from host_tools.review.simulation.fleet import SimulatedFleet
from host_tools.review.simulation.plan import FleetPlan
from host_tools.review.simulation.store import SimulatedStore
from host_tools.review.simulation.truth import Injection
from host_tools.review.store.windows import Level, Selection

DAY = 86400.0
WRONG = (
    Injection(fault="latency", size=0.08, with_artifact=1, target="cortex-a-tflite"),
    Injection(fault="output_drift", size=0.25, with_artifact=1, target="x86_64-openvino"),
    Injection(fault="straggler", size=0.4, share=0.04, target="aarch64-onnxruntime", since=5.3 * DAY),
    Injection(fault="throttling", size=5.0, share=0.05, target="x86_64-openvino"),
    Injection(fault="silent", share=0.03, since=7 * DAY),
    Injection(fault="flapping", size=4.0, share=0.03),
    Injection(fault="memory_leak", size=1.5e6, share=0.03),
    Injection(fault="heating", size=1.5, share=0.03, target="aarch64-onnxruntime"),
    Injection(fault="battery_wear", size=0.012, share=0.1, target="aarch64-onnxruntime"),
    Injection(fault="stuck_sensor", share=0.02, since=3 * DAY),
)


@functools.cache
def _store(*, wrong: bool) -> SimulatedStore:
    plan = FleetPlan(devices=100, days=8, injections=WRONG if wrong else ())
    return SimulatedStore(SimulatedFleet(11, plan))


def _all(store: SimulatedStore) -> Selection:
    return Selection(start=store.fleet.plan.start, end=store.fleet.plan.end)


@functools.cache
def _review(*, wrong: bool) -> Review:
    store = _store(wrong=wrong)
    return review_fleet(store, _all(store))


def _devices(review: Review, kind: str) -> set[str]:
    return {name for one in review.findings if one.kind == kind for name in one.devices}


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("silent", "silent"),
        ("flapping", "flapping"),
        ("memory_leak", "memory_leak"),
        ("battery_wear", "battery_wear"),
        ("sensor_fault", "stuck_sensor"),
        ("heat_trend", "heating"),
    ],
)
def test_devices_that_were_made_wrong_are_found_and_no_others(kind: str, fault: str) -> None:
    affected = _store(wrong=True).fleet.truth.affected(fault)  # type: ignore[arg-type]
    found = _devices(_review(wrong=True), kind)
    assert found <= affected
    assert len(found) >= 0.6 * len(affected)


def test_the_regression_is_told_of_its_target_and_its_size() -> None:
    found = [
        one for one in _review(wrong=True).findings if one.kind == "regression" and one.severity == "error"
    ]
    assert {one.group for one in found} == {"target cortex-a-tflite"}
    latency = next(one for one in found if one.effect.measure == "latency_p50_seconds")
    assert latency.effect.low < 0.08 < latency.effect.high
    assert latency.evidence["latency_p95_change"] == pytest.approx(0.08, abs=0.02)
    change = [
        one
        for one in _review(wrong=True).findings
        if one.kind == "change_point" and one.group == latency.group and len(one.devices) > 20
    ]
    assert change
    assert all(one.explanations[0].by == "artifact" and one.severity == "info" for one in change)


def test_drift_is_told_of_its_target() -> None:
    found = [one for one in _review(wrong=True).findings if one.kind == "output_drift"]
    assert {one.group for one in found} == {"target x86_64-openvino"}


def test_stragglers_and_the_moment_they_became_so() -> None:
    affected = _store(wrong=True).fleet.truth.affected("straggler")
    review = _review(wrong=True)
    slow = [
        one
        for one in review.findings
        if one.kind == "straggler" and one.effect.measure == "latency_p50_seconds"
    ]
    assert {name for one in slow for name in one.devices} <= affected
    moments = [
        one
        for one in review.findings
        if one.kind == "change_point" and set(one.devices) <= affected and one.devices
    ]
    assert moments
    assert all(
        abs(one.start - review.selection.start - 5.3 * DAY) <= 3 * 3600
        for one in moments
        if one.effect.measure == "latency_p50_seconds"
    )


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_devices_that_stayed_while_most_others_changed_are_told_so(share: float) -> None:
    slower = Injection(fault="latency", size=0.1, with_artifact=1)
    plan = FleetPlan(
        devices=24, days=4, boards=BOARDS[:1], rollout_at=2 * DAY, rollout_share=share, injections=(slower,)
    )
    store = SimulatedStore(SimulatedFleet(4, plan))
    table = store.windows(_all(store), level=Level.DAY, by=("device", "artifact"))
    changed = set(table.key("device")[table.key("artifact") == store.fleet.artifacts[1]].tolist())
    found = review_fleet(store, _all(store)).findings
    some = [one for one in found if one.kind == "change_point" and "beside" in one.what]
    assert some
    for one in some:
        stayed = not set(one.devices) & changed
        assert stayed == (share > 0.5)
        assert ("the others changed" in one.what) == ("on the others then" in one.next_step) == stayed, (
            one.what
        )
        assert one.severity == ("info" if stayed else "warning")


def test_a_fleet_without_fault_has_no_finding() -> None:
    review = _review(wrong=False)
    assert [one.what for one in review.findings if one.kind != "throttling"] == []
    assert review.comparisons[0].verdict == "no_worse"
    assert review.reporting == review.devices == 100
    assert {one.kind for one in review.checks} >= {"regression", "output_drift", "silent", "straggler"}


def test_findings_come_by_severity_with_everything_that_a_reader_needs() -> None:
    review = _review(wrong=True)
    order = [SEVERITIES.index(one.severity) for one in review.findings]
    assert order == sorted(order)
    for one in review.findings:
        assert one.what.endswith(".")
        assert one.next_step.endswith(".")
        assert one.start < one.end
        assert one.p_value is None or 0 <= one.p_value <= 0.05


def test_the_same_seed_gives_the_same_review() -> None:
    store = _store(wrong=True)
    assert review_fleet(store, _all(store)) == _review(wrong=True)


def test_compare_tells_both_curves_and_refuses_what_did_not_run() -> None:
    store = _store(wrong=True)
    a, b = store.fleet.artifacts
    comparison = compare(store, a, b, _all(store))
    assert comparison.verdict == "worse"
    assert [one.artifact for one in comparison.curves] == [a, b]
    assert all(np.diff(one.seconds).min() > 0 for one in comparison.curves)
    assert comparison.devices_both == 100
    with pytest.raises(InputError, match=r"artifact ffff did not run.*Those that did"):
        compare(store, a, "sha256:ffff", _all(store))
    with pytest.raises(InputError, match="expected two artifacts"):
        compare(store, a, a, _all(store))
    with pytest.raises(InputError, match="Measures are latency_p50_seconds"):
        compare(store, a, b, _all(store), margins={"speed": 1.0})
    with pytest.raises(InputError, match="alpha between 0 and 1"):
        compare(store, a, b, _all(store), alpha=1.0)


def test_a_device_is_shown_beside_its_peers() -> None:
    store = _store(wrong=True)
    slow = sorted(store.fleet.truth.affected("straggler"))[0]
    review = examine_device(store, slow, _all(store))
    assert {one.kind for one in review.review.findings} >= {"straggler"}
    assert review.ranks["latency_p50_seconds"] > 0.9
    assert review.values["latency_p50_seconds"] > 1.2 * review.peer_values["latency_p50_seconds"]
    assert review.peers == 32
    with pytest.raises(InputError, match="device 'nobody' is not known"):
        examine_device(store, "nobody", _all(store))


def test_a_week_is_shown_beside_the_week_before() -> None:
    plan = FleetPlan(
        devices=30,
        days=14,
        rollout_at=7 * DAY,
        level=Level.HOUR,
        injections=(Injection(fault="silent", share=0.1, since=6 * DAY),),
    )
    store = SimulatedStore(SimulatedFleet(2, plan))
    review = weekly(store, end=plan.end)
    assert set(review.gone) == store.fleet.truth.affected("silent")
    assert review.added == ()
    assert review.before["latency_p50_seconds"] == pytest.approx(
        review.review.totals["latency_p50_seconds"], rel=0.1
    )
    assert review.review.selection.start == plan.end - 7 * DAY


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(start=2.0, end=1.0), "expected an end after the start, got 2 to 1"),
        (Selection(start=1.0, end=2.0, labels=(("site", "moon"),)), "expected a device that is selected"),
        (Selection(start=1.0, end=2.0, devices=("nobody",)), "expected a device that is selected"),
    ],
)
def test_a_question_about_nothing_is_refused(selection: Selection, message: str) -> None:
    with pytest.raises(InputError, match=message):
        review_fleet(_store(wrong=False), selection)


def test_a_span_in_which_nothing_came_is_no_error() -> None:
    store = _store(wrong=False)
    start = store.fleet.plan.end + 30 * DAY
    review = review_fleet(store, Selection(start=start, end=start + 2 * DAY))
    assert review.reporting == 0
    assert review.totals == {}
    assert {one.kind for one in review.findings} == {"silent"}
    assert any(one.note for one in review.checks)


def test_windows_are_as_short_as_the_budget_allows() -> None:
    hour, week = Selection(start=0, end=3600), Selection(start=0, end=7 * DAY)
    assert level_for(hour, devices=10) is Level.MINUTE
    assert level_for(week, devices=200) is Level.HOUR
    assert level_for(week, devices=10_000) is Level.DAY
