"""``.npy`` bytes that a stranger may have sent: the header is compared with what is there before anything is allocated."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np

from device_agent.sources.adapt import FrameError, source_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor

MAGIC = b"\x93NUMPY"


def read_npy(data: bytes, *, where: str) -> NDArray[np.generic]:
    """Return the array; read-only, for it is a view of ``data``.

    Raises:
        FrameError: Not an ``.npy``, of Python objects, or not exactly as long as its header says.

    Source:
        NumPy, ``numpy.lib.format``, "Format Version 1.0" and "2.0".
    """
    try:
        stream = io.BytesIO(data)
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise FrameError(f"{where}: not an .npy of version (1, 0) or (2, 0), but {version}.")
    except FrameError:
        raise
    except Exception as error:  # the header is a Python literal: its parser fails in many ways
        raise FrameError(f"{where}: not an .npy: {type(error).__name__}: {error}.") from error
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None:
        raise FrameError(f"{where}: expected numbers, got {dtype}.")
    expected, found = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if expected != found or min(shape, default=0) < 0:
        raise FrameError(f"{where}: {dtype} of shape {shape} is {expected} bytes, got {found}.")
    try:
        flat = np.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=stream.tell())
        return flat.reshape(shape, order="F" if fortran_order else "C")
    except ValueError as error:  # texts of no length; more axes, or longer ones, than an array can have
        raise FrameError(f"{where}: {dtype} of shape {shape} is no array: {error}.") from error


def batched(array: NDArray[np.generic], tensor: PayloadTensor) -> NDArray[np.generic]:
    """Return ``array`` with the leading axis of extent 1 that ``tensor`` has and a single sample may lack."""
    shape = source_shape(tensor)
    return array[np.newaxis] if array.shape == shape[1:] and shape[:1] == (1,) else array
