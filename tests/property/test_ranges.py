"""Ranges from histograms against ranges from the samples themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from host_tools.errors import StatisticsError
from host_tools.observe.exact_sum import ExactSums
from host_tools.observe.ranges import Range, choose_range
from host_tools.observe.statistics import Histogram, Method, TensorStatistics
from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.qparams import choose, code_range
from targets.profile import ScaleRules, ZeroPointRule

METHODS: tuple[Method, ...] = ("minmax", "moving_average", "percentile", "mse", "entropy", "cosine", "search")
ZERO_POINTS: tuple[ZeroPointRule, ...] = ("symmetric", "midpoint", "asymmetric")
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
@given(
    arrays(np.float32, st.integers(1, 200), elements=FINITE),
    st.sampled_from(METHODS),
    st.sampled_from(ZERO_POINTS),
)
def test_every_range_holds_zero_and_lies_within_what_was_seen(
    values: np.ndarray, method: Method, zero_point: ZeroPointRule
) -> None:
    low, high = choose_range(statistics_of(values), method, levels=256, zero_point=zero_point)
    assert min(float(values.min()), 0.0) <= low <= 0.0 <= high <= max(float(values.max()), 0.0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9])
def test_percentile_is_numpys_within_a_bin(seed: int, percentile: float) -> None:
    values = np.random.default_rng(seed).normal(0.3, 2.0, 50_000).astype(np.float32)
    low, high = choose_range(
        statistics_of(values), "percentile", levels=256, zero_point="asymmetric", percentile=percentile
    )
    assert high == pytest.approx(np.percentile(values, percentile), rel=0.015)
    assert low == pytest.approx(np.percentile(values, 100 - percentile), rel=0.015)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tail", [0.0, 40.0])
def test_mse_is_within_two_per_cent_of_the_best_by_exhaustive_search(seed: int, tail: float) -> None:
    values = np.random.default_rng(seed).laplace(0.0, 1.0, 20_000).astype(np.float32)
    if tail:
        values[:3] = tail
    low, high = choose_range(statistics_of(values), "mse", levels=256, zero_point="asymmetric")
    clips = np.linspace(0.05, 1.0, 60)
    best = min(
        squared_error(values, float(values.min()) * a, float(values.max()) * b) for a in clips for b in clips
    )
    assert squared_error(values, low, high) <= 1.02 * best


def as_the_target_has_it(values: np.ndarray, found: Range, zero_point: ZeroPointRule) -> np.ndarray:
    """Quantize with what the plan makes of a range."""
    qparams = choose(
        np.asarray([found.low]),
        np.asarray([found.high]),
        codes=code_range(8, signed=True),
        zero_point=zero_point,
        scale=ScaleRules(kind="float32", minimum=1e-30, minimum_range=1e-30),
    )
    return values_of(codes_of(values.astype(np.float64), qparams), qparams)


def cosine(values: np.ndarray, found: np.ndarray) -> float:
    return float(values @ found / np.sqrt((values @ values) * (found @ found)))


def skewed(seed: int) -> np.ndarray:
    """Values with one long tail and a lone outlier on the other side."""
    values = np.random.default_rng(seed).gamma(0.6, 1.0, 20_000).astype(np.float32) - np.float32(0.2)
    values[0] = -9.0
    return values


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("zero_point", ["symmetric", "asymmetric"])
def test_cosine_is_as_similar_as_the_best_by_exhaustive_search(seed: int, zero_point: ZeroPointRule) -> None:
    values = skewed(seed)
    exact = values.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    clips = np.linspace(0.05, 1.0, 40)
    ranges = [
        Range(low * a, high * b)
        for a in clips
        for b in clips
        if zero_point == "asymmetric" or np.isclose(a, b)
    ]
    best = max(cosine(exact, as_the_target_has_it(exact, one, zero_point)) for one in ranges)
    found = choose_range(statistics_of(values), "cosine", levels=256, zero_point=zero_point)
    assert 1.0 - cosine(exact, as_the_target_has_it(exact, found, zero_point)) <= 1.03 * (1.0 - best)


def test_cosine_does_not_see_the_size_and_keeps_the_widest_range() -> None:
    """0 and one other value are told apart by every range; only the widest gives the value back."""
    values = np.repeat([0.0, 3.0], 50)
    assert choose_range(
        statistics_of(values), "cosine", levels=256, zero_point="asymmetric"
    ).high == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("zero_point", ZERO_POINTS)
def test_search_leaves_no_more_error_than_mse(seed: int, zero_point: ZeroPointRule) -> None:
    values = skewed(seed).astype(np.float64)
    errors = {
        method: float(np.sum((values - as_the_target_has_it(values, found, zero_point)) ** 2))
        for method in ("mse", "search")
        for found in [choose_range(statistics_of(values), method, levels=256, zero_point=zero_point)]
    }
    assert errors["search"] <= 1.01 * errors["mse"]


def test_search_gives_up_a_few_negatives_for_codes_on_the_other_side() -> None:
    """As behind HardSwish: nothing is below -0.375. With the zero in the middle half of the codes would be for that."""
    values = np.random.default_rng(1).uniform(0.0, 200.0, 20_000)
    values[:20] = -0.375
    found = {
        method: choose_range(statistics_of(values), method, levels=256, zero_point="midpoint")
        for method in ("mse", "search")
    }
    assert found["search"].low == 0.0
    errors = {
        method: float(np.sum((values - as_the_target_has_it(values, one, "midpoint")) ** 2))
        for method, one in found.items()
    }
    assert errors["search"] < 0.5 * errors["mse"]


def test_search_is_mse_where_both_ends_go_together() -> None:
    seen = statistics_of(skewed(2))
    found = [choose_range(seen, method, levels=256, zero_point="symmetric") for method in ("mse", "search")]
    assert found[0] == found[1]


def test_search_finds_two_ends_that_only_pay_together() -> None:
    """Outliers on both sides: giving up one of them alone gains little, as the step hardly shrinks."""
    values = np.random.default_rng(7).normal(0.0, 1.0, 20_000)
    values[:3], values[3:6] = 60.0, -60.0
    low, high = choose_range(statistics_of(values), "search", levels=256, zero_point="asymmetric")
    clips = np.linspace(0.02, 1.0, 60)
    best = min(squared_error(values, -60.0 * a, 60.0 * b) for a in clips for b in clips)
    assert squared_error(values, low, high) <= 1.02 * best


def test_entropy_ignores_a_lone_outlier() -> None:
    """ONNX Runtime's entropy calibration keeps the outlier: with 128 bins there is nothing to choose from."""
    values = np.random.default_rng(0).normal(0.0, 1.0, 100_000).clip(-4, 4).astype(np.float32)
    values[0] = 50.0
    low, high = choose_range(statistics_of(values), "entropy", levels=256, zero_point="asymmetric")
    assert high < 10.0
    assert low < -2.5


def test_a_constant_tensor_keeps_its_value() -> None:
    for method in METHODS:
        assert choose_range(
            statistics_of(np.full(9, 2.5)), method, levels=256, zero_point="asymmetric"
        ).high == pytest.approx(2.5, rel=0.02)
        assert choose_range(statistics_of(np.zeros(9)), method, levels=256, zero_point="asymmetric") == (
            0.0,
            0.0,
        )


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy", "cosine", "search"])
def test_a_method_without_its_histogram_says_so(method: Method) -> None:
    import dataclasses

    ranges_only = dataclasses.replace(statistics_of(np.ones(3)), histogram=None)
    with pytest.raises(StatisticsError, match="needs histograms"):
        choose_range(ranges_only, method, levels=256, zero_point="asymmetric")


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
