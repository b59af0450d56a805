"""`ResultWriter`: takes outcomes from the queue, describes them, and writes them to the file, the spool or both."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EdgewrightError, StorageError
from device_agent.contract.telemetry.codec import encode
from device_agent.results import ResultQueue, result_message
from device_agent.results_file import ResultsFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from device_agent.config import ResultsSection
    from device_agent.contract.manifest import PayloadTensor
    from device_agent.contract.telemetry.message import Envelope, Scalar, Variant
    from device_agent.telemetry.recorder import Recorder

_BATCH: Final = 64
"""Outcomes of one turn, so that a flood of results does not keep the loop from the broker."""


class ResultWriter:
    """See the module's docstring. Trouble is told by one event when it begins and one a window while it lasts.

    Args:
        tensors: The payload's outputs.
        wanted: What is configured.
        recorder: Gives envelopes, and takes results and events.
        wake: Called when an outcome came to an empty queue; on the thread that infers.
        model: Which of several models; None when there is only one.
        digest_of: Returns the digest of a side of a split (None: of all there is); None: that of the main model, which the
            recorder knows.
        is_split: Whether there is a side `b`.

    Attributes:
        queue: Where outcomes wait.
        queue_of_b: Where those of side `b` of a split do: each side is sampled by itself.
    """

    def __init__(
        self,
        *,
        tensors: Sequence[PayloadTensor],
        wanted: ResultsSection,
        recorder: Recorder,
        wake: Callable[[], None],
        model: str | None = None,
        digest_of: Callable[[Variant | None], str | None] | None = None,
        is_split: bool = False,
    ) -> None:
        self.queue = ResultQueue(size=wanted.queue_results, max_rate_hz=wanted.max_rate_hz, wake=wake)
        self.queue_of_b: ResultQueue | None = None
        self._queues: dict[Variant | None, ResultQueue] = {None: self.queue}
        if is_split:
            self.queue_of_b = ResultQueue(
                size=wanted.queue_results, max_rate_hz=wanted.max_rate_hz, wake=wake
            )
            self._queues = {"a": self.queue, "b": self.queue_of_b}
        self._model = model
        self._digest_of = digest_of
        self._tensors = tensors
        self._wanted = wanted
        self._recorder = recorder
        self._file = (
            None if wanted.jsonl is None else ResultsFile(wanted.jsonl, max_bytes=wanted.jsonl_max_bytes)
        )
        self._file_works = True
        self._file_trouble = ""
        self._told_dropped = 0
        self._unwritten = 0
        self._broken = 0
        self._last_broken = ""

    def describes(self, tensors: Sequence[PayloadTensor]) -> bool:
        """Whether these are the outputs that it was made for."""
        return tuple(tensors) == tuple(self._tensors)

    def write(self) -> bool:
        """Write what waits, a batch of each side at most; return whether more waits."""
        more = [self._write(variant, queue) for variant, queue in self._queues.items()]
        return any(more)

    def _write(self, variant: Variant | None, queue: ResultQueue) -> bool:
        lines = []
        next_envelope = partial(self._envelope, None if self._digest_of is None else self._digest_of(variant))
        outcome = None
        for _ in range(_BATCH):
            outcome = queue.take()
            if outcome is None:
                break
            try:
                line = encode(
                    result_message(
                        next_envelope,
                        outcome,
                        self._tensors,
                        top_k=self._wanted.top_k,
                        raw_max_values=self._wanted.raw_max_values,
                        model=self._model,
                        variant=variant,
                    )
                )
            except EdgewrightError as error:
                self._broken += 1
                self._last_broken = str(error)
                continue
            lines.append(line)
            if self._wanted.mqtt:
                self._recorder.result(line)
        if self._file is not None and lines:
            self._to_file(self._file, lines)
        return outcome is not None

    def report(self) -> None:
        """Tell by events what was dropped, could not be written, or was no number, since the last call."""
        dropped_total = sum(queue.dropped for queue in self._queues.values())
        dropped = dropped_total - self._told_dropped
        whose: dict[str, Scalar] = {} if self._model is None else {"model": self._model}
        if dropped:
            self._recorder.event(
                "results_dropped",
                "warning",
                f"{dropped} results were inferred and not written: they came faster than they could be written.",
                {"dropped": dropped, **whose},
            )
        if self._unwritten:
            self._recorder.event(
                "results_unwritten",
                "warning",
                f"{self._unwritten} results were inferred and are not in the file: {self._file_trouble}",
                {"unwritten": self._unwritten, **whose},
            )
        if self._broken:
            self._recorder.event(
                "result_unusable",
                "error",
                f"{self._broken} results could not be described; the last: {self._last_broken}",
                {"results": self._broken, **whose},
            )
        self._told_dropped, self._unwritten, self._broken = dropped_total, 0, 0

    def close(self) -> None:
        """Write what still waits, and close the file."""
        while self.write():
            pass
        if self._file is not None:
            self._file.close()

    def _envelope(self, digest: str | None) -> Envelope:
        if self._wanted.mqtt:
            return self._recorder.next_envelope(digest)
        return self._recorder.local_envelope(digest)

    def _to_file(self, file: ResultsFile, lines: list[bytes]) -> None:
        try:
            file.write(lines)
        except StorageError as error:
            self._unwritten += len(lines)
            if self._file_works:
                self._recorder.event("results_file_failing", "error", str(error))
            self._file_works, self._file_trouble = False, str(error)
        else:
            if not self._file_works:
                self._recorder.event("results_file_works", "info", "Results are written to the file again.")
            self._file_works = True
