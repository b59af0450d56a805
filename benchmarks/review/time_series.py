"""The same samples in Prometheus and VictoriaMetrics: every number of every message as a sample of a series of its device.

A window's latencies are a histogram with the buckets that it has on the wire, counted up as those databases want it.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from device_agent.contract.telemetry.measurements import (
    InferenceWindow,
    PowerSample,
    SystemSample,
    ThermalSample,
)
from host_tools.review.ingest.rows import SYSTEM_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from device_agent.contract.telemetry.message import Message

_NUMBERS: Final = (
    "inferences_total",
    "errors_total",
    "dropped_frames_total",
    "throughput_per_second",
    *(f"latency_{part}_seconds" for part in ("min", "max", "p50", "p90", "p95", "p99")),
)
_READY_SECONDS: Final = 60.0
_BLOCK: Final = 8 << 20


@dataclass(slots=True)
class Samples:
    """Writes samples as text in the order in which they come, times in seconds (OpenMetrics) and milliseconds.

    Attributes:
        openmetrics: For ``promtool tsdb create-blocks-from openmetrics``.
        prometheus: For VictoriaMetrics' ``/api/v1/import/prometheus``.
        count: Samples.
    """

    openmetrics: IO[str]
    prometheus: IO[str]
    count: int = 0
    _buckets: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    _sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, device: str, message: Message) -> None:
        """Write every number of a measurement; of other messages nothing."""
        for series, value in self._series(device, message):
            self.openmetrics.write(f"{series} {value!r} {message.envelope.time:.3f}\n")
            self.prometheus.write(f"{series} {value!r} {round(1e3 * message.envelope.time)}\n")
            self.count += 1

    def close(self) -> None:
        """End both texts."""
        self.openmetrics.write("# EOF\n")
        self.openmetrics.close()
        self.prometheus.close()

    def _series(self, device: str, message: Message) -> Iterator[tuple[str, float]]:
        if isinstance(message, InferenceWindow):
            yield from self._window(device, message)
        elif isinstance(message, SystemSample):
            for name in SYSTEM_NAMES:
                if (value := getattr(message, name)) is not None:
                    yield f'{name}{{device="{device}"}}', float(value)
        elif isinstance(message, ThermalSample | PowerSample):
            for one in message.readings:
                if one.value is not None:
                    yield (
                        f'{one.name}{{device="{device}",source="{one.source}",scope="{one.scope}"}}',
                        one.value,
                    )

    def _window(self, device: str, window: InferenceWindow) -> Iterator[tuple[str, float]]:
        whose = f'device="{device}",artifact="{window.envelope.artifact}"'
        for name in _NUMBERS:
            if (value := getattr(window, name)) is not None:
                yield f"{name}{{{whose}}}", float(value)
        self._sums[whose] += window.latency_sum_seconds
        buckets = self._buckets[whose]
        for index, count in window.hist.counts.items():
            buckets[index] = buckets.get(index, 0) + count
        running = 0
        for index in sorted(buckets):
            running += buckets[index]
            bound = 2.0 ** ((index + 1) * 2.0**-window.hist.scale)
            yield f'latency_seconds_bucket{{{whose},le="{bound:.6g}"}}', float(running)
        yield f'latency_seconds_bucket{{{whose},le="+Inf"}}', float(running)
        yield f"latency_seconds_count{{{whose}}}", float(running)
        yield f"latency_seconds_sum{{{whose}}}", self._sums[whose]


def prometheus_bytes(openmetrics: Path, folder: Path, *, samples: int) -> int:
    """Make blocks of up to 54 hours of the samples, which is what compaction makes of a day, and return what they take on the disk.

    Raises:
        CalledProcessError: promtool refuses them.
        RuntimeError: It took another number of them.
        FileNotFoundError: promtool is not installed (Debian: ``prometheus``).
    """
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=54h", "--quiet"]
    subprocess.run([*command, str(openmetrics), str(folder)], check=True, stdout=subprocess.DEVNULL)
    blocks = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*/meta.json")]
    _check("Prometheus", sum(block["stats"]["numSamples"] for block in blocks), samples)
    return _size(folder)


def victoria_bytes(prometheus: Path, folder: Path, *, samples: int) -> int:
    """Import the samples into a VictoriaMetrics of this machine's own, merge them, end it, and return what they take.

    Raises:
        RuntimeError: It does not start, or took another number of them.
        FileNotFoundError: It is not installed (Debian: ``victoria-metrics``).
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = ["victoria-metrics", f"-storageDataPath={folder}", f"-httpListenAddr={address}"]
    command += ["-retentionPeriod=100y", "-loggerLevel=ERROR"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(f"http://{address}/health", process)
            with prometheus.open("rb") as file:
                while block := file.read(_BLOCK):
                    block += file.readline()
                    _post(f"http://{address}/api/v1/import/prometheus", block)
            for step in ("force_flush", "force_merge"):
                _post(f"http://{address}/internal/{step}", b"")
            time.sleep(2.0)
            _post(f"http://{address}/internal/force_flush", b"")
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=30.0) as answer:
                rows = re.findall(
                    r'^vm_rows\{type="storage/[^"]*"\} (\d+)', answer.read().decode(), re.MULTILINE
                )
            _check("VictoriaMetrics", sum(map(int, rows)), samples)
        finally:
            process.terminate()
            process.wait()
    return _size(folder)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5.0).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{address}: VictoriaMetrics did not start.")


def _post(address: str, data: bytes) -> None:
    request = urllib.request.Request(address, data=data, method="POST")
    urllib.request.urlopen(request, timeout=120.0).close()


def _check(name: str, found: int, expected: int) -> None:
    if found != expected:
        raise RuntimeError(f"{name}: expected {expected} samples, got {found}.")


def _size(folder: Path) -> int:
    """Return what is on the disk, in whole blocks of the file system."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())
