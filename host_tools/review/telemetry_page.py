"""The page of `edgewright report`: all devices at a glance, then latency, throughput, temperature and power over time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from host_tools.pages.page import render
from host_tools.review.boot_clock import duration
from host_tools.review.device_numbers import hottest_celsius, latest_pss_bytes, short
from host_tools.review.power import battery, consumption, latest_powers
from host_tools.review.telemetry_charts import TimeAxis, device_charts, utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from device_agent.contract.telemetry.event import Event
    from device_agent.contract.telemetry.measurements import InferenceWindow, Measurement, SystemSample
    from host_tools.review.history import DeviceHistory, History
    from host_tools.review.power import Power

_SHOWN_EVENTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRow:
    """A device's line in the table of all devices; texts as they are shown."""

    device: str
    status: str
    note: str
    is_well: bool
    last_heard: str
    model: str
    numbers: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An event with the time at which it happened."""

    moment: str
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSection:
    """What the template shows of one device."""

    device: str
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    charts: Sequence[Markup]
    absent: Sequence[tuple[str, str]]
    events: Sequence[EventRow]
    event_count: int


def render_telemetry(history: History, *, origin: str, warnings: Sequence[str] = ()) -> str:
    """Return the page as HTML text.

    Args:
        history: What was heard.
        origin: File or broker it came from, for the heading.
        warnings: What the reader must know of the listening or the recording.
    """
    devices = list(history.devices.values())
    end = max((device.last_heard or device.first_heard for device in devices), default=0.0)
    return render(
        "telemetry.html",
        title="Telemetry",
        origin=origin,
        end=utc(end),
        history=history,
        warnings=warnings,
        rows=sorted((row for device in devices for row in _rows(device, end)), key=lambda row: row.is_well),
        sections=[_section(device) for device in devices],
    )


# --- all devices ---


def _rows(device: DeviceHistory, end: float) -> list[DeviceRow]:
    """Return the device's row, and where there are several models one for each: their windows are not put together."""
    row = _row(device, end)
    if len(device.inference_of) < 2:
        return [row]
    of_machine = row.numbers[len(_window_numbers(None)) :]
    return [
        row,
        *(
            replace(
                row,
                device=f"{device.device}: {name}",
                model=_model_name(device, name) or "–",
                numbers=[*_window_numbers(series[-1]), *("–" for _ in of_machine)],
            )
            for name, series in device.series.items()
        ),
    ]


def _model_name(device: DeviceHistory, name: str) -> str:
    """Return what a model or side is by the last birth message."""
    for one in () if device.birth is None else device.birth.models:
        if name == (f"{one.model}/{one.variant}" if one.variant else one.model) and one.model_name:
            return f"{one.model_name} {one.model_version}"
    return ""


def _row(device: DeviceHistory, end: float) -> DeviceRow:
    silent = device.silent_seconds(end)
    status = "unknown" if device.health is None else device.health.status
    told = latest_powers(device.power)
    drawn, stored = consumption(told), battery(told)
    return DeviceRow(
        device=device.device,
        status=status,
        note=", ".join(
            text
            for text in (
                "" if device.last_heard is not None else "as the broker kept it; not heard",
                "" if silent is None or device.last_heard is None else f"silent for {duration(silent)}",
                device.health.reason if device.health else "",
            )
            if text
        ),
        is_well=status == "up" and silent is None and device.last_heard is not None,
        last_heard="–" if device.last_heard is None else utc(device.last_heard),
        model=f"{device.birth.model_name} {device.birth.model_version}"
        if device.birth and device.birth.model_name
        else "–",
        numbers=[
            *_window_numbers(device.inference[-1] if device.inference else None),
            _memory(device.system),
            short(hottest_celsius(device.thermal[-1]) if device.thermal else None),
            _power_text(drawn, stored),
        ],
    )


