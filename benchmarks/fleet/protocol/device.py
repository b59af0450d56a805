"""`Device`: one agent without its threads: its own core, updates, recorder, spool and courier, in a loop that others share.

A `Run` is what a process of the agent is; when the core wants to begin anew, the device begins another, with a new boot id and a new session.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final

from device_agent import effects, occurrences
from device_agent.broker import broker_settings, courier_limits
from device_agent.contract.errors import EdgewrightError
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.contract.topics import DeviceTopics, subscription
from device_agent.core import Core, Timing
from device_agent.engines.null import NullEngine
from device_agent.sensors.host import boot_id, clock_is_synchronized
from device_agent.startup import verify_artifact
from device_agent.telemetry.courier import Courier, LinkChange, Refused
from device_agent.telemetry.link import Connected, Delivered, Disconnected
from device_agent.telemetry.recorder import Recorder
from device_agent.telemetry.sampler import SpoolState
from device_agent.telemetry.spool import Spool, SpoolLimits
from device_agent.telemetry.stamp import Stamper
from device_agent.update.updates import Updates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from benchmarks.fleet.protocol.connections import Loop
    from benchmarks.fleet.protocol.inference import DrawnInference
    from device_agent.config import AgentConfig
    from device_agent.contract.telemetry.message import Scalar
    from device_agent.telemetry.link import BrokerReport
    from device_agent.update.jobs import Answer
    from device_agent.update.report import Following
    from device_agent.update.state import Notice

_NULL: Final = ("null", "1.0")
_HOST: Final[Mapping[str, Scalar]] = {
    "machine": "x86_64",
    "kernel": "simulated",
    "cpu_count": 4,
    "memory_bytes": 2 << 30,
}


class Device:
    """A device that begins anew when its agent would.

    Args:
        config: As of an agent's file.
        inference: What it infers.
        loop: Has its sessions.
        pool: Does its steps.
        touch: Asks for a `turn` at once; on the loop's thread.
        tell: Told of every event of an update.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        inference: DrawnInference,
        loop: Loop,
        pool: Executor,
        touch: Callable[[], None],
        tell: Callable[[Notice], None],
    ) -> None:
        self._config = config
        self._inference = inference
        self._loop = loop
        self._pool = pool
        self._touch = touch
        self._tell = tell
        self._run: Run | None = None
        self.has_ended = False

    @property
    def is_up(self) -> bool:
        """Whether it infers and is connected."""
        return self._run is not None and self._run.is_up

    def turn(self, now_seconds: float) -> float:
        """Do what is due; return when to call again at the latest, in monotonic seconds."""
        if self.has_ended:
            return float("inf")
        if self._run is None:
            self._run = Run(
                self._config,
                inference=self._inference,
                loop=self._loop,
                pool=self._pool,
                touch=self._touch,
                tell=self._tell,
            )
        due = self._run.turn(now_seconds)
        if self._run.exit is None:
            return due
        self.has_ended = self._run.exit.code != "restart"
        self._run.close()
        self._run = None
        return now_seconds

    def stop(self) -> None:
        """Let it end in order."""
        if self._run is None:
            self.has_ended = True
        else:
            self._run.stop()
            self._touch()


