"""Confidence sequences against closed forms, and how often they are ever wrong when they are looked at all the time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from host_tools.fleet.rollout.confidence import (
    MIXTURE_DEVIATIONS,
    mean_sequence,
    rate_lower,
    rate_sequence,
    rate_upper,
)


def test_the_ends_of_a_mean_are_where_the_martingale_reaches_its_bound() -> None:
    values = np.random.default_rng(1).normal(0.3, 2.0, 25)
    mean, low, high = mean_sequence(values, 0.01)
    assert mean == pytest.approx(values.mean())
    assert high - mean == pytest.approx(mean - low)
    assert _log_bayes_factor(values, low) == pytest.approx(math.log(100), rel=1e-6)


def _log_bayes_factor(values: np.ndarray, center: float) -> float:
    """The t-test's Bayes factor with a Gaussian prior on the effect, integrated numerically over that prior."""
    count = len(values)
    t = _t(values - center)
    effects = np.linspace(-12, 12, 1201)
    prior = scipy.stats.norm.pdf(effects, scale=MIXTURE_DEVIATIONS)
    likelihood = scipy.stats.nct.pdf(t, count - 1, effects * math.sqrt(count))
    mixed = np.trapezoid(np.nan_to_num(likelihood) * prior, effects)
    return float(np.log(mixed / scipy.stats.t.pdf(t, count - 1)))


def test_few_values_say_nothing_and_more_say_more() -> None:
    rng = np.random.default_rng(2)
    assert mean_sequence(rng.normal(size=2), 0.01)[1:] == (-math.inf, math.inf)
    widths = [
        high - low
        for count in (5, 20, 100, 1000)
        for _, low, high in [mean_sequence(np.resize([-1.0, 1.0], count), 0.01)]
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.3


def test_values_that_are_all_the_same_are_no_surer_than_what_measures_them() -> None:
    assert mean_sequence(np.zeros(30), 0.01)[2] == 0.0
    assert mean_sequence(np.zeros(30), 0.01, least_spread=0.1)[2] == pytest.approx(0.08, abs=0.02)


def test_a_mean_is_ever_outside_less_often_than_said() -> None:
    """Looked at after every device, 5 % may ever miss; an ordinary interval misses in a third of the cases."""
    rng = np.random.default_rng(3)
    missed = ordinary = 0
    looks = range(5, 121, 3)
    ordinary_bound = {count: scipy.stats.t.ppf(0.975, count - 1) for count in looks}
    for _ in range(400):
        values = rng.normal(0.0, 1.0, 120)
        missed += any(not _holds(mean_sequence(values[:count], 0.05)) for count in looks)
        ordinary += any(abs(_t(values[:count])) > ordinary_bound[count] for count in looks)
    assert missed <= 0.05 * 400
    assert ordinary > 0.15 * 400


def _t(values: np.ndarray) -> float:
    return float(values.mean() / (values.std(ddof=1) / math.sqrt(len(values))))


@pytest.mark.parametrize(("own", "noise"), [(1.0, 1.0), (0.1, 5.0), (1.0, 0.0)])
def test_it_holds_as_well_while_devices_get_more_exact(own: float, noise: float) -> None:
    """The theory is about devices that arrive. Here they join in ten minutes, and each is averaged over an hour of looks."""
    rng = np.random.default_rng(6)
    missed = 0
    for _ in range(300):
        joined = np.sort(rng.integers(0, 10, 24))
        course = rng.normal(0.0, noise, (24, 60)) * (np.arange(60) >= joined[:, None])
        minutes = np.maximum(np.arange(60) - joined[:, None] + 1, 1)
        figures = rng.normal(0.0, own, 24)[:, None] + course.cumsum(axis=1) / minutes
        missed += any(
            not _holds(mean_sequence(figures[joined <= minute, minute], 0.1))
            for minute in range(60)
            if (joined <= minute).sum() >= 5
        )
    assert missed <= 0.1 * 300


def _holds(ends: tuple[float, float, float]) -> bool:
    return ends[1] <= 0 <= ends[2]


def test_a_rate_is_ever_outside_less_often_than_said() -> None:
    rng = np.random.default_rng(4)
    missed = 0
    for _ in range(400):
        steps = rng.poisson(0.05, 300)
        events = np.cumsum(steps)
        missed += any(
            not low <= 0.05 <= high
            for look in range(1, 301, 10)
            for low, high in [rate_sequence(int(events[look - 1]), float(look), 0.05, expected=0.2)]
        )
    assert missed <= 0.05 * 400


@given(
    events=st.integers(0, 10_000),
    exposure=st.floats(1e-3, 1e6),
    alpha=st.floats(1e-6, 0.2),
    expected=st.floats(1e-4, 100.0),
)
def test_a_rate_lies_within_its_interval(events: int, exposure: float, alpha: float, expected: float) -> None:
    low, high = rate_sequence(events, exposure, alpha, expected=expected)
    assert 0 <= low <= events / exposure <= high < math.inf
    assert low <= max(rate_lower(events, exposure, alpha / 2), 0) + 1e-9 * events / exposure
    assert high >= events / exposure


def test_a_rate_that_is_looked_at_once_is_garwoods() -> None:
    assert rate_upper(0, 10.0, 0.05) == pytest.approx(-math.log(0.05) / 10)
    assert rate_lower(0, 10.0, 0.05) == 0.0
    assert rate_lower(4, 10.0, 0.05) == pytest.approx(scipy.stats.chi2.ppf(0.05, 8) / 20)


@pytest.mark.parametrize(("count", "alpha"), [(1, 0.01), (5, 0.0), (5, 1.0)])
def test_a_mean_of_nothing_is_refused(count: int, alpha: float) -> None:
    with pytest.raises(ValueError, match="2 values or more"):
        mean_sequence(np.ones(count), alpha)


@pytest.mark.parametrize(
    ("events", "exposure", "alpha", "expected"),
    [(-1, 1.0, 0.1, 1.0), (1, 0.0, 0.1, 1.0), (1, 1.0, 0.0, 1.0), (1, 1.0, 0.1, 0.0)],
)
def test_a_rate_of_nothing_is_refused(events: int, exposure: float, alpha: float, expected: float) -> None:
    with pytest.raises(ValueError, match="exposure > 0"):
        rate_sequence(events, exposure, alpha, expected=expected)
