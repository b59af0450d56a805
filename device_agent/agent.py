"""`Agent`: carries out what `core` decides. The only file with the loop; `assembly` builds the parts that it joins.

Threads: the loop (core, spool, sensors, results), a worker for each model (verify, load, test, infer) and one for the
broker's connection. Nothing is shared but meters and queues of results; all else is reported through one inbox.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from device_agent import effects, events, occurrences
from device_agent.assembly import assemble
from device_agent.config.paths import socket_path
from device_agent.contract.errors import DeviceError
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.core import OVER, UP
from device_agent.inbox import UpdateAnswer, Wake
from device_agent.operations.service import Service
from device_agent.operations.status import flattened
from device_agent.operations.status_socket import StatusServer
from device_agent.orders import Orders
from device_agent.telemetry.commits import Commits
from device_agent.telemetry.courier import LinkChange, Refused
from device_agent.telemetry.link import Connected, Delivered, Disconnected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_agent.config import AgentConfig
    from device_agent.contract.telemetry.message import Scalar
    from device_agent.inbox import Inbox, MainItem
    from device_agent.telemetry.link import BrokerReport

_LOG = logging.getLogger("edgewright.agent")
_LONGEST_WAIT_SECONDS: Final = 60.0
_INBOX_BATCH: Final = 256
"""Reports of one turn, so that a flood of acknowledgements does not keep the loop from its other work."""
_CLOSE_SECONDS: Final = 2.0


class Agent:
    """One run, from start to goodbye.

    Args:
        config: What it is told.

    Attributes:
        leaves_an_engine: Whether the run ended without an engine that did not come back; its thread is in there still.

    Raises:
        ConfigError: The password cannot be had, a TLS file cannot be used, the device is not enrolled, or updates cannot be
            used.
        TrustError: The identity is another device's, or damaged.
        StoreLockedError: Another agent holds the spool.
    """

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._inbox: Inbox = SimpleQueue()
        self._restart_wanted = self._variant_runs = False
        self.leaves_an_engine = False
        parts = assemble(
            config,
            self._inbox,
            order_model=self._order,
            snapshot=self._snapshot,
            restart=self._want_restart,
            tell_birth=lambda: self._reporter.birth(),  # noqa: PLW0108  there is none yet
        )
        self._core = parts.core
        self._spool = parts.spool
        self._commits = Commits(parts.spool, config.spool)
        self._stamper = parts.stamper
        self._recorder = parts.recorder
        self._refusals = parts.refusals
        self._commands = parts.commands
        self._courier = parts.courier
        self._heat = parts.heat
        self._renewal = parts.renewal
        self._updates = parts.updates
        self._runner = parts.runner
        self._beside = parts.beside
        self._results = parts.results
        self._orders = Orders(parts.commands.complete)
        self._reporter = parts.reporter
        self._service = Service()
        self._status_server: StatusServer | None = None
        self._flush_wanted = False
        self._fault = ""
        self._exit: effects.Exit | None = None
        self._actions: Mapping[type[Any], Callable[[Any], None]] = {
            effects.VerifyArtifact: lambda _: self._runner.verify(),
            effects.LoadEngine: lambda _: self._runner.load(),
            effects.RunSelfTest: lambda _: self._runner.test(),
            effects.StartInference: lambda _: self._start_inference(),
            effects.LeaveInference: lambda _: self._runner.leave(),
            effects.CommandDone: lambda effect: self._orders.done(
                effect.key, MAIN_MODEL, code=effect.code, reason=effect.reason
            ),
            effects.StopWorker: lambda _: self._stop_worker(),
            effects.Sample: lambda effect: self._sample(final=effect.final),
            effects.ReadHeat: lambda _: self._take_in(self._heat.read()),
            effects.ApplyHeat: lambda effect: self._heat.apply(effect.measures),
            effects.RecordBirth: lambda _: self._record_birth(),
            effects.RecordHealth: self._record_health,
            effects.RecordEvent: lambda effect: self._recorder.event(
                effect.name, effect.severity, effect.text, effect.details
            ),
            effects.ReportLoss: lambda _: self._recorder.loss(),
            effects.Flush: lambda _: setattr(self, "_flush_wanted", True),
            effects.Exit: lambda effect: setattr(self, "_exit", effect),
        }

    def request_stop(self, reason: str) -> None:
        """Ask for the end, a second time to end without waiting. Safe in a signal handler and from any thread."""
        self._inbox.put(occurrences.StopRequested(reason))

    def run(self) -> effects.Exit:
        """Run until stopped, ended or failed; return how it ended. A fault of the loop itself is an end like the others."""
        try:
            self._begin()
            while self._exit is None:
                try:
                    self._turn()
                # The loop's last door: nobody looks at a device that dies without a word.
                except Exception as error:  # noqa: BLE001
                    self._end_with_fault(error)
            return replace(self._exit, code="restart") if self._restart_wanted else self._exit
        finally:
            self._close()

    def _want_restart(self, reason: str) -> None:
        self._restart_wanted = True
        self._inbox.put(occurrences.RestartRequested(reason))

    # --- the loop ---

    def _begin(self) -> None:
        self._reporter.open()
        try:
            self._status_server = StatusServer(socket_path(self._config), self._inbox.put)
        except OSError as error:
            _LOG.warning("%s: nobody can ask for the status: %s", socket_path(self._config), error)
        self._commands.recover()
        self._inbox.put(occurrences.Started(monotonic()))

    def _turn(self) -> None:
        """Do what is due, then wait for what happens next and take it in."""
        now = monotonic()
        if now >= self._core.next_due_seconds:
            self._take_in(occurrences.Tick(now))
        model_runs = self._core.phase in UP
        due_seconds = min(self._service.alive(now), self._commands.turn(now, model_runs=model_runs))
        self._updates.turn(now)
        more_results = self._results.write()
        due_seconds = min(due_seconds, self._beside.turn(now, may_begin=self._core.phase in UP))
        self._commits.turn(now, at_once=self._flush_wanted)
        self._tell_notices()
        due = self._courier.turn(now) if self._config.mqtt.enabled else float("inf")
        self._take_in(occurrences.Trouble("link", self._courier.doubt))
        self._take_in(occurrences.Trouble("certificate", self._renewal.turn(now)))
        if self._flush_wanted and self._courier.idle:
            self._flush_wanted = False
            self._take_in(occurrences.Flushed())
        if self._exit is None:
            due = min(due, due_seconds, self._updates.next_due_seconds, self._core.next_due_seconds)
            self._wait(0.0 if more_results else due)

    def _wait(self, due_seconds: float) -> None:
        due_seconds = min(due_seconds, self._commits.next_due_seconds)
        timeout = min(max(due_seconds - monotonic(), 0.0), _LONGEST_WAIT_SECONDS)
        try:
            self._beside.see(self._inbox.get(timeout=timeout), self._handle)
            for _ in range(_INBOX_BATCH):
                self._beside.see(self._inbox.get_nowait(), self._handle)
        except Empty:
            return

    def _handle(self, item: MainItem) -> None:
        match item:
            case Connected() | Disconnected() | Delivered():
                self._handle_report(item)
            case Wake():
                return  # it has woken the loop, which looks there in its next turn
            case SimpleQueue():
                item.put(self._state())
            case UpdateAnswer(answer):
                self._updates.handle(answer)
            case occurrences.VariantStarted() | occurrences.VariantFailed():
                self._handle_side_b(item)
            case occurrences.Failed() | occurrences.ModelFailed():
                self._updates.ended(item, variant_ran=self._variant_runs)
                self._take_in(item)
            case occurrences.StopRequested() | occurrences.SourceEnded():
                self._restart_wanted = False
                self._updates.ended(item, variant_ran=self._variant_runs)
                self._take_in(item)
            case occurrences.ArtifactVerified() | occurrences.ModelSwitched():
                if self._core.phase == "running":  # what the model before did is told under its own name
                    self._sample(final=False)
                self._stamper.artifact = item.digest
                self._variant_runs = isinstance(item, occurrences.ModelSwitched) and item.is_variant
                self._take_in(item)
            case _:
                self._take_in(item)

    def _handle_side_b(self, item: occurrences.VariantStarted | occurrences.VariantFailed) -> None:
        if isinstance(item, occurrences.VariantStarted):
            tell, trouble = events.variant_started(MAIN_MODEL, item), ""
        else:
            tell, trouble = events.variant_failed(MAIN_MODEL, item), f"side b: {item.message}"
        self._recorder.event(tell.name, tell.severity, tell.text, tell.details)
        self._take_in(occurrences.Trouble("side b", trouble))
        self._reporter.birth()

    def _order(self, order: occurrences.ModelOrdered) -> None:
        """Begin a command at the models that it means."""
        models = (MAIN_MODEL, *self._beside.names)
        meant = [name for name in models if order.model in ("", name)]
        if not meant:
            reason = f"there is no model {order.model!r}; there are {', '.join(models)}"
            self._commands.complete(order.key, code="unknown_model", reason=reason)
            return
        self._orders.begin(order.key, meant)
        self._beside.order(order, self._orders)
        if MAIN_MODEL in meant:
            self._take_in(order)

    def _take_in(self, occurrence: occurrences.Occurrence) -> None:
        self._core.tell_time(monotonic())
        for effect in self._core.handle(occurrence):
            self._actions[type(effect)](effect)

    def _end_with_fault(self, error: Exception) -> None:
        """Fail as a step fails, with an event and a goodbye; if that is at fault itself, leave the last word to the last will."""
        code = error.code if isinstance(error, DeviceError) else "unexpected"
        message = f"{type(error).__name__}: {error}"
        _LOG.error("a fault of the agent itself: %s", message, exc_info=error)
        first, self._fault = not self._fault, message
        if first and self._core.phase not in ("draining", *OVER):
            try:
                self._take_in(occurrences.Failed(code=code, message=message))
            except Exception as second:  # noqa: BLE001  as in `run`
                _LOG.error("and it cannot even be recorded", exc_info=second)
            else:
                return
        self._courier.abort(f"a fault of the agent: {message}", _CLOSE_SECONDS)
        self._exit = effects.Exit(code=code, message=message)

    def _tell_notices(self) -> None:
        for notice in self._spool.notices():
            self._take_in(
                occurrences.StorageChanged(
                    code=notice.code, message=notice.message, on_disk=self._spool.on_disk
                )
            )

    def _handle_report(self, report: BrokerReport) -> None:
        now = monotonic()
        change = self._courier.handle(report, now)
        if isinstance(change, LinkChange):
            self._reporter.link(connected=change.connected, reason=change.reason, now_seconds=now)
        match change:
            case LinkChange(connected=True):
                _LOG.info("connected to %s:%d", self._config.mqtt.host, self._config.mqtt.port)
                self._take_in(occurrences.LinkUp())
                self._spool.commit()  # or the birth and health of before would be sent first
            case LinkChange(connected=False, reason=reason):
                _LOG.warning("no connection to the broker: %s", reason)
                self._take_in(occurrences.LinkDown(reason))
            case Refused() as refused:
                self._refusals.count(refused)

    def _close(self) -> None:
        self._reporter.close()
        if self._status_server is not None:
            self._status_server.close()
        self._updates.close()
        self._renewal.close()
        if not self._beside.close(_CLOSE_SECONDS):
            self.leaves_an_engine = True
        if not self._runner.close(_CLOSE_SECONDS):
            self.leaves_an_engine = True
            _LOG.warning("the engine does not come back; leaving without it")
        if not self._courier.close(_CLOSE_SECONDS):
            _LOG.warning("the broker's connection does not close; leaving without it")
        try:
            self._results.close()
        finally:
            self._commits.close()

    # --- effects ---

    def _start_inference(self) -> None:
        queues = self._results.queues()
        self._reporter.begin_window()
        self._runner.infer(*queues)

    def _stop_worker(self) -> None:
        self._service.stopping()
        self._commands.close("the agent ends")
        self._runner.stop()
        self._beside.stop()

    def _record_birth(self) -> None:
        self._reporter.birth()
        self._updates.tell_following()

    def _record_health(self, effect: effects.RecordHealth) -> None:
        self._reporter.health(effect.status, effect.reason)
        self._service.status(f"{effect.status}: {effect.reason}" if effect.reason else effect.status)
        if self._core.phase in UP:
            self._service.ready()

    def _sample(self, *, final: bool) -> None:
        """Record one message of each type, and tell what went wrong meanwhile."""
        if final:
            self._results.close()
        window = self._reporter.close_window(model_runs=self._core.phase == "running")
        self._results.report()
        self._reporter.tell_refused_frames()
        others = self._beside.close_windows(final=final)
        self._commands.report()
        self._take_in(occurrences.Trouble("refused messages", self._refusals.report()))
        self._spool.return_to_disk()
        pauses = ("inference pauses",) if self._heat.pauses else ()
        # Fewer frames and the variant are how this device is to live with heat, so only a pause counts; the variant's figures are
        # not the model's.
        self._updates.observed(
            others if self._variant_runs else {MAIN_MODEL: window, **others},
            read_celsius=self._heat.celsius,
            heat="; ".join((*self._reporter.throttled, *pauses)),
        )
        self._take_in(
            occurrences.WindowClosed(
                inferences=window.latencies.count, errors=window.errors, last_error=window.last_error
            )
        )

    # --- what is asked for ---

    def _state(self) -> dict[str, object]:
        state = self._reporter.state(phase=self._core.phase, commands_waiting=self._commands.waiting)
        return {**state, **self._updates.status(monotonic())}

    def _snapshot(self) -> dict[str, Scalar]:
        return flattened(self._state())
