"""The live table of `edgewright watch`: one row a device, events below. Pure: a history in, a renderable out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from device_agent.contract.telemetry import PowerSample, ThermalSample
    from host_tools.review.history import DeviceHistory, History

_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WINDOWS = 24
_SHOWN_EVENTS = 6
_STALE_SECONDS = 60.0
_HEALTH_STYLE = {"up": "green", "degraded": "yellow", "draining": "yellow", "down": "red"}


def live_table(history: History, *, now: float | None = None) -> RenderableType:
    """Return the table of all devices and the latest events.

    Args:
        history: What was heard.
        now: Unix time in seconds, to tell how old the latest message is; the clock's by default.
    """
    moment = time.time() if now is None else now
    table = Table(title="Devices", title_justify="left", expand=True)
    for heading in ("Device", "Health", "Model", "Engine"):
        table.add_column(heading, overflow="fold")
    for heading in ("p50 ms", "p95 ms", "p99 ms", "Inf/s", "Errors", "CPU", "PSS MiB", "Temp °C", "Power W"):
        table.add_column(heading, justify="right")
    table.add_column("p50 over time", no_wrap=True)
    for device in history.devices.values():
        table.add_row(*_row(device, moment))
    parts: list[RenderableType] = [table]
    events = sorted(
        (event for device in history.devices.values() for event in device.events),
        key=lambda event: event.envelope.time,
    )
    if events:
        parts.append(Text("Events", style="bold"))
        parts.extend(
            Text(
                f"{time.strftime('%H:%M:%S', time.localtime(event.envelope.time))}  {event.device}  {event.name}: {event.text}"
            )
            for event in events[-_SHOWN_EVENTS:]
        )
    if history.refused_count:
        topic, reason = history.refused[-1]
        parts.append(
            Text(f"{history.refused_count} messages not understood; one: {topic}: {reason}", style="yellow")
        )
    if not history.devices:
        parts.append(Text("No device has spoken yet.", style="dim"))
    return Group(*parts)


def _row(device: DeviceHistory, now: float) -> list[Text | str]:
    window = device.inference[-1] if device.inference else None
    system = device.system[-1] if device.system else None
    birth = device.birth
    return [
        device.device,
        _health(device, now),
        f"{birth.model_name} {birth.model_version}\n{birth.target}" if birth and birth.model_name else "–",
        f"{birth.engine} {birth.engine_version or ''}" if birth and birth.engine else "–",
        _scaled(window.latency_p50_seconds if window else None, 1e3, 2),
        _scaled(window.latency_p95_seconds if window else None, 1e3, 2),
        _scaled(window.latency_p99_seconds if window else None, 1e3, 2),
        _scaled(window.throughput_per_second if window else None, 1.0, 1),
        str(window.errors_total) if window else "–",
        _scaled(system.cpu_ratio if system else None, 100.0, 0, "%"),
        _scaled(system.process_pss_bytes if system else None, 2.0**-20, 1),
        _scaled(hottest_celsius(device.thermal[-1]) if device.thermal else None, 1.0, 1),
        _scaled(total_watts(device.power[-1]) if device.power else None, 1.0, 2),
        sparkline([one.latency_p50_seconds for one in device.inference[-_SPARK_WINDOWS:]]),
    ]


def _health(device: DeviceHistory, now: float) -> Text:
    if device.health is None:
        return Text("unknown", style="dim")
    text = Text(device.health.status, style=_HEALTH_STYLE[device.health.status])
    if device.health.reason:
        text.append(f"\n{device.health.reason}", style="dim")
    if (
        device.inference
        and device.health.status == "up"
        and now - device.inference[-1].envelope.time > _STALE_SECONDS
    ):
        text.append("\nsilent", style="yellow")
    return text


def _scaled(value: float | None, factor: float, digits: int, unit: str = "") -> str:
    return "–" if value is None else f"{value * factor:.{digits}f}{unit}"


def hottest_celsius(sample: ThermalSample) -> float | None:
    """Return the highest temperature of a sample in degrees Celsius; None when it has none."""
    values = [one.value for one in sample.readings if one.name.endswith("_celsius") and one.value is not None]
    return max(values, default=None)


def total_watts(sample: PowerSample) -> float | None:
    """Return the largest power reading in watts: scopes may contain each other, never summed; None: no reading."""
    values = [one.value for one in sample.readings if one.name.endswith("_watts") and one.value is not None]
    return max(values, default=None)


def sparkline(values: list[float | None]) -> str:
    """Return one block character a value, lowest to highest; a gap for None."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    top = len(_SPARKS) - 1
    return "".join(" " if value is None else _SPARKS[round(top * (value - low) / span)] for value in values)
