"""Weights of mel bands, by decimals of 40 digits: their logarithms are correctly rounded on every machine, those of C libraries are not.

Source:
    S. Young et al., "The HTK Book" (2006), section 5.4, for ``htk``; M. Slaney, "Auditory Toolbox" (1998), for ``slaney``, as librosa has it.
"""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from device_agent.contract.sound import Mel

_DIGITS: Final = Context(prec=40)
_HTK_FACTOR: Final = Decimal(2595)
_HTK_CORNER_HZ: Final = Decimal(700)
_SLANEY_HZ_A_MEL: Final = Decimal(200) / 3
_SLANEY_CORNER_HZ: Final = Decimal(1000)
_SLANEY_CORNER: Final = Decimal(15)
_SLANEY_OCTAVES: Final = Decimal("6.4")
"""So much higher is what lies `_SLANEY_STEPS` mel above the corner."""
_SLANEY_STEPS: Final = Decimal(27)


def bands_of(powers: NDArray[np.float64], mel: Mel, *, sample_rate: int) -> NDArray[np.float64]:
    """Return the sum of every band, its frequencies added from the lowest.

    Args:
        powers: Shape (bins, frames), from 0 Hz to half of ``sample_rate``.
        mel: Which bands.
        sample_rate: In Hz.

    Returns:
        Shape (bands, frames).
    """
    starts, weights = mel_weights(mel, powers.shape[0], sample_rate)
    total = np.zeros((len(starts), powers.shape[1]))
    last = powers.shape[0] - 1
    for offset, column in enumerate(weights.T):
        total += column[:, np.newaxis] * powers[np.minimum(starts + offset, last)]
    return total


def mel_weights(mel: Mel, bins: int, sample_rate: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return where every band begins, shape (bands,), and its weights from there on, shape (bands, widest); both read-only."""
    return _weights(
        mel.bands, mel.scale, mel.triangles, Decimal(mel.low_hz), Decimal(mel.high_hz), mel.norm, bins, sample_rate
    )  # fmt: skip


@lru_cache(maxsize=4)
def _weights(
    bands: int,
    scale: str,
    triangles: str,
    low: Decimal,
    high: Decimal,
    norm: str,
    bins: int,
    sample_rate: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    with localcontext(_DIGITS):
        step = Decimal(sample_rate) / (2 * (bins - 1))
        first, last = _to_mel(low, scale), _to_mel(high, scale)
        corners = [first + (last - first) * index / (bands + 1) for index in range(bands + 2)]
        hertz = [_to_hertz(corner, scale) for corner in corners]
        places = [step * index for index in range(bins)]
        if triangles == "mel":
            places = [_to_mel(place, scale) for place in places]
        else:
            corners = hertz
        found: list[tuple[int, list[float]]] = []
        at = 0  # corners rise, so that no band begins before the one below it
        for band in range(bands):
            left, peak, right = corners[band : band + 3]
            while at < bins and places[at] <= left:
                at += 1
            factor = 2 / (hertz[band + 2] - hertz[band]) if norm == "slaney" else Decimal(1)
            end = at
            while end < bins and places[end] < right:
                end += 1
            found.append(
                (at, [float(factor * _height(place, left, peak, right)) for place in places[at:end]])
            )
    table = np.zeros((bands, max(len(weights) for _, weights in found)))
    for row, (_, weights) in zip(table, found, strict=True):
        row[: len(weights)] = weights
    starts = np.array([start for start, _ in found], np.int64)
    table.flags.writeable = starts.flags.writeable = False
    return starts, table


def _height(place: Decimal, left: Decimal, peak: Decimal, right: Decimal) -> Decimal:
    return min((place - left) / (peak - left), (right - place) / (right - peak))


def _to_mel(hertz: Decimal, scale: str) -> Decimal:
    if scale == "htk":
        return _HTK_FACTOR * (1 + hertz / _HTK_CORNER_HZ).log10()
    if hertz < _SLANEY_CORNER_HZ:
        return hertz / _SLANEY_HZ_A_MEL
    return _SLANEY_CORNER + (hertz / _SLANEY_CORNER_HZ).ln() / _SLANEY_OCTAVES.ln() * _SLANEY_STEPS


def _to_hertz(mel: Decimal, scale: str) -> Decimal:
    if scale == "htk":
        return _HTK_CORNER_HZ * ((mel / _HTK_FACTOR * Decimal(10).ln()).exp() - 1)
    if mel < _SLANEY_CORNER:
        return mel * _SLANEY_HZ_A_MEL
    return _SLANEY_CORNER_HZ * ((mel - _SLANEY_CORNER) / _SLANEY_STEPS * _SLANEY_OCTAVES.ln()).exp()
