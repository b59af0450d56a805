"""The charts of a device: latency, throughput, temperature and power over time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from host_tools.pages.charts import COLORS, Series, line_chart
from host_tools.review.power import powers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup

    from device_agent.contract.telemetry.measurements import InferenceWindow
    from host_tools.review.history import DeviceHistory

_MOST_MARKED_POINTS = 300
_GAP_INTERVALS = 3.0
"""A line is broken where nothing came for so many of its usual intervals: it must not bridge an outage."""

Point = tuple[float, str, float]
"""Unix time, boot id, value."""


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Time since ``start`` in a unit that suits the whole span."""

    start: float
    unit: str
    unit_seconds: float

    @classmethod
    def over(cls, start: float, end: float) -> TimeAxis:
        """Return the axis from ``start`` to ``end``, Unix times."""
        units = (("seconds", 1.0), ("minutes", 60.0), ("hours", 3600.0), ("days", 86400.0))
        fitting = [unit for unit in units if end - start >= 3 * unit[1]]
        return cls(start, *(fitting[-1] if fitting else units[0]))

    @property
    def label(self) -> str:
        """What stands below the axis."""
        return f"{self.unit} since {utc(self.start)} UTC"

    def series(self, label: str, points: Sequence[Point]) -> Series:
        """Return a line in order of time, broken where the agent started again or nothing came for long."""
        points = sorted(points)
        usual = median(after[0] - before[0] for before, after in pairwise(points)) if len(points) > 1 else 0.0
        x: list[float] = []
        y: list[float] = []
        before: Point | None = None
        for point in points:
            if before and (point[1] != before[1] or point[0] - before[0] > _GAP_INTERVALS * usual):
                x.append(x[-1])
                y.append(math.nan)
            x.append((point[0] - self.start) / self.unit_seconds)
            y.append(point[2])
            before = point
        return Series(label=label, x=x, y=y)


def device_charts(device: DeviceHistory, axis: TimeAxis) -> list[Markup | None]:
    """Return a device's charts; None where nothing was measured of one."""
    return [
        *_inference_charts(device, axis),
        _named_chart(_temperatures(device), axis, title="Temperature", y_label="°C"),
        _named_chart(_powers(device, of_batteries=False), axis, title="Power", y_label="watts"),
        _named_chart(
            _powers(device, of_batteries=True),
            axis,
            title="Battery, + charging, − discharging",
            y_label="watts",
        ),
    ]


def _inference_charts(device: DeviceHistory, axis: TimeAxis) -> list[Markup | None]:
    """Draw each model's and each side's latency by itself, and their throughputs beside one another."""

    def points(
        series: Sequence[InferenceWindow], value: Callable[[InferenceWindow], float | None], factor: float
    ) -> list[Point]:
        return [
            (
                device.moment(window),
                window.envelope.boot_id,
                math.nan if (found := value(window)) is None else found * factor,
            )
            for window in series
        ]

    is_one = len(device.inference_of) < 2
    charts = []
    throughput: dict[str, list[Point]] = {}
    for name, series in (device.series or {"": []}).items():
        latencies = {
            "p50": points(series, lambda window: window.latency_p50_seconds, 1e3),
            "p95": points(series, lambda window: window.latency_p95_seconds, 1e3),
            "p99": points(series, lambda window: window.latency_p99_seconds, 1e3),
        }
        title = "Latency of each window" if is_one else f"Latency of each window of {name}"
        charts.append(_chart(latencies, axis, title=title, y_label="milliseconds", y_from_zero=True))
        label = "throughput" if is_one else name
        throughput[label] = points(series, lambda window: window.throughput_per_second, 1.0)
    shown = dict(list(throughput.items())[: len(COLORS)])
    title = "Throughput" if len(shown) == len(throughput) else f"Throughput of the first {len(shown)} models"
    charts.append(_chart(shown, axis, title=title, y_label="inferences per second", y_from_zero=True))
    return charts


def _temperatures(device: DeviceHistory) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for sample in device.thermal:
        for reading in sample.readings:
            if reading.name.endswith("_celsius") and reading.value is not None:
                point = (device.moment(sample), sample.envelope.boot_id, reading.value)
                found.setdefault(reading.name.removesuffix("_celsius"), []).append(point)
    return found


def _powers(device: DeviceHistory, *, of_batteries: bool) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for sample, told in powers(device.power):
        for one in told:
            if one.is_battery == of_batteries:
                name = f"{one.name} (by energy)" if one.from_energy else one.name
                point = (device.moment(sample), sample.envelope.boot_id, one.watts)
                found.setdefault(name, []).append(point)
    return found


def _named_chart(lines: dict[str, list[Point]], axis: TimeAxis, *, title: str, y_label: str) -> Markup | None:
    """Draw the highest lines, as many as can be told apart; the title says which when there is only one.

    From zero where nothing is below: a degree up and down must not look like a mountain.
    """
    highest = sorted(lines, key=lambda name: -max(abs(value) for _, _, value in lines[name]))[: len(COLORS)]
    left_out = len(lines) - len(highest)
    if len(lines) == 1:
        title = f"{title}: {highest[0]}"
    elif left_out:
        title = f"{title}: the {len(highest)} highest; {left_out} more are lower"
    shown = {name: lines[name] for name in lines if name in highest}
    lowest = min((value for points in shown.values() for _, _, value in points), default=0.0)
    return _chart(shown, axis, title=title, y_label=y_label, y_from_zero=lowest >= 0.0)


def _chart(
    lines: dict[str, list[Point]], axis: TimeAxis, *, title: str, y_label: str, y_from_zero: bool
) -> Markup | None:
    if not any(lines.values()):
        return None
    return line_chart(
        [axis.series(name, points) for name, points in lines.items()],
        title=title,
        x_label=axis.label,
        y_label=y_label,
        markers=max(len(points) for points in lines.values()) <= _MOST_MARKED_POINTS,
        y_from_zero=y_from_zero,
    )


def utc(moment: float) -> str:
    """Return a Unix time for people, in UTC."""
    return datetime.fromtimestamp(moment, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
