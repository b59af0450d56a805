"""Estimates against closed forms and SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from host_tools.review.analysis import estimates
from host_tools.review.analysis.multiplicity import benjamini_hochberg, holm

_RNG = np.random.default_rng(5)


@pytest.mark.parametrize(("n", "m"), [(8, 8), (23, 31), (50, 9)])
def test_two_trimmed_samples_are_yuens_test(n: int, m: int) -> None:
    a, b = _RNG.normal(0.3, 1, n), _RNG.standard_t(3, m)
    ours = estimates.trimmed_difference(a, b)
    scipys = scipy.stats.ttest_ind(a, b, equal_var=False, trim=0.2)
    assert ours.p_value == pytest.approx(scipys.pvalue)
    assert ours.interval(0.9) == pytest.approx(tuple(scipys.confidence_interval(0.9)))


def test_without_trimming_one_sample_is_students() -> None:
    values = _RNG.normal(0.2, 1, 17)
    ours = estimates.trimmed_mean(values, trim=0.0)
    scipys = scipy.stats.ttest_1samp(values, 0)
    assert ours.p_value == pytest.approx(scipys.pvalue)
    assert ours.interval(0.95) == pytest.approx(tuple(scipys.confidence_interval(0.95)))


def test_trimmed_mean_by_hand() -> None:
    # Kept: 2, 3, 4. Winsorized: 2 2 3 4 4, variance 1; error sqrt(4 · 1 / (3 · 2)).
    one = estimates.trimmed_mean(np.array([100.0, 2.0, 3.0, 4.0, -50.0]))
    assert (one.value, one.error, one.freedom) == pytest.approx((3.0, math.sqrt(4 / 6), 2.0))


def test_values_that_are_all_the_same_are_certain() -> None:
    assert estimates.trimmed_mean(np.zeros(9)).p_value == 1.0
    assert estimates.trimmed_mean(np.full(9, 0.1)).p_value == 0.0
    assert estimates.trimmed_mean(np.full(9, 0.1)).interval(0.95) == (0.1, 0.1)


@pytest.mark.parametrize("values", [[1.0], [1.0, np.nan], []])
def test_too_few_or_unknown_values_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="two finite values or more"):
        estimates.trimmed_mean(np.array(values))


def test_intervals_hold_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        low, high = estimates.trimmed_mean(rng.standard_t(4, 30)).interval(0.95)
        hits += low <= 0 <= high
    low, high = estimates.wilson_interval(hits, 2000, level=0.999)
    assert low <= 0.95 <= high + 0.01


def test_sign_flips_of_few_values_are_counted_in_full() -> None:
    values = np.array([0.5, 1.0, 0.25, 0.75, -0.1])
    sums = [
        abs(sum(sign * one for sign, one in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=5)
    ]
    expected = np.mean([one >= abs(values.sum()) - 1e-12 for one in sums])
    assert estimates.sign_flip_p(np.append(values, [0.0, 0.0]), np.random.default_rng(0)) == pytest.approx(
        expected
    )
    assert estimates.sign_flip_p(np.zeros(40), np.random.default_rng(0)) == 1.0


def test_sign_flips_of_many_values_agree_with_students_test() -> None:
    values = np.random.default_rng(3).normal(0.35, 1, 40)
    p_value = estimates.sign_flip_p(values, np.random.default_rng(0))
    assert p_value == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, abs=0.012)


def test_bootstrap_interval_is_about_students() -> None:
    values = np.random.default_rng(1).normal(2, 1, 400)
    low, high = estimates.bootstrap_interval(values, np.random.default_rng(0), level=0.95)
    many = np.random.default_rng(1).normal(2, 1, 1600)
    assert estimates.bootstrap_interval(many, np.random.default_rng(0), level=0.95) == pytest.approx(
        (many.mean() - 1.96 * many.std() / 40, many.mean() + 1.96 * many.std() / 40), abs=1e-3
    )
    reach = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.02)


def test_wilson_interval_is_the_published_one() -> None:
    # Newcombe, Statist. Med. 17 (1998), Table I, method 3.
    assert estimates.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert estimates.wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert estimates.wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert estimates.wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert estimates.wilson_interval(0, 0) == (0.0, 1.0)


def test_robust_z_is_z_of_a_normal_sample_and_ignores_wild_ones() -> None:
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(5, 2, 4000), [1e6] * 40)
    z, median, spread = estimates.robust_z(values)
    assert median == pytest.approx(5, abs=0.1)
    assert spread == pytest.approx(2, rel=0.08)
    assert z[-1] > 1e5


def test_robust_z_of_values_that_are_mostly_the_same() -> None:
    z, median, _ = estimates.robust_z(np.array([1.0] * 9 + [2.0]))
    assert median == 1.0
    assert z[0] == 0.0
    assert z[-1] > 3


def test_holm_and_benjamini_hochberg_by_hand_and_by_scipy() -> None:
    assert holm([0.01, 0.04, 0.03, np.nan]) == pytest.approx([0.03, 0.06, 0.06, np.nan], nan_ok=True)
    p_values = _RNG.random(30) ** 3
    assert benjamini_hochberg(p_values) == pytest.approx(scipy.stats.false_discovery_control(p_values))
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_adjusting_keeps_order_and_never_lowers(p_values: list[float], random: object) -> None:
    order = list(range(len(p_values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for adjust in (holm, benjamini_hochberg):
        adjusted = adjust(p_values)
        assert (adjusted >= np.array(p_values) - 1e-15).all()
        assert (adjusted <= 1).all()
        assert adjust(np.array(p_values)[order]) == pytest.approx(adjusted[order])
    assert (holm(p_values) >= benjamini_hochberg(p_values) - 1e-15).all()
