"""Medians, paired ratios and bootstraps: what a reader of the tables relies on."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.spread import (
    bootstrap,
    median_and_quartiles,
    median_and_range,
    median_of_differences,
    paired_ratio,
)

TIMES = st.lists(st.floats(min_value=1e-6, max_value=1e3), min_size=1, max_size=20)


@given(TIMES)
@settings(max_examples=50)
def test_the_figure_lies_within_its_spread(values: list[float]) -> None:
    for estimate in (median_and_range(values), median_and_quartiles(values)):
        assert estimate.low <= estimate.value <= estimate.high


@given(TIMES, st.floats(min_value=0.1, max_value=10.0))
@settings(max_examples=30)
def test_a_constant_factor_is_found_however_the_machine_drifts(theirs: list[float], factor: float) -> None:
    found = paired_ratio([factor * value for value in theirs], theirs)
    assert np.allclose((found.low, found.value, found.high), factor)


def test_a_constant_difference_is_found_however_the_machine_drifts() -> None:
    theirs = [1.0, 3.0, 2.0, 8.0]
    found = median_of_differences([value + 0.25 for value in theirs], theirs)
    assert (found.low, found.value, found.high) == (0.25, 0.25, 0.25)


def test_the_interval_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(3).normal(loc=5.0, size=400)
    found = bootstrap(len(values), lambda chosen: values[chosen].mean(axis=-1))
    assert found.value == values.mean()
    expected = 2 * 1.96 * values.std() / np.sqrt(len(values))
    assert abs((found.high - found.low) / expected - 1.0) < 0.1


def test_the_same_samples_give_the_same_interval() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    assert paired_ratio(values, values[::-1]) == paired_ratio(values, values[::-1])
