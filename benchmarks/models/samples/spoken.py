"""Spoken commands by a synthesizer of speech (espeak-ng): words that a keyword spotter knows, and others, in many voices.

Its voices are no people: how often a word is found says little of people who speak, what a conversion changes of it says more.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import resample_poly

from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from benchmarks.models.samples.photos import Split

RATE: Final = 16_000
_SPOKEN_AT = 22_050
_HEADER_BYTES = 44
_SILENCE_SECONDS = 0.15
"""Behind the last word: networks of this kind answer as it ends."""
_LOUD = 300.0
_NOISE = 30.0
"""Of a room, in codes of 16 bits."""
_SEEDS = {"calib": 5, "eval": 6}
_VOICES = tuple(
    f"{accent}+{one}"
    for accent in ("en-us", "en-gb", "en-gb-scotland")
    for one in ("m1", "m3", "m7", "f1", "f2", "f4")
)
_DURATIONS = ("one minute", "five minutes", "ten minutes", "twenty minutes", "thirty minutes", "one hour")
_ASKING = ("set a timer for {}", "start a {} timer", "create a timer for {}")
_OTHERS = (
    "what is the weather today",
    "the quick brown fox jumps over the lazy dog",
    "turn off all the lights in the kitchen please",
)


def commands(split: Split, count: int, seconds: float) -> Iterator[NDArray[np.float32]]:
    """Yield sounds at 16 kHz in codes of 16 bits, each of ``seconds``, with a command or another sentence at its end; every fourth is another.

    Raises:
        InputError: espeak-ng is not installed, or does not speak.
    """
    rng = np.random.default_rng(_SEEDS[split])
    length = round(seconds * RATE)
    for index in range(count):
        asked = str(rng.choice(_ASKING)).format(rng.choice(_DURATIONS))
        text = str(rng.choice(_OTHERS)) if index % 4 == 3 else asked
        voice, speed, pitch = str(rng.choice(_VOICES)), int(rng.integers(140, 190)), int(rng.integers(30, 70))
        sound = rng.normal(0.0, _NOISE, length)
        end = length - round(_SILENCE_SECONDS * RATE)
        spoken = _say(text, voice, speed, pitch)[-end:]
        sound[end - len(spoken) : end] += spoken
        yield np.clip(sound, -32768, 32767).astype(np.float32)


def _say(text: str, voice: str, speed: int, pitch: int) -> NDArray[np.float64]:
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(
            f"espeak-ng does not speak: {error}.", hint="Install it: scripts/system-packages espeak-ng"
        ) from error
    sound = np.frombuffer(done.stdout[_HEADER_BYTES:], "<i2").astype(np.float64)
    sound = sound[: np.flatnonzero(np.abs(sound) > _LOUD)[-1] + 1]
    return np.asarray(resample_poly(sound, RATE // 50, _SPOKEN_AT // 50))
