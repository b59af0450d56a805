"""`Reporter`: what the agent reports of itself: the messages of each window, its birth, and its state when somebody asks."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING

from device_agent.contract.model_names import MAIN_MODEL
from device_agent.contract.telemetry.states import RunningModel
from device_agent.energy.window import WindowEnergy
from device_agent.log import RecentTroubles
from device_agent.operations.status import Moment, StatusBoard
from device_agent.sensors.host import host_facts
from device_agent.sensors.thermal import trip_points
from device_agent.sensors.throttling import ThrottleWatch
from device_agent.telemetry import sampler
from device_agent.window_report import WindowReport

if TYPE_CHECKING:
    from device_agent.beside.alone import Alone
    from device_agent.beside.models import Beside
    from device_agent.config import AgentConfig
    from device_agent.contract.telemetry.states import HealthStatus
    from device_agent.inference import Window
    from device_agent.model_runner import ModelRunner, Running
    from device_agent.sensors.survey import Sensors
    from device_agent.telemetry.recorder import Recorder
    from device_agent.telemetry.spool import Spool
    from device_agent.telemetry.stamp import Stamper


class Reporter:
    """See the module's docstring. One thread calls it.

    Args:
        config: The whole configuration.
        recorder: Takes the messages.
        spool: Where they wait; its state is reported.
        stamper: Knows the run.
        sensors: Measure the machine.
        runner: The model.
        beside: The models beside it.
        lost_before: Messages that were lost before this run.

    Attributes:
        throttled: Why the processor was throttled in the last window, one reason each; empty when it was not.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        recorder: Recorder,
        spool: Spool,
        stamper: Stamper,
        sensors: Sensors,
        runner: ModelRunner,
        beside: Beside | Alone,
        lost_before: int,
    ) -> None:
        self._config = config
        self._recorder = recorder
        self._spool = spool
        self._stamper = stamper
        self._sensors = sensors
        self._runner = runner
        self._beside = beside
        self._windows = WindowReport(runner, recorder, model=beside.main_name, now_seconds=monotonic())
        self._has_several = bool(beside.models) or config.split.path is not None
        self._energy = WindowEnergy(config.sensors.idle_watts, is_shared=self._has_several)
        self._throttle_watch = ThrottleWatch()
        self.throttled: tuple[str, ...] = ()
        self._troubles = RecentTroubles()
        self._board = StatusBoard(
            device=config.device.id,
            broker=f"{config.mqtt.host}:{config.mqtt.port}" if config.mqtt.enabled else "",
            now_seconds=monotonic(),
        )
        self._lost_before = lost_before

    def open(self) -> None:
        """Remember what is logged as trouble from now on."""
        logging.getLogger().addHandler(self._troubles)

    def close(self) -> None:
        """Remember no more."""
        logging.getLogger().removeHandler(self._troubles)

    def begin_window(self) -> None:
        """Count a window's seconds from now on: inference begins."""
        self._windows.begin(monotonic())

    def close_window(self, *, model_runs: bool) -> Window:
        """Record one message of each type.

        Args:
            model_runs: Whether inferences were to be expected.

        Returns:
            What the window of the main model saw, of its own side where its frames are split; its latencies are valid until
            the next call.
        """
        now, record, envelope = monotonic(), self._recorder.measurement, self._recorder.next_envelope
        (window, *_), seconds = self._windows.close(now, model_runs=model_runs)
        self._board.window(window, seconds=seconds)
        record(sampler.system_sample(envelope(), self._sensors.system(now), self._spool_state()))
        most = self._config.mqtt.payload_max_bytes
        heat, power = self._sensors.heat(), self._sensors.power(now)
        self.throttled = self._throttle_watch.reasons(heat)
        energy = self._energy.read(
            power,
            now_seconds=now,
            inferences_total=window.inferences_total,
            throttled=self.throttled,
        )
        record(sampler.fitted(sampler.thermal_sample(envelope(), heat), max_bytes=most))
        record(sampler.fitted(sampler.power_sample(envelope(), (*energy, *power)), max_bytes=most))
        return window

    def tell_refused_frames(self) -> None:
        """If frames were not understood, record an event that tells; called once a window."""
        self._windows.tell_refused_frames()

    def birth(self) -> None:
        """Record who this is, and what runs."""
        self._recorder.birth(
            engine=self._runner.engine_version,
            model=self._runner.model,
            host={**host_facts(), **trip_points(self._config.sensors.sysfs_root)},
            models=self._models() if self._has_several else (),
        )

    def health(self, status: HealthStatus, reason: str) -> None:
        """Record how the agent is."""
        self._recorder.health(status, reason)
        self._board.health(status, reason)

    def link(self, *, connected: bool, reason: str, now_seconds: float) -> None:
        """Take in how the broker's link is."""
        self._board.link(connected=connected, reason=reason, now_seconds=now_seconds)

    def state(self, *, phase: str, commands_waiting: int) -> dict[str, object]:
        """Return everything that is worth knowing now, for whoever asks; see `StatusBoard.document`."""
        spool, archive = self._spool_state(), self._runner.archive
        return self._board.document(
            Moment(
                now_seconds=monotonic(),
                uptime_seconds=self._stamper.uptime_seconds,
                phase=phase,
                boot_id=self._stamper.boot_id,
                model=self._runner.model,
                artifact=None if archive is None else archive.digest,
                engine=self._runner.engine_version,
                dropped_frames=self._runner.dropped_frames,
                spool={
                    "messages": spool.messages,
                    "bytes": spool.size_bytes,
                    "dropped_total": spool.dropped,
                    "on_disk": self._spool.on_disk,
                    "stranded_messages": self._spool.stranded_rows,
                },
                commands_waiting=commands_waiting,
                troubles=self._troubles.last,
                log_level=logging.getLevelName(logging.getLogger().level).lower(),
                models=self._beside.state(),
            )
        )

    def _models(self) -> list[RunningModel]:
        runners = [(MAIN_MODEL, self._runner)]
        runners += [(model.name, model.runner) for model in self._beside.models]
        return [_running(name, side) for name, runner in runners for side in runner.sides]

    def _spool_state(self) -> sampler.SpoolState:
        return sampler.SpoolState(
            messages=self._spool.rows,
            size_bytes=self._spool.size_bytes,
            dropped=max(0, self._spool.lost_total.total - self._lost_before),
        )


def _running(name: str, side: Running) -> RunningModel:
    manifest = None if side.archive is None else side.archive.manifest
    engine = side.engine
    return RunningModel(
        model=name,
        variant=side.variant,
        artifact=None if side.archive is None else side.archive.digest,
        model_name=None if manifest is None else manifest.name,
        model_version=None if manifest is None else manifest.version,
        target=None if manifest is None else manifest.target,
        engine=None if engine is None else engine.name,
        engine_version=None if engine is None else engine.version,
    )
