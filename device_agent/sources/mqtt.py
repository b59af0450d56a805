"""Frames that arrive as MQTT messages: raw ``.npy`` bytes, a picture's or a WAV file's, or a text. The agent's one client hands them over.

A message that names a response topic (MQTT 5) gets its result there, with the message's correlation data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.contract.errors import DeviceError
from device_agent.sources.adapt import FrameError, to_payload
from device_agent.sources.frame_queue import FrameQueue
from device_agent.sources.received import arrays_of, require_one_frame
from device_agent.sources.source import Frame, refusal_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor
    from device_agent.sources.frame_queue import Overflow
    from device_agent.sources.prepare_frame import OpenPreparation
    from device_agent.sources.source import Describe


@dataclass(frozen=True, slots=True)
class _Offered:
    """What came in one message, and whoever wants to hear of it."""

    payload: bytes | FrameError
    respond: Callable[[bytes], None] | None

    def refuse(self, reason: str) -> None:
        if self.respond is not None:
            self.respond(refusal_bytes(reason))


@dataclass(frozen=True, slots=True)
class _Response:
    """See `source.Answer`."""

    frame: str
    respond: Callable[[bytes], None]
    describe: Describe

    def give(self, duration_ns: int, outputs: Sequence[NDArray[np.generic]]) -> None:
        self.respond(self.describe(self.frame, duration_ns, outputs))

    def refuse(self, reason: str) -> None:
        self.respond(refusal_bytes(reason))


class MqttSource:
    """See `Source`.

    Raises:
        DeviceError: The payload has several inputs; a message that is no text carries one.
    """

    def __init__(
        self,
        tensors: Sequence[PayloadTensor],
        preparation: OpenPreparation | None,
        *,
        queue_frames: int,
        max_frame_bytes: int,
        on_refused: Callable[[str], None],
        overflow: Overflow = "drop_oldest",
        describe: Describe | None = None,
    ) -> None:
        """Make it.

        Args:
            tensors: The payload's inputs; frames carry the one there is, or are texts.
            preparation: For pictures, recordings or texts; None refuses them.
            queue_frames: Frames that wait; at least 1.
            max_frame_bytes: Largest payload that is kept at all.
            on_refused: Told why a frame was refused; on the thread that calls `next`.
            overflow: What to do with one frame more than may wait. Not `block`: the connection's thread must not wait.
            describe: Writes a result for whoever asked; None: nobody is answered.
        """
        require_one_frame(tensors, preparation, over="MQTT")
        self.refused = 0
        self._tensors = tensors
        self._preparation = preparation
        self._max_frame_bytes = max_frame_bytes
        self._on_refused = on_refused
        self._describe = describe
        self._queue: FrameQueue[_Offered] = FrameQueue(
            queue_frames,
            overflow,
            lambda offered: offered.refuse("dropped: more frames came than could be inferred"),
        )
        self._number = 0

    @property
    def dropped(self) -> int:
        """See `Source`."""
        return self._queue.dropped

    def offer(self, payload: bytes, respond: Callable[[bytes], None] | None = None) -> None:
        """Take one message's payload; called on the client's thread, returns at once. Too large a payload is not kept."""
        offered: bytes | FrameError = payload
        if len(payload) > self._max_frame_bytes:
            offered = FrameError(
                f"a frame of more than {self._max_frame_bytes} bytes, which are accepted at most (source.max_frame_bytes)."
            )
        self._queue.put(_Offered(offered, respond if self._describe is not None else None))

    def next(self, timeout_seconds: float) -> Frame | None:
        """See `Source.next`. A frame that is not understood is counted, reported, and None."""
        offered = self._queue.take(timeout_seconds)
        if offered is None:
            return None
        self._number += 1
        name = f"mqtt-{self._number}"
        try:
            if isinstance(offered.payload, FrameError):
                raise offered.payload
            arrays = arrays_of(offered.payload, self._tensors, self._preparation)
            inputs = to_payload(arrays, self._tensors)
        except DeviceError as error:
            self.refused += 1
            self._on_refused(str(error))
            offered.refuse(str(error))
            return None
        if offered.respond is None or self._describe is None:
            return Frame(id=name, inputs=inputs)
        return Frame(id=name, inputs=inputs, answer=_Response(name, offered.respond, self._describe))

    def close(self) -> None:
        """See `Source.close`."""
        self._queue.close()
