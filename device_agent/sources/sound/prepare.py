"""`load_sound`: a recording to the float model's input, step by step as it is declared."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from device_agent.sources.frame_file import read_frame_file
from device_agent.sources.sound.logarithm import decimal, natural
from device_agent.sources.sound.mel import bands_of
from device_agent.sources.sound.ordered import ordered_sum, weighted_sums
from device_agent.sources.sound.spectrum import spectra
from device_agent.sources.sound.turns import turn
from device_agent.sources.sound.wav import read_wav

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from device_agent.contract.sound import Logarithm, Normalization, Sound, Spectrum

    Float64 = NDArray[np.float64]

ARITHMETIC: Final = 1
"""Counted up when any bit that comes out changes, so that nothing cached is taken for what is computed now."""
_NORMAL: Final = 2.0**-126
"""Least float32 that no processor flushes to zero."""
_VARIANCE_FLOOR: Final = 1e-7


def load_sound(source: Path | bytes, sound: Sound) -> NDArray[np.float32]:
    """Read one recording and make the model's input of it.

    Args:
        source: A ``.wav`` file, or its bytes; see `read_wav` for what is read.
        sound: What to do.

    Returns:
        float32 of ``sound.shape``, C-contiguous; the same bits on every machine.

    Raises:
        FrameError: The file cannot be read, or is larger than `MAX_FRAME_BYTES`.
        SoundError: It is not what is declared.
    """
    if isinstance(source, Path):
        where, data = str(source), read_frame_file(source, what="a recording")
    else:
        where, data = "recording", source
    return prepare_waveform(read_wav(data, sound, where=where), sound)


def prepare_waveform(waveform: NDArray[np.float64], sound: Sound) -> NDArray[np.float32]:
    """Make the model's input of a waveform that is read already.

    Args:
        waveform: Shape (samples,), at least one; longer ones are cut, shorter ones filled with zeros at their end.
        sound: What to do.

    Returns:
        As `load_sound`.
    """
    whole = np.zeros(sound.samples)
    used = waveform[: sound.samples]
    whole[: len(used)] = used
    values = whole[np.newaxis] if sound.spectrum is None else _features(whole, sound, sound.spectrum)
    if sound.normalization is not None:
        values = _normalized(values, sound.normalization)
    return _laid_out(values, sound)


def _features(waveform: Float64, sound: Sound, spectrum: Spectrum) -> Float64:
    """Return what the declared steps give, shape (features, frames)."""
    values = spectra(waveform, spectrum)
    if sound.mel is not None:
        values = bands_of(values, sound.mel, sample_rate=sound.sample_rate)
    if sound.logarithm is not None:
        values = _logarithms(values, sound.logarithm, is_power=spectrum.value == "power")
    if sound.mfcc is not None:
        values = weighted_sums(cosine_transform(sound.mfcc.coefficients, len(values)), values)
    return values


def _logarithms(values: Float64, wanted: Logarithm, *, is_power: bool) -> Float64:
    # One of the two is there, and no spectrum is below zero.
    values = np.maximum(values, wanted.floor or 0.0) + (wanted.offset or 0.0)
    if wanted.kind == "natural":
        logarithms = natural(values)
    elif wanted.kind == "log10":
        logarithms = decimal(values)
    else:
        logarithms = decimal(values) * (10.0 if is_power else 20.0)
    if wanted.top is None:
        return logarithms
    cut: Float64 = np.maximum(logarithms, logarithms.max() - wanted.top)
    return cut


@lru_cache(maxsize=4)
def cosine_transform(coefficients: int, bands: int) -> Float64:
    """Return the first rows of the orthonormal DCT-II, shape (coefficients, bands); read-only."""
    table = np.array(
        [[turn((2 * band + 1) * row, 4 * bands)[0] for band in range(bands)] for row in range(coefficients)]
    )
    table *= np.sqrt(2.0 / bands)
    table[0] = np.sqrt(1.0 / bands)
    table.flags.writeable = False
    return table


def _normalized(values: Float64, wanted: Normalization) -> Float64:
    """Return (x - mean) / std of values of shape (features, frames)."""
    if wanted.over == "constants":
        declared: Float64 = values - np.array(wanted.mean)[:, np.newaxis]
        declared /= np.array(wanted.std)[:, np.newaxis]
        return declared
    rows = values.reshape(1, -1) if wanted.over == "clip" else values
    mean = ordered_sum(rows.T) / rows.shape[1]
    apart = rows - mean[:, np.newaxis]
    variance = ordered_sum((apart * apart).T) / rows.shape[1]
    own: Float64 = apart / np.sqrt(variance + _VARIANCE_FLOOR)[:, np.newaxis]
    return own.reshape(values.shape)


def _laid_out(values: Float64, sound: Sound) -> NDArray[np.float32]:
    """Return values of shape (features, frames) as float32 in the declared layout."""
    values = np.where(np.abs(values) < _NORMAL, 0.0, values)
    with np.errstate(over="ignore"):  # what is infinite then is refused where it is used
        single = values.astype(np.float32)
    order = [axis for axis in sound.layout if axis in ("time", "feature")]
    moved = single if order == ["feature", "time"] else single.T
    return np.ascontiguousarray(moved).reshape(sound.shape)
