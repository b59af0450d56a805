"""`deliveries`: what a simulated fleet says, as the contract's messages, in the order in which they arrive.

What was said during an outage arrives when it is over, all at once and after newer messages of others; a device whose
clock is wrong says times that are wrong, and its uptime is right, as the contract promises.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from device_agent.contract.telemetry.codec import encode
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import (
    ExponentialHistogram,
    InferenceWindow,
    PowerSample,
    Reading,
    SystemSample,
    ThermalSample,
)
from device_agent.contract.telemetry.message import Envelope, Message
from device_agent.contract.telemetry.result import Result, TopK
from device_agent.contract.telemetry.states import Birth, Health
from device_agent.contract.topics import DEFAULT_ROOT, DeviceTopics
from host_tools.review.analysis.percentiles import quantiles
from host_tools.review.listener import Delivery
from host_tools.review.simulation.outputs import OUTPUT
from host_tools.review.simulation.store import block_windows
from host_tools.review.store.windows import Histograms, Selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from host_tools.review.simulation.fleet import Block, SimulatedFleet
    from host_tools.review.store.windows import WindowTable

_SHARES = (0.5, 0.9, 0.95, 0.99)
_FIRST_SEQ = 1
"""0 is the farewell's."""
_TOTAL_MEMORY = 1 << 30


@dataclass(slots=True)
class _Run:
    """One run of one agent: what counts since it started."""

    boot_id: str
    started: float
    seq: int = _FIRST_SEQ
    inferences: int = 0
    errors: int = 0
    dropped: int = 0
    joules: float = 0.0


def messages(fleet: SimulatedFleet) -> Iterator[tuple[float, str, Message]]:
    """Yield Unix time of arrival, device id and message, in the order of arrival."""
    late: list[tuple[float, int, str, Message]] = []
    number = 0
    talkers = [_Talker(fleet, index) for index in range(fleet.blocks)]
    for window in range(fleet.plan.windows):
        end = fleet.plan.start + (window + 1) * fleet.plan.level.seconds
        for talker in talkers:
            for at, device, message in talker.say(window):
                heapq.heappush(late, (at, number, device, message))
                number += 1
        while late and late[0][0] <= end:
            at, _, device, message = heapq.heappop(late)
            yield at, device, message
    while late:
        at, _, device, message = heapq.heappop(late)
        yield at, device, message


def deliveries(fleet: SimulatedFleet, *, root: str = DEFAULT_ROOT) -> Iterator[Delivery]:
    """Yield the same as it comes from a broker."""
    topics: dict[str, DeviceTopics] = {}
    for at, device, message in messages(fleet):
        known = topics.setdefault(device, DeviceTopics(device, root))
        yield Delivery(topic=_topic(known, message), payload=encode(message), received=at)


