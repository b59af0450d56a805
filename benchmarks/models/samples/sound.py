"""Made sound: speech-like syllables between pauses, and notes. It exercises a network; it is no recording, and says little of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.models.samples.photos import Split

_SEEDS = {"calib": 1, "eval": 2}


def speech(split: Split, seconds: float, *, rate: int) -> NDArray[np.float32]:
    """Return syllables of a gliding voice with three formants, hisses between them, and pauses of noise; shape (samples,), within ±1.

    Args:
        split: Whose random numbers.
        seconds: How long.
        rate: Samples a second.
    """
    rng = np.random.default_rng(_SEEDS[split])
    parts: list[NDArray[np.float64]] = []
    length = 0
    while length < seconds * rate:
        kind = rng.choice(3, p=(0.55, 0.15, 0.3))
        count = int(rate * rng.uniform(0.1, 0.35 if kind < 2 else 0.8))
        made = (_vowel, _hiss, _pause)[kind](rng, count, rate)
        parts.append(made + rng.normal(0.0, 0.002, count))
        length += count
    return np.clip(np.concatenate(parts)[: int(seconds * rate)], -1.0, 1.0).astype(np.float32)


def notes(split: Split, seconds: float, *, rate: int) -> NDArray[np.float32]:
    """Return plucked notes of the piano's middle octaves, up to three at a time; shape (samples,), within ±1."""
    rng = np.random.default_rng(_SEEDS[split])
    sound = np.zeros(int(seconds * rate))
    at = 0
    while at < len(sound):
        count = min(int(rate * rng.uniform(0.2, 1.0)), len(sound) - at)
        time = np.arange(count) / rate
        for pitch in rng.integers(40, 84, rng.integers(1, 4)):
            frequency = 440.0 * 2.0 ** ((pitch - 69) / 12.0)
            overtones = [
                np.sin(2 * np.pi * frequency * harmonic * time) / harmonic**1.5 for harmonic in range(1, 6)
            ]
            sound[at : at + count] += 0.25 * np.exp(-3.0 * time) * np.sum(overtones, axis=0)
        at += count
    return np.clip(sound, -1.0, 1.0).astype(np.float32)


def _vowel(rng: np.random.Generator, count: int, rate: int) -> NDArray[np.float64]:
    time = np.arange(count) / rate
    glide = np.linspace(rng.uniform(90, 260), rng.uniform(90, 260), count)
    phase = 2 * np.pi * np.cumsum(glide) / rate
    formants = rng.uniform((250, 800, 2000), (850, 2300, 3300))
    sound = np.zeros(count)
    for harmonic in range(1, 24):
        nearness = np.exp(-(((harmonic * glide.mean() - formants) / 150.0) ** 2)).sum() + 0.05
        sound += nearness * np.sin(harmonic * phase) / harmonic**0.5
    envelope = np.sin(np.pi * time * rate / count) ** 0.5
    return np.asarray(rng.uniform(0.1, 0.6) * envelope * sound / np.abs(sound).max())


def _hiss(rng: np.random.Generator, count: int, rate: int) -> NDArray[np.float64]:
    del rate
    return np.asarray(rng.uniform(0.02, 0.15) * np.diff(rng.normal(size=count + 1)))


def _pause(rng: np.random.Generator, count: int, rate: int) -> NDArray[np.float64]:
    del rate
    return np.asarray(rng.normal(0.0, rng.uniform(0.0005, 0.02), count))
