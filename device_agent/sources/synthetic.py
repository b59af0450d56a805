"""Frames of zeros, for the null engine and for a first look: no numpy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from device_agent.sources.source import Frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor

_ITEM_BYTES = {"float32": 4, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "bool": 1}


class SyntheticSource:
    """See `Source`; the same frame for ever. ``as_arrays`` gives numpy arrays, which every real engine wants."""

    def __init__(self, tensors: Sequence[PayloadTensor], *, as_arrays: bool) -> None:
        self.dropped = 0
        self.refused = 0
        self._frame = Frame(id="zeros", inputs=[_zeros(tensor, as_array=as_arrays) for tensor in tensors])

    def next(self, timeout_seconds: float) -> Frame | None:
        """See `Source.next`; never waits, never ends."""
        del timeout_seconds
        return self._frame

    def close(self) -> None:
        """See `Source.close`."""


def _zeros(tensor: PayloadTensor, *, as_array: bool) -> NDArray[np.generic]:
    if as_array:
        from numpy import zeros  # noqa: PLC0415 - the null engine's process must not load numpy

        return zeros(tensor.shape, dtype=tensor.dtype)
    size = math.prod(tensor.shape) * _ITEM_BYTES[tensor.dtype]
    return cast("NDArray[np.generic]", memoryview(bytes(size)))