class _Talker:
    """What the devices of one block say, window by window."""

    def __init__(self, fleet: SimulatedFleet, number: int) -> None:
        self._fleet = fleet
        self._block: Block = fleet.block(number)
        everything = Selection(start=fleet.plan.start, end=fleet.plan.end)
        self._table: WindowTable = block_windows(fleet, self._block, self._block.alive, everything)
        self._places = np.full(self._block.alive.shape, -1, dtype=np.int64)
        self._places[self._block.alive] = np.arange(int(self._block.alive.sum()))
        self._quantiles = quantiles(self._table.hist, _SHARES)
        self._runs: dict[int, _Run] = {}
        self._rng = np.random.default_rng([fleet.seed, 5, number])

    def say(self, window: int) -> Iterator[tuple[float, str, Message]]:
        block, seconds = self._block, float(self._fleet.plan.level.seconds)
        for row in np.flatnonzero(block.alive[:, window]):
            device = self._fleet.devices[block.first + row].device
            end = float(block.times[window]) + seconds
            # Devices do not speak in one voice: each takes its own part of a second.
            at = (
                end
                + 0.05
                + 0.5 * ((block.first + int(row)) * 0.618034 % 1.0)
                + float(block.delay[row, window])
            )
            begins = block.starts[row, window] > 0 or int(row) not in self._runs
            if begins:
                self._start(int(row), window)
            said: list[Message] = self._greeting(int(row), window) if begins else []
            said += self._window(int(row), window)
            for message in said:
                yield at, device, message

    def _start(self, row: int, window: int) -> None:
        index = self._block.first + row
        self._runs[row] = _Run(
            boot_id=f"{self._fleet.seed:x}-{index:x}-{window:x}", started=float(self._block.times[window])
        )

    def _envelope(self, row: int, at: float, artifact: str) -> Envelope:
        run = self._runs[row]
        error = self._fleet.clock_error(self._block.first + row)
        run.seq += 1
        return Envelope(
            time=at + error,
            boot_id=run.boot_id,
            seq=run.seq - 1,
            uptime_seconds=round(at - run.started, 6),
            clock="unsynced" if error else "synced",
            artifact=artifact,
        )

    def _greeting(self, row: int, window: int) -> list[Message]:
        device = self._fleet.devices[self._block.first + row]
        artifact = self._fleet.artifacts[self._block.artifact[row, window]]
        at = float(self._block.times[window])
        said: list[Message] = [
            Birth(
                envelope=self._envelope(row, at, artifact),
                agent_version=device.agent_version,
                python_version="3.11.2",
                engine=device.board.engine,
                engine_version=device.board.engine_version,
                model_name="detector",
                model_version=str(1 + int(self._block.artifact[row, window])),
                target=device.board.target,
                host={"kernel": device.kernel, "site": f"site-{device.site}"},
            ),
            Health(envelope=self._envelope(row, at, artifact), status="up", pid=4242, reason=""),
        ]
        if window and self._block.artifact[row, window] != self._block.artifact[row, window - 1]:
            said.append(
                Event(
                    envelope=self._envelope(row, at, artifact),
                    device=device.device,
                    name="update_committed",
                    severity="info",
                    text="The update is committed.",
                    details={"artifact": artifact},
                )
            )
        return said

    def _window(self, row: int, window: int) -> list[Message]:
        block, run, seconds = self._block, self._runs[row], float(self._fleet.plan.level.seconds)
        artifact = self._fleet.artifacts[block.artifact[row, window]]
        at = float(block.times[window]) + seconds
        place = int(self._places[row, window])
        run.inferences += int(block.inferences[row, window])
        run.errors += int(block.errors[row, window])
        run.dropped += int(block.dropped[row, window])
        run.joules += float(block.heat.watts[row, window]) * seconds
        said: list[Message] = [
            self._inference(row, at, artifact, place),
            self._system(row, window, at, artifact),
            ThermalSample(envelope=self._envelope(row, at, artifact), readings=_heat(block, row, window)),
            self._power(row, window, at, artifact),
        ]
        if block.inferences[row, window]:
            said.append(self._result(row, window, at, artifact))
        return said

    def _inference(self, row: int, at: float, artifact: str, place: int) -> InferenceWindow:
        run, table, seconds = self._runs[row], self._table, float(self._fleet.plan.level.seconds)
        count = int(table.latency_count[place])
        p50, p90, p95, p99 = (float(one) if count else None for one in self._quantiles[place])
        names = ("min", "max", "p50", "p90", "p95", "p99")
        return InferenceWindow(
            envelope=self._envelope(row, at, artifact),
            window_seconds=seconds,
            inferences_total=run.inferences,
            errors_total=run.errors,
            dropped_frames_total=run.dropped,
            throughput_per_second=count / seconds,
            latency_count=count,
            latency_sum_seconds=float(table.latency_sum[place]),
            latency_min_seconds=float(table.latency_min[place]) if count else None,
            latency_max_seconds=float(table.latency_max[place]) if count else None,
            latency_p50_seconds=p50,
            latency_p90_seconds=p90,
            latency_p95_seconds=p95,
            latency_p99_seconds=p99,
            hist=_histogram(table.hist, place),
            absent={}
            if count
            else {f"latency_{name}_seconds": "no frame came in this window" for name in names},
        )

    def _system(self, row: int, window: int, at: float, artifact: str) -> SystemSample:
        rss = int(self._block.rss[row, window])
        return SystemSample(
            envelope=self._envelope(row, at, artifact),
            cpu_ratio=float(np.clip(0.04 + 0.9 * self._block.heat.busy[row, window], 0, 1)),
            process_cpu_ratio=float(self._block.heat.busy[row, window]),
            process_rss_bytes=rss,
            process_pss_bytes=rss - (2 << 20),
            memory_available_bytes=_TOTAL_MEMORY - rss - (200 << 20),
            memory_total_bytes=_TOTAL_MEMORY,
            swap_used_bytes=0,
            load_1m=round(4 * float(self._block.heat.busy[row, window]), 2),
            cpu_frequency_hertz=1.8e9,
            storage_available_bytes=6 << 30,
            spool_messages=0,
            spool_bytes=0,
            spool_dropped_total=0,
        )

    def _power(self, row: int, window: int, at: float, artifact: str) -> PowerSample:
        block, run = self._block, self._runs[row]
        watts, done = float(block.heat.watts[row, window]), int(block.inferences[row, window])
        readings = [
            _reading("board_joules_total", run.joules, source="hwmon", scope="board", quality="counter"),
            _reading("board_watts", watts, source="hwmon", scope="board"),
        ]
        absent: dict[str, str] = {}
        if done and not block.heat.throttled[row, window]:
            joules = watts * self._fleet.plan.level.seconds / done
            readings.insert(0, _reading("inference_gross_joules", joules, source="hwmon", scope="board"))
        if np.isfinite(block.charge[row, window]):
            charge, stored = float(block.charge[row, window]), float(block.stored_joules[row, window])
            readings.append(
                _reading("supply_bat0_charge_ratio", charge, source="power_supply", scope="battery")
            )
            readings.append(
                _reading("supply_bat0_stored_joules", stored, source="power_supply", scope="battery")
            )
        return PowerSample(
            envelope=self._envelope(row, at, artifact), readings=tuple(readings), absent=absent
        )

    def _result(self, row: int, window: int, at: float, artifact: str) -> Result:
        index = self._block.first + row
        since = at - self._fleet.plan.start
        drift = self._fleet.drift_of(index, int(self._block.artifact[row, window]), since)
        top = 0 if self._rng.random() < drift else int(self._rng.integers(0, 10))
        sure = float(self._rng.beta(9.0 * (1 - min(drift, 0.8)), 2.2))
        return Result(
            envelope=self._envelope(row, at, artifact),
            frame=f"frame-{window}",
            latency_seconds=float(self._block.medians[row, window]),
            outputs=(TopK(name=OUTPUT, shape=(1, 10), indices=(top,), values=(sure,)),),
        )


