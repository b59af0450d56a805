"""Bytes that somebody sent, as the float model's inputs: an ``.npy`` (the input, or pixels), a picture or a recording gives one, a text all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.errors import DeviceError
from device_agent.contract.manifest import Preprocessing
from device_agent.sources.adapt import FrameError
from device_agent.sources.npy import MAGIC, batched, read_npy
from device_agent.sources.prepare_frame import gives_all_inputs, prepare_frame
from device_agent.sources.preprocess import prepared
from device_agent.sources.text import TextReader, require_plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor
    from device_agent.sources.prepare_frame import OpenPreparation


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
    tensors: Sequence[PayloadTensor], preparation: OpenPreparation | None, *, over: str
) -> None:
    """Refuse a model whose inputs one frame does not give.

    Raises:
        DeviceError: It has several, and takes no texts.
    """
    if not gives_all_inputs(preparation):
        only_input(tensors, over=over)


def arrays_of(
    payload: bytes,
    tensors: Sequence[PayloadTensor],
    preparation: OpenPreparation | None,
    *,
    media_type: str = "",
) -> dict[str, NDArray[np.generic]]:
    """Read a frame.

    Args:
        payload: An ``.npy``, which no text begins like, a picture, a recording, or a text.
        tensors: The payload's inputs.
        preparation: How pictures, recordings or texts are prepared; None: none of them is taken.
        media_type: What the sender calls it; empty: nothing.

    Returns:
        The float model's inputs, by name.

    Raises:
        FrameError: It is none of them, of another shape, or one input where the model has several.
        PictureError: It is no picture that can be read.
        SoundError: It is no recording that the model takes.
    """
    if payload.startswith(MAGIC):
        if len(tensors) != 1:
            names = ", ".join(tensor.source_name for tensor in tensors)
            raise FrameError(f"an .npy is one input, but the model has {names}.", hint="Send the text.")
        (tensor,) = tensors
        return {tensor.source_name: array_of(payload, tensor, preparation, where="a frame")}
    if preparation is None:
        raise FrameError(
            "a frame that is not .npy, and the artifact does not say how to prepare pictures, recordings or texts."
        )
    if isinstance(preparation, TextReader):
        require_plain_text(media_type)
    return prepare_frame(payload, tensors, preparation)


def array_of(
    data: bytes, tensor: PayloadTensor, preparation: OpenPreparation | None, *, where: str
) -> NDArray[np.generic]:
    """Read an ``.npy``: the model's input, or the pixels of a picture (see `prepared`).

    Raises:
        FrameError: It is no ``.npy``.
        PictureError: It is a picture that cannot be prepared.
    """
    pictures = preparation if isinstance(preparation, Preprocessing) else None
    return batched(prepared(read_npy(data, where=where), pictures), tensor)
