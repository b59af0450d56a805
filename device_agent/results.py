"""What inference gave, as messages: off the inference path, bounded, counted."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.contract.telemetry import Envelope, Raw, Result, TopK
from device_agent.sources.adapt import to_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One inference's outputs, copied, waiting to be written."""

    frame: str
    latency_seconds: float
    outputs: Sequence[NDArray[np.generic]]


class ResultQueue:
    """Holds outcomes between the inference thread and the loop; the oldest goes when it is full, and is counted."""

    def __init__(self, *, size: int, max_rate_hz: float) -> None:
        self.dropped = 0
        self._queue: deque[Outcome] = deque()
        self._size = size
        self._pause_seconds = 1.0 / max_rate_hz if max_rate_hz else 0.0
        self._next_seconds = -math.inf

    def wants(self, now_seconds: float) -> bool:
        """Say whether a result may be offered now, and take that as its turn."""
        if now_seconds < self._next_seconds:
            return False
        self._next_seconds = now_seconds + self._pause_seconds
        return True

    def offer(self, frame: str, latency_seconds: float, outputs: Sequence[NDArray[np.generic]]) -> None:
        """Take one outcome; the arrays are copied, for the engine will write over them."""
        if len(self._queue) >= self._size:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(Outcome(frame, latency_seconds, [output.copy() for output in outputs]))

    def take(self) -> Outcome | None:
        """Return the oldest outcome, or None."""
        return self._queue.popleft() if self._queue else None


def result_message(
    envelope: Envelope,
    outcome: Outcome,
    tensors: Sequence[PayloadTensor],
    *,
    top_k: int,
    raw_max_values: int,
) -> Result:
    """Describe one outcome in real units: small outputs whole, larger ones by their largest values."""
    from numpy import argsort, isfinite  # noqa: PLC0415 - the null engine's process must not load numpy

    outputs: list[TopK | Raw] = []
    for name, values in to_source(outcome.outputs, tensors).items():
        flat = values.reshape(-1)
        finite = flat[isfinite(flat)]
        if flat.size <= raw_max_values and finite.size == flat.size:
            outputs.append(Raw(name=name, shape=values.shape, values=tuple(float(value) for value in flat)))
            continue
        order = [int(index) for index in argsort(-flat, kind="stable")[:top_k] if math.isfinite(flat[index])]
        outputs.append(
            TopK(
                name=name,
                shape=values.shape,
                indices=tuple(order),
                values=tuple(float(flat[index]) for index in order),
            )
        )
    return Result(
        envelope=envelope,
        frame=outcome.frame,
        latency_seconds=outcome.latency_seconds,
        outputs=tuple(outputs),
    )