def _heat(block: Block, row: int, window: int) -> tuple[Reading, ...]:
    slowed = 1.0 if block.heat.throttled[row, window] > 0 else 0.0
    return (
        _reading(
            "cpu_thermal_celsius", float(block.shown_celsius[row, window]), source="thermal_zone", scope="cpu"
        ),
        _reading("cooling_cpufreq_ratio", slowed, source="cooling_device", scope="cpu"),
    )


def _reading(name: str, value: float, *, source: str, scope: str, quality: str = "sampled") -> Reading:
    return Reading(
        name=name,
        value=value,
        source=source,
        scope=scope,
        quality="counter" if quality == "counter" else "sampled",
    )


def _histogram(hist: Histograms, row: int) -> ExponentialHistogram:
    part = slice(int(hist.offsets[row]), int(hist.offsets[row + 1]))
    pairs: tuple[NDArray[np.int32], NDArray[np.int64]] = (hist.indices[part], hist.counts[part])
    counts = {int(index): int(count) for index, count in zip(*pairs, strict=True)}
    return ExponentialHistogram(scale=hist.scale, zero_count=int(hist.zero_counts[row]), counts=counts)


def _topic(topics: DeviceTopics, message: Message) -> str:
    if isinstance(message, Event):
        return topics.event(message.name)
    if isinstance(message, Birth):
        return topics.birth()
    if isinstance(message, Health):
        return topics.health()
    if isinstance(message, Result):
        return topics.results()
    return topics.measurement(message.TYPE)  # type: ignore[attr-defined]  # all others are measurements
