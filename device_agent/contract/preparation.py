"""What a frame is: a picture, or a recording. What an artifact declares of neither is the model's input itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.manifest import Preprocessing
from device_agent.contract.sound import Sound

if TYPE_CHECKING:
    from device_agent.contract.manifest import Manifest

Preparation = Preprocessing | Sound
"""How a frame becomes the float model's input."""


def preparation_of(manifest: Manifest) -> Preparation | None:
    """Return the one that the manifest declares; None where frames are the model's input."""
    return manifest.preprocessing if manifest.sound is None else manifest.sound
