"""Bytes that somebody sent, as the float model's one input: an ``.npy``, of the input or of pixels, a picture's file, or a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.errors import DeviceError
from device_agent.contract.manifest import Preprocessing
from device_agent.contract.sound import Sound
from device_agent.sources.adapt import FrameError
from device_agent.sources.npy import MAGIC, batched, read_npy
from device_agent.sources.preprocess import load_image, prepared
from device_agent.sources.sound.prepare import load_sound

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


def arrays_of(
    payload: bytes, tensor: PayloadTensor, preparation: Preparation | None
) -> dict[str, NDArray[np.generic]]:
    """Read a frame.

    Raises:
        FrameError: It is neither, or of another shape.
        PictureError: It is no picture that can be read.
        SoundError: It is no recording that the model takes.
    """
    if payload.startswith(MAGIC):
        return {tensor.source_name: array_of(payload, tensor, preparation, where="a frame")}
    if preparation is None:
        raise FrameError(
            "a frame that is not .npy, and the artifact does not say how to prepare pictures or recordings."
        )
    if isinstance(preparation, Sound):
        return {tensor.source_name: load_sound(payload, preparation)}
    return {tensor.source_name: load_image(payload, preparation)}


def array_of(
    data: bytes, tensor: PayloadTensor, preparation: Preparation | None, *, where: str
) -> NDArray[np.generic]:
    """Read an ``.npy``: the model's input, or the pixels of a picture (see `prepared`).

    Raises:
        FrameError: It is no ``.npy``.
        PictureError: It is a picture that cannot be prepared.
    """
    pictures = preparation if isinstance(preparation, Preprocessing) else None
    return batched(prepared(read_npy(data, where=where), pictures), tensor)
