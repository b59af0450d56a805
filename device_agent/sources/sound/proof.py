"""A recording that shows whether a machine computes what the host did: `proof_recording` makes it, `require_same_input` looks."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from device_agent.contract.errors import SelfTestError
from device_agent.sources.npy import read_npy
from device_agent.sources.sound.prepare import load_sound

if TYPE_CHECKING:
    from device_agent.contract.sound import Sound

_MOST_SAMPLES: Final = 1 << 15
_LOUDEST: Final = 15_000
"""Of noise and of the tone each: their sum is within 16 bits."""


def proof_recording(sound: Sound) -> bytes:
    """Return a WAV file of half a second at most: a tone that rises through all frequencies, noise that grows, then silence.

    By integers alone, so that it is the same wherever it is made. 16 bits; two channels where channels are mixed.
    """
    count = max(1, min(sound.samples, sound.sample_rate // 2, _MOST_SAMPLES))
    channels = 2 if sound.channels == "mix" else 1
    loud = count - count // 4
    values: list[int] = []
    noise, phase = 1, 0
    for index in range(count):
        phase += index * 32_768 // loud  # half a turn a sample at the end, of 65,536
        for channel in range(channels):
            noise = (noise * 1_103_515_245 + 12_345 + channel) % (1 << 31)
            triangle = abs(phase % 65_536 - 32_768) - 16_384
            grown = ((noise >> 15) - 32_768) * index // loud
            value = (triangle * _LOUDEST >> 14) + (grown * _LOUDEST >> 15)
            values.append(value if index < loud else 0)
    content = struct.pack(f"<{len(values)}h", *values)
    stride = 2 * channels
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + len(content), b"WAVE"),
        *(b"fmt ", 16, 1, channels, sound.sample_rate, sound.sample_rate * stride, stride, 16),
        *(b"data", len(content)),
    )
    return head + content


def require_same_input(recording: bytes, expected: bytes, sound: Sound) -> None:
    """Prepare a recording and hold what comes out against what the host got, bit for bit.

    Args:
        recording: A WAV file.
        expected: An ``.npy``.
        sound: How it is prepared.

    Raises:
        SelfTestError: A bit differs, or one of the two is not what it should be.
        SoundError: The recording cannot be prepared.
        FrameError: ``expected`` is no array.
    """
    wanted = read_npy(expected, where="the sound's proof")
    if wanted.shape != sound.shape or wanted.dtype != np.float32:
        raise SelfTestError(
            f"the sound's proof: expected float32 {sound.shape}, got {wanted.dtype} {wanted.shape} in the artifact."
        )
    found = load_sound(recording, sound)
    here, there = found.view(np.uint32), np.ascontiguousarray(wanted).view(np.uint32)
    different = int(np.count_nonzero(here != there))
    if different:
        with np.errstate(all="ignore"):
            apart = np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max()
        raise SelfTestError(
            f"the sound's proof: {different} of {found.size} values differ from the host's, by up to {apart:.3g}: this machine "
            f"(NumPy {np.__version__}) would feed the model something else than it was calibrated with.",
            hint="Install another NumPy; and report it: all operations are fixed by IEEE 754.",
        )
