"""The arithmetic of sound beside exact and other arithmetic: turns, logarithms, sums, transforms, windows, bands."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from hypothesis import assume, given
from hypothesis import strategies as st

from device_agent.contract.sound_codec import largest_prime
from device_agent.sources.sound.logarithm import decimal, natural
from device_agent.sources.sound.mel import bands_of, mel_weights
from device_agent.sources.sound.ordered import ordered_sum, weighted_sums
from device_agent.sources.sound.prepare import cosine_transform
from device_agent.sources.sound.spectrum import power, spectra, window_of
from device_agent.sources.sound.turns import turn
from tests.unit.device_agent.sources.recordings import mel, spectrum

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
SIZES = [size for size in range(2, 1_025) if largest_prime(size) <= 7]


def exact_cosine(part: int, whole: int) -> Decimal:
    """By its series, in 60 digits: another way than the code's."""
    with localcontext() as context:
        context.prec = 60
        angle = 2 * PI * (part % whole) / whole
        term, total, step = Decimal(1), Decimal(0), 0
        while abs(term) > Decimal("1e-55"):
            total += term
            term = -term * angle * angle / ((step + 1) * (step + 2))
            step += 2
        return total


@given(st.integers(-5_000, 5_000), st.integers(1, 4_096))
def test_a_turn_is_the_nearest_float(part, whole):
    cosine, sine = turn(part, whole)
    assert cosine == float(exact_cosine(part, whole)) or abs(exact_cosine(part, whole)) < Decimal("1e-50")
    assert abs(cosine * cosine + sine * sine - 1.0) < 4e-16
    assert sine == turn(4 * part - whole, 4 * whole)[0]  # a quarter of a turn earlier


def test_turns_that_are_exact_are_exact():
    assert [turn(part, 4) for part in range(4)] == [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)]
    assert (turn(1, 6)[0], turn(1, 12)[1], turn(1, 3)[0]) == (0.5, 0.5, -0.5)


@given(st.floats(1e-300, 1e300))
def test_logarithms_are_right_within_a_few_last_digits(value):
    exact = Decimal(value).ln()
    found = float(natural(np.array([value]))[0])
    assert abs(Decimal(found) - exact) <= 2 * Decimal(math.ulp(float(exact)))
    exact = Decimal(value).log10()
    found = float(decimal(np.array([value]))[0])
    assert abs(Decimal(found) - exact) <= 3 * Decimal(math.ulp(float(exact)))


def test_the_logarithm_of_one_is_zero():
    assert natural(np.array([1.0]))[0] == 0.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_an_ordered_sum_is_as_near_as_its_order_allows(values):
    found = float(ordered_sum(np.array(values)))
    exact = sum(map(Fraction, values))
    room = sum(map(abs, values)) * len(values).bit_length() * 2.3e-16
    assert abs(Fraction(found) - exact) <= room + 1e-300


def test_the_order_of_sums_is_the_one_that_is_written_down():
    weights, values = np.array([[1.0, 1.0, 1.0]]), np.array([[1e16], [1.0], [-1e16]])
    assert weighted_sums(weights, values)[0, 0] == (1e16 + 1.0) - 1e16
    assert ordered_sum(np.array([1e16, 1.0, -1e16])) == (1e16 + 1.0) - 1e16
    assert ordered_sum(np.array([1e16, 1.0, -1e16, 1.0])) == (1e16 - 1e16) + (1.0 + 1.0)


@given(st.sampled_from(SIZES), st.integers(0, 1 << 30), st.integers(1, 5))
def test_the_transform_is_numpy_s_within_float_error(size, seed, frames):
    values = np.random.default_rng(seed).standard_normal((size, frames))
    expected = np.abs(np.fft.rfft(values, axis=0)) ** 2
    assert np.abs(power(values, size) - expected).max() <= 1e-13 * max(expected.max(), 1.0)


@given(st.sampled_from(SIZES), st.integers(0, 1 << 30))
def test_what_stands_beside_a_frame_changes_no_bit_of_it(size, seed):
    values = np.random.default_rng(seed).standard_normal((size, 7))
    together = power(values, size)
    alone = np.concatenate([power(values[:, index : index + 1], size) for index in range(7)], axis=1)
    assert together.tobytes() == alone.tobytes()


@pytest.mark.parametrize("kind", ["hann", "hamming"])
@pytest.mark.parametrize("symmetry", ["periodic", "symmetric"])
@pytest.mark.parametrize("length", [2, 25, 400, 401])
def test_windows_are_scipy_s(kind, symmetry, length):
    expected = scipy.signal.get_window(kind, length, fftbins=symmetry == "periodic")
    assert np.abs(window_of(kind, symmetry, length) - expected).max() < 1e-15


def test_a_rectangular_window_is_ones():
    assert window_of("rectangular", "periodic", 5).tolist() == [1.0] * 5


