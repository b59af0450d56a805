"""Gates: what they say of figures whose truth is known, and what they leave undecided."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.fleet.records.gates import Gate, GateMeasure
from host_tools.fleet.rollout import wording
from host_tools.fleet.rollout.gates import LEAST_CONTROLS, Crashes, Pairs, judge
from host_tools.fleet.rollout.plan_file import DEFAULT_GATES

LATENCY = Gate(measure="latency_p95", worst=0.1)
TEMPERATURE = Gate(measure="temperature", worst=5.0)
CRASHES = Gate(measure="crashes", worst=0.05)


def pairs(change: float, count: int = 20, *, seed: int = 0, spread: float = 0.03) -> Pairs:
    rng = np.random.default_rng(seed)
    before = np.exp(rng.normal(-3, 0.5, count))
    return Pairs(before=before, after=before * (1 + change) * np.exp(rng.normal(0, spread, count)))


def shifted(change: float, count: int = 20, *, seed: int = 0, start: float = 50.0) -> Pairs:
    rng = np.random.default_rng(seed)
    before = rng.normal(start, 5.0, count)
    return Pairs(before=before, after=before + change + rng.normal(0, 0.5, count))


def crashes(before: int, after: int, *, hours: float = 1.0, devices: int = 20) -> Crashes:
    counts = np.zeros((2, devices), dtype=np.int64)
    counts[0, 0], counts[1, 0] = before, after
    return Crashes(
        before=counts[0],
        after=counts[1],
        before_hours=np.full(devices, 24.0),
        after_hours=np.full(devices, hours),
    )


@pytest.mark.parametrize(
    ("change", "outcome"), [(0.4, "failed"), (0.0, "passed"), (-0.3, "passed"), (0.1, "undecided")]
)
def test_latency_is_judged_by_its_ratio(change: float, outcome: str) -> None:
    found = judge(LATENCY, pairs(change))
    assert found.outcome == outcome
    assert found.low is not None
    assert found.high is not None
    assert found.low < change < found.high
    assert found.estimate == pytest.approx(change, abs=0.03)
    assert found.devices == 20


@pytest.mark.parametrize(("change", "outcome"), [(9.0, "failed"), (0.3, "passed"), (5.0, "undecided")])
def test_temperature_is_judged_by_its_difference(change: float, outcome: str) -> None:
    assert judge(TEMPERATURE, shifted(change)).outcome == outcome


def test_weather_that_others_have_too_is_taken_off() -> None:
    alone = judge(TEMPERATURE, shifted(8.0))
    beside = judge(TEMPERATURE, shifted(8.0), shifted(8.0, 100, seed=1))
    assert (alone.outcome, beside.outcome) == ("failed", "passed")
    assert beside.estimate == pytest.approx(0.0, abs=0.5)
    assert "beside 100 that kept" in beside.text
    assert judge(TEMPERATURE, shifted(8.0), shifted(8.0, LEAST_CONTROLS - 1)).outcome == "failed"


def test_what_the_others_do_widens_the_interval() -> None:
    alone = judge(LATENCY, pairs(0.0))
    beside = judge(LATENCY, pairs(0.0), pairs(0.0, 9, seed=5))
    assert _width(beside.low, beside.high) > _width(alone.low, alone.high)


def _width(low: float | None, high: float | None) -> float:
    assert low is not None
    assert high is not None
    return high - low


def test_outputs_that_no_longer_agree_fail_and_few_devices_never_show_that_all_agree() -> None:
    gate = Gate(measure="output_agreement", worst=0.02)
    ones = np.ones(20)
    assert judge(gate, Pairs(before=ones, after=ones - np.linspace(0.08, 0.12, 20))).outcome == "failed"
    good = judge(gate, Pairs(before=ones, after=ones - np.linspace(0.002, 0.006, 20)))
    assert good.outcome == "undecided"
    many = np.ones(1000)
    assert judge(gate, Pairs(before=many, after=many - 0.004)).outcome == "passed"


def test_one_device_that_throttles_all_the_time_fails_nothing_and_a_third_of_them_does() -> None:
    gate = Gate(measure="throttled_share", worst=0.05)
    before, after = np.zeros(200), np.zeros(200)
    after[0] = 1.0
    assert judge(gate, Pairs(before=before, after=after)).outcome != "failed"
    after[:70] = 0.9
    assert judge(gate, Pairs(before=before, after=after)).outcome == "failed"


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (crashes(0, 0), "undecided"),
        (crashes(1, 9), "failed"),
        (crashes(400, 16), "undecided"),
        (crashes(0, 0, hours=20.0), "passed"),
        (crashes(24, 22, hours=20.0, devices=40), "passed"),
    ],
)
def test_crashes_are_rates_of_all_devices_together(found: Crashes, outcome: str) -> None:
    assert judge(CRASHES, found).outcome == outcome


def test_too_few_devices_decide_nothing_but_tell_what_they_see() -> None:
    few = judge(LATENCY, pairs(0.5, 4))
    assert (few.outcome, few.low) == ("undecided", None)
    assert few.estimate == pytest.approx(0.5, abs=0.1)
    none = judge(LATENCY, Pairs(before=np.array([np.nan, 0.1]), after=np.array([0.1, np.nan])))
    assert (none.outcome, none.devices, none.estimate) == ("not_measured", 0, None)
    away = judge(CRASHES, crashes(0, 9, hours=0.0))
    assert away.outcome == "not_measured"


def test_it_is_told_which_side_too_few_devices_have_figures_of() -> None:
    nan = math.nan

    def told(before: list[float], after: list[float]) -> str:
        return judge(
            LATENCY, Pairs(before=np.array(before), after=np.array(after)), release="small-2.0"
        ).text.partition("figures of both artifacts: ")[2]

    assert told([nan] * 5, [0.1] * 5) == "5 have them with small-2.0, none with what they ran before."
    assert told([0.1, 0.1, 0.0], [nan] * 3) == "none with small-2.0, 2 have them with what they ran before."
    assert told([], []) == "none with small-2.0, none with what they ran before."
    assert told([0.1, nan, 0.1, 0.1], [0.1, 0.2, nan, nan]) == (
        "undecided, it takes 5; 1 has them with small-2.0 only; 2 have them with what they ran before only."
    )
    away = Crashes(
        before=np.array([1, 0]),
        after=np.array([0, 0]),
        before_hours=np.array([24.0, 0.0]),
        after_hours=np.array([0.0, 0.0]),
    )
    assert (
        "none with small-2.0, 1 has them with what they ran before"
        in judge(CRASHES, away, release="small-2.0").text
    )
    outputs = Gate(measure="output_agreement", worst=0.02)
    assert (
        "no device has told how its outputs with small-2.0 agree"
        in judge(outputs, Pairs(before=np.ones(0), after=np.ones(0)), release="small-2.0").text
    )


def test_devices_that_are_so_different_that_nothing_is_sure_say_so() -> None:
    gate = dataclasses.replace(LATENCY, least_devices=2)
    found = judge(gate, pairs(0.3, 3))
    assert (found.outcome, found.low, found.high) == ("undecided", None, None)
    assert "too few to be 99 % sure" in found.text


@given(
    measure=st.sampled_from([one.measure for one in DEFAULT_GATES if one.measure != "crashes"]),
    seed=st.integers(0, 1000),
    count=st.integers(0, 40),
    holes=st.integers(0, 5),
)
def test_any_figures_are_judged_in_words(measure: GateMeasure, seed: int, count: int, holes: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.random((2, count))
    after[:holes] = np.nan
    found = judge(Gate(measure=measure, worst=0.1), Pairs(before=before, after=after))
    assert found.text
    assert found.devices == max(0, count - holes)
    if found.low is not None and found.high is not None and found.estimate is not None:
        assert found.low <= found.estimate <= found.high


@given(scale=st.floats(0.01, 100.0), seed=st.integers(0, 50))
def test_units_of_time_do_not_matter(scale: float, seed: int) -> None:
    one = pairs(0.12, seed=seed)
    other = Pairs(before=one.before * scale, after=one.after * scale)
    assert judge(LATENCY, other).low == pytest.approx(judge(LATENCY, one).low)


def test_figures_of_the_other_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="gate crashes: got Pairs"):
        judge(CRASHES, pairs(0.0))
    with pytest.raises(ValueError, match="gate latency_p95: got Crashes"):
        judge(LATENCY, crashes(0, 0))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (0.0123456, "0.0123"),
        (0.00004, "0.000040"),
        (12.34, "12.3"),
        (1_174.6, "1,175"),
        (2.5e6, "2,500,000"),
    ],
)
def test_no_figure_is_said_with_an_exponent(value: float, said: str) -> None:
    assert wording.digits(value) == said


def test_many_device_hours_are_said_in_full() -> None:
    hours = np.full(40, 100.0)
    none = np.zeros(40, np.int64)
    found = judge(
        Gate(measure="crashes", worst=0.05),
        Crashes(before=none, after=none, before_hours=hours, after_hours=hours),
    )
    assert "0 in 4,000 device-hours after 0 in 4,000" in found.text
    assert "e+" not in found.text
