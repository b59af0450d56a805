"""`Beside`: all models beside the main one, as the agent's loop sees them, and what becomes of the main one among them.

It stands between the inbox and the loop: the main model fails alone, the agent ends when no model has any more frames, and the
worker has stopped when every worker has.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from device_agent import events
from device_agent.beside.further import FurtherModel
from device_agent.config import named_models
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.inbox import FromModel
from device_agent.occurrences import Failed, ModelFailed, SourceEnded, Trouble, WorkerStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_agent.config import AgentConfig
    from device_agent.frames import FrameDoor
    from device_agent.inbox import Inbox, Item, MainItem
    from device_agent.inference import Window
    from device_agent.occurrences import ModelOrdered
    from device_agent.orders import Orders
    from device_agent.telemetry.recorder import Recorder
    from device_agent.update.updated_model import UpdatedModel


class Beside:
    """See the module's docstring. The loop's thread calls it.

    Args:
        config: The whole configuration.
        inbox: Where workers report, and where it says what is wrong.
        recorder: Takes what is told.
        doors: Where frames from the broker come in, by the model's name.
        changed: Called when what runs is another one now.
        updated: Those that are updated, by the model's name.

    Attributes:
        main_name: The main model's name in messages; `Alone` has None.
        models: In the order of the configuration.
    """

    main_name: Final = MAIN_MODEL

    def __init__(
        self,
        config: AgentConfig,
        *,
        inbox: Inbox,
        recorder: Recorder,
        doors: Mapping[str, FrameDoor],
        changed: Callable[[], None],
        updated: Mapping[str, UpdatedModel],
    ) -> None:
        self._inbox = inbox
        self._recorder = recorder
        self._changed = changed
        self.models = tuple(
            FurtherModel(
                name, alone, inbox=inbox, recorder=recorder, door=doors[name], updated=updated.get(name)
            )
            for name, alone in named_models(config)[1:]
        )
        self._by_name = {model.name: model for model in self.models}
        self._begun = self._main_stopped = self._told_end = False
        self._main_ended = ""
        self._patience_seconds = config.spool.drain_timeout_seconds / 2
        self._overdue_seconds = float("inf")
        self._troubles: dict[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self._by_name)

    def turn(self, now_seconds: float, *, may_begin: bool) -> float:
        """Do what is due; return when to call again at the latest, at once while results wait.

        Args:
            now_seconds: Monotonic time.
            may_begin: Whether the main model runs, or has failed: the others do not share the machine with its start.
        """
        if may_begin and not self._begun:
            self._begun = True
            for model in self.models:
                if (
                    model.state == "waiting"
                ):  # a command that waited for the main model may have begun it already
                    model.begin()
        due = min(model.turn(now_seconds, may_begin=self._begun) for model in self.models)
        more = [model.write_results() for model in self.models]
        self._tell_troubles()
        if now_seconds >= self._overdue_seconds:
            self._wait_no_longer()
        return now_seconds if any(more) else min(due, self._overdue_seconds)

    def see(self, item: Item, handle: Callable[[MainItem], None]) -> None:
        """Take in what concerns several models, and pass on what is the main one's or the agent's.

        Args:
            item: From the inbox.
            handle: Takes in what is passed on.
        """
        match item:
            case FromModel(name, occurrence):
                if self._by_name[name].handle(occurrence, monotonic()):
                    self._changed()
            case Failed(code=code, message=message):
                handle(ModelFailed(code=code, message=message))
            case SourceEnded(reason):
                if not self._main_ended:
                    ended = events.model_ended(MAIN_MODEL, reason)
                    self._recorder.event(ended.name, ended.severity, ended.text, ended.details)
                self._main_ended = reason
            case WorkerStopped():
                self._main_stopped = True
            case _:
                handle(item)
                return
        if self._main_ended and all(model.state == "ended" for model in self.models) and not self._told_end:
            self._told_end = True
            handle(SourceEnded(f"no model has any more frames; {MAIN_MODEL}: {self._main_ended}"))
        if self._main_stopped and all(model.state == "stopped" for model in self.models):
            handle(WorkerStopped())

    def order(self, order: ModelOrdered, orders: Orders) -> None:
        """Begin a command at those that it means; they are among those that ``orders`` waits for."""
        for model in self.models:
            if order.model in ("", model.name):
                model.order(order, partial(_done, orders, order.key, model.name))

    def hold(self, rate_hz: float | None, *, paused: bool) -> None:
        """Take in what heat asks for."""
        for model in self.models:
            model.hold(rate_hz, paused=paused)

    def close_windows(self, *, final: bool) -> dict[str, Window]:
        """Record a window of each; return those that show what is to run. See `FurtherModel.close_window`."""
        now = monotonic()
        windows = {model: model.close_window(now, final=final) for model in self.models}
        return {model.name: window for model, window in windows.items() if model.runs_what_is_wanted}

    def state(self) -> dict[str, dict[str, object]]:
        """Return what each is and does, for whoever asks."""
        return {
            model.name: {
                "state": model.state,
                "trouble": model.trouble,
                "artifacts": [side.archive.digest for side in model.runner.sides if side.archive is not None],
                **model.figures,
                "dropped_frames_total": model.runner.dropped_frames,
            }
            for model in self.models
        }

    def stop(self) -> None:
        """Leave what can be left and begin nothing more."""
        self._begun = True
        self._overdue_seconds = monotonic() + self._patience_seconds
        for model in self.models:
            model.stop()

    def close(self, timeout_seconds: float) -> bool:
        """Free what they hold; return False when an engine does not come back."""
        stuck = [model for model in self.models if not model.close(timeout_seconds)]
        return not stuck

    def _wait_no_longer(self) -> None:
        """An engine that hangs must not cost the other models their last windows, for which there is the rest of the time."""
        self._overdue_seconds = float("inf")
        for model in self.models:
            if model.state != "stopped":
                self._inbox.put(FromModel(model.name, WorkerStopped()))
        self._inbox.put(WorkerStopped())

    def _tell_troubles(self) -> None:
        for model in self.models:
            text = f"model {model.name}: {model.trouble}" if model.trouble else ""
            if text != self._troubles.get(model.name, ""):
                self._troubles[model.name] = text
                self._inbox.put(Trouble(f"model {model.name}", text))


def _done(orders: Orders, key: tuple[str, str], model: str, code: str, reason: str) -> None:
    orders.done(key, model, code=code, reason=reason)