def _window_numbers(window: InferenceWindow | None) -> list[str]:
    if window is None:
        return ["–"] * 5
    return [
        *(
            short(None if seconds is None else 1e3 * seconds)
            for seconds in (window.latency_p50_seconds, window.latency_p99_seconds)
        ),
        short(window.throughput_per_second),
        str(window.errors_total),
        str(window.dropped_frames_total),
    ]


def _memory(samples: Sequence[SystemSample]) -> str:
    pss = latest_pss_bytes(samples)
    return short(None if pss is None else pss / 2**20)


def _power_text(drawn: Power | None, stored: Power | None) -> str:
    texts = [] if drawn is None else [f"{short(drawn.watts)} {drawn.label}"]
    if stored is not None:
        sign = "+" if stored.watts > 0 else ""
        texts.append(f"{sign}{short(stored.watts)} {stored.label}".replace("-", "−", 1))
    return ", ".join(texts) or "–"


# --- one device ---


def _section(device: DeviceHistory) -> DeviceSection:
    moments = [device.moment(message) for message in _measurements(device)]
    axis = TimeAxis.over(min(moments, default=0.0), max(moments, default=0.0))
    events = sorted(device.events, key=device.moment)
    return DeviceSection(
        device=device.device,
        facts=_facts(device),
        warnings=_warnings(device),
        charts=[chart for chart in device_charts(device, axis) if chart is not None],
        absent=_never_measured(device),
        events=[EventRow(moment=utc(device.moment(event)), event=event) for event in events[-_SHOWN_EVENTS:]],
        event_count=len(events),
    )


def _measurements(device: DeviceHistory) -> list[Measurement]:
    return [*device.all_inference, *device.system, *device.thermal, *device.power]


def _never_measured(device: DeviceHistory) -> list[tuple[str, str]]:
    """Return what no sample had, with the last reason: what is read rarely, or not in a first sample, is measured."""
    reasons: dict[str, str] = {}
    measured: set[str] = set()
    for message in _measurements(device):
        reasons.update(message.absent)
        measured |= _values_of(message) - set(message.absent)
    return sorted((name, reason) for name, reason in reasons.items() if name not in measured)


def _values_of(message: Measurement) -> set[str]:
    readings = getattr(message, "readings", None)
    if readings is not None:
        return {reading.name for reading in readings}
    return set(type(message).__dataclass_fields__)


def _facts(device: DeviceHistory) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    birth = device.birth
    if birth is not None:
        facts += [
            ("Model", f"{birth.model_name} {birth.model_version}" if birth.model_name else "none"),
            ("Target", birth.target or "–"),
            ("Engine", f"{birth.engine} {birth.engine_version or ''}".rstrip() if birth.engine else "none"),
            ("Artifact", birth.envelope.artifact or "–"),
            ("Machine", ", ".join(f"{name} {value}" for name, value in birth.host.items())),
        ]
    if device.health is not None:
        facts.append(("Health", f"{device.health.status} {device.health.reason}".strip()))
    starts = len({message.envelope.boot_id for message in _measurements(device)})
    if starts > 1:
        facts.append(("Starts", f"the agent ran {starts} times; totals are of its last run"))
    for name, series in device.series.items():
        last = series[-1]
        facts.append(
            (
                "Counted" if len(device.inference_of) == 1 else f"Counted by {name}",
                f"{last.inferences_total} inferences, {last.errors_total} errors, {last.dropped_frames_total} dropped frames",
            )
        )
    return facts


def _warnings(device: DeviceHistory) -> list[str]:
    """Return what would be misread without it: a wrong clock, and messages that are not here."""
    warnings = list(dict.fromkeys(clock.note for clock in device.clocks.values() if clock.note))
    if device.missing_count:
        warnings.append(
            f"{device.missing_count} of this device's messages were sent and are not here, to judge by their numbers."
        )
    lost = device.system[-1].spool_dropped_total if device.system else None
    if lost:
        warnings.append(f"The device itself lost {lost} messages since its agent started.")
    return warnings
