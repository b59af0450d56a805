"""One process with many devices: ``python -m benchmarks.fleet.protocol.devices SPEC.json``, until SIGTERM.

It writes two files of JSON lines into its folder: ``events.jsonl``, every event of an update as the device said it, and ``counts.jsonl``, once a
second how many devices are up and what was sent.
"""

from __future__ import annotations

import heapq
import json
import logging
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, Final

from benchmarks.fleet.protocol.connections import Loop
from benchmarks.fleet.protocol.device import Device
from benchmarks.fleet.protocol.inference import DrawnInference
from device_agent.config import AgentConfig, parse_config
from host_tools.pack.null_artifact import NULL_TARGET

if TYPE_CHECKING:
    from device_agent.update.state import Notice

_STATUS_SECONDS: Final = 1.0
_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesSpec:
    """What a process is to be.

    Attributes:
        folder: For the devices, a folder each, and for its two files.
        names: Ids of the devices.
        group: That they follow.
        broker_port: On loopback.
        repository: Its address.
        root: File of the trusted root metadata.
        delivered: File of the artifact that they have from the beginning.
        check_seconds: Between a device's looks for updates.
        window_seconds: Of telemetry: four messages at each one's end.
        rate_hz: Simulated inferences a second.
        probation_seconds: How long a new release must show itself.
        start_seconds: In so long all devices have begun, one after the other.
        threads: Steps of updates at a time.
    """

    folder: str
    names: tuple[str, ...]
    group: str
    broker_port: int
    repository: str
    root: str
    delivered: str
    check_seconds: float
    window_seconds: float
    rate_hz: float
    probation_seconds: float
    start_seconds: float
    threads: int = 4


class Devices:
    """All of them, in one loop.

    Args:
        spec: What they are.
        events: Where events of updates go.
        counts: Where counts go.
    """

    def __init__(self, spec: DevicesSpec, events: IO[str], counts: IO[str]) -> None:
        self._events = events
        self._counts = counts
        self._loop = Loop()
        self._pool = ThreadPoolExecutor(spec.threads)
        self._devices: list[Device] = []
        self._due: list[float] = []
        self._queue: list[tuple[float, int]] = []
        self._is_stopping = False
        began = monotonic()
        for number, name in enumerate(spec.names):
            self._devices.append(
                Device(
                    _config(spec, name),
                    inference=DrawnInference(name, rate_hz=spec.rate_hz),
                    loop=self._loop,
                    pool=self._pool,
                    touch=partial(self._ask, number, 0.0),
                    tell=partial(self._tell, name),
                )
            )
            self._due.append(_NEVER)
            self._ask(number, began + spec.start_seconds * number / len(spec.names))

    def stop(self) -> None:
        """Let all end in order; safe in a signal handler."""
        self._loop.put(self._stop)

    def run(self) -> None:
        """Go on until all have ended."""
        status_due = monotonic()
        while not all(device.has_ended for device in self._devices):
            now = monotonic()
            if now >= status_due:
                status_due = now + _STATUS_SECONDS
                self._count()
            while self._queue and self._queue[0][0] <= now:
                due, number = heapq.heappop(self._queue)
                if due == self._due[number]:
                    self._due[number] = _NEVER
                    self._ask(number, self._devices[number].turn(now))
                if monotonic() - now > _STATUS_SECONDS:  # sockets want to be looked at too
                    break
            self._loop.wait(min(status_due, self._queue[0][0] if self._queue else _NEVER))
        self._count()
        self._pool.shutdown()
        self._loop.close()

    def _ask(self, number: int, due_seconds: float) -> None:
        if due_seconds < self._due[number]:
            self._due[number] = due_seconds
            heapq.heappush(self._queue, (due_seconds, number))

    def _stop(self) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            for device in self._devices:
                device.stop()

    def _tell(self, name: str, notice: Notice) -> None:
        line: dict[str, Any] = {"device": name, "event": notice.name, "seconds": time.time()}
        line |= {key: notice.details[key] for key in ("digest", "serial", "reason") if key in notice.details}
        self._events.write(json.dumps(line) + "\n")
        self._events.flush()

    def _count(self) -> None:
        line = {
            "seconds": time.time(),
            "up": sum(device.is_up for device in self._devices),
            "acknowledged": self._loop.acknowledged,
            "sent": dict(self._loop.sent),
        }
        self._counts.write(json.dumps(line) + "\n")
        self._counts.flush()


def _config(spec: DevicesSpec, name: str) -> AgentConfig:
    folder = Path(spec.folder) / name
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, dict[str, object]] = {
        "device": {"id": name, "targets": [NULL_TARGET]},
        "artifact": {"path": spec.delivered},
        "spool": {"path": "spool.db"},
        "mqtt": {
            "host": "127.0.0.1",
            "port": spec.broker_port,
            "version": "5",
            "reconnect_max_seconds": 10.0,
        },
        "telemetry": {"interval_seconds": spec.window_seconds},
        "update": {
            "url": spec.repository,
            "root": spec.root,
            "directory": "updates",
            "group": spec.group,
            # A fleet does not look at one moment, and does not begin to look at one.
            "first_check_seconds": random.Random(name).uniform(0.0, spec.check_seconds),
            "check_interval_seconds": spec.check_seconds,
            "require_synced_clock": False,
            "probation_seconds": spec.probation_seconds,
            "probation_inferences": 20,
        },
    }
    lines = []
    for table, values in tables.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return parse_config("\n".join(lines).encode(), origin=name, folder=folder)


def main() -> int:
    """Run a process."""
    logging.basicConfig(level=logging.ERROR)
    fields = json.loads(Path(sys.argv[1]).read_bytes())
    spec = DevicesSpec(**{**fields, "names": tuple(fields["names"])})
    folder = Path(spec.folder)
    with (
        (folder / "events.jsonl").open("a", encoding="utf-8") as events,
        (folder / "counts.jsonl").open("a", encoding="utf-8") as counts,
    ):
        devices = Devices(spec, events, counts)
        signal.signal(signal.SIGTERM, lambda *_: devices.stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        devices.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
