"""Frames on their way to the shadow run: a tap on the engine takes one when one is wanted; else it costs one look at a flag."""

from __future__ import annotations

import math
import struct
import threading
from typing import IO, TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import EngineName
    from device_agent.engines.engine import Engine

_COUNT: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">Q")
_FINITE_EVERY: Final = 64
"""Of so many frames one has its outputs looked at: what that costs is then below a percent of any inference."""


class Tap:
    """An `Engine` that is another engine, whose frames can be seen.

    Attributes:
        nonfinite: Looked-at outputs that held NaN or infinity, since the start.
    """

    __slots__ = (
        "_engine",
        "_frame",
        "_infer",
        "_taken",
        "_until_look",
        "_wanted",
        "input_names",
        "name",
        "nonfinite",
        "output_names",
        "version",
    )

    def __init__(self, engine: Engine) -> None:
        self.name: EngineName = engine.name
        self.version = engine.version
        self.input_names = engine.input_names
        self.output_names = engine.output_names
        self.nonfinite = 0
        self._engine = engine
        self._infer = engine.infer
        self._wanted = False
        self._until_look = 1
        self._frame: list[bytes] = []
        self._taken = threading.Event()

    def infer(self, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """See `Engine.infer`."""
        outputs = self._infer(inputs)
        if self._wanted:
            self._wanted = False
            self._frame = [_bytes(array) for array in (*inputs, *outputs)]
            self._taken.set()
        self._until_look -= 1
        if not self._until_look:
            self._until_look = _FINITE_EVERY
            self.nonfinite += sum(not _is_finite(array) for array in outputs)
        return outputs

    def close(self) -> None:
        """See `Engine.close`."""
        self._engine.close()

    def next_frame(self, timeout_seconds: float) -> list[bytes] | None:
        """Return the bytes of the next frame's inputs and outputs; None when none comes in time. For another thread."""
        self._taken.clear()
        self._wanted = True
        if not self._taken.wait(timeout_seconds):
            self._wanted = False
            return None
        return self._frame


def write_frame(stream: IO[bytes], frame: Sequence[bytes]) -> None:
    """Write one frame for `read_frame`."""
    stream.write(_COUNT.pack(len(frame)))
    for data in frame:
        stream.write(_LENGTH.pack(len(data)))
        stream.write(data)
    stream.flush()


def read_frame(stream: BinaryIO) -> list[bytes] | None:
    """Read one frame; None at the end."""
    head = stream.read(_COUNT.size)
    if len(head) < _COUNT.size:
        return None
    frame = []
    for _ in range(_COUNT.unpack(head)[0]):
        (length,) = _LENGTH.unpack(stream.read(_LENGTH.size))
        frame.append(stream.read(length))
    return frame


def _bytes(array: NDArray[np.generic] | memoryview) -> bytes:
    return bytes(array) if isinstance(array, memoryview) else array.tobytes()


def _is_finite(array: NDArray[np.generic] | memoryview) -> bool:
    if isinstance(array, memoryview) or array.dtype.kind != "f":
        return True
    # One number tells of all: NaN and infinity survive a sum, and a sum of finite numbers is large only when the output is.
    return math.isfinite(float(array.sum(dtype="float64")))
