"""The agent: carries out what `core` decides. The only file with the loop; everything it uses is a port of its own."""

from __future__ import annotations

import logging
import platform
import queue
import random
import threading
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Final

from device_agent import __version__, core
from device_agent.config import mqtt_password
from device_agent.contract.errors import ContractError, EdgewrightError
from device_agent.contract.telemetry import Birth, Event, Health, Measurement
from device_agent.contract.telemetry_codec import encode
from device_agent.contract.topics import DeviceTopics
from device_agent.contract.units import encode_units, units_of
from device_agent.sensors.host import clock_is_synchronized, host_facts
from device_agent.sensors.survey import Sensors
from device_agent.startup import load_payload, run_self_test, verify_artifact
from device_agent.telemetry.courier import Courier, CourierLimits, LinkChange, Refused
from device_agent.telemetry.histogram import Histogram
from device_agent.telemetry.mqtt import (
    BrokerConnection,
    BrokerSettings,
    FrameSubscription,
    Secret,
    TlsFiles,
    Will,
)
from device_agent.telemetry.sampler import (
    Counters,
    SpoolState,
    inference_window,
    power_sample,
    system_sample,
    thermal_sample,
)
from device_agent.telemetry.spool import Spool, SpoolLimits
from device_agent.telemetry.stamp import Stamper
from device_agent.telemetry.store import Kind
from device_agent.worker import SourceDone, Worker, WorkerFailed, WorkerLeft

if TYPE_CHECKING:
    from device_agent.config import AgentConfig
    from device_agent.contract.archive import ArtifactArchive
    from device_agent.contract.telemetry import Message
    from device_agent.engines.engine import Engine
    from device_agent.results import ResultQueue
    from device_agent.results_file import ResultsFile
    from device_agent.sources.source import Source
    from device_agent.telemetry.mqtt import BrokerReport
    from device_agent.worker import WorkerReport

