"""Bytes that somebody sent, as the float model's inputs: an ``.npy`` (the input, or a picture's pixels) or a picture gives one, a text all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.errors import DeviceError
from device_agent.contract.manifest import Preprocessing
from device_agent.sources.adapt import FrameError
from device_agent.sources.npy import MAGIC, batched, read_npy
from device_agent.sources.preprocess import load_image, prepared
from device_agent.sources.text import TextReader, require_plain_text, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor


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
    tensors: Sequence[PayloadTensor], preprocessing: Preprocessing | TextReader | None, *, over: str
) -> None:
    """Refuse a model whose inputs one frame does not give.

    Raises:
        DeviceError: It has several, and takes no texts.
    """
    if not isinstance(preprocessing, TextReader):
        only_input(tensors, over=over)


def arrays_of(
    payload: bytes,
    tensors: Sequence[PayloadTensor],
    preprocessing: Preprocessing | TextReader | None,
    *,
    media_type: str = "",
) -> dict[str, NDArray[np.generic]]:
    """Read a frame.

    Args:
        payload: An ``.npy``, which no text begins like, a picture, or a text.
        tensors: The payload's inputs.
        preprocessing: What prepares pictures or reads texts; None: neither is taken.
        media_type: What the sender calls it; empty: nothing.

    Returns:
        The float model's inputs, by name.

    Raises:
        FrameError: It is none of them, of another shape, or one input where the model has several.
        PictureError: It is no picture that can be read.
    """
    is_npy = payload.startswith(MAGIC)
    if isinstance(preprocessing, TextReader) and not is_npy:
        require_plain_text(media_type)
        return preprocessing.arrays(text_of(payload, where="a frame"))
    if len(tensors) != 1:
        names = ", ".join(tensor.source_name for tensor in tensors)
        raise FrameError(f"an .npy is one input, but the model has {names}.", hint="Send the text.")
    (tensor,) = tensors
    if is_npy:
        return {tensor.source_name: array_of(payload, tensor, preprocessing, where="a frame")}
    if not isinstance(preprocessing, Preprocessing):
        raise FrameError("a frame that is not .npy, and the artifact does not say how to prepare pictures.")
    return {tensor.source_name: load_image(payload, preprocessing)}


def array_of(
    data: bytes, tensor: PayloadTensor, preprocessing: Preprocessing | TextReader | None, *, where: str
) -> NDArray[np.generic]:
    """Read an ``.npy``: the model's input, or the pixels of a picture (see `prepared`).

    Raises:
        FrameError: It is no ``.npy``.
        PictureError: It is a picture that cannot be prepared.
    """
    pictures = preprocessing if isinstance(preprocessing, Preprocessing) else None
    return batched(prepared(read_npy(data, where=where), pictures), tensor)
