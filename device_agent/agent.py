"""`Agent`: carries out what `core` decides. The only file with the loop; it owns the threads and joins the parts to each other.

Three threads: the loop (core, spool, sensors, results), the worker (verify, load, test, infer) and one for the
broker's connection. Nothing is shared but the meter and the queue of results; all else is reported through one inbox.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final

from device_agent import effects, occurrences
from device_agent.answers import Answers
from device_agent.broker import begin_connection, broker_settings, courier_limits
from device_agent.commands.post import CommandPost
from device_agent.contract.errors import DeviceError, EdgewrightError, StorageError
from device_agent.contract.topics import DeviceTopics
from device_agent.core import OVER, Core, Timing
from device_agent.energy.window import WindowEnergy
from device_agent.enrolment.renewal import Renewal
from device_agent.frames import FrameDoor, open_source
from device_agent.heat.policy import HeatPolicy
from device_agent.heat.temperature import declared_rules, read_hottest
from device_agent.heat.variant import load_stand_in
from device_agent.inference import InferenceLoop, LoopLimits, Meter, Pace
from device_agent.log import RecentTroubles
from device_agent.operations.service import Service
from device_agent.operations.status import Moment, StatusBoard, flattened
from device_agent.operations.status_socket import StatusServer, socket_path
from device_agent.result_writer import ResultWriter
from device_agent.results import ResultQueue
from device_agent.sensors.host import boot_id, clock_is_synchronized, host_facts
from device_agent.sensors.reading import Absent
from device_agent.sensors.survey import Sensors, find_vcgencmd
from device_agent.sensors.thermal import trip_points
from device_agent.sensors.throttling import ThrottleWatch
from device_agent.startup import load_payload, run_self_test, verify_artifact
from device_agent.telemetry import sampler
from device_agent.telemetry.courier import Courier, LinkChange, Refused
from device_agent.telemetry.mqtt import (
    BrokerReport,
    Connected,
    Delivered,
    Disconnected,
)
from device_agent.telemetry.recorder import Recorder
from device_agent.telemetry.refusals import Refusals
from device_agent.telemetry.spool import Spool, SpoolLimits
from device_agent.telemetry.stamp import Stamper
from device_agent.telemetry.subscription import Subscription
from device_agent.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from device_agent.config import AgentConfig
    from device_agent.contract.archive import ArtifactArchive
    from device_agent.engines.engine import Engine
    from device_agent.sources.source import Source
    from device_agent.update.jobs import Answer
    from device_agent.update.updates import Updates

_LOG = logging.getLogger("edgewright.agent")
_LONGEST_WAIT_SECONDS: Final = 60.0
_INBOX_BATCH: Final = 256
"""Reports of one turn, so that a flood of acknowledgements does not keep the loop from its other work."""
_CLOSE_SECONDS: Final = 2.0
_COUNTER_SECONDS: Final = 10.0
"""Energy counters wrap after some minutes at full power."""


class _Wake:
    """Put into the inbox when something waits elsewhere: a result that came to an empty queue, or a command."""


_WAKE: Final = _Wake()


@dataclass(frozen=True, slots=True)
class UpdateAnswer:
    """Put into the inbox when a step of an update has ended."""

    answer: Answer


class Agent:
    """One run, from start to goodbye.

    Args:
        config: What it is told.

    Raises:
        ConfigError: The password cannot be had, a TLS file cannot be used, or the device is not enrolled.
        TrustError: The identity is another device's, or damaged.
        StoreLockedError: Another agent holds the spool.
    """

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._inbox: SimpleQueue[
            occurrences.Occurrence | BrokerReport | SimpleQueue[Any] | _Wake | UpdateAnswer
        ] = SimpleQueue()
        settings = broker_settings(
            config
        )  # before anything is opened: a wrong password or TLS file is a wrong configuration
        rules = declared_rules(config.heat)
        self._core = Core(
            Timing(
                window_seconds=config.telemetry.interval_seconds,
                drain_timeout_seconds=config.spool.drain_timeout_seconds,
                heat_seconds=_heat_seconds(config),
            ),
            None if rules is None else HeatPolicy(rules),
        )
        self._spool = Spool(
            config.spool.path,
            SpoolLimits(
                max_bytes=config.spool.max_bytes,
                max_rows=config.spool.max_messages,
                memory_max_bytes=config.spool.memory_max_bytes,
            ),
        )
        self._lost_before = self._spool.lost_total.total
        run_id = boot_id()
        self._stamper = _stamper(run_id)
        topics = DeviceTopics(config.device.id, config.mqtt.topic_root)
        self._recorder = Recorder(
            spool=self._spool,
            stamper=self._stamper,
            topics=topics,
            payload_max_bytes=config.mqtt.payload_max_bytes,
            local_stamper=_stamper(f"{run_id}-local"),
        )
        self._refusals = Refusals(self._recorder)
        self._door = FrameDoor()
        self._commands = CommandPost(
            config,
            recorder=self._recorder,
            wake=partial(self._inbox.put, _WAKE),
            wall=self._stamper.wall,
            order_model=self._take_in,
            snapshot=lambda: flattened(self._status.document(self._moment())),
        )
        subscriptions = self._commands.subscriptions
        if config.source.kind == "mqtt":
            topic = config.source.topic or topics.frames()
            subscriptions += (Subscription(topic=topic, what="frames", take=self._door, required=True),)
        self._courier = Courier(
            spool=self._spool,
            limits=courier_limits(config.mqtt),
            open_connection=lambda number: begin_connection(
                number,
                settings,
                will=self._recorder.will(),
                report=self._inbox.put,
                subscriptions=subscriptions,
            ),
            jitter=random.random,
        )
        self._sensors = Sensors(
            sysfs_root=config.sensors.sysfs_root,
            state_directory=config.spool.path.parent,
            pss_interval_seconds=config.telemetry.pss_interval_seconds,
            vcgencmd=find_vcgencmd(config.sensors.vcgencmd, config.sensors.sysfs_root),
        )
        self._window_energy = WindowEnergy(config.sensors.idle_watts)
        self._throttle_watch = ThrottleWatch()
        self._renewal = Renewal(
            config.identity,
            device=config.device.id,
            recorder=self._recorder,
            wall_seconds=time,
            jitter=random.random,
        )
        self._updates = self._open_updates()
        self._worker = Worker(self._inbox.put)
        self._pace = Pace(config.source.rate_hz, self._worker.stopping)
        self._declared: ArtifactArchive | None = None
        self._variant_wanted = self._variant_runs = False
        self._meter = Meter()
        self._archive: ArtifactArchive | None = None
        self._engine: Engine | None = None
        self._source: Source | None = None
        self._results: ResultWriter | None = None
        self._result_queue: ResultQueue | None = None
        self._service = Service()
        self._status_server: StatusServer | None = None
        self._status = StatusBoard(
            device=config.device.id,
            broker=f"{config.mqtt.host}:{config.mqtt.port}" if config.mqtt.enabled else "",
            now_seconds=monotonic(),
        )
        self._troubles = RecentTroubles()
        self._refused_told = 0
        self._last_refusal = ""
        self._window_started_seconds = self._commit_due_seconds = monotonic()
        self._flush_wanted = False
        self._fault = ""
        self._restart_wanted = False
        self._exit: effects.Exit | None = None
        self._actions: Mapping[type[Any], Callable[[Any], None]] = {
            effects.VerifyArtifact: lambda _: self._worker.submit(self._verify),
            effects.LoadEngine: lambda _: self._worker.submit(self._load),
            effects.RunSelfTest: lambda _: self._worker.submit(self._test),
            effects.StartInference: self._start_inference,
            effects.LeaveInference: self._leave_inference,
            effects.CommandDone: lambda effect: self._commands.complete(
                effect.key, code=effect.code, reason=effect.reason
            ),
            effects.StopWorker: self._stop_worker,
            effects.Sample: self._sample,
            effects.ReadHeat: self._read_heat,
            effects.ApplyHeat: self._apply_heat,
            effects.RecordBirth: self._record_birth,
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

    def _open_updates(self) -> Updates | None:
        """Decide which model this process runs; with no updates it is the configured one."""
        if self._config.update.url is None:
            return None
        from device_agent.update.updates import Updates  # noqa: PLC0415  who wants none pays for none

        updates = Updates(
            self._config,
            report=lambda answer: self._inbox.put(UpdateAnswer(answer)),
            tell=lambda notice: self._recorder.event(
                notice.name, notice.severity, notice.text, notice.details
            ),
            restart=self._want_restart,
        )
        self._config = replace(self._config, artifact=updates.begin())
        return updates

    def _want_restart(self, reason: str) -> None:
        self._restart_wanted = True
        self._inbox.put(occurrences.RestartRequested(reason))

    # --- the loop ---

    def _begin(self) -> None:
        logging.getLogger().addHandler(self._troubles)
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
        model_runs = self._core.phase == "running"
        due_seconds = min(self._service.alive(now), self._commands.turn(now, model_runs=model_runs))
        if self._updates is not None:
            self._updates.turn(now)
        more_results = self._results is not None and self._results.write()
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

    def _dispatch(
        self, item: occurrences.Occurrence | BrokerReport | SimpleQueue[Any] | _Wake | UpdateAnswer
    ) -> None:
        match item:
            case Connected() | Disconnected() | Delivered():
                self._handle_report(item)
            case _Wake():
                return  # it has woken the loop, which looks there in its next turn
            case SimpleQueue():
                item.put(self._status.document(self._moment()))
            case UpdateAnswer(answer):
                if self._updates is not None:
                    self._updates.handle(answer)
            case occurrences.Failed() | occurrences.StopRequested() | occurrences.SourceEnded():
                self._tell_updates_of_the_end(item)
                self._take_in(item)
            case occurrences.ArtifactVerified() | occurrences.ModelSwitched():
                if self._core.phase == "running":  # what the model before did is told under its own name
                    self._sample(effects.Sample(final=False))
                self._stamper.artifact = item.digest
                self._take_in(item)
            case _:
                self._take_in(item)

    def _tell_updates_of_the_end(
        self, end: occurrences.Failed | occurrences.StopRequested | occurrences.SourceEnded
    ) -> None:
        """A model that fails on probation is taken back before the agent ends; an end that was asked for is not held against it."""
        if self._updates is None:
            return
        if isinstance(end, occurrences.Failed):
            self._updates.failed(end.code, end.message)
            return
        self._restart_wanted = False
        self._updates.stopping()

    def _take_in(self, occurrence: occurrences.Occurrence) -> None:
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
            self._status.link(connected=change.connected, reason=change.reason, now_seconds=now)
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
        logging.getLogger().removeHandler(self._troubles)
        if self._status_server is not None:
            self._status_server.close()
        if self._updates is not None:
            self._updates.close()
        self._renewal.close()
        self._worker.stop()
        if not self._worker.join(_CLOSE_SECONDS):
            _LOG.warning("the engine does not come back; leaving without it")
        else:
            for held in (self._source, self._engine):
                if held is not None:
                    held.close()
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

    # --- steps, on the worker's thread ---

    def _verify(self) -> occurrences.Occurrence:
        archive = verify_artifact(self._config)
        self._archive, manifest = archive, archive.manifest
        unchecked = ""
        if not self._config.device.targets:
            unchecked = "device.targets is not set, so whether this is the right target was not checked."
        return occurrences.ArtifactVerified(
            digest=archive.digest,
            name=manifest.name,
            version=manifest.version,
            target=manifest.target,
            verdict=manifest.verdict,
            unchecked=unchecked,
        )

    def _load(self) -> occurrences.Occurrence:
        if (
            self._engine is not None
        ):  # the model is restarted: two at a time may be more than the memory holds
            self._engine.close()
            self._engine = None
        engine, seconds = load_payload(self._verified(), threads=self._config.engine.threads)
        self._engine = engine if self._updates is None else self._updates.tapped(engine)
        return occurrences.EngineLoaded(engine=engine.name, engine_version=engine.version, seconds=seconds)

    def _test(self) -> occurrences.Occurrence:
        tested = run_self_test(self._verified(), self._loaded())
        return occurrences.SelfTestPassed(
            samples=tested.samples,
            largest_lsb=tested.largest_lsb,
            smallest_equal_share=tested.smallest_equal_share,
        )

    def _infer(self, results: ResultQueue | None) -> occurrences.Occurrence | None:
        if self._source is None:
            self._source = open_source(
                self._config.source,
                self._verified().manifest,
                door=self._door,
                on_refused=partial(setattr, self, "_last_refusal"),
                describe=Answers(self._verified().manifest.outputs, self._config.results),
            )
        ended = self._infer_from(self._source, results)
        while not ended and not self._worker.stopping.is_set():
            self._switch_model()
            ended = self._infer_from(self._source, results)
        return occurrences.SourceEnded(ended) if ended else None

    def _infer_from(self, source: Source, results: ResultQueue | None) -> str:
        most, taken = self._config.source.max_frames, self._meter.inferences_total + self._meter.errors_total
        if most and taken >= most:  # left at the very last frame
            return f"{taken} frames were inferred, as source.max_frames says"
        return InferenceLoop(
            engine=self._loaded(),
            source=source,
            meter=self._meter,
            results=results,
            limits=LoopLimits(
                rate_hz=self._config.source.rate_hz,
                max_frames=most - taken if most else 0,
                max_consecutive_errors=self._config.engine.max_consecutive_errors,
            ),
            stopping=self._worker.stopping,
            pace=self._pace,
        ).run()

    def _switch_model(self) -> None:
        """Run the variant, or the declared artifact again; what cannot be loaded leaves the one that runs."""
        if self._declared is None:
            self._declared = self._verified()
        wanted, heat, declared = self._variant_wanted, self._config.heat, self._declared
        if wanted == self._variant_runs:
            return
        path: Path = declared.path
        digest: str | None = declared.digest
        if wanted and heat.variant_path is not None:
            path, digest = heat.variant_path, heat.variant_digest
        try:
            archive, engine = load_stand_in(self._config, path, digest, like=declared.manifest)
        except EdgewrightError as error:
            self._inbox.put(occurrences.SwitchFailed(str(error)))
            return
        self._loaded().close()
        if self._updates is not None and not wanted:
            engine = self._updates.tapped(engine)
        self._archive, self._engine, self._variant_runs = archive, engine, wanted
        manifest = archive.manifest
        self._inbox.put(
            occurrences.ModelSwitched(digest=archive.digest, name=manifest.name, version=manifest.version)
        )

    # --- effects, on the loop's thread ---

    def _start_inference(self, _effect: effects.StartInference) -> None:
        wanted = self._config.results
        if self._results is None and (wanted.mqtt or wanted.jsonl is not None):
            self._result_queue = ResultQueue(
                size=wanted.queue_results,
                max_rate_hz=wanted.max_rate_hz,
                wake=partial(self._inbox.put, _WAKE),
            )
            self._results = ResultWriter(
                queue=self._result_queue,
                tensors=self._verified().manifest.outputs,
                wanted=wanted,
                recorder=self._recorder,
            )
        self._window_started_seconds = monotonic()
        self._worker.submit(partial(self._infer, self._result_queue))

    def _leave_inference(self, _effect: effects.LeaveInference) -> None:
        self._worker.interrupt()
        self._worker.submit(occurrences.InferenceLeft)

    def _stop_worker(self, _effect: effects.StopWorker) -> None:
        self._service.stopping()
        self._commands.close("the agent ends")
        self._worker.stop()

    def _record_health(self, effect: effects.RecordHealth) -> None:
        self._recorder.health(effect.status, effect.reason)
        self._status.health(effect.status, effect.reason)
        self._service.status(f"{effect.status}: {effect.reason}" if effect.reason else effect.status)
        if self._core.phase == "running":
            self._service.ready()

    def _sample(self, effect: effects.Sample) -> None:
        """Record one message of each type, and tell what went wrong meanwhile."""
        if effect.final and self._results is not None:
            self._results.close()
        now, window, record = monotonic(), self._meter.close_window(), self._recorder.measurement
        envelope = self._recorder.next_envelope
        if window.inferences_total or self._core.phase == "running" or self._source is not None:
            record(
                sampler.inference_window(
                    envelope(),
                    latencies=window.latencies,
                    counters=sampler.Counters(
                        inferences=window.inferences_total,
                        errors=window.errors_total,
                        dropped_frames=self._dropped_frames(),
                    ),
                    window_seconds=max(now - self._window_started_seconds, 1e-9),
                    idle_reason=window.last_error if window.errors else "no frame came in this window",
                )
            )
        self._status.window(window, seconds=now - self._window_started_seconds)
        self._window_started_seconds = now
        record(sampler.system_sample(envelope(), self._sensors.system(now), self._spool_state()))
        most = self._config.mqtt.payload_max_bytes
        heat, power = self._sensors.heat(), self._sensors.power(now)
        energy = self._window_energy.read(
            power,
            now_seconds=now,
            inferences_total=window.inferences_total,
            throttled=self._throttle_watch.reasons(heat),
        )
        record(sampler.fitted(sampler.thermal_sample(envelope(), heat), max_bytes=most))
        record(sampler.fitted(sampler.power_sample(envelope(), (*energy, *power)), max_bytes=most))
        if self._results is not None:
            self._results.report()
        self._tell_refused_frames()
        self._commands.report()
        self._take_in(occurrences.Trouble("refused messages", self._refusals.report()))
        self._spool.return_to_disk()
        if self._updates is not None:
            self._updates.observed(
                inferences=window.latencies.count,
                errors=window.errors,
                p95_seconds=window.latencies.quantile_seconds(0.95),
            )
        self._take_in(
            occurrences.WindowClosed(
                inferences=window.latencies.count, errors=window.errors, last_error=window.last_error
            )
        )

    def _moment(self) -> Moment:
        spool, archive, engine = self._spool_state(), self._archive, self._engine
        manifest = None if archive is None else archive.manifest
        return Moment(
            now_seconds=monotonic(),
            uptime_seconds=self._stamper.uptime_seconds,
            phase=self._core.phase,
            boot_id=self._stamper.boot_id,
            model=None if manifest is None else (manifest.name, manifest.version, manifest.target),
            artifact=None if archive is None else archive.digest,
            engine=None if engine is None else (engine.name, engine.version),
            dropped_frames=self._dropped_frames(),
            spool={
                "messages": spool.messages,
                "bytes": spool.size_bytes,
                "dropped_total": spool.dropped,
                "on_disk": self._spool.on_disk,
            },
            commands_waiting=self._commands.waiting,
            troubles=self._troubles.last,
            log_level=logging.getLevelName(logging.getLogger().level).lower(),
        )

    def _read_heat(self, _effect: effects.ReadHeat) -> None:
        self._sensors.keep_counters(monotonic())
        celsius = read_hottest(self._sensors, self._config.heat.sensors)
        if isinstance(celsius, Absent):
            self._take_in(occurrences.HeatRead(celsius=None, why_absent=celsius.reason))
        else:
            self._take_in(occurrences.HeatRead(celsius=celsius))

    def _apply_heat(self, effect: effects.ApplyHeat) -> None:
        slow = "slow" in effect.measures
        self._pace.hold(self._config.heat.slow_rate_hz if slow else None, paused="pause" in effect.measures)
        wanted = "variant" in effect.measures
        if wanted != self._variant_wanted:
            self._variant_wanted = wanted
            self._pace.leave()

    def _dropped_frames(self) -> int:
        source = self._source
        return self._door.turned_away + (0 if source is None else source.dropped + source.refused)

    def _spool_state(self) -> sampler.SpoolState:
        return sampler.SpoolState(
            messages=self._spool.rows,
            size_bytes=self._spool.size_bytes,
            dropped=max(0, self._spool.lost_total.total - self._lost_before),
        )

    def _tell_refused_frames(self) -> None:
        refused = 0 if self._source is None else self._source.refused
        if refused > self._refused_told:
            self._recorder.event(
                "frames_refused",
                "warning",
                f"{refused - self._refused_told} frames were not understood. The last one: {self._last_refusal}",
                {"frames": refused - self._refused_told},
            )
        self._refused_told = refused

    def _record_birth(self, _effect: effects.RecordBirth) -> None:
        engine, archive = self._engine, self._archive
        manifest = None if archive is None else archive.manifest
        self._recorder.birth(
            engine=None if engine is None else (engine.name, engine.version),
            model=None if manifest is None else (manifest.name, manifest.version, manifest.target),
            host={**host_facts(), **trip_points(self._config.sensors.sysfs_root)},
        )

    def _verified(self) -> ArtifactArchive:
        if self._archive is None:
            raise RuntimeError("no artifact was verified before this step")
        return self._archive

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("no engine was loaded before this step")
        return self._engine


def _heat_seconds(config: AgentConfig) -> float:
    """Return how often heat and counters are looked at between samples; infinity where samples come often enough."""
    if declared_rules(config.heat) is not None:
        return config.heat.interval_seconds
    return _COUNTER_SECONDS if config.telemetry.interval_seconds > _COUNTER_SECONDS else float("inf")


def _stamper(run_id: str) -> Stamper:
    return Stamper(
        boot_id=run_id, wall_seconds=time, monotonic_seconds=monotonic, synchronized=clock_is_synchronized
    )