class Run:
    """What one process of the agent does; see `device_agent.agent.Agent`, whose loop this follows."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        inference: DrawnInference,
        loop: Loop,
        pool: Executor,
        touch: Callable[[], None],
        tell: Callable[[Notice], None],
    ) -> None:
        from benchmarks.fleet.protocol.steps import Steps  # noqa: PLC0415  TUF only where it runs

        self._config = config
        self._inference = inference
        inference.total = 0
        self._loop = loop
        self._touch = touch
        self._told = tell
        self._waiting: deque[occurrences.Occurrence] = deque()
        self._restart_wanted = self._flush_wanted = False
        self._commit_due_seconds = self._window_began_seconds = monotonic()
        self._told_following: Following | None = None
        self.exit: effects.Exit | None = None
        self._core = Core(
            Timing(
                window_seconds=config.telemetry.interval_seconds,
                drain_timeout_seconds=config.spool.drain_timeout_seconds,
            )
        )
        self._spool = Spool(
            config.spool.path,
            SpoolLimits(
                max_bytes=config.spool.max_bytes,
                max_rows=config.spool.max_messages,
                memory_max_bytes=config.spool.memory_max_bytes,
            ),
        )
        run_id = boot_id()
        self._stamper = _stamper(run_id)
        self._recorder = Recorder(
            spool=self._spool,
            stamper=self._stamper,
            topics=DeviceTopics(config.device.id, config.mqtt.topic_root),
            payload_max_bytes=config.mqtt.payload_max_bytes,
            local_stamper=_stamper(f"{run_id}-local"),
        )
        settings = broker_settings(config)
        commands = subscription("cmd", device=config.device.id, root=config.mqtt.topic_root)
        self._courier = Courier(
            spool=self._spool,
            limits=courier_limits(config.mqtt),
            open_connection=lambda number: loop.connect(
                number, settings, self._recorder.will(), report=self._reported, subscriptions=(commands,)
            ),
            jitter=random.random,
        )
        self._updates = Updates(
            config,
            report=lambda answer: loop.put(lambda: self._answered(answer)),
            tell=self._note,
            restart=self._want_restart,
            children=Steps(
                lambda answer: loop.put(lambda: self._answered(answer)), pool=pool, cosine=inference.cosine
            ),
        )
        self._artifact = self._updates.begin()
        self._model: tuple[str, str, str] | None = None
        self._actions: Mapping[type[Any], Callable[[Any], None]] = {
            effects.VerifyArtifact: lambda _: self._verify(),
            effects.LoadEngine: lambda _: self._load(),
            effects.RunSelfTest: lambda _: self._waiting.append(
                occurrences.SelfTestPassed(samples=0, largest_lsb=0.0, smallest_equal_share=1.0)
            ),
            effects.StartInference: lambda _: self._begin_window(),
            effects.StopWorker: lambda _: self._waiting.append(occurrences.WorkerStopped()),
            effects.Sample: lambda _: self._sample(),
            effects.RecordBirth: lambda _: self._birth(),
            effects.RecordHealth: lambda effect: self._recorder.health(effect.status, effect.reason),
            effects.RecordEvent: lambda effect: self._recorder.event(
                effect.name, effect.severity, effect.text, effect.details
            ),
            effects.ReportLoss: lambda _: self._recorder.loss(),
            effects.Flush: lambda _: setattr(self, "_flush_wanted", True),
            effects.Exit: lambda effect: setattr(
                self, "exit", replace(effect, code="restart") if self._restart_wanted else effect
            ),
        }
        self._waiting.append(occurrences.Started(monotonic()))

    @property
    def is_up(self) -> bool:
        """Whether it infers and is connected."""
        return self._core.phase == "running" and self._courier.connected

    def turn(self, now_seconds: float) -> float:
        """Do what is due; return when to call again at the latest."""
        self._take_waiting()
        if now_seconds >= self._core.next_due_seconds:
            self._take_in(occurrences.Tick(now_seconds))
        self._updates.turn(now_seconds)
        self._take_waiting()
        following = self._updates.following
        if self._told_following not in (None, following):
            self._told_following = following
            self._recorder.reported(following)
        if self._spool.is_dirty and (now_seconds >= self._commit_due_seconds or self._flush_wanted):
            self._spool.commit()
            self._commit_due_seconds = now_seconds + self._config.spool.commit_interval_seconds
        due = self._courier.turn(now_seconds)
        self._take_in(occurrences.Trouble("link", self._courier.doubt))
        if self._flush_wanted and self._courier.idle:
            self._flush_wanted = False
            self._take_in(occurrences.Flushed())
        if self._waiting:
            return now_seconds
        if self._spool.is_dirty:
            due = min(due, self._commit_due_seconds)
        return min(due, self._updates.next_due_seconds, self._core.next_due_seconds)

    def stop(self) -> None:
        """Let it end in order, as SIGTERM does."""
        self._restart_wanted = False
        self._updates.stopping()
        self._waiting.append(occurrences.StopRequested("the benchmark ends"))

    def close(self) -> None:
        """Close everything."""
        self._updates.close()
        self._courier.close(0.0)
        self._spool.close()

    # --- what comes in ---

    def _take_waiting(self) -> None:
        while self._waiting:
            self._take_in(self._waiting.popleft())

    def _take_in(self, occurrence: occurrences.Occurrence) -> None:
        self._core.tell_time(monotonic())
        for effect in self._core.handle(occurrence):
            self._actions[type(effect)](effect)

    def _reported(self, report: BrokerReport) -> None:
        if self.exit is not None:
            return
        match self._courier.handle(report, monotonic()):
            case LinkChange(connected=True):
                self._take_in(occurrences.LinkUp())
                self._spool.commit()
            case LinkChange(connected=False, reason=reason):
                self._take_in(occurrences.LinkDown(reason))
            case Refused() as refused:
                self._recorder.count_refused(refused.kind)
        match report:
            case Connected() | Disconnected():
                self._touch()
            case Delivered() if self._flush_wanted or self._spool.rows:
                self._touch()

    def _answered(self, answer: Answer) -> None:
        if self.exit is None:
            self._updates.handle(answer)
            self._touch()

    def _want_restart(self, reason: str) -> None:
        self._restart_wanted = True
        self._waiting.append(occurrences.RestartRequested(reason))

    def _note(self, notice: Notice) -> None:
        self._recorder.event(notice.name, notice.severity, notice.text, notice.details)
        self._told(notice)

    # --- what the worker and the reporter do in an agent ---

    def _verify(self) -> None:
        try:
            archive = verify_artifact(replace(self._config, artifact=self._artifact))
        except EdgewrightError as error:
            self._updates.failed(error.code, str(error))
            self._waiting.append(occurrences.Failed(code=error.code, message=str(error)))
            return
        manifest = archive.manifest
        self._stamper.artifact = archive.digest
        self._model = (manifest.name, manifest.version, manifest.target)
        self._waiting.append(
            occurrences.ArtifactVerified(
                digest=archive.digest,
                name=manifest.name,
                version=manifest.version,
                target=manifest.target,
                verdict=manifest.verdict,
            )
        )

    def _load(self) -> None:
        self._updates.models[MAIN_MODEL].tapped(NullEngine(("x",), {"y": 40}, 0.0))
        self._waiting.append(occurrences.EngineLoaded(engine=_NULL[0], engine_version=_NULL[1], seconds=0.0))

    def _begin_window(self) -> None:
        self._window_began_seconds = monotonic()

    def _sample(self) -> None:
        now = monotonic()
        seconds, self._window_began_seconds = now - self._window_began_seconds, now
        spool = SpoolState(
            messages=self._spool.rows,
            size_bytes=self._spool.size_bytes,
            dropped=self._spool.lost_total.total,
        )
        latencies, messages = self._inference.window(seconds, self._recorder.next_envelope, spool)
        for message in messages:
            self._recorder.measurement(message)
        self._updates.observed(
            inferences=latencies.count, errors=0, p95_seconds=latencies.quantile_seconds(0.95)
        )
        self._take_in(occurrences.WindowClosed(inferences=latencies.count, errors=0, last_error=""))

    def _birth(self) -> None:
        engine = None if self._model is None else _NULL
        self._recorder.birth(engine=engine, model=self._model, host=_HOST)
        self._told_following = self._updates.following
        self._recorder.reported(self._told_following)


def _stamper(run_id: str) -> Stamper:
    return Stamper(
        boot_id=run_id, wall_seconds=time, monotonic_seconds=monotonic, synchronized=clock_is_synchronized
    )
