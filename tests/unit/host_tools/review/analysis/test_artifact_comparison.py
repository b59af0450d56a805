"""A against B on made windows: verdicts, designs, and what must not change them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from made_windows import table

from host_tools.review.analysis.comparison import compare_windows
from host_tools.review.analysis.regressions import regressions
from host_tools.review.analysis.regroup import chosen, joined
from host_tools.review.store.windows import WindowTable

A, B = "sha256:aa", "sha256:bb"
GROUPS = {f"d{n:02}": "target x" if n % 2 else "target y" for n in range(60)}


def _fleet(
    change: float = 0.0,
    *,
    devices: int = 24,
    seed: int = 0,
    failing: float = 0.0,
    controls: int = 0,
    drift: float = 0.0,
) -> WindowTable:
    """Devices with A for a day, then B for a day (controls: A again), six-hourly; ``change`` in logarithms, ``drift`` on everybody."""
    rng = np.random.default_rng(seed)
    axes: dict[str, list[object]] = {"device": [], "artifact": [], "time": []}
    latencies, joules, errors = [], [], []
    for number in range(devices + controls):
        speed, has_b = rng.normal(0, 0.1), number < devices
        for slot in range(8):
            is_b = slot >= 4
            axes["device"].append(f"d{number:02}")
            axes["artifact"].append(B if is_b and has_b else A)
            axes["time"].append(slot * 21600)
            shift = (change if is_b and has_b else 0.0) + (drift if is_b else 0.0) + rng.normal(0, 0.01)
            values = 0.05 * np.exp(speed + shift + rng.normal(0, 0.1, 300))
            latencies.append(values)
            joules.append(0.4 * 300 * np.exp(speed + shift))
            errors.append(rng.binomial(300, 0.001 + (failing if is_b and has_b else 0.0)))
    count = len(latencies)
    return table(axes, latencies=latencies, energy_joules=joules, energy_inferences=[300] * count, errors=errors,
                 celsius_sum=[60.0 * 50] * count, celsius_count=[60] * count, covered_seconds=[3600.0] * count,
                 throttle_samples=[60] * count)  # fmt: skip


def _row(comparison: object, measure: str, group: str = "") -> object:
    return next(one for one in comparison.measures if (one.measure, one.group) == (measure, group))  # type: ignore[attr-defined]


def test_a_slower_artifact_is_worse_by_as_much_as_it_is() -> None:
    comparison = compare_windows(_fleet(np.log(1.08)), A, B, groups=GROUPS)
    row = _row(comparison, "latency_p50_seconds")
    assert row.verdict == "worse"
    assert row.design == "paired"
    assert row.devices == 24
    assert row.effect.low < 0.08 < row.effect.high
    assert row.effect.high - row.effect.low < 0.02
    assert _row(comparison, "temperature_celsius").verdict == "no_worse"
    found = regressions(comparison, A, B, groups=GROUPS, start=0.0, end=1.0)
    told = {one.effect.measure: one for one in found}
    assert set(told) == {"latency_p50_seconds", "latency_p95_seconds", "energy_per_inference_joules"}
    assert all(one.severity == "error" and one.group == "" and len(one.devices) > 20 for one in found)
    assert "8." in told["latency_p50_seconds"].what or "7." in told["latency_p50_seconds"].what


def test_a_change_on_one_target_only_is_told_of_that_target() -> None:
    both = _fleet(np.log(1.08))
    same = _fleet(0.0)
    slow = np.array([GROUPS[name] == "target x" for name in both.key("device")])
    mixed = joined([chosen(both, slow), chosen(same, ~slow)])
    found = regressions(compare_windows(mixed, A, B, groups=GROUPS), A, B, groups=GROUPS, start=0.0, end=1.0)
    assert {one.group for one in found} == {"target x"}
    assert all(GROUPS[name] == "target x" for one in found for name in one.devices)


def test_identical_windows_give_no_finding_and_are_no_worse() -> None:
    one = _fleet(0.0)
    after = one.key("time") >= 4 * 21600
    before = chosen(one, ~after)
    same = dataclasses.replace(
        before,
        keys=(before.keys[0], np.array([B] * len(before.inferences), dtype=object), before.keys[2] + 86400),
    )
    comparison = compare_windows(joined([before, same]), A, B, groups=GROUPS)
    assert regressions(comparison, A, B, groups=GROUPS, start=0.0, end=1.0) == ()
    assert {row.verdict for row in comparison.measures} == {"no_worse"}
    assert all(row.effect.change == 0 for row in comparison.measures)


def test_swapping_a_and_b_swaps_the_sign() -> None:
    forth, back = (compare_windows(_fleet(0.05), *pair, groups=GROUPS) for pair in ((A, B), (B, A)))
    for one, other in zip(forth.measures, back.measures, strict=True):
        assert one.p_value == pytest.approx(other.p_value, abs=0.02)
        if one.effect.scale == "ratio":
            assert (1 + one.effect.change) * (1 + other.effect.change) == pytest.approx(1)
        else:
            assert one.effect.change == pytest.approx(-other.effect.change)
    assert _row(forth, "latency_p50_seconds").verdict == "worse"
    assert _row(back, "latency_p50_seconds").verdict == "better"


def test_the_order_of_rows_says_nothing() -> None:
    whole = _fleet(0.03, failing=0.002)
    shuffled = chosen(whole, np.random.default_rng(0).permutation(len(whole.inferences)))
    pairs = zip(
        *(compare_windows(one, A, B, groups=GROUPS).measures for one in (whole, shuffled)), strict=True
    )
    for one, other in pairs:
        assert (one.measure, one.group, one.verdict) == (other.measure, other.group, other.verdict)
        assert one.effect.change == pytest.approx(other.effect.change, rel=1e-9)
        assert one.p_value == pytest.approx(other.p_value, rel=1e-6)


def test_a_fleet_that_is_twice_as_slow_changes_by_the_same_share() -> None:
    whole = _fleet(0.03)
    doubled = dataclasses.replace(
        whole,
        hist=dataclasses.replace(whole.hist, indices=whole.hist.indices + 32),
        energy_joules=whole.energy_joules * 1e-3,
    )
    for one, other in zip(
        compare_windows(whole, A, B, groups=GROUPS).measures,
        compare_windows(doubled, A, B, groups=GROUPS).measures,
        strict=True,
    ):
        assert one.effect.change == pytest.approx(other.effect.change)
        assert one.p_value == pytest.approx(other.p_value, rel=1e-6)


def test_what_controls_do_as_well_is_not_b_s() -> None:
    hot_day = _fleet(0.0, drift=0.06, controls=16)
    row = _row(compare_windows(hot_day, A, B, groups={}), "latency_p50_seconds")
    assert row.design == "controlled"
    assert row.devices == 24
    assert row.verdict == "no_worse"
    alone = compare_windows(_fleet(0.0, drift=0.06), A, B, groups={})
    assert _row(alone, "latency_p50_seconds").verdict == "worse"
    assert "Keep some devices on A" in alone.notes[0]


def test_only_hours_that_both_ran_in_are_compared() -> None:
    whole = _fleet(0.0)
    night = (whole.key("time") % 86400 == 0) & (whole.key("artifact") == A)
    # A's nights are three times as slow, and B has none.
    slow = dataclasses.replace(
        whole,
        hist=dataclasses.replace(
            whole.hist,
            indices=np.where(
                np.repeat(night, np.diff(whole.hist.offsets)), whole.hist.indices + 50, whole.hist.indices
            ).astype(np.int32),
        ),
    )
    kept = chosen(slow, ~((slow.key("time") % 86400 == 0) & (slow.key("artifact") == B)))
    assert abs(_row(compare_windows(kept, A, B, groups={}), "latency_p95_seconds").effect.change) < 0.02


def test_failures_of_few_devices_are_seen_where_a_trimmed_mean_would_not() -> None:
    whole, healthy = _fleet(0.0, failing=0.03), _fleet(0.0)
    few = np.isin(whole.key("device").astype(str), [f"d{n:02}" for n in range(10)])
    quiet = dataclasses.replace(whole, errors=np.where(few, whole.errors, healthy.errors))
    row = _row(compare_windows(quiet, A, B, groups={}), "failure_ratio")
    assert row.verdict == "worse"
    assert row.effect.change == pytest.approx(0.03 * 10 / 24, abs=0.003)


def test_different_devices_are_compared_when_none_ran_both() -> None:
    whole = _fleet(0.1, devices=40)
    number = np.array([int(name[1:]) for name in whole.key("device")])
    apart = chosen(whole, (number < 20) == (whole.key("artifact") == A))
    comparison = compare_windows(apart, A, B, groups={})
    row = _row(comparison, "latency_p50_seconds")
    assert row.design == "unpaired"
    assert row.devices == 20
    assert row.effect.low < 0.105 < row.effect.high
    assert "No two devices ran both" in comparison.notes[0]


def test_too_few_devices_have_no_verdict_but_an_estimate() -> None:
    row = _row(compare_windows(_fleet(0.2, devices=4), A, B, groups={}), "latency_p50_seconds")
    assert row.verdict == "too_few"
    assert row.effect.change == pytest.approx(0.22, abs=0.03)
    assert np.isnan(row.p_adjusted)


def test_a_margin_decides_what_matters() -> None:
    whole = _fleet(0.03)
    assert _row(compare_windows(whole, A, B, groups={}), "latency_p50_seconds").verdict == "worse"
    wide = compare_windows(whole, A, B, groups={}, margins={"latency_p50_seconds": 0.1})
    assert _row(wide, "latency_p50_seconds").verdict == "no_worse"
    with pytest.raises(ValueError, match="expected a margin above 0 of one of"):
        compare_windows(whole, A, B, groups={}, margins={"latency_p50": 0.1})
    with pytest.raises(ValueError, match="expected a margin above 0"):
        compare_windows(whole, A, B, groups={}, margins={"latency_p50_seconds": 0.0})


def test_windows_without_devices_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="expected windows by device and artifact"):
        compare_windows(table({"artifact": [A]}), A, B, groups={})
