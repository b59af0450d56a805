"""The arithmetic below a diagnosis."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from host_tools.diagnose.fake_quantize import fake_quantize
from host_tools.diagnose.histograms import BINS, middle, of_numbers
from host_tools.diagnose.local_error import local_error
from host_tools.diagnose.ratios import decibels, gain, rounded, share
from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.quantization_plan import QParams

FLOATS = st.floats(-1e4, 1e4, width=32)
ARRAYS = arrays.arrays(np.float32, arrays.array_shapes(min_dims=1, max_dims=4, max_side=5), elements=FLOATS)
SCALES = st.floats(1e-3, 10.0)


def qparams(scale: float, zero: int = 0, low: int = -128, high: int = 127) -> QParams:
    return QParams(scale=(scale,), zero_point=(zero,), dtype="int8", quant_min=low, quant_max=high, axis=None)


@given(ARRAYS, SCALES, st.integers(-128, 127))
def test_fake_quantizing_is_codes_and_back(values: np.ndarray, scale: float, zero: int) -> None:
    parameters = qparams(float(np.float32(scale)), zero)
    exact = values_of(codes_of(values.astype(np.float64), parameters), parameters)
    found = fake_quantize(values, parameters)
    assert found.dtype == np.float32
    # Where float32 rounds a quotient to the other side of an edge, it is the neighbouring code.
    assert np.all(np.abs(found - exact) <= 1.001 * parameters.scale[0] + 1e-3)
    edges = np.abs(values / parameters.scale[0] - np.floor(values / parameters.scale[0]) - 0.5)
    np.testing.assert_allclose(found[edges > 1e-2], exact[edges > 1e-2], rtol=1e-5)


def test_fake_quantizing_per_channel_uses_each_scale() -> None:
    parameters = QParams(
        scale=(1.0, 0.5), zero_point=(0, 1), dtype="int8", quant_min=-128, quant_max=127, axis=1
    )
    found = fake_quantize(np.array([[0.7, 0.7]], np.float32), parameters)
    np.testing.assert_array_equal(found, [[1.0, 0.5]])


def test_a_value_without_axes_is_fake_quantized_likewise() -> None:
    found = fake_quantize(np.array(0.7, np.float32), qparams(0.5))
    assert isinstance(found, np.ndarray)
    assert (found.shape, float(found)) == ((), 0.5)


@given(ARRAYS, SCALES)
def test_the_sums_of_two_samples_are_those_of_both(values: np.ndarray, scale: float) -> None:
    parameters = qparams(scale)
    once = local_error(values, None, parameters, axis=min(1, values.ndim - 1) if values.ndim else None)
    twice = once.plus(once)
    np.testing.assert_allclose(twice.noise, 2 * once.noise)
    np.testing.assert_array_equal(once.noise, once.output_noise)
    assert not once.weights_noise.any()
    assert twice.count == 2 * once.count
    rows = values.reshape(1, -1) if values.ndim == 0 else np.moveaxis(values, min(1, values.ndim - 1), 0)
    assert once.signal.sum() == pytest.approx(float(np.sum(rows.astype(np.float64) ** 2)), rel=1e-4)


def test_what_is_clipped_is_told_from_what_is_rounded() -> None:
    values = np.array([0.0, 1.2, 100.0, 127.4, 128.0, -200.0], np.float32)
    found = local_error(values, None, qparams(1.0), axis=0)
    assert found.clipped == 2
    assert found.clipping_noise == pytest.approx(1.0 + 72.0**2)


def test_a_layer_with_float_output_errs_by_its_weights_alone() -> None:
    exact = np.array([[1.0, 2.0]], np.float32)
    found = local_error(exact, exact + 0.5, None, axis=1)
    np.testing.assert_allclose(found.noise, [0.25, 0.25])
    np.testing.assert_allclose(found.weights_noise, found.noise)
    np.testing.assert_allclose(found.error, [0.5, 0.5])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_a_histogram_counts_everything_once(numbers: list[float]) -> None:
    made = of_numbers(np.array(numbers), low=-1.0, high=1.0, origin="test")
    assert len(made.shares) == BINS
    assert sum(made.shares) == pytest.approx(1.0, abs=1e-4)
    assert made.low < made.high


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_the_middle_lies_within(numbers: list[float]) -> None:
    low, high = middle(np.array(numbers))
    assert min(numbers) <= low <= high <= max(numbers)


@given(st.floats(0.0, 1e300) | st.just(math.inf), st.floats(0.0, 1e300) | st.just(math.inf))
def test_ratios_are_always_finite(one: float, other: float) -> None:
    assert 0.0 <= share(one, other) <= 1.0
    assert abs(gain(one, other)) <= 200.0
    ratio = decibels(min(one, 1e300), other)
    assert ratio is None or math.isfinite(ratio)


def test_a_gain_is_how_far_noise_falls() -> None:
    assert gain(10.0, 1.0) == 10.0
    assert gain(1.0, 10.0) == -10.0
    assert gain(0.0, 0.0) == 0.0
    assert gain(math.inf, math.inf) == 0.0
    assert rounded(1.23456789) == 1.23457
