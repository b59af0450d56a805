"""Frames that arrive as MQTT messages: raw ``.npy`` bytes, or a picture's. The agent's one client hands them over."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from device_agent.contract.errors import DeviceError
from device_agent.sources.adapt import FrameError, to_payload
from device_agent.sources.npy import MAGIC, batched, read_npy
from device_agent.sources.preprocess import load_image
from device_agent.sources.source import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor, Preprocessing


class MqttSource:
    """See `Source`. The newest frames win: when the queue is full the oldest is dropped and counted.

    Raises:
        DeviceError: The payload has several inputs; a message carries one.
    """

    def __init__(
        self,
        tensors: Sequence[PayloadTensor],
        preprocessing: Preprocessing | None,
        *,
        queue_frames: int,
        max_frame_bytes: int,
        on_refused: Callable[[str], None],
    ) -> None:
        """Make it.

        Args:
            tensors: The payload's inputs; frames carry the one there is.
            preprocessing: For pictures; None refuses them.
            queue_frames: Frames that wait; at least 1.
            max_frame_bytes: Largest payload that is kept at all.
            on_refused: Told why a frame was refused; on the thread that calls `next`.
        """
        if len(tensors) != 1:
            names = ", ".join(tensor.source_name for tensor in tensors)
            raise DeviceError(f"frames over MQTT are one input, but the model has {names}.")
        self.dropped = 0
        self.refused = 0
        self._tensors = tensors
        self._preprocessing = preprocessing
        self._max_frame_bytes = max_frame_bytes
        self._on_refused = on_refused
        self._queue: deque[bytes | FrameError] = deque()
        self._queue_frames = queue_frames
        self._arrived = threading.Condition()
        self._number = 0

    def offer(self, payload: bytes) -> None:
        """Take one message's payload; called on the client's thread, returns at once. Too large a payload is not kept."""
        offered: bytes | FrameError = payload
        if len(payload) > self._max_frame_bytes:
            offered = FrameError(
                f"a frame of {len(payload)} bytes; at most {self._max_frame_bytes} are accepted."
            )
        with self._arrived:
            if len(self._queue) >= self._queue_frames:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(offered)
            self._arrived.notify()

    def next(self, timeout_seconds: float) -> Frame | None:
        """See `Source.next`. A frame that is not understood is counted, reported, and None."""
        with self._arrived:
            if not self._queue:
                self._arrived.wait(timeout_seconds)
            if not self._queue:
                return None
            offered = self._queue.popleft()
        self._number += 1
        try:
            if isinstance(offered, FrameError):
                raise offered
            return Frame(id=f"mqtt-{self._number}", inputs=to_payload(self._arrays(offered), self._tensors))
        except DeviceError as error:
            self.refused += 1
            self._on_refused(str(error))
            return None

    def close(self) -> None:
        """See `Source.close`."""
        with self._arrived:
            self._queue.clear()

    def _arrays(self, payload: bytes) -> dict[str, NDArray[np.generic]]:
        first = self._tensors[0]
        if not payload.startswith(MAGIC):
            if self._preprocessing is None:
                raise FrameError(
                    "a frame that is not .npy, and the artifact does not say how to prepare pictures."
                )
            return {first.source_name: load_image(payload, self._preprocessing)}
        return {first.source_name: batched(read_npy(payload, where="a frame"), first)}
