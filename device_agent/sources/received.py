"""Bytes that somebody sent, as the float model's inputs: an ``.npy`` (the input, or pixels), a picture or a recording gives one, a text all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.errors import DeviceError
from device_agent.contract.manifest import Preprocessing
from device_agent.contract.sound import Sound
from device_agent.sources.adapt import FrameError
from device_agent.sources.npy import MAGIC, batched, read_npy
from device_agent.sources.preprocess import load_image, prepared
from device_agent.sources.sound.prepare import load_sound
from device_agent.sources.text import TextReader, require_plain_text, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor
    from device_agent.contract.preparation import Preparation


def only_input(tensors: Sequence[PayloadTensor], *, over: str) -> PayloadTensor:
    """Return the one input.

    Raises:
        DeviceError: There are several; what comes ``over`` this way is one.
    """
    if len(tensors) != 1:
        names = ", ".join(tensor.source_name for tensor in tensors)
        raise DeviceError(f"frames over {over} are one input, but the model has {names}.")
    return tensors[0]


def require_one_frame(
    tensors: Sequence[PayloadTensor], preparation: Preparation | TextReader | None, *, over: str
) -> None:
    """Refuse a model whose inputs one frame does not give.

    Raises:
        DeviceError: It has several, and takes no texts.
    """
    if not isinstance(preparation, TextReader):
        only_input(tensors, over=over)


def arrays_of(
    payload: bytes,
    tensors: Sequence[PayloadTensor],
    preparation: Preparation | TextReader | None,
    *,
    media_type: str = "",
) -> dict[str, NDArray[np.generic]]:
    """Read a frame.

    Args:
        payload: An ``.npy``, which no text begins like, a picture, a recording, or a text.
        tensors: The payload's inputs.
        preparation: What prepares pictures or recordings, or reads texts; None: none of them is taken.
        media_type: What the sender calls it; empty: nothing.

    Returns:
        The float model's inputs, by name.

    Raises:
        FrameError: It is none of them, of another shape, or one input where the model has several.
        PictureError: It is no picture that can be read.
        SoundError: It is no recording that the model takes.
    """
    is_npy = payload.startswith(MAGIC)
    if isinstance(preparation, TextReader) and not is_npy:
        require_plain_text(media_type)
        return preparation.arrays(text_of(payload, where="a frame"))
    if len(tensors) != 1:
        names = ", ".join(tensor.source_name for tensor in tensors)
        raise FrameError(f"an .npy is one input, but the model has {names}.", hint="Send the text.")
    (tensor,) = tensors
    if is_npy:
        return {tensor.source_name: array_of(payload, tensor, preparation, where="a frame")}
    if isinstance(preparation, Sound):
        return {tensor.source_name: load_sound(payload, preparation)}
    if isinstance(preparation, Preprocessing):
        return {tensor.source_name: load_image(payload, preparation)}
    raise FrameError(
        "a frame that is not .npy, and the artifact does not say how to prepare pictures or recordings."
    )


def array_of(
    data: bytes, tensor: PayloadTensor, preparation: Preparation | TextReader | None, *, where: str
) -> NDArray[np.generic]:
    """Read an ``.npy``: the model's input, or the pixels of a picture (see `prepared`).

    Raises:
        FrameError: It is no ``.npy``.
        PictureError: It is a picture that cannot be prepared.
    """
    pictures = preparation if isinstance(preparation, Preprocessing) else None
    return batched(prepared(read_npy(data, where=where), pictures), tensor)
