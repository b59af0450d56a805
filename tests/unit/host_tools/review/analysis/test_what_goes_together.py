"""What goes together with findings, devices that only some artifact hurts, and findings that say the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from made_windows import table

from host_tools.review.analysis import explanation, presence, sensor_faults, stragglers, throttling, wording
from host_tools.review.analysis.comparison import compare_windows
from host_tools.review.analysis.findings import Effect, Finding, ordered
from host_tools.review.analysis.some_devices import worse_on_some
from host_tools.review.analysis.told_once import told_once
from host_tools.review.store.windows import Device

NAMES = tuple(f"d{n:02}" for n in range(40))
DAY = 86400


def test_a_label_that_tells_affected_devices_is_named() -> None:
    labels = {
        name: {"kernel": "6.1" if n < 10 else "6.12", "site": f"s{n % 4}", "serial": name}
        for n, name in enumerate(NAMES)
    }
    (why,) = explanation.by_labels(set(NAMES[:9]), NAMES, labels)
    assert (why.by, why.value, why.affected_share) == ("label:kernel", "6.1", 1.0)
    assert why.other_share == pytest.approx(1 / 31)
    assert why.p_value < 1e-5
    assert (
        explanation.by_labels(
            set(NAMES[::4][:3]) | set(NAMES[1::4][:3]) | set(NAMES[2::4][:3]),
            NAMES,
            {n: {"a": str(i % 2)} for i, n in enumerate(NAMES)},
        )
        == ()
    )
    assert explanation.by_labels(set(NAMES), NAMES, labels) == ()
    assert explanation.by_labels({NAMES[0]}, NAMES, labels) == ()


def test_labels_by_chance_explain_nothing() -> None:
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(200):
        labels = {name: {key: str(rng.integers(3)) for key in "abcde"} for name in NAMES}
        told += bool(explanation.by_labels(set(rng.permutation(NAMES)[:8].tolist()), NAMES, labels))
    assert told <= 6  # 1 % each


def test_moments_that_fall_together_are_told_and_others_are_not() -> None:
    changed = {name: 1000.0 * n for n, name in enumerate(NAMES[1:9], start=1)}
    just_then = {name: [at + 50.0] for name, at in changed.items()}
    why = explanation.by_moments(
        changed, just_then, by="artifact", what="changed their artifact", tolerance=100.0, span=40_000.0
    )
    assert why is not None
    assert why.what == "8 of 8 affected devices changed their artifact just then"
    often = {name: list(np.arange(0.0, 40_000.0, 150.0)) for name in changed}
    assert (
        explanation.by_moments(changed, often, by="start", what="started", tolerance=100.0, span=40_000.0)
        is None
    )
    assert explanation.by_moments({}, {}, by="start", what="started", tolerance=1.0, span=1.0) is None


def test_heat_that_rose_with_the_change_is_told() -> None:
    axes: dict[str, list[object]] = {"device": [], "time": []}
    celsius = []
    for number in range(6):
        for hour in range(48):
            axes["device"].append(f"d{number}")
            axes["time"].append(hour * 3600)
            celsius.append((50.0 + number + (9.0 if hour >= 24 else 0.0)) * 60)
    windows = table(
        axes,
        celsius_sum=celsius,
        celsius_count=[60] * 288,
        inferences=[1000] * 288,
        covered_seconds=[3600.0] * 288,
    )
    (why,) = explanation.by_conditions(windows, {f"d{n}" for n in range(6)}, 24 * 3600.0, span=DAY)
    assert why.what == "their temperature rose by 9.0 °C just then"


def _pairs(slow: int) -> object:
    rng = np.random.default_rng(1)
    axes: dict[str, list[object]] = {"device": [], "artifact": []}
    latencies = []
    for number, name in enumerate(NAMES):
        for artifact in ("a", "b"):
            axes["device"].append(name)
            axes["artifact"].append(artifact)
            factor = 1.3 if artifact == "b" and number < slow else 1.0
            latencies.append(0.05 * factor * np.exp(rng.normal(0, 0.1, 2000)))
    return table(axes, latencies=latencies)


def test_devices_that_only_b_hurts_are_found_where_their_mean_hides_them() -> None:
    comparison = compare_windows(_pairs(4), "a", "b", groups={})
    assert (
        next(one for one in comparison.measures if one.measure == "latency_p50_seconds").verdict == "no_worse"
    )
    found = worse_on_some(comparison, "a", "b", groups={}, start=0.0, end=1.0)
    assert {one.effect.measure for one in found} == {"latency_p50_seconds", "latency_p95_seconds"}
    assert all(set(one.devices) == set(NAMES[:4]) for one in found)
    assert found[0].effect.change == pytest.approx(0.3, abs=0.02)
    assert len(told_once(found)) == 1
    assert (
        worse_on_some(
            compare_windows(_pairs(1), "a", "b", groups={}), "a", "b", groups={}, start=0.0, end=1.0
        )
        == ()
    )
    assert (
        worse_on_some(
            compare_windows(_pairs(0), "a", "b", groups={}), "a", "b", groups={}, start=0.0, end=1.0
        )
        == ()
    )


def _finding(
    measure: str,
    change: float,
    *,
    devices: tuple[str, ...] = NAMES[:3],
    severity: str = "warning",
    start: float = 0.0,
) -> Finding:
    effect = Effect(
        measure=measure,
        unit="s",
        before=1.0,
        after=1.0 + change,
        scale="ratio",
        change=change,
        low=0.0,
        high=1.0,
    )
    return Finding(
        kind="straggler",
        severity=severity,
        what=".",
        next_step=".",
        devices=devices,
        artifacts=(),
        group="",
        start=start,
        end=100.0,
        effect=effect,
        p_value=0.0,
    )  # type: ignore[arg-type]


def test_a_tail_that_moved_by_itself_is_told_by_itself() -> None:
    median = _finding("latency_p50_seconds", 0.1)
    assert [one.effect.measure for one in told_once([median, _finding("latency_p95_seconds", 0.12)])] == [
        "latency_p50_seconds"
    ]
    assert (
        told_once([median, _finding("latency_p95_seconds", 0.12)])[0].evidence["latency_p95_change"] == 0.12
    )
    assert len(told_once([median, _finding("latency_p95_seconds", 0.4)])) == 2
    assert len(told_once([median, _finding("latency_p95_seconds", 0.12, devices=NAMES[5:8])])) == 2
    assert len(told_once([median, _finding("latency_p95_seconds", 0.12, start=50.0)])) == 2


def test_findings_are_ordered_by_severity_then_by_devices() -> None:
    grave, wide, narrow = (
        _finding("x", 0.1, severity="error", devices=NAMES[:1]),
        _finding("x", 0.1, devices=NAMES[:9]),
        _finding("x", 0.1),
    )
    assert ordered([narrow, wide, grave]) == (grave, wide, narrow)


def test_devices_that_fell_silent_together_are_told_together() -> None:
    axes: dict[str, list[object]] = {"device": [], "time": []}
    for name in NAMES[:8]:
        for hour in range(10):
            if not (name == NAMES[7] and 2 < hour < 9):
                axes["device"].append(name)
                axes["time"].append(hour * 3600)
    windows = table(axes, covered_seconds=[3600.0] * len(axes["device"]))
    now = 40 * 3600.0
    last = {
        NAMES[0]: now,
        NAMES[1]: 36000.0,
        NAMES[2]: 36100.0,
        NAMES[3]: 36200.0,
        NAMES[4]: 30000.0,
        NAMES[5]: float("nan"),
        NAMES[6]: now - 60,
        NAMES[7]: now - 7 * 3600.0,
    }
    devices = [
        Device(
            device=name,
            first_received=0.0,
            last_received=at,
            status="down" if name == NAMES[4] else "up",
            reason="",
            artifact="a",
            labels=(),
            clock_note="",
            missing=0,
        )
        for name, at in last.items()
    ]
    together, alone = presence.silent(devices, windows, groups={}, now=now)
    assert set(together.devices) == {NAMES[1], NAMES[2], NAMES[3]}
    assert together.severity == "error"
    # d07 was silent for as long before, and is not told; d05 was never heard but through what the broker kept.
    assert alone.devices == (NAMES[5], NAMES[4])
    assert alone.evidence["status_down"] == 1
    assert "1 said that" in alone.what


def test_throttling_is_told_with_what_it_costs() -> None:
    axes = {"device": ["hot"] * 40 + ["cool"] * 40, "time": [hour * 3600 for hour in range(40)] * 2}
    slow = [hour % 2 == 0 for hour in range(40)] + [False] * 40
    latencies = [np.full(50, 0.08 if one else 0.05) for one in slow]
    windows = table(
        axes,
        latencies=latencies,
        throttled=[360 * one for one in slow],
        throttle_samples=[360] * 80,
        celsius_max=[88.0] * 80,
    )
    (found,), looked_at = throttling.throttling(windows, groups={})
    assert looked_at == 2
    assert found.devices == ("hot",)
    assert found.effect.low < 0.5 < found.effect.high
    assert "80" in found.what
    assert "50" in found.what
    assert found.severity == "error"


def test_stragglers_need_peers_and_a_distance() -> None:
    def windows(last: float, count: int = 20) -> object:
        latencies = [np.full(500, 0.05 * (1 + 0.001 * n)) for n in range(count - 1)] + [np.full(500, last)]
        return table({"device": list(NAMES[:count]), "artifact": ["a"] * count}, latencies=latencies)

    found, _ = stragglers.stragglers(windows(0.06), groups={}, start=0.0, end=1.0)
    assert {one.devices for one in found} == {(NAMES[19],)}
    assert (
        stragglers.stragglers(windows(0.0545), groups={}, start=0.0, end=1.0)[0] == ()
    )  # certain, and too near
    assert stragglers.stragglers(windows(0.2, count=9), groups={}, start=0.0, end=1.0) == ((), 0)
    fast, _ = stragglers.stragglers(windows(0.01), groups={}, start=0.0, end=1.0)
    assert fast == ()


def test_a_sensor_stands_still_only_while_the_load_changes() -> None:
    axes = {
        "device": ["busy"] * 30 + ["idle"] * 30 + ["moves"] * 30,
        "time": [hour * 3600 for hour in range(30)] * 3,
    }
    load = [100 * (1 + hour % 5) for hour in range(30)]
    celsius = [40.0] * 5 + [41.5] * 25 + [30.0] * 30 + [40.0 + hour % 3 for hour in range(30)]
    windows = table(
        axes,
        inferences=[*load, *[100] * 30, *load],
        celsius_sum=[one * 360 for one in celsius],
        celsius_count=[360] * 90,
        celsius_max=celsius,
    )
    (found,), looked_at = sensor_faults.sensor_faults(windows, groups={})
    assert (found.devices, looked_at) == (("busy",), 3)
    assert found.start == 5 * 3600
    assert "41.50 °C" in found.what


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.048, "s", "48 ms"),
        (1.5, "s", "1.5 s"),
        (0.5524, "J", "552 mJ"),
        (51.234, "Cel", "51.2 °C"),
        (0.0312, "1", "3.12 %"),
        (31e6, "By", "31.0 MB"),
        (float("nan"), "s", "unknown"),
        (9.87, "{inference}/s", "9.87 inferences/s"),
    ],
)
def test_quantities_read_well(value: float, unit: str, said: str) -> None:
    assert wording.quantity(value, unit) == said


def test_changes_and_intervals_read_well() -> None:
    effect = _finding("x", 0.101).effect
    assert effect is not None
    assert wording.change(effect) == "10.1 %"
    assert (
        wording.interval(dataclasses.replace(effect, low=-0.02, high=0.3))
        == "95 % confidence: −2.0 % to +30.0 %"
    )
    points = dataclasses.replace(effect, scale="difference", unit="1", change=0.004)
    assert wording.change(points) == "0.4 points"
    assert wording.devices(NAMES[:4]) == "4 devices"
    assert wording.devices(NAMES[:2]) == "d00, d01"
    assert wording.artifact(None) == "none"
    assert wording.chance(1e-9) == "p < 0.0001"
