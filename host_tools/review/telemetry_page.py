"""The page of `edgewright report`: latency, throughput, temperature and power over time, one section a device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from host_tools.pages.charts import Series, line_chart
from host_tools.pages.page import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from markupsafe import Markup

    from device_agent.contract.telemetry import (
        Event,
        InferenceWindow,
        Measurement,
        PowerSample,
        ThermalSample,
    )
    from host_tools.review.history import DeviceHistory, History

_SHOWN_EVENTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSection:
    """What the template shows of one device."""

    device: DeviceHistory
    facts: Sequence[tuple[str, str]]
    charts: Sequence[Markup]
    absent: Sequence[tuple[str, str]]
    events: Sequence[tuple[str, Event]]


def render_telemetry(history: History, *, origin: str) -> str:
    """Return the page as HTML text.

    Args:
        history: What was heard.
        origin: File or broker it came from, for the heading.
    """
    return render(
        "telemetry.html",
        title="Telemetry",
        origin=origin,
        history=history,
        sections=[_section(device) for device in history.devices.values()],
    )


def _section(device: DeviceHistory) -> DeviceSection:
    moments = [message.envelope.time for message in _measurements(device)]
    start, end = min(moments, default=0.0), max(moments, default=0.0)
    return DeviceSection(
        device=device,
        facts=_facts(device),
        charts=[chart for chart in _charts(device, _TimeAxis.over(start, end)) if chart is not None],
        absent=sorted(
            {(name, reason) for message in _measurements(device) for name, reason in message.absent.items()}
        ),
        events=[(_utc(event.envelope.time), event) for event in device.events[-_SHOWN_EVENTS:]],
    )


def _measurements(device: DeviceHistory) -> Iterable[Measurement]:
    yield from device.inference
    yield from device.system
    yield from device.thermal
    yield from device.power


def _facts(device: DeviceHistory) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    birth = device.birth
    if birth is not None:
        facts += [
            ("Model", f"{birth.model_name} {birth.model_version}"),
            ("Target", str(birth.target)),
            ("Engine", f"{birth.engine} {birth.engine_version}"),
            ("Artifact", birth.envelope.artifact or "–"),
            ("Machine", ", ".join(f"{name} {value}" for name, value in birth.host.items())),
        ]
    if device.health is not None:
        facts.append(("Health", f"{device.health.status} {device.health.reason}".strip()))
    if device.inference:
        last = device.inference[-1]
        facts.append(
            (
                "Counted",
                f"{last.inferences_total} inferences, {last.errors_total} errors, {last.dropped_frames_total} dropped frames",
            )
        )
    return facts


@dataclass(frozen=True, slots=True)
class _TimeAxis:
    """Time since ``start`` in a unit that suits the whole span."""

    start: float
    unit: str
    unit_seconds: float

    @classmethod
    def over(cls, start: float, end: float) -> _TimeAxis:
        units = (("seconds", 1.0), ("minutes", 60.0), ("hours", 3600.0), ("days", 86400.0))
        fitting = [unit for unit in units if end - start >= 3 * unit[1]]
        return cls(start, *(fitting[-1] if fitting else units[0]))

    def at(self, message: Measurement) -> float:
        return (message.envelope.time - self.start) / self.unit_seconds


def _charts(device: DeviceHistory, axis: _TimeAxis) -> list[Markup | None]:
    return [
        _inference_chart(
            device.inference,
            axis,
            title="Latency",
            y_label="milliseconds",
            lines={
                "p50": lambda window: _times(window.latency_p50_seconds, 1e3),
                "p95": lambda window: _times(window.latency_p95_seconds, 1e3),
                "p99": lambda window: _times(window.latency_p99_seconds, 1e3),
            },
        ),
        _inference_chart(
            device.inference,
            axis,
            title="Throughput",
            y_label="inferences per second",
            lines={"throughput": lambda window: _times(window.throughput_per_second, 1.0)},
        ),
        _reading_chart(device.thermal, axis, suffix="_celsius", title="Temperature", y_label="°C"),
        _reading_chart(device.power, axis, suffix="_watts", title="Power", y_label="watts"),
    ]


def _times(value: float | None, factor: float) -> float:
    return math.nan if value is None else value * factor


def _inference_chart(
    windows: Sequence[InferenceWindow],
    axis: _TimeAxis,
    *,
    title: str,
    y_label: str,
    lines: dict[str, Callable[[InferenceWindow], float]],
) -> Markup | None:
    if not windows:
        return None
    series = [
        Series(
            label=label, x=[axis.at(window) for window in windows], y=[value(window) for window in windows]
        )
        for label, value in lines.items()
    ]
    return line_chart(series, title=title, x_label=axis.unit, y_label=y_label, markers=True, y_from_zero=True)


def _reading_chart(
    samples: Sequence[ThermalSample] | Sequence[PowerSample],
    axis: _TimeAxis,
    *,
    suffix: str,
    title: str,
    y_label: str,
) -> Markup | None:
    points: dict[str, tuple[list[float], list[float]]] = {}
    for sample in samples:
        for reading in sample.readings:
            if reading.name.endswith(suffix) and reading.value is not None:
                times, values = points.setdefault(reading.name.removesuffix(suffix), ([], []))
                times.append(axis.at(sample))
                values.append(reading.value)
    series = [Series(label=label, x=times, y=values) for label, (times, values) in points.items()]
    return (
        line_chart(series, title=title, x_label=axis.unit, y_label=y_label, markers=True) if series else None
    )


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