@given(
    samples=st.integers(300, 3_000),
    length=st.integers(2, 256),
    hop=st.integers(1, 300),
    fft_size=st.sampled_from((256, 250, 243)),
    padding=st.sampled_from(("none", "zero", "reflect")),
    value=st.sampled_from(("power", "magnitude")),
    seed=st.integers(0, 1 << 30),
)
def test_frames_stand_where_librosa_and_tensorflow_have_them(
    samples, length, hop, fft_size, padding, value, seed
):
    assume(length <= fft_size)
    wave = np.random.default_rng(seed).standard_normal(samples)
    wanted = spectrum(frame_length=length, hop=hop, fft_size=fft_size, padding=padding, value=value, frames=1)
    frames = wanted.frames_of(samples)
    wanted = spectrum(
        frame_length=length, hop=hop, fft_size=fft_size, padding=padding, value=value, frames=frames
    )
    window = scipy.signal.get_window("hann", length)
    if padding == "none":  # as tf.signal.stft: no frame beyond the end, zeros behind each
        starts, around, padded = (
            range(0, samples - length + 1, hop),
            np.r_[window, np.zeros(fft_size - length)],
            wave,
        )
        padded = np.r_[wave, np.zeros(fft_size)]
    else:  # as librosa.stft(center=True): padded by half, the window in the middle
        half, left = fft_size // 2, (fft_size - length) // 2
        padded = np.pad(wave, half, mode="reflect" if padding == "reflect" else "constant")
        starts = range(0, len(padded) - fft_size + 1, hop)
        around = np.zeros(fft_size)
        around[left : left + length] = window
    expected = np.array([np.abs(np.fft.rfft(padded[at : at + fft_size] * around)) for at in starts]).T
    expected = expected**2 if value == "power" else expected
    found = spectra(wave, wanted)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-12 * expected.max()


def mel_of(hertz, scale):
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0)
    linear = np.asarray(hertz) / (200.0 / 3.0)
    return np.where(
        np.asarray(hertz) < 1000.0,
        linear,
        15.0 + np.log(np.maximum(hertz, 1000.0) / 1000.0) / (np.log(6.4) / 27.0),
    )


def hertz_of(mels, scale):
    if scale == "htk":
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    return np.where(mels < 15.0, mels * (200.0 / 3.0), 1000.0 * np.exp((np.log(6.4) / 27.0) * (mels - 15.0)))


@given(
    bands=st.integers(1, 80),
    scale=st.sampled_from(("htk", "slaney")),
    triangles=st.sampled_from(("hertz", "mel")),
    norm=st.sampled_from(("none", "slaney")),
    low=st.floats(0.0, 3_000.0),
    high=st.floats(3_500.0, 8_000.0),
    fft_size=st.sampled_from((256, 400, 512)),
)
def test_bands_are_librosa_s_and_tensorflow_s(bands, scale, triangles, norm, low, high, fft_size):
    """Their formulas in NumPy's floats: `librosa.filters.mel` and `tf.signal.linear_to_mel_weight_matrix`."""
    bins = fft_size // 2 + 1
    places = np.arange(bins) * 16_000.0 / fft_size
    corners = np.linspace(mel_of(low, scale), mel_of(high, scale), bands + 2)
    hertz = hertz_of(corners, scale)
    at, edges = (places, hertz) if triangles == "hertz" else (mel_of(places, scale), corners)
    rising = (at - edges[:-2, np.newaxis]) / np.diff(edges)[:-1, np.newaxis]
    falling = (edges[2:, np.newaxis] - at) / np.diff(edges)[1:, np.newaxis]
    expected = np.maximum(0.0, np.minimum(rising, falling))
    if norm == "slaney":
        expected *= (2.0 / (hertz[2:] - hertz[:-2]))[:, np.newaxis]
    wanted = mel(bands=bands, scale=scale, triangles=triangles, norm=norm, low_hz=low, high_hz=high)
    powers = np.eye(bins)
    assert np.abs(bands_of(powers, wanted, sample_rate=16_000) - expected).max() < 1e-10
    starts, weights = mel_weights(wanted, bins, 16_000)
    assert (starts[:-1] <= starts[1:]).all()
    assert (weights >= 0.0).all()


@pytest.mark.parametrize(("bands", "coefficients"), [(1, 1), (13, 13), (40, 13), (128, 20)])
def test_coefficients_are_those_of_scipy_s_orthonormal_transform(bands, coefficients):
    values = np.random.default_rng(bands).standard_normal((bands, 9))
    expected = scipy.fft.dct(values, type=2, norm="ortho", axis=0)[:coefficients]
    assert (
        np.abs(weighted_sums(cosine_transform(coefficients, bands), values) - expected).max() < 1e-14 * bands
    )
