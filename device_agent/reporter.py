"""`Reporter`: what the agent reports of itself: the messages of each window, its birth, and its state when somebody asks."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING

from device_agent.energy.window import WindowEnergy
from device_agent.log import RecentTroubles
from device_agent.operations.status import Moment, StatusBoard
from device_agent.sensors.host import host_facts
from device_agent.sensors.thermal import trip_points
from device_agent.sensors.throttling import ThrottleWatch
from device_agent.telemetry import sampler

if TYPE_CHECKING:
    from device_agent.config import AgentConfig
    from device_agent.contract.telemetry import HealthStatus
    from device_agent.inference import Window
    from device_agent.model_runner import ModelRunner
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
        lost_before: Messages that were lost before this run.
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
        lost_before: int,
    ) -> None:
        self._config = config
        self._recorder = recorder
        self._spool = spool
        self._stamper = stamper
        self._sensors = sensors
        self._runner = runner
        self._energy = WindowEnergy(config.sensors.idle_watts)
        self._throttle_watch = ThrottleWatch()
        self._troubles = RecentTroubles()
        self._board = StatusBoard(
            device=config.device.id,
            broker=f"{config.mqtt.host}:{config.mqtt.port}" if config.mqtt.enabled else "",
            now_seconds=monotonic(),
        )
        self._lost_before = lost_before
        self._refused_told = 0
        self._window_started_seconds = monotonic()

    def open(self) -> None:
        """Remember what is logged as trouble from now on."""
        logging.getLogger().addHandler(self._troubles)

    def close(self) -> None:
        """Remember no more."""
        logging.getLogger().removeHandler(self._troubles)

    def begin_window(self) -> None:
        """Count a window's seconds from now on: inference begins."""
        self._window_started_seconds = monotonic()

    def close_window(self, *, model_runs: bool) -> Window:
        """Record one message of each type.

        Args:
            model_runs: Whether inferences were to be expected.

        Returns:
            What the window saw; its latencies are valid until the next call.
        """
        now, window, record = monotonic(), self._runner.meter.close_window(), self._recorder.measurement
        seconds, self._window_started_seconds = now - self._window_started_seconds, now
        envelope = self._recorder.next_envelope
        if window.inferences_total or model_runs or self._runner.has_source:
            record(
                sampler.inference_window(
                    envelope(),
                    latencies=window.latencies,
                    counters=sampler.Counters(
                        inferences=window.inferences_total,
                        errors=window.errors_total,
                        dropped_frames=self._runner.dropped_frames,
                    ),
                    window_seconds=max(seconds, 1e-9),
                    idle_reason=window.last_error if window.errors else "no frame came in this window",
                )
            )
        self._board.window(window, seconds=seconds)
        record(sampler.system_sample(envelope(), self._sensors.system(now), self._spool_state()))
        most = self._config.mqtt.payload_max_bytes
        heat, power = self._sensors.heat(), self._sensors.power(now)
        energy = self._energy.read(
            power,
            now_seconds=now,
            inferences_total=window.inferences_total,
            throttled=self._throttle_watch.reasons(heat),
        )
        record(sampler.fitted(sampler.thermal_sample(envelope(), heat), max_bytes=most))
        record(sampler.fitted(sampler.power_sample(envelope(), (*energy, *power)), max_bytes=most))
        return window

    def tell_refused_frames(self) -> None:
        """If frames were not understood, record an event that tells; called once a window."""
        refused = self._runner.refused_frames
        if refused > self._refused_told:
            count = refused - self._refused_told
            self._recorder.event(
                "frames_refused",
                "warning",
                f"{count} frames were not understood. The last one: {self._runner.last_refusal}",
                {"frames": count},
            )
        self._refused_told = refused

    def birth(self) -> None:
        """Record who this is, and what runs."""
        self._recorder.birth(
            engine=self._runner.engine_version,
            model=self._runner.model,
            host={**host_facts(), **trip_points(self._config.sensors.sysfs_root)},
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
                },
                commands_waiting=commands_waiting,
                troubles=self._troubles.last,
                log_level=logging.getLevelName(logging.getLogger().level).lower(),
            )
        )

    def _spool_state(self) -> sampler.SpoolState:
        return sampler.SpoolState(
            messages=self._spool.rows,
            size_bytes=self._spool.size_bytes,
            dropped=max(0, self._spool.lost_total.total - self._lost_before),
        )
