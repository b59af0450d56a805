"""`rarely_exceeded`: a level that hardly any sample exceeds, from two hundred of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from host_tools.equalize.moved_statistics import moved
from host_tools.equalize.tails import rarely_exceeded
from host_tools.observe.statistics import PEAKS, TensorStatistics

Float64 = NDArray[np.float64]


def seen_of(maxima: Float64) -> TensorStatistics:
    """Return what is seen of channels with these largest values of samples, shape (samples, channels)."""
    values = maxima.astype(np.float32)
    return TensorStatistics(
        minimum=float(values.min()),
        maximum=float(values.max()),
        mean_minimum=float(values.min()),
        mean_maximum=float(values.max(axis=1).mean()),
        channel_axis=1,
        channel_minimum=values.min(axis=0),
        channel_maximum=values.max(axis=0),
        channel_mean=values.mean(axis=0, dtype=np.float64),
        channel_mean_square=None,
        histogram=None,
        channel_peaks=-np.sort(-values, axis=0)[:PEAKS],
    )


@pytest.mark.parametrize("exponent", [0.05, 0.2, 0.5])
def test_of_a_tail_that_is_a_power_one_sample_in_a_thousand_is_beyond(exponent: float) -> None:
    maxima = np.random.default_rng(1).uniform(0, 1, (200, 4000)) ** -exponent
    levels = rarely_exceeded(seen_of(maxima), 200)
    beyond = levels ** (-1 / exponent)  # the chance of a value above the level, for each channel's estimate
    assert np.median(beyond) == pytest.approx(1e-3, rel=0.15)
    assert np.quantile(beyond, 0.95) < 8e-3


def test_channels_have_as_much_room_as_their_tails_are_long() -> None:
    rng = np.random.default_rng(2)
    maxima = np.stack([rng.normal(3, 0.2, 200), rng.lognormal(0, 1, 200)], axis=1)
    even, uneven = rarely_exceeded(seen_of(maxima), 200) / maxima.max(axis=0)
    assert 1.0 <= even < 1.2
    assert uneven > 1.5


@given(
    maxima=st.lists(
        st.lists(st.floats(-100, 1000, width=32), min_size=2, max_size=2), min_size=1, max_size=300
    ),
    power=st.integers(-8, 8),
)
def test_it_is_never_below_what_was_seen_and_scales_with_it(maxima: list[list[float]], power: int) -> None:
    values = np.asarray(maxima, np.float64)
    levels = rarely_exceeded(seen_of(values), len(values))
    assert (levels >= np.maximum(values.max(axis=0), 0)).all()
    factor = 2.0**power
    np.testing.assert_allclose(rarely_exceeded(seen_of(values * factor), len(values)), levels * factor)


def test_few_samples_and_channels_that_hardly_ever_wake_tell_no_tail() -> None:
    maxima = np.random.default_rng(3).uniform(1, 2, (200, 2))
    np.testing.assert_allclose(
        rarely_exceeded(seen_of(maxima[:99]), 99), 2 * maxima[:99].max(axis=0), rtol=1e-6
    )
    maxima[PEAKS - 1 :, 1] = -1.0
    level = rarely_exceeded(seen_of(maxima), 200)
    assert np.isfinite(level[0])
    assert np.isinf(level[1])


def test_peaks_move_with_their_channels() -> None:
    maxima = np.random.default_rng(4).uniform(1, 2, (200, 2))
    seen = dataclasses.replace(seen_of(maxima), channel_mean_square=np.full(2, 9.0))
    peaks = moved(seen, np.array([0.5, 0.0])).channel_peaks
    assert peaks is not None
    assert seen.channel_peaks is not None
    np.testing.assert_allclose(peaks, seen.channel_peaks - [0.5, 0.0], rtol=1e-6)
