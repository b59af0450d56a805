"""Theil-Sen slopes against SciPy, and changes of mean with known places."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from host_tools.review.analysis import cusum
from host_tools.review.analysis.slopes import slopes
from host_tools.review.simulation.physics import autoregressive

_RNG = np.random.default_rng(2)


def test_slopes_are_theil_and_sens() -> None:
    times = np.arange(20.0)
    values = 0.3 * times + _RNG.normal(0, 1, (3, 20))
    values[1, [3, 7]] = np.nan
    found = slopes(times, values)
    for row in range(3):
        known = np.isfinite(values[row])
        slope, _, low, high = scipy.stats.theilslopes(values[row][known], times[known], alpha=0.95)
        assert found.slope[row] == pytest.approx(slope)
        assert found.low[row] == pytest.approx(low, abs=0.02)
        assert found.high[row] == pytest.approx(high, abs=0.02)
        # Kendall's tau of 18 or 20 values without ties: exact against normal with continuity correction.
        assert found.p_value[row] == pytest.approx(
            scipy.stats.kendalltau(times[known], values[row][known]).pvalue, abs=0.01
        )


def test_what_a_restart_resets_is_no_slope() -> None:
    times = np.arange(40.0)
    saw = (times % 10)[None, :] + _RNG.normal(0, 0.01, (1, 40))
    runs = (times // 10).astype(np.int64)[None, :]
    assert abs(slopes(times, saw).slope[0]) < 0.2
    within = slopes(times, saw, runs)
    assert within.slope[0] == pytest.approx(1.0, abs=0.01)
    assert within.p_value[0] < 1e-10
    assert within.pairs[0] == 4 * 45


def test_slopes_of_many_rows_do_not_depend_on_their_number() -> None:
    times = np.arange(60.0)
    values = _RNG.normal(0, 1, (2500, 60))
    together, alone = slopes(times, values), slopes(times, values[2400:2401])
    assert together.slope[2400] == alone.slope[0]
    assert np.mean(together.p_value < 0.05) == pytest.approx(0.05, abs=0.015)


def test_too_few_values_have_no_slope() -> None:
    assert np.isnan(slopes(np.arange(5.0), np.ones((2, 5))).slope).all()
    assert slopes(np.zeros(0), np.zeros((0, 0))).slope.shape == (0,)


def test_a_shift_is_found_where_it_is() -> None:
    values = autoregressive(np.random.default_rng(1), 1, 200, keep=0.5, spread=1.0)[0]
    values[120:] += 3.0
    (shift,) = cusum.shifts(values, alpha=0.01)
    assert abs(shift.place - 120) <= 2
    assert shift.change == pytest.approx(3.0, abs=4 * shift.error)


def test_several_shifts_are_found_in_order_and_measured_next_to_them() -> None:
    values = np.random.default_rng(4).normal(0, 0.2, 300)
    values[100:200] += 2.0
    found = cusum.shifts(values, alpha=0.01)
    assert [round(one.place, -1) for one in found] == [100, 200]
    assert [one.change for one in found] == pytest.approx([2.0, -2.0], abs=0.15)


def test_unknown_values_say_nothing() -> None:
    values = np.random.default_rng(4).normal(0, 0.2, 240)
    values[120:] += 1.0
    values[50:70] = np.nan
    values[::7] = np.nan
    (shift,) = cusum.shifts(values, alpha=0.01)
    assert abs(shift.place - 120) <= 3


def test_constant_short_or_empty_series_have_none() -> None:
    assert cusum.shifts(np.ones(100), alpha=0.01) == []
    assert cusum.shifts(np.append(np.zeros(10), np.ones(10)), alpha=0.01) == []
    assert cusum.shifts(np.full(100, np.nan), alpha=0.01) == []


@pytest.mark.parametrize(("keep", "length"), [(0.0, 48), (0.0, 200), (0.5, 200), (0.7, 400)])
def test_false_shifts_are_as_rare_as_they_say(keep: float, length: int) -> None:
    noise = autoregressive(np.random.default_rng(3), 3000, length, keep=keep, spread=1.0)
    assert np.mean(cusum.one_shift_each(noise)[3] < 0.05) < 0.06


def test_a_shift_of_other_size_and_sign_is_found_alike() -> None:
    values = np.random.default_rng(8).normal(0, 1, (1, 150))
    values[:, 70:] += 2
    one, other = cusum.one_shift_each(values), cusum.one_shift_each(-1e-6 * values)
    assert one[0] == other[0]
    assert one[3] == pytest.approx(other[3])
