"""`InputSketcher`: what a model's inputs look like, of a sample of the frames, at a bounded cost.

A look costs some 0.1 ms, so not every frame gets one: after each so many frames pass that it was at most 2 µs a frame.
Numbers are in real units and buckets are the same for every payload, so that sketches of devices and of artifacts merge.
"""

from __future__ import annotations

import threading
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor
    from device_agent.contract.telemetry.measurements import InputSketch
    from device_agent.telemetry.input_values import InputValues

BUDGET_NS: Final = 2_000
"""Of a frame, on average."""
NEVER: Final = 1 << 62


class InputSketcher:
    """Takes frames on one thread, is read on another.

    Args:
        every_frames: One frame in so many is looked at, fewer where that costs too much; 0: none.

    Attributes:
        due: Number of the frame, counted from 0 since `begin`, from which on one is to be given to `take`.
    """

    __slots__ = ("_every", "_frames", "_inputs", "_lock", "due")

    def __init__(self, every_frames: int) -> None:
        self._every = every_frames
        self._lock = threading.Lock()
        self._inputs: list[InputValues] = []
        self._frames = 0
        self.due = NEVER

    def begin(self, tensors: Sequence[PayloadTensor]) -> None:
        """Look at frames for these inputs from now on; frames are counted anew."""
        if not self._every:
            return
        with self._lock:
            if [one.tensor for one in self._inputs] != list(tensors):
                self._inputs, self._frames = _values_of(tensors), 0
        self.due = 0 if tensors else NEVER

    def take(self, inputs: Sequence[NDArray[np.generic]], number: int) -> None:
        """Look at a frame; its number says when the next one is due."""
        start = perf_counter_ns()
        with self._lock:
            for one, array in zip(self._inputs, inputs, strict=False):
                one.add(array)
            self._frames += 1
        self.due = number + max(self._every, (perf_counter_ns() - start) // BUDGET_NS)

    def close_window(self) -> tuple[int, tuple[InputSketch, ...]]:
        """Return how many frames were looked at since the last call, and what was seen; inputs of no number are left out."""
        with self._lock:
            inputs, frames = self._inputs, self._frames
            self._inputs, self._frames = [one.anew() for one in inputs], 0
        return frames, tuple(one.sketch() for one in inputs if one.count)


def _values_of(tensors: Sequence[PayloadTensor]) -> list[InputValues]:
    if not tensors:
        return []
    from device_agent.telemetry.input_values import InputValues  # noqa: PLC0415  NumPy, which not every engine needs

    return [InputValues(one) for one in tensors]
