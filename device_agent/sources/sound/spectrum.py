"""Frames of a waveform, under their window, and the power of their Fourier transform.

A transform of our own, of float64 arrays, real and imaginary parts apart (NumPy's complex product is fused with a sum on some processors),
as many frames side by side as fit a cache. It is the self-sorting one, of radix 4 and of the primes up to 7; a frame of even length is
transformed as half as many complex numbers.

Source:
    W. T. Cochran et al., "What is the fast Fourier transform?", Proceedings of the IEEE 55 (1967), for Stockham's self-sorting order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from device_agent.sources.sound.turns import cosines, turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from device_agent.contract.sound import Spectrum

    Float64 = NDArray[np.float64]

_BLOCK_VALUES: Final = 1 << 15
"""So many samples are transformed side by side; more fall out of the processor's cache."""
_WINDOWS: Final = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46)}


def spectra(waveform: Float64, spectrum: Spectrum) -> Float64:
    """Return the spectrum of every frame.

    Args:
        waveform: Shape (samples,).
        spectrum: What to do; the waveform has as many frames.

    Returns:
        Shape (bins, frames): squared magnitudes, or magnitudes.
    """
    frames = _frames(waveform, spectrum)
    window = window_of(spectrum.window, spectrum.symmetry, spectrum.frame_length)[:, np.newaxis]
    powers = np.empty((spectrum.bins, spectrum.frames))
    block = max(1, _BLOCK_VALUES // spectrum.fft_size)
    for start in range(0, spectrum.frames, block):
        part = slice(start, start + block)
        powers[:, part] = power(frames[:, part] * window, spectrum.fft_size)
    return powers if spectrum.value == "power" else np.sqrt(powers)


def power(frames: Float64, fft_size: int) -> Float64:
    """Return the squared magnitudes of the transform of every frame, filled with zeros at its end.

    Args:
        frames: Shape (samples, frames), at most ``fft_size`` samples.
        fft_size: Without a prime factor above 7.

    Returns:
        Shape (fft_size // 2 + 1, frames).
    """
    filled = np.zeros((fft_size, frames.shape[1]))
    filled[: len(frames)] = frames
    if fft_size % 2:
        real, imaginary = _transformed(filled, np.zeros_like(filled))
        half = fft_size // 2 + 1
        return real[:half] * real[:half] + imaginary[:half] * imaginary[:half]
    real, imaginary = _of_halves(*_transformed(filled[::2], filled[1::2]), fft_size)
    return real * real + imaginary * imaginary


@lru_cache(maxsize=8)
def window_of(kind: str, symmetry: str, length: int) -> Float64:
    """Return a window, shape (length,); read-only."""
    if kind == "rectangular":
        return _frozen(np.ones(length))
    mean, depth = _WINDOWS[kind]
    period = length if symmetry == "periodic" else length - 1
    return _frozen(mean - depth * np.array(cosines(length, period)))


def _frames(waveform: Float64, spectrum: Spectrum) -> Float64:
    """Return a view of the frames, shape (frame_length, frames)."""
    length, first = spectrum.frame_length, 0
    if spectrum.padding != "none":
        half = spectrum.fft_size // 2
        waveform = np.pad(waveform, half, mode="reflect" if spectrum.padding == "reflect" else "constant")
        first = (spectrum.fft_size - length) // 2  # the window stands in the middle of what is transformed
    every = sliding_window_view(waveform[first:], length)
    used: Float64 = every[:: spectrum.hop][: spectrum.frames].T
    return used


def _of_halves(real: Float64, imaginary: Float64, fft_size: int) -> tuple[Float64, Float64]:
    """Return the transform of real frames from that of their even samples as real parts and their odd ones as imaginary parts."""
    real, imaginary = np.concatenate((real, real[:1])), np.concatenate((imaginary, imaginary[:1]))
    mirrored_real, mirrored_imaginary = real[::-1], imaginary[::-1]
    even_real, even_imaginary = real + mirrored_real, imaginary - mirrored_imaginary
    odd_real, odd_imaginary = imaginary + mirrored_imaginary, mirrored_real - real
    cosine, sine = _turns(fft_size, len(real))
    turned_real = odd_real * cosine + odd_imaginary * sine
    turned_imaginary = odd_imaginary * cosine - odd_real * sine
    return (even_real + turned_real) * 0.5, (even_imaginary + turned_imaginary) * 0.5


def _transformed(real: Float64, imaginary: Float64) -> tuple[Float64, Float64]:
    """Return the transform over the first axis, shape (size, frames), in the order of frequencies."""
    size, frames = real.shape
    left, side = size, frames  # what is still one transform, and how many values lie beside one another
    for radix in _radices(size):
        left //= radix
        shape = (radix, left, side)
        parts = list(zip(real.reshape(shape), imaginary.reshape(shape), strict=True))
        next_real, next_imaginary = np.empty((left, radix, side)), np.empty((left, radix, side))
        cosine, sine = _turns(left * radix, left * radix)
        for index, (one, other) in enumerate(_butterfly(parts)):
            if index and left > 1:
                turning = index * np.arange(left)
                _turn(
                    one, other, cosine[turning], sine[turning], next_real[:, index], next_imaginary[:, index]
                )
            else:
                next_real[:, index], next_imaginary[:, index] = one, other
        real, imaginary, side = next_real, next_imaginary, side * radix
    return real.reshape(size, frames), imaginary.reshape(size, frames)


def _turn(
    real: Float64, imaginary: Float64, cosine: Float64, sine: Float64, to_real: Float64, to_imaginary: Float64
) -> None:
    """Turn complex numbers clockwise."""
    np.add(real * cosine, imaginary * sine, out=to_real)
    np.subtract(imaginary * cosine, real * sine, out=to_imaginary)


def _butterfly(parts: list[tuple[Float64, Float64]]) -> Iterator[tuple[Float64, Float64]]:
    """Give the transform of a few complex arrays, one output after another."""
    if len(parts) == 4:
        yield from _butterfly_of_four(parts)
        return
    if len(parts) == 2:
        (first_real, first_imaginary), (second_real, second_imaginary) = parts
        yield first_real + second_real, first_imaginary + second_imaginary
        yield first_real - second_real, first_imaginary - second_imaginary
        return
    for index in range(len(parts)):
        real, imaginary = parts[0]
        for place, (other_real, other_imaginary) in enumerate(parts[1:], start=1):
            cosine, sine = turn(index * place, len(parts))
            real = real + (other_real * cosine + other_imaginary * sine)
            imaginary = imaginary + (other_imaginary * cosine - other_real * sine)
        yield real, imaginary


def _butterfly_of_four(parts: list[tuple[Float64, Float64]]) -> Iterator[tuple[Float64, Float64]]:
    (real0, imag0), (real1, imag1), (real2, imag2), (real3, imag3) = parts
    even_real, even_imag = real0 + real2, imag0 + imag2
    odd_real, odd_imag = real1 + real3, imag1 + imag3
    yield even_real + odd_real, even_imag + odd_imag
    apart_real, apart_imag = real0 - real2, imag0 - imag2
    turned_real, turned_imag = imag1 - imag3, real3 - real1  # a quarter of a turn, clockwise
    yield apart_real + turned_real, apart_imag + turned_imag
    yield even_real - odd_real, even_imag - odd_imag
    yield apart_real - turned_real, apart_imag - turned_imag


def _radices(size: int) -> Iterator[int]:
    for radix in (4, 2, 3, 5, 7):
        while size % radix == 0:
            yield radix
            size //= radix


@lru_cache(maxsize=64)
def _turns(whole: int, count: int) -> tuple[Float64, Float64]:
    """Return cosines and sines of 0, 1, … parts of a turn in ``whole`` parts, each of shape (count, 1); read-only."""
    pairs = np.array([turn(part, whole) for part in range(count)])
    return _frozen(pairs[:, :1].copy()), _frozen(pairs[:, 1:].copy())


def _frozen(array: Float64) -> Float64:
    array.flags.writeable = False
    return array
