"""What an artifact of sound brings so that a device can show that it hears the same: a recording, and what the host made of it."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

import numpy as np

from device_agent.contract.sound import SoundProof
from device_agent.sources.sound.prepare import load_sound
from device_agent.sources.sound.proof import proof_recording

if TYPE_CHECKING:
    from device_agent.contract.sound import Sound

_RECORDING = "sound/recording.wav"
_EXPECTED = "sound/input.npy"


def with_proof(sound: Sound, members: dict[str, bytes]) -> Sound:
    """Return the sound with its proof, whose two files go into ``members``."""
    recording = proof_recording(sound)
    buffer = io.BytesIO()
    expected = load_sound(recording, sound)
    np.lib.format.write_array(buffer, expected, version=(1, 0), allow_pickle=False)
    members[_RECORDING], members[_EXPECTED] = recording, buffer.getvalue()
    return dataclasses.replace(sound, proof=SoundProof(recording=_RECORDING, expected=_EXPECTED))
