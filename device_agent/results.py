"""Results: outputs on their way from the inference thread to messages. Bounded and sampled: inference never waits."""

from __future__ import annotations

import math
import sys
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import DeviceError
from device_agent.contract.telemetry.result import Raw, Result, Summary, TopK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor
    from device_agent.contract.telemetry.message import Envelope, Variant


class NonFiniteResultError(DeviceError):
    """An output holds NaN or infinity: the model is broken for this frame, and no number of it can be reported."""

    code = "nonfinite_result"


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One inference's outputs, copied, waiting to be described."""

    frame: str
    latency_seconds: float
    outputs: Sequence[NDArray[np.generic] | bytes]


class ResultQueue:
    """Holds outcomes between the two threads. When it is full the new outcome is dropped and counted.

    Args:
        size: Most outcomes that wait.
        max_rate_hz: Outcomes a second at most; 0: all.
        wake: Called on the inference thread when an outcome comes to an empty queue.

    Attributes:
        due_ns: Before this time (`time.perf_counter_ns`) no outcome is wanted; the loop looks at it before it calls
            `offer`.
        dropped: Outcomes that were wanted and found no place, since the start.
    """

    __slots__ = ("_outcomes", "_period_ns", "_size", "_wake", "dropped", "due_ns")

    def __init__(self, *, size: int, max_rate_hz: float, wake: Callable[[], None]) -> None:
        self.due_ns = 0
        self.dropped = 0
        self._outcomes: deque[Outcome] = deque()
        self._size = size
        self._period_ns = round(1e9 / max_rate_hz) if max_rate_hz else 0
        self._wake = wake

    def offer(
        self, frame: str, duration_ns: int, outputs: Sequence[NDArray[np.generic]], *, now_ns: int
    ) -> None:
        """Take one outcome. Its arrays are copied, because the engine writes the next frame's over them."""
        self.due_ns = now_ns + self._period_ns
        if len(self._outcomes) >= self._size:
            self.dropped += 1
            return
        self._outcomes.append(Outcome(frame, duration_ns * 1e-9, [_copied(output) for output in outputs]))
        # Asked after the append: the reader stops only when it has seen the queue empty, so whatever comes later is 1.
        if len(self._outcomes) == 1:
            self._wake()

    def take(self) -> Outcome | None:
        """Return the oldest outcome; None when there is none."""
        try:
            return self._outcomes.popleft()
        except IndexError:
            return None


NOWHERE: Final = ResultQueue(size=0, max_rate_hz=0.0, wake=lambda: None)
"""Takes nothing, for nothing is ever due: so that the inference loop need not ask whether there is a queue."""
NOWHERE.due_ns = sys.maxsize


def result_message(
    next_envelope: Callable[[], Envelope],
    outcome: Outcome,
    tensors: Sequence[PayloadTensor],
    *,
    top_k: int,
    raw_max_values: int,
    model: str | None = None,
    variant: Variant | None = None,
) -> Result:
    """Describe one outcome in real units: small outputs whole, larger ones by their largest values.

    Args:
        next_envelope: Gives the new message's; called when the outcome is known to be one, so that no number is wasted.
        outcome: What the engine gave.
        tensors: The payload's outputs.
        top_k: How many of the largest values; at least 1.
        raw_max_values: Outputs of at most so many values are given whole.
        model: Which of several models; None when there is only one.
        variant: Which side of a split; None when there is none.

    Raises:
        NonFiniteResultError: An output holds NaN or infinity.
        DeviceError: The engine gave more or fewer outputs than the manifest has.
    """
    return Result(
        outputs=described_outputs(outcome, tensors, top_k=top_k, raw_max_values=raw_max_values),
        envelope=next_envelope(),
        frame=outcome.frame[:1000] or "unnamed",
        latency_seconds=outcome.latency_seconds,
        model=model,
        variant=variant,
    )


def described_outputs(
    outcome: Outcome, tensors: Sequence[PayloadTensor], *, top_k: int, raw_max_values: int
) -> tuple[TopK | Raw | Summary, ...]:
    """Describe the outputs of one outcome; see `result_message`.

    Raises:
        NonFiniteResultError: An output holds NaN or infinity.
        DeviceError: The engine gave more or fewer outputs than the manifest has.
    """
    buffers = [output for output in outcome.outputs if isinstance(output, bytes)]
    outputs: list[TopK | Raw | Summary]
    if buffers:
        outputs = [_of_buffer(data, tensor) for data, tensor in zip(buffers, tensors, strict=False)]
    else:
        outputs = _of_arrays(outcome, tensors, top_k=top_k, raw_max_values=raw_max_values)
    return tuple(outputs)


def _of_arrays(
    outcome: Outcome, tensors: Sequence[PayloadTensor], *, top_k: int, raw_max_values: int
) -> list[TopK | Raw | Summary]:
    import numpy as np  # noqa: PLC0415  the null engine's process must not load numpy

    from device_agent.sources.adapt import to_source  # noqa: PLC0415  as above

    arrays: list[NDArray[np.generic]] = [np.asarray(output) for output in outcome.outputs]
    described: list[TopK | Raw | Summary] = []
    for name, real in to_source(arrays, tensors).items():
        flat = real.reshape(-1)
        if not np.isfinite(flat).all():
            broken = int(np.count_nonzero(~np.isfinite(flat)))
            raise NonFiniteResultError(
                f"frame {outcome.frame!r}, output {name!r}: {broken} of {flat.size} values are NaN or infinite."
            )
        if flat.size <= raw_max_values:
            described.append(Raw(name=name, shape=real.shape, values=tuple(flat.tolist())))
            continue
        wanted = min(top_k, flat.size)
        # argpartition finds them, the stable sort orders them: equal values by index, on every machine alike.
        found = np.sort(np.argpartition(-flat, wanted - 1)[:wanted])
        order = found[np.argsort(-flat[found], kind="stable")]
        described.append(
            TopK(
                name=name,
                shape=real.shape,
                indices=tuple(order.tolist()),
                values=tuple(flat[order].tolist()),
            )
        )
    return described


def _of_buffer(data: bytes, tensor: PayloadTensor) -> Summary:
    """Describe an output of the null engine, which is a buffer of zeros, without numpy."""
    codes = (float(min(data, default=0)), float(max(data, default=0)), math.fsum(data) / max(1, len(data)))
    if tensor.scale is not None and tensor.zero_point is not None:
        scale, zero_point = tensor.scale, tensor.zero_point
        codes = tuple((code - zero_point) * scale for code in codes)  # type: ignore[assignment]  # three again
    return Summary(
        name=tensor.source_name, shape=tensor.shape, minimum=codes[0], maximum=codes[1], mean=codes[2]
    )


def _copied(output: NDArray[np.generic]) -> NDArray[np.generic] | bytes:
    if isinstance(output, memoryview):
        return bytes(output)
    copied: NDArray[np.generic] = output.copy()
    return copied