_LOG = logging.getLogger("edgewright.agent")
_LONGEST_WAIT_SECONDS: Final = 1.0
_RESULT_POLL_SECONDS: Final = 0.05
_CLOSE_SECONDS: Final = 2.0
_SEVERITY_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Agent:
    """One run of the agent, from start to goodbye.

    Args:
        config: What it is told.

    Raises:
        ConfigError: The password or a TLS file cannot be read.
        StorageError: The spool is held by another agent.
    """

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._topics = DeviceTopics(config.device.id, config.mqtt.topic_root)
        self._inbox: queue.SimpleQueue[core.Occurrence | BrokerReport | WorkerReport] = queue.SimpleQueue()
        self._core = core.Core(
            core.Timing(
                window_seconds=config.telemetry.interval_seconds,
                drain_timeout_seconds=config.spool.drain_timeout_seconds,
            )
        )
        self._stamper = Stamper(
            boot_id=uuid.uuid4().hex,
            wall_seconds=time.time,
            monotonic_seconds=time.monotonic,
            synchronized=clock_is_synchronized,
        )
        config.spool.path.parent.mkdir(parents=True, exist_ok=True)
        self._spool = Spool(
            config.spool.path,
            SpoolLimits(
                max_bytes=config.spool.max_bytes,
                max_rows=config.spool.max_messages,
                memory_max_bytes=config.spool.memory_max_bytes,
            ),
        )
        self._sensors = Sensors(
            sysfs_root=config.sensors.sysfs_root,
            state_directory=config.spool.path.parent,
            pss_interval_seconds=config.telemetry.pss_interval_seconds,
        )
        self._settings = _broker_settings(config)
        self._frames: FrameSubscription | None = None
        self._courier = self._new_courier() if config.mqtt.enabled else None
        self._archive: ArtifactArchive | None = None
        self._engine: Engine | None = None
        self._worker: Worker | None = None
        self._results: ResultQueue | None = None
        self._results_file: ResultsFile | None = None
        self._window_started_seconds = time.monotonic()
        self._committed_seconds = time.monotonic()
        self._said_units: set[str] = set()
        self._flushing = False
        self._exit: core.Exit | None = None

    def request_stop(self, reason: str) -> None:
        """Ask for the end; safe from a signal handler and from any thread."""
        self._inbox.put(core.StopRequested(reason))

    def run(self) -> core.Exit:
        """Run until stopped, ended or failed; return how it ended."""
        try:
            self._take(core.Started(time.monotonic()))
            while self._exit is None:
                self._turn()
        finally:
            self._close()
        return self._exit

    # --- the loop ---

    def _turn(self) -> None:
        """Wait for what happens next, take it in, and do what is due."""
        try:
            self._dispatch(self._inbox.get(timeout=self._wait_seconds()))
        except queue.Empty:
            pass
        now = time.monotonic()
        if now >= self._core.next_due_seconds:
            self._take(core.Tick(now))
        self._write_results()
        self._commit(now)
        for notice in self._spool.notices():
            self._take(
                core.StorageChanged(code=notice.code, message=notice.message, on_disk=self._spool.on_disk)
            )
        if self._courier is not None:
            self._courier.turn(now)
        if self._flushing and (self._courier is None or self._courier.idle):
            self._flushing = False
            self._take(core.Flushed())

    def _wait_seconds(self) -> float:
        now = time.monotonic()
        due = min(self._core.next_due_seconds, now + _LONGEST_WAIT_SECONDS)
        if (
            self._results is not None
            or self._flushing
            or (self._courier is not None and not self._courier.idle)
        ):
            due = min(due, now + _RESULT_POLL_SECONDS)
        return max(due - now, 0.001)

    def _dispatch(self, item: core.Occurrence | BrokerReport | WorkerReport) -> None:
        match item:
            case SourceDone(reason):
                self._take(core.SourceEnded(reason))
            case WorkerFailed(error):
                self._take(core.Failed(code=error.code, message=str(error)))
            case WorkerLeft():
                self._take(core.WorkerStopped())
            case core.StopRequested():
                self._take(item)
            case _:
                self._take_report(item)  # type: ignore[arg-type]  # nothing else is put in

    def _take_report(self, report: BrokerReport) -> None:
        if self._courier is None:
            return
        change = self._courier.handle(report, time.monotonic())
        match change:
            case LinkChange(connected=True):
                _LOG.info("connected to %s:%s", self._config.mqtt.host, self._config.mqtt.port)
                self._take(core.LinkUp())
            case LinkChange(connected=False, reason=reason):
                _LOG.warning("no connection to the broker: %s", reason)
                self._take(core.LinkDown(reason))
            case Refused(reason):
                _LOG.warning("the broker refused a message: %s", reason)

    def _take(self, occurrence: core.Occurrence) -> None:
        """Give the core what happened, and carry out what it wants; a failing step is reported back to it."""
        for effect in self._core.handle(occurrence):
            try:
                self._do(effect)
            except EdgewrightError as error:
                self._take(core.Failed(code=error.code, message=str(error)))

    def _do(self, effect: core.Effect) -> None:
        match effect:
            case core.VerifyArtifact():
                self._verify()
            case core.LoadEngine():
                self._load()
            case core.RunSelfTest():
                self._test()
            case core.StartInference():
                self._start_inference()
            case core.StopWorker():
                self._stop_worker()
            case core.Sample():
                self._sample()
            case core.RecordBirth():
                self._record_birth()
            case core.RecordHealth(status, reason):
                self._record_health(status, reason)
            case core.RecordEvent():
                self._record_event(effect)
            case core.ReportLoss():
                self._report_loss()
            case core.Flush():
                self._spool.commit()
                self._flushing = True
            case core.Exit():
                self._exit = effect

    # --- from artifact to inference ---

    def _verify(self) -> None:
        self._archive = verify_artifact(self._config)
        manifest = self._archive.manifest
        self._stamper.artifact = self._archive.digest
        self._inbox_now(
            core.ArtifactVerified(
                digest=self._archive.digest,
                name=manifest.name,
                version=manifest.version,
                target=manifest.target,
                verdict=manifest.verdict,
            )
        )

    def _load(self) -> None:
        if self._archive is None:
            raise ContractError("no artifact was verified.")
        self._engine, seconds = load_payload(self._archive, self._config)
        self._inbox_now(
            core.EngineLoaded(engine=self._engine.name, engine_version=self._engine.version, seconds=seconds)
        )

    def _test(self) -> None:
        if self._archive is None or self._engine is None:
            raise ContractError("no engine was loaded.")
        tested = run_self_test(self._archive, self._engine)
        self._inbox_now(
            core.SelfTestPassed(
                samples=tested.samples,
                largest_lsb=tested.largest_lsb,
                smallest_equal_share=tested.smallest_equal_share,
            )
        )

    def _start_inference(self) -> None:
        if self._archive is None or self._engine is None:
            raise ContractError("no engine was loaded.")
        source = self._open_source(self._archive)
        wanted = self._config.results
        if (wanted.mqtt or wanted.jsonl is not None) and self._engine.name != "null":
            from device_agent.results import ResultQueue  # noqa: PLC0415 - loads numpy, which the null engine must not
            from device_agent.results_file import ResultsFile  # noqa: PLC0415 - as above

            self._results = ResultQueue(size=wanted.queue_results, max_rate_hz=wanted.max_rate_hz)
            if wanted.jsonl is not None:
                self._results_file = ResultsFile(wanted.jsonl, max_bytes=wanted.jsonl_max_bytes)
        self._worker = Worker(
            engine=self._engine,
            source=source,
            results=self._results,
            rate_hz=self._config.source.rate_hz,
            max_frames=self._config.source.max_frames,
            max_consecutive_errors=self._config.engine.max_consecutive_errors,
            report=self._inbox.put,
        )
        self._window_started_seconds = time.monotonic()
        self._worker.start()

    def _open_source(self, archive: ArtifactArchive) -> Source:
        wanted, manifest = self._config.source, archive.manifest
        if wanted.kind == "null":
            from device_agent.sources.synthetic import SyntheticSource  # noqa: PLC0415 - only the chosen source is loaded

            return SyntheticSource(manifest.inputs, as_arrays=manifest.requires.engine != "null")
        if wanted.kind == "directory" and wanted.path is not None:
            from device_agent.sources.directory import DirectorySource  # noqa: PLC0415 - as above

            return DirectorySource(wanted.path, manifest.inputs, manifest.preprocessing, loop=wanted.loop)
        if wanted.kind == "replay" and wanted.path is not None:
            from device_agent.sources.replay import ReplaySource  # noqa: PLC0415 - as above

            return ReplaySource(wanted.path, manifest.inputs, loop=wanted.loop)
        from device_agent.sources.mqtt import MqttSource  # noqa: PLC0415 - as above

        source = MqttSource(
            manifest.inputs,
            manifest.preprocessing,
            queue_frames=wanted.queue_frames,
            max_frame_bytes=wanted.max_frame_bytes,
            on_refused=partial(_LOG.warning, "frame refused: %s"),
        )
        self._frames = FrameSubscription(wanted.topic or self._topics.frames(), source.offer)
        if self._courier is not None:
            # The connection was made before there was anything to subscribe to.
            self._courier.close()
            self._courier = self._new_courier()
            self._spool.release()
        return source

    def _stop_worker(self) -> None:
        if self._worker is None:
            self._inbox_now(core.WorkerStopped())
        else:
            self._worker.stop()

    # --- what is said ---

    def _sample(self) -> None:
        now = time.monotonic()
        worker = self._worker
        latencies = worker.take_window() if worker is not None else Histogram()
        dropped_results = self._results.dropped if self._results is not None else 0
        counters = Counters(
            inferences=worker.inferences if worker is not None else 0,
            errors=worker.errors if worker is not None else 0,
            dropped_frames=worker.dropped if worker is not None else 0,
        )
        lost = self._spool.lost_total
        messages = (
            inference_window(
                self._stamper.next(),
                latencies=latencies,
                counters=counters,
                window_seconds=max(now - self._window_started_seconds, 1e-6),
                idle_reason="no inference in this window" if worker is not None else "the model does not run",
            ),
            system_sample(
                self._stamper.next(),
                self._sensors.system(now),
                SpoolState(
                    messages=self._spool.rows,
                    size_bytes=self._spool.size_bytes,
                    dropped=lost.total + dropped_results,
                ),
            ),
            thermal_sample(self._stamper.next(), self._sensors.heat()),
            power_sample(self._stamper.next(), self._sensors.power(now)),
        )
        self._window_started_seconds = now
        for message in messages:
            self._record_measurement(message)
        errors = worker.errors if worker is not None else 0
        self._take(
            core.WindowClosed(
                inferences=latencies.count,
                errors=errors,
                last_error=worker.last_error if worker is not None else "",
            )
        )

    def _record_measurement(self, message: Measurement) -> None:
        if message.TYPE not in self._said_units:
            self._said_units.add(message.TYPE)
            self._append(
                Kind.STATE, self._topics.units(message.TYPE), encode_units(units_of(message)), retain=True
            )
        self._record(Kind.MEASUREMENT, self._topics.measurement(message.TYPE), message)

    def _record_birth(self) -> None:
        manifest = self._archive.manifest if self._archive is not None else None
        birth = Birth(
            envelope=self._stamper.next(),
            agent_version=__version__,
            python_version=platform.python_version(),
            engine=self._engine.name if self._engine is not None else None,
            engine_version=self._engine.version if self._engine is not None else None,
            model_name=manifest.name if manifest is not None else None,
            model_version=manifest.version if manifest is not None else None,
            target=manifest.target if manifest is not None else None,
            host=host_facts(),
        )
        self._record(Kind.STATE, self._topics.birth(), birth, retain=True)

    def _record_health(self, status: str, reason: str) -> None:
        health = self._health(status, reason)
        _LOG.info("health: %s %s", status, reason)
        self._record(Kind.STATE, self._topics.health(), health, retain=True)

    def _health(self, status: str, reason: str) -> Health:
        import os  # noqa: PLC0415

        return Health(envelope=self._stamper.next(), status=status, pid=os.getpid(), reason=reason[:500])  # type: ignore[arg-type]

    def _record_event(self, event: core.RecordEvent) -> None:
        _LOG.log(_SEVERITY_LEVELS[event.severity], "%s: %s", event.name, event.text)
        message = Event(
            envelope=self._stamper.next(),
            device=self._config.device.id,
            name=event.name,
            severity=event.severity,
            text=event.text[:1000],
            details=event.details,
        )
        self._record(Kind.EVENT, self._topics.event(event.name), message)
        self._spool.commit()

    def _report_loss(self) -> None:
        loss = self._spool.unreported_loss
        if not loss.total:
            return
        self._record_event(
            core.RecordEvent(
                name="messages_lost",
                severity="warning",
                text=f"The spool was full: {loss.measurements} measurements, {loss.results} results, {loss.events} events were lost.",
                details={"measurements": loss.measurements, "results": loss.results, "events": loss.events},
            )
        )
        self._spool.loss_reported(loss)

    def _write_results(self) -> None:
        if self._results is None or self._archive is None:
            return
        from device_agent.results import result_message  # noqa: PLC0415 - loads numpy

        wanted = self._config.results
        while (outcome := self._results.take()) is not None:
            message = result_message(
                self._stamper.next() if wanted.mqtt else self._stamper.again(0),
                outcome,
                self._archive.manifest.outputs,
                top_k=wanted.top_k,
                raw_max_values=wanted.raw_max_values,
            )
            if self._results_file is not None:
                self._results_file.write(encode(message))
            if wanted.mqtt:
                self._record(Kind.RESULT, self._topics.results(), message)

    def _record(self, kind: Kind, topic: str, message: Message, *, retain: bool = False) -> None:
        self._append(kind, topic, encode(message), retain=retain)

    def _append(self, kind: Kind, topic: str, payload: bytes, *, retain: bool) -> None:
        if len(payload) > self._config.mqtt.payload_max_bytes:
            _LOG.error(
                "%s: a message of %d bytes is over mqtt.payload_max_bytes and is not sent",
                topic,
                len(payload),
            )
            return
        self._spool.append(kind, topic, payload, retain=retain)

    def _commit(self, now: float) -> None:
        if now - self._committed_seconds >= self._config.spool.commit_interval_seconds or self._flushing:
            self._spool.commit()
            self._committed_seconds = now
            if not self._spool.on_disk:
                self._spool.return_to_disk()

    def _inbox_now(self, occurrence: core.Occurrence) -> None:
        """Take in what a step gave, after the step's own effect is done."""
        self._take(occurrence)

    # --- the broker ---

    def _new_courier(self) -> Courier:
        limits = self._config.mqtt
        return Courier(
            spool=self._spool,
            limits=CourierLimits(
                max_inflight_messages=limits.max_inflight_messages,
                max_messages_per_second=limits.max_messages_per_second,
                reconnect_min_seconds=limits.reconnect_min_seconds,
                reconnect_max_seconds=limits.reconnect_max_seconds,
                ack_timeout_seconds=limits.ack_timeout_seconds,
            ),
            open_connection=self._open_connection,
            jitter=random.random,
        )

    def _open_connection(self, number: int) -> BrokerConnection:
        will = Will(
            self._topics.health(), encode(self._health("down", "the connection to the agent was lost"))
        )
        return BrokerConnection(
            number=number, settings=self._settings, will=will, report=self._inbox.put, frames=self._frames
        )

    def _close(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        if self._courier is not None:
            self._courier.close()
            end = time.monotonic() + _CLOSE_SECONDS
            while time.monotonic() < end and any(
                thread.name.startswith("broker-") for thread in threading.enumerate()
            ):
                time.sleep(0.01)
        if self._results_file is not None:
            self._results_file.close()
        if self._engine is not None:
            self._engine.close()
        self._spool.close()


def _broker_settings(config: AgentConfig) -> BrokerSettings:
    wanted = config.mqtt
    password = mqtt_password(wanted)
    return BrokerSettings(
        host=wanted.host,
        port=wanted.port,
        version=wanted.version,
        client_id=wanted.client_id or f"edgewright-{config.device.id}",
        username=wanted.username,
        password=None if password is None else Secret(password),
        tls=None
        if wanted.tls_ca is None
        else TlsFiles(ca=wanted.tls_ca, cert=wanted.tls_cert, key=wanted.tls_key),
        keepalive_seconds=wanted.keepalive_seconds,
        connect_timeout_seconds=wanted.connect_timeout_seconds,
        will_delay_seconds=wanted.will_delay_seconds,
        max_inflight_messages=wanted.max_inflight_messages,
    )
