"""Frames that arrive as MQTT messages: raw ``.npy`` bytes, or a picture's. The agent's one client hands them over."""

from __future__ import annotations

import io
import threading
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from device_agent.contract.errors import DeviceError
from device_agent.sources.adapt import FrameError, source_shape, to_payload
from device_agent.sources.preprocess import load_image
from device_agent.sources.source import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor, Preprocessing

_NPY_MAGIC = b"\x93NUMPY"


class MqttSource:
    """See `Source`. The newest frames win: when the queue is full the oldest is dropped and counted."""

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
            tensors: The payload's inputs; frames carry the first.
            preprocessing: For pictures; None refuses them.
            queue_frames: Frames that wait; at least 1.
            max_frame_bytes: Largest payload that is looked at.
            on_refused: Told why a frame was refused; on the thread that calls `next`.
        """
        self.dropped = 0
        self.refused = 0
        self._tensors = tensors
        self._preprocessing = preprocessing
        self._max_frame_bytes = max_frame_bytes
        self._on_refused = on_refused
        self._queue: deque[bytes] = deque()
        self._queue_frames = queue_frames
        self._arrived = threading.Condition()
        self._number = 0

    def offer(self, payload: bytes) -> None:
        """Take one message's payload; called on the client's thread, returns at once."""
        with self._arrived:
            if len(self._queue) >= self._queue_frames:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(payload)
            self._arrived.notify()

    def next(self, timeout_seconds: float) -> Frame | None:
        """See `Source.next`. A frame that is not understood is counted, reported, and None."""
        with self._arrived:
            if not self._queue:
                self._arrived.wait(timeout_seconds)
            if not self._queue:
                return None
            payload = self._queue.popleft()
        self._number += 1
        try:
            return Frame(id=f"mqtt-{self._number}", inputs=to_payload(self._arrays(payload), self._tensors))
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
        if len(payload) > self._max_frame_bytes:
            raise FrameError(
                f"a frame of {len(payload)} bytes; at most {self._max_frame_bytes} are accepted."
            )
        if not payload.startswith(_NPY_MAGIC):
            if self._preprocessing is None:
                raise FrameError(
                    "a frame that is not .npy, and the artifact does not say how to prepare pictures."
                )
            return {first.source_name: load_image(payload, self._preprocessing)}
        try:
            array = np.lib.format.read_array(io.BytesIO(payload), allow_pickle=False)
        except Exception as error:
            raise FrameError(f"a frame that is not a whole .npy: {type(error).__name__}: {error}.") from error
        shape = source_shape(first)
        return {
            first.source_name: array[np.newaxis] if array.shape == shape[1:] and shape[:1] == (1,) else array
        }
