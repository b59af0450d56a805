"""Ranges from histograms against ranges from the samples themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from host_tools.errors import StatisticsError
from host_tools.observe.exact_sum import ExactSums
from host_tools.observe.ranges import choose_range
from host_tools.observe.statistics import Histogram, Method, TensorStatistics

METHODS: tuple[Method, ...] = ("minmax", "moving_average", "percentile", "mse", "entropy")
FINITE = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)


def statistics_of(values: np.ndarray) -> TensorStatistics:
    flat = values.astype(np.float32).reshape(-1)
    bins, counts = np.unique(flat.view(np.uint32) >> 16, return_counts=True)
    return TensorStatistics(
        minimum=float(flat.min()),
        maximum=float(flat.max()),
        mean_minimum=float(flat.min()),
        mean_maximum=float(flat.max()),
        channel_axis=None,
        channel_minimum=np.empty(0, np.float32),
        channel_maximum=np.empty(0, np.float32),
        channel_mean=np.empty(0),
        channel_mean_square=None,
        histogram=Histogram(bins=bins.astype(np.uint16), counts=counts.astype(np.int64), share=1.0),
    )


def squared_error(values: np.ndarray, low: float, high: float, steps: int = 255) -> float:
    scale = (high - low) / steps
    if scale <= 0.0:
        return float(np.sum(values**2))
    zero = np.rint(-low / scale)
    codes = np.clip(np.rint(values / scale) + zero, 0, steps)
    return float(np.sum((values - (codes - zero) * scale) ** 2))


@settings(max_examples=80, deadline=None)
@given(arrays(np.float32, st.integers(1, 200), elements=FINITE), st.sampled_from(METHODS), st.booleans())
def test_every_range_holds_zero_and_lies_within_what_was_seen(
    values: np.ndarray, method: Method, symmetric: bool
) -> None:
    low, high = choose_range(statistics_of(values), method, levels=256, symmetric=symmetric)
    assert min(float(values.min()), 0.0) <= low <= 0.0 <= high <= max(float(values.max()), 0.0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9])
def test_percentile_is_numpys_within_a_bin(seed: int, percentile: float) -> None:
    values = np.random.default_rng(seed).normal(0.3, 2.0, 50_000).astype(np.float32)
    low, high = choose_range(
        statistics_of(values), "percentile", levels=256, symmetric=False, percentile=percentile
    )
    assert high == pytest.approx(np.percentile(values, percentile), rel=0.015)
    assert low == pytest.approx(np.percentile(values, 100 - percentile), rel=0.015)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tail", [0.0, 40.0])
def test_mse_is_within_two_per_cent_of_the_best_by_exhaustive_search(seed: int, tail: float) -> None:
    values = np.random.default_rng(seed).laplace(0.0, 1.0, 20_000).astype(np.float32)
    if tail:
        values[:3] = tail
    low, high = choose_range(statistics_of(values), "mse", levels=256, symmetric=False)
    clips = np.linspace(0.05, 1.0, 60)
    best = min(
        squared_error(values, float(values.min()) * a, float(values.max()) * b) for a in clips for b in clips
    )
    assert squared_error(values, low, high) <= 1.02 * best


def test_entropy_ignores_a_lone_outlier() -> None:
    """ONNX Runtime's entropy calibration keeps the outlier: with 128 bins there is nothing to choose from."""
    values = np.random.default_rng(0).normal(0.0, 1.0, 100_000).clip(-4, 4).astype(np.float32)
    values[0] = 50.0
    low, high = choose_range(statistics_of(values), "entropy", levels=256, symmetric=False)
    assert high < 10.0
    assert low < -2.5


def test_a_constant_tensor_keeps_its_value() -> None:
    for method in METHODS:
        assert choose_range(
            statistics_of(np.full(9, 2.5)), method, levels=256, symmetric=False
        ).high == pytest.approx(2.5, rel=0.02)
        assert choose_range(statistics_of(np.zeros(9)), method, levels=256, symmetric=False) == (0.0, 0.0)


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_a_method_without_its_histogram_says_so(method: Method) -> None:
    import dataclasses

    ranges_only = dataclasses.replace(statistics_of(np.ones(3)), histogram=None)
    with pytest.raises(StatisticsError, match="needs histograms"):
        choose_range(ranges_only, method, levels=256, symmetric=False)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40),
    st.randoms(),
)
def test_exact_sums_do_not_depend_on_order(values: list[float], random: object) -> None:
    from fractions import Fraction
    from random import Random

    assert isinstance(random, Random)
    shuffled = list(values)
    random.shuffle(shuffled)
    means = []
    for order in (values, shuffled):
        sums = ExactSums(1)
        for value in order:
            sums.add(np.array([value], np.float32))
        means.append(float(sums.means()[0]))
    assert means[0] == means[1]
    exact = sum((Fraction(value) for value in values), Fraction(0)) / len(values)
    assert means[0] == pytest.approx(float(exact), rel=1e-12, abs=1e-300)


def test_the_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ZeroDivisionError):
        ExactSums(1).means()
