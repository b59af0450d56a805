"""`prepare_frame`: a picture, a recording or a text to the float model's inputs. Here alone the agent decides what a frame is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.contract.manifest import Preprocessing
from device_agent.contract.sound import Sound
from device_agent.sources.preprocess import load_image
from device_agent.sources.sound.prepare import load_sound
from device_agent.sources.text import TextReader, load_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor

OpenPreparation = Preprocessing | Sound | TextReader
"""`contract.preparation.Preparation` as sources go by it: in the place of what is declared of texts stands what reads them."""

PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
SOUND_SUFFIXES: Final = (".wav",)
TEXT_SUFFIXES: Final = (".txt",)


def prepare_frame(
    frame: Path | bytes, tensors: Sequence[PayloadTensor], preparation: OpenPreparation
) -> dict[str, NDArray[np.generic]]:
    """Return the float model's inputs of a frame, by name.

    Args:
        frame: A file of the kind that is prepared, or its bytes.
        tensors: The payload's inputs; one, unless a frame `gives_all_inputs`.
        preparation: What the artifact declares.

    Raises:
        PictureError: It is no picture that can be read.
        SoundError: It is no recording that the model takes.
        FrameError: It is no text that the model takes; or a file that is no picture cannot be read, or is larger than a frame may be.
    """
    if isinstance(preparation, TextReader):
        return load_text(frame, preparation)
    (tensor,) = tensors
    if isinstance(preparation, Sound):
        return {tensor.source_name: load_sound(frame, preparation)}
    return {tensor.source_name: load_image(frame, preparation)}


def gives_all_inputs(preparation: OpenPreparation | None) -> bool:
    """Say whether one frame is all inputs of a model, however many: a text is."""
    return isinstance(preparation, TextReader)


def suffixes_of(preparation: OpenPreparation | None) -> tuple[str, ...]:
    """Return the suffixes, in lower case, of files that are prepared; none where nothing is declared."""
    if preparation is None:
        return ()
    if isinstance(preparation, TextReader):
        return TEXT_SUFFIXES
    return SOUND_SUFFIXES if isinstance(preparation, Sound) else PICTURE_SUFFIXES
