"""`ModelResults`: what one model gives, written as the configuration says; a new `ResultWriter` whenever the outputs are others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from device_agent.contract.model_names import MAIN_MODEL
from device_agent.inbox import WAKE

if TYPE_CHECKING:
    from device_agent.config import AgentConfig
    from device_agent.inbox import Inbox
    from device_agent.model_runner import ModelRunner
    from device_agent.result_writer import ResultWriter
    from device_agent.results import ResultQueue
    from device_agent.telemetry.recorder import Recorder


class ModelResults:
    """See the module's docstring. Where no results are wanted it does nothing. The loop's thread calls it.

    Args:
        config: As if it were of the only model.
        runner: Runs the model.
        recorder: Takes results and events.
        inbox: Woken when a result came to an empty queue.
        model: Which of several models; None when there is only one.
    """

    def __init__(
        self, config: AgentConfig, runner: ModelRunner, recorder: Recorder, inbox: Inbox, *, model: str | None
    ) -> None:
        self._wanted = config.results
        self._is_split = config.split.path is not None
        self._runner = runner
        self._recorder = recorder
        self._inbox = inbox
        self._model = model
        self._writer: ResultWriter | None = None

    def queues(self) -> tuple[ResultQueue | None, ResultQueue | None]:
        """Return where outcomes of what runs now are to wait, those of side `b` of a split apart; None: none are wanted."""
        if not self._wanted.mqtt and self._wanted.jsonl is None:
            return None, None
        if self._writer is not None and not self._writer.describes(self._runner.outputs):
            self._writer.close()
            self._writer = None
        self._writer = self._writer or self._new_writer()
        return self._writer.queue, self._writer.queue_of_b

    def write(self) -> bool:
        """Write results that wait; return whether more do."""
        return self._writer is not None and self._writer.write()

    def report(self) -> None:
        """Tell what went wrong since the last call."""
        if self._writer is not None:
            self._writer.report()

    def close(self) -> None:
        """Write what still waits, and close the file."""
        if self._writer is not None:
            self._writer.close()

    def _new_writer(self) -> ResultWriter:
        from device_agent.result_writer import ResultWriter  # noqa: PLC0415  who wants none pays for none

        recorder_knows_digest = self._model in (None, MAIN_MODEL) and not self._is_split
        return ResultWriter(
            tensors=self._runner.outputs,
            wanted=self._wanted,
            recorder=self._recorder,
            wake=partial(self._inbox.put, WAKE),
            model=self._model,
            digest_of=None if recorder_knows_digest else self._runner.digest_of,
            is_split=self._is_split,
        )
