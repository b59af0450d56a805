"""`Recording`: samples every power sensor on a thread of its own while something else runs, and says what that cost."""

from __future__ import annotations

import threading
from time import monotonic, thread_time
from typing import TYPE_CHECKING

from device_agent.contract.errors import MeasurementError
from device_agent.energy.arithmetic import Track
from device_agent.energy.choice import JOULES, drawn, meters
from device_agent.sensors.reading import Absent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from device_agent.sensors.reading import Measured
    from device_agent.sensors.survey import Sensors
    from device_agent.sensors.throttling import ThrottleWatch


class Recording:
    """Use it as a context: it samples from the entry to the exit, both of which are samples as well.

    Args:
        sensors: What to sample; nobody else reads it meanwhile.
        watch: Carries what was seen of throttling from one recording to the next.
        interval_seconds: Between two samples.

    Attributes:
        throttled: Why the processor was throttled, and in how many of the samples.
        broken: Names of readings that failed or went back at some sample, and the reason.
        samples: How many samples were taken.
        cpu_seconds: Processor time that sampling cost.
    """

    def __init__(self, sensors: Sensors, watch: ThrottleWatch, *, interval_seconds: float) -> None:
        self._sensors = sensors
        self._watch = watch
        self._interval_seconds = interval_seconds
        self._times: list[float] = []
        self._values: dict[str, list[float]] = {}
        self._meters: dict[str, Measured] = {}
        self._longest_read_seconds = 0.0
        self._stop = threading.Event()
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.throttled: dict[str, int] = {}
        self.broken: dict[str, str] = {}
        self.samples = 0
        self.cpu_seconds = 0.0

    def __enter__(self) -> Recording:
        """Take the first sample here, then go on in the background."""
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and take the last sample."""
        self._stop.set()
        self._thread.join()
        if error is None:
            self._sample()
            if self._fault is not None:
                raise MeasurementError(f"sampling failed: {self._fault}.") from self._fault

    def tracks(self) -> Mapping[str, tuple[Measured, Track]]:
        """Return what every sensor said that could be read at every sample, by name, the one to quote first."""
        return {
            name: (
                meter,
                Track(
                    seconds=tuple(self._times),
                    values=tuple(self._values[name]),
                    is_counter=name.endswith(JOULES),
                    read_seconds=self._longest_read_seconds,
                    update_seconds=meter.update_seconds or 0.0,
                ),
            )
            for name, meter in self._meters.items()
            if name not in self.broken
        }

    def _run(self) -> None:
        started = thread_time()
        try:
            while not self._stop.wait(self._interval_seconds):
                self._sample()
        except Exception as error:  # noqa: BLE001  raised where the recording ends, and not lost with the thread
            self._fault = error
        self.cpu_seconds = thread_time() - started

    def _sample(self) -> None:
        before = monotonic()
        power = self._sensors.power(before)
        after = monotonic()
        if not self._times:
            self._meters = {one.name: one for one in meters(power)}
            self._values = {name: [] for name in self._meters}
        self._longest_read_seconds = max(self._longest_read_seconds, after - before)
        self._times.append(0.5 * (before + after))
        for one in power:
            if one.name in self._values:
                self._add(one)
        self.samples += 1
        for reason in self._watch.reasons(self._sensors.heat()):
            self.throttled[reason] = self.throttled.get(reason, 0) + 1

    def _add(self, reading: Measured) -> None:
        value, values = drawn(reading), self._values[reading.name]
        if isinstance(value, Absent):
            self.broken.setdefault(reading.name, value.reason)
        elif reading.name.endswith(JOULES) and values and value < values[-1]:
            self.broken.setdefault(reading.name, f"it went back from {values[-1]:g} to {value:g} J")
        else:
            values.append(value)
