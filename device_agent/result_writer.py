"""`ResultWriter`: takes outcomes from the queue, describes them, and writes them to the file, the spool or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EdgewrightError, StorageError
from device_agent.contract.telemetry_codec import encode
from device_agent.results import ResultQueue, result_message
from device_agent.results_file import ResultsFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from device_agent.config import ResultsSection
    from device_agent.contract.manifest import PayloadTensor
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

    Attributes:
        queue: Where outcomes wait.
    """

    def __init__(
        self,
        *,
        tensors: Sequence[PayloadTensor],
        wanted: ResultsSection,
        recorder: Recorder,
        wake: Callable[[], None],
    ) -> None:
        self.queue = ResultQueue(size=wanted.queue_results, max_rate_hz=wanted.max_rate_hz, wake=wake)
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

    def write(self) -> bool:
        """Write what waits, a batch at most; return whether more waits."""
        lines = []
        next_envelope = self._recorder.next_envelope if self._wanted.mqtt else self._recorder.local_envelope
        outcome = None
        for _ in range(_BATCH):
            outcome = self.queue.take()
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
        dropped = self.queue.dropped - self._told_dropped
        if dropped:
            self._recorder.event(
                "results_dropped",
                "warning",
                f"{dropped} results were inferred and not written: they came faster than they could be written.",
                {"dropped": dropped},
            )
        if self._unwritten:
            self._recorder.event(
                "results_unwritten",
                "warning",
                f"{self._unwritten} results were inferred and are not in the file: {self._file_trouble}",
                {"unwritten": self._unwritten},
            )
        if self._broken:
            self._recorder.event(
                "result_unusable",
                "error",
                f"{self._broken} results could not be described; the last: {self._last_broken}",
                {"results": self._broken},
            )
        self._told_dropped, self._unwritten, self._broken = self.queue.dropped, 0, 0

    def close(self) -> None:
        """Write what still waits, and close the file."""
        while self.write():
            pass
        if self._file is not None:
            self._file.close()

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
