"""Made spectra of a running machine, for the autoencoder of MLPerf Tiny: no recordings are at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.models.samples.photos import Split

_FRAMES, _BANDS = 5, 128
_SEEDS = {"calib": 1, "eval": 2}


def spectra(split: Split, count: int) -> NDArray[np.float32]:
    """Return log-mel energies in decibels, float32 of shape (count, 1, 640): five frames of a falling spectrum with seven humps.

    Heights of the humps are drawn for each sample, their places once for all; noise of 2 dB is on everything.
    """
    machine = np.random.default_rng(0)
    places, widths = machine.uniform(5, 120, 7), machine.uniform(2, 8, 7)
    rng = np.random.default_rng(_SEEDS[split])
    bands = np.arange(_BANDS)
    base = -8.0 - 40.0 * bands / _BANDS
    heights = rng.uniform(0.0, 20.0, (count, 7))
    humps = heights @ np.exp(-(((bands - places[:, None]) / widths[:, None]) ** 2))
    noise = rng.normal(0.0, 2.0, (count, _FRAMES, _BANDS))
    return (base + humps[:, None, :] + noise).reshape(count, 1, _FRAMES * _BANDS).astype(np.float32)
