"""`Agent`: carries out what `core` decides. The only file with the loop; `assembly` builds the parts that it joins.

Threads: the loop (core, spool, sensors, results), a worker for each model (verify, load, test, infer) and one for the
broker's connection. Nothing is shared but meters and queues of results; all else is reported through one inbox.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from device_agent import effects, events, occurrences
from device_agent.assembly import assemble
from device_agent.config.paths import socket_path
from device_agent.contract.errors import DeviceError, StorageError
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.core import OVER, UP
from device_agent.heat.temperature import read_hottest
from device_agent.inbox import WAKE, FromModel, UpdateAnswer, Wake
from device_agent.operations.service import Service
from device_agent.operations.status import flattened
from device_agent.operations.status_socket import StatusServer
from device_agent.orders import Orders
from device_agent.result_writer import ResultWriter
from device_agent.sensors.reading import Absent
from device_agent.telemetry.courier import LinkChange, Refused
from device_agent.telemetry.link import Connected, Delivered, Disconnected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_agent.config import AgentConfig
    from device_agent.contract.telemetry.message import Scalar
    from device_agent.inbox import Inbox, Item, MainItem
    from device_agent.inference import Window
    from device_agent.telemetry.link import BrokerReport
    from device_agent.update.report import Following

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
        self._stamper = parts.stamper
        self._recorder = parts.recorder
        self._refusals = parts.refusals
        self._commands = parts.commands
        self._courier = parts.courier
        self._sensors = parts.sensors
        self._renewal = parts.renewal
        self._updates = parts.updates
        self._runner = parts.runner
        self._beside = parts.beside
        self._orders = Orders(parts.commands.complete)
        self._reporter = parts.reporter
        self._service = Service()
        self._status_server: StatusServer | None = None
        self._results: ResultWriter | None = None
        self._commit_due_seconds = monotonic()
        self._flush_wanted = False
        self._fault = ""
        self._too_hot: tuple[str, ...] = ()
        self._told_following: Following | None = None
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
            effects.ReadHeat: lambda _: self._read_heat(),
            effects.ApplyHeat: self._apply_heat,
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
        if self._updates is not None:
            self._updates.turn(now)
            self._tell_following(self._updates.following)
        more_results = self._results is not None and self._results.write()
        if self._beside is not None:
            due_seconds = min(due_seconds, self._beside.turn(now, may_begin=self._core.phase in UP))
        self._commit(now)
        due = self._courier.turn(now) if self._config.mqtt.enabled else float("inf")
        self._take_in(occurrences.Trouble("link", self._courier.doubt))
        self._take_in(occurrences.Trouble("certificate", self._renewal.turn(now)))
        if self._flush_wanted and self._courier.idle:
            self._flush_wanted = False
            self._take_in(occurrences.Flushed())
        if self._exit is None:
            if self._updates is not None:
                due_seconds = min(due_seconds, self._updates.next_due_seconds)
            self._wait(0.0 if more_results else min(due, due_seconds, self._core.next_due_seconds))

    def _wait(self, due_seconds: float) -> None:
        if self._spool.is_dirty:
            due_seconds = min(due_seconds, self._commit_due_seconds)
        timeout = min(max(due_seconds - monotonic(), 0.0), _LONGEST_WAIT_SECONDS)
        try:
            self._dispatch(self._inbox.get(timeout=timeout))
            for _ in range(_INBOX_BATCH):
                self._dispatch(self._inbox.get_nowait())
        except Empty:
            return

    def _dispatch(self, item: Item) -> None:
        if self._beside is not None:
            self._beside.see(item, self._handle)
        elif not isinstance(item, FromModel):
            self._handle(item)

    def _handle(self, item: MainItem) -> None:
        match item:
            case Connected() | Disconnected() | Delivered():
                self._handle_report(item)
            case Wake():
                return  # it has woken the loop, which looks there in its next turn
            case SimpleQueue():
                item.put(self._state())
            case UpdateAnswer(answer):
                if self._updates is not None:
                    self._updates.handle(answer)
            case occurrences.VariantStarted() | occurrences.VariantFailed():
                self._handle_side_b(item)
            case (
                occurrences.Failed()
                | occurrences.ModelFailed()
                | occurrences.StopRequested()
                | occurrences.SourceEnded()
            ):
                self._tell_updates_of_the_end(item)
                self._take_in(item)
            case occurrences.ArtifactVerified() | occurrences.ModelSwitched():
                if self._core.phase == "running":  # what the model before did is told under its own name
                    self._sample(final=False)
                self._stamper.artifact = item.digest
                self._variant_runs = isinstance(item, occurrences.ModelSwitched) and item.is_variant
                self._take_in(item)
            case _:
                self._take_in(item)

    def _tell_updates_of_the_end(
        self,
        end: occurrences.Failed
        | occurrences.ModelFailed
        | occurrences.StopRequested
        | occurrences.SourceEnded,
    ) -> None:
        """A model that fails on probation is taken back before the agent ends.

        An end that was asked for, or that came while the variant ran, is not held against it.
        """
        if self._updates is None:
            return
        if isinstance(end, occurrences.Failed | occurrences.ModelFailed):
            if not self._variant_runs:
                self._updates.failed(end.code, end.message)
                return
        else:
            self._restart_wanted = False
        if not isinstance(end, occurrences.ModelFailed):  # after which the agent goes on
            self._updates.stopping()

    # --- several models ---

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
        others = () if self._beside is None else self._beside.names
        names = [name for name in (MAIN_MODEL, *others) if order.model in ("", name)]
        if not names:
            reason = f"there is no model {order.model!r}; there are {', '.join((MAIN_MODEL, *others))}"
            self._commands.complete(order.key, code="unknown_model", reason=reason)
            return
        self._orders.begin(order.key, names)
        if self._beside is not None:
            self._beside.order(order, self._orders)
        if MAIN_MODEL in names:
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

    def _commit(self, now: float) -> None:
        if self._spool.is_dirty and (now >= self._commit_due_seconds or self._flush_wanted):
            self._spool.commit()
            self._commit_due_seconds = now + self._config.spool.commit_interval_seconds
        self._tell_notices()

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
        if self._updates is not None:
            self._updates.close()
        self._renewal.close()
        if self._beside is not None and not self._beside.close(_CLOSE_SECONDS):
            self.leaves_an_engine = True
        if not self._runner.close(_CLOSE_SECONDS):
            self.leaves_an_engine = True
            _LOG.warning("the engine does not come back; leaving without it")
        if not self._courier.close(_CLOSE_SECONDS):
            _LOG.warning("the broker's connection does not close; leaving without it")
        try:
            if self._results is not None:
                self._results.close()
        finally:
            self._close_spool()

    def _close_spool(self) -> None:
        try:
            lost = self._spool.close()
        except StorageError as error:
            _LOG.error("messages are lost: the spool cannot be closed: %s", error)
            return
        if lost:
            _LOG.warning(
                "%d messages are lost: they were not delivered, and %s cannot be written",
                lost,
                self._config.spool.path,
            )
        elif self._spool.rows:
            _LOG.info("%d messages wait in %s for the next start", self._spool.rows, self._config.spool.path)

    # --- effects ---

    def _start_inference(self) -> None:
        wanted = self._config.results
        if self._results is not None and not self._results.describes(self._runner.outputs):
            self._results.close()
            self._results = None
        if self._results is None and (wanted.mqtt or wanted.jsonl is not None):
            self._results = ResultWriter(
                tensors=self._runner.outputs,
                wanted=wanted,
                recorder=self._recorder,
                wake=partial(self._inbox.put, WAKE),
                model=None if self._beside is None else MAIN_MODEL,
                digest_of=self._runner.digest_of if self._config.split.path is not None else None,
                is_split=self._config.split.path is not None,
            )
        self._reporter.begin_window()
        queues = (None, None) if self._results is None else (self._results.queue, self._results.queue_of_b)
        self._runner.infer(*queues)

    def _stop_worker(self) -> None:
        self._service.stopping()
        self._commands.close("the agent ends")
        self._runner.stop()
        if self._beside is not None:
            self._beside.stop()

    def _record_birth(self) -> None:
        self._reporter.birth()
        if self._updates is not None:
            self._told_following = self._updates.following
            self._recorder.reported(self._told_following)

    def _tell_following(self, following: Following) -> None:
        """Tell what the device follows when it has changed since it was told; the first time is with the birth."""
        if self._told_following not in (None, following):
            self._told_following = following
            self._recorder.reported(following)

    def _record_health(self, effect: effects.RecordHealth) -> None:
        self._reporter.health(effect.status, effect.reason)
        self._service.status(f"{effect.status}: {effect.reason}" if effect.reason else effect.status)
        if self._core.phase in UP:
            self._service.ready()

    def _sample(self, *, final: bool) -> None:
        """Record one message of each type, and tell what went wrong meanwhile."""
        if final and self._results is not None:
            self._results.close()
        window = self._reporter.close_window(model_runs=self._core.phase == "running")
        if self._results is not None:
            self._results.report()
        self._reporter.tell_refused_frames()
        others = {} if self._beside is None else self._beside.close_windows(final=final)
        self._commands.report()
        self._take_in(occurrences.Trouble("refused messages", self._refusals.report()))
        self._spool.return_to_disk()
        # The variant's figures are not the model's.
        self._tell_updates_of_windows(others if self._variant_runs else {MAIN_MODEL: window, **others})
        self._take_in(
            occurrences.WindowClosed(
                inferences=window.latencies.count, errors=window.errors, last_error=window.last_error
            )
        )

    def _tell_updates_of_windows(self, windows: Mapping[str, Window]) -> None:
        if self._updates is None:
            return
        celsius, heat = self._celsius(), "; ".join((*self._reporter.throttled, *self._too_hot))
        for name, window in windows.items():
            self._updates.observed(
                inferences=window.latencies.count,
                errors=window.errors,
                p95_seconds=window.latencies.quantile_seconds(0.95),
                celsius=celsius,
                heat=heat,
                model=name,
            )

    def _celsius(self) -> float | None:
        celsius = read_hottest(self._sensors, self._config.heat.sensors)
        return None if isinstance(celsius, Absent) else celsius

    def _read_heat(self) -> None:
        self._sensors.keep_counters(monotonic())
        celsius = read_hottest(self._sensors, self._config.heat.sensors)
        if isinstance(celsius, Absent):
            self._take_in(occurrences.HeatRead(celsius=None, why_absent=celsius.reason))
        else:
            self._take_in(occurrences.HeatRead(celsius=celsius))

    def _apply_heat(self, effect: effects.ApplyHeat) -> None:
        # Fewer frames and the variant are how this device is to live with heat; a pause is not.
        self._too_hot = ("inference pauses",) if "pause" in effect.measures else ()
        self._runner.hold(
            self._runner.slow_rate_hz if "slow" in effect.measures else None,
            paused="pause" in effect.measures,
            variant="variant" in effect.measures,
        )
        if self._beside is not None:
            self._beside.hold(
                self._runner.slow_rate_hz if "slow" in effect.measures else None,
                paused="pause" in effect.measures,
            )

    # --- what is asked for ---

    def _state(self) -> dict[str, object]:
        state = self._reporter.state(phase=self._core.phase, commands_waiting=self._commands.waiting)
        return state if self._updates is None else {**state, "updates": self._updates.status(monotonic())}

    def _snapshot(self) -> dict[str, Scalar]:
        return flattened(self._state())
