"""The live view of `edgewright watch`: every device, and the latest events. Pure: a history in, a renderable out.

A wide terminal gets a table with one row a device. Any other gets two lines a device: who it is and how it is, then
its numbers, so that no figure is ever cut; what does not fit is the model's name. All text from the wire is
`rich.text.Text`: as plain `str` it would be read as markup.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from host_tools.review.boot_clock import duration
from host_tools.review.power import Power, battery, consumption, latest_powers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

    from device_agent.contract.telemetry import Event, SystemSample, ThermalSample
    from host_tools.review.history import DeviceHistory, History

_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WINDOWS = 16
_SHOWN_EVENTS = 6
_EVENT_LINES = 2
_WIDE_COLUMNS = 150
_LONGEST_REASON = 160
_HEALTH_STYLE = {"up": "green", "degraded": "yellow", "draining": "yellow", "down": "red"}
_SEVERITY_STYLE = {"info": "", "warning": "yellow", "error": "red"}
_NUMBERS = (
    ("p50 ms", 7),
    ("p95 ms", 7),
    ("p99 ms", 7),
    ("Inf/s", 7),
    ("Err", 6),
    ("Drop", 7),
    ("CPU", 5),
    ("PSS MiB", 8),
    ("°C", 6),
)
"""Heading and width of what the second line of a device says; the power follows with its source's name."""


def live_table(history: History, *, now: float | None = None, warnings: Sequence[str] = ()) -> FleetView:
    """Return the view of all devices and the latest events.

    Args:
        history: What was heard.
        now: Unix time in seconds by the clock that receives, to tell how long a device is silent; now by default.
        warnings: What the user must know of the listening itself, a sentence each.
    """
    return FleetView(history, time.time() if now is None else now, tuple(warnings))


@dataclass(frozen=True, slots=True)
class FleetView:
    """See the module's docstring; lays itself out for the width and height that there are."""

    history: History
    now: float
    warnings: tuple[str, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield table, events and warnings."""
        if not self.history.devices:
            yield Text("No device has spoken yet.", style="dim")
        below = [*_events(self.history, console, options.max_width), *self._warnings(options.max_width)]
        if self.history.devices:
            is_wide = options.max_width >= _WIDE_COLUMNS
            room = (
                options.max_height - len(below) - 4 if console.is_terminal else len(self.history.devices) * 2
            )
            shown = _chosen(self.history, self.now, most=max(room // 2, 1))
            if is_wide:
                yield _table(shown, self.now)
            else:
                yield from _two_lines_each(shown, self.now, options.max_width)
            yield from _left_out(self.history, shown, self.now)
        yield from below

    def _warnings(self, width: int) -> list[Text]:
        lines = list(self.warnings)
        missing = sum(device.missing_count for device in self.history.devices.values())
        if missing:
            lines.append(f"{_plural(missing, 'message')} sent and never heard, to judge by their numbers")
        if self.history.refused_count:
            topic, reason = self.history.refused[-1]
            count = _plural(self.history.refused_count, "message")
            lines.append(f"{count} not understood; one: {topic}: {reason}")
        return [_cropped(Text(line, style="yellow"), width) for line in lines]


def _chosen(history: History, now: float, *, most: int) -> list[DeviceHistory]:
    """Return as many devices as there is room for: in order of first message, but first those that need care."""
    devices = list(history.devices.values())
    if len(devices) <= most:
        return devices
    return sorted(devices, key=lambda device: _is_well(device, now))[:most]


def _left_out(history: History, shown: Sequence[DeviceHistory], now: float) -> list[Text]:
    rest = [device for device in history.devices.values() if all(device is not one for one in shown)]
    if not rest:
        return []
    ill = sum(not _is_well(device, now) for device in rest)
    return [Text(f"… and {_plural(len(rest), 'more device')}, {ill} of them not up", style="yellow")]


def _is_well(device: DeviceHistory, now: float) -> bool:
    return device.health is not None and device.health.status == "up" and device.silent_seconds(now) is None


# --- two lines a device ---


def _two_lines_each(devices: Sequence[DeviceHistory], now: float, width: int) -> list[Text]:
    heading = "".join(name.rjust(size) for name, size in _NUMBERS) + "  Power W"
    lines = [_cropped(Text(heading, style="bold"), width)]
    for device in devices:
        lines.append(_identity(device, now, width))
        lines.append(_cropped(_numbers(device, now), width))
    return lines


def _identity(device: DeviceHistory, now: float, width: int) -> Text:
    spark = _spark(device)
    room = width - len(spark) - 2 if spark and width >= 60 else width
    line = Text(device.device, style="bold")
    line.truncate(max(room // 2, 8), overflow="ellipsis")
    line.append("  ")
    line.append_text(_health(device, now, separator="  "))
    stored = battery(latest_powers(device.power))
    if stored is not None:
        line.append(f"  {_watts(stored)} W {_direction(stored)}")
    line.append(f"  {'  '.join(_model(device))}", style="dim")
    line = _cropped(line, room)
    if room < width:
        line.pad_right(room - line.cell_len + 2)
        line.append(spark, style="cyan")
    return line


def _numbers(device: DeviceHistory, now: float) -> Text:
    line = Text(style=_number_style(device, now))
    for cell, (_, size) in zip(_figures(device), _NUMBERS, strict=True):
        cell.pad_left(max(size - cell.cell_len, 1))
        line.append_text(cell)
    drawn = consumption(latest_powers(device.power))
    return line.append(f"  {'–' if drawn is None else f'{_watts(drawn)} {drawn.label}'}")


# --- one row a device ---


def _table(devices: Sequence[DeviceHistory], now: float) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("Device", max_width=24, no_wrap=True, overflow="ellipsis")
    table.add_column("Health", overflow="fold", min_width=8, max_width=40)
    table.add_column("Model", overflow="fold")
    for heading, _ in _NUMBERS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Power W", no_wrap=True, max_width=24, overflow="ellipsis")
    table.add_column("p50 over time", no_wrap=True, min_width=_SPARK_WINDOWS)
    for device in devices:
        style = _number_style(device, now)
        told = latest_powers(device.power)
        powers = [one for one in (consumption(told), battery(told)) if one is not None]
        name, *more = _model(device) or ["–"]
        table.add_row(
            Text(device.device),
            _health(device, now, separator="\n"),
            Text("\n".join([name, ", ".join(more)]) if more else name),
            *(Text.assemble(cell, style=style) for cell in _figures(device)),
            Text("\n".join(f"{_watts(one)} {one.label}" for one in powers) or "–", style=style),
            Text(_spark(device), style="cyan"),
        )
    return table


# --- what a device is, and its numbers ---


def _health(device: DeviceHistory, now: float, *, separator: str) -> Text:
    text = Text("unknown", style="dim")
    if device.health is not None:
        text = Text(device.health.status, style=_HEALTH_STYLE[device.health.status])
    silent = device.silent_seconds(now)
    if silent is not None:
        text.append(f"{separator}silent for {duration(silent)}", style="yellow")
    if device.health is not None and device.health.reason:
        text.append(f"{separator}{device.health.reason[:_LONGEST_REASON]}", style="dim")
    return text


def _model(device: DeviceHistory) -> list[str]:
    birth = device.birth
    if birth is None:
        return []
    parts = [f"{birth.model_name} {birth.model_version or ''}".rstrip()] if birth.model_name else []
    parts += [birth.target] if birth.target else []
    return parts + ([f"{birth.engine} {birth.engine_version or ''}".rstrip()] if birth.engine else [])


def _number_style(device: DeviceHistory, now: float) -> str:
    """Numbers of a device that is gone are not of now."""
    is_gone = device.health is not None and device.health.status == "down"
    return "dim" if is_gone or device.silent_seconds(now) is not None else ""


def _figures(device: DeviceHistory) -> list[Text]:
    """Return the numbers of `_NUMBERS`."""
    window = device.inference[-1] if device.inference else None
    system = device.system[-1] if device.system else None
    cpu = system.cpu_ratio if system else None
    pss = latest_pss_bytes(device.system)
    return [
        *(
            Text(_short(None if seconds is None else 1e3 * seconds))
            for seconds in (
                (window.latency_p50_seconds, window.latency_p95_seconds, window.latency_p99_seconds)
                if window
                else (None, None, None)
            )
        ),
        Text(_short(window.throughput_per_second if window else None)),
        _fault_count(window.errors_total if window else None, style="red"),
        _fault_count(window.dropped_frames_total if window else None, style="yellow"),
        Text("–" if cpu is None else f"{100.0 * cpu:.0f}%"),
        Text(_short(None if pss is None else pss / 2**20)),
        Text(_short(hottest_celsius(device.thermal[-1]) if device.thermal else None)),
    ]


def _fault_count(count: int | None, *, style: str) -> Text:
    if count is None:
        return Text("–")
    shown = str(count) if count < 100_000 else f"{count:.1e}".replace("e+0", "e")
    return Text(shown, style=style if count else "")


def _short(value: float | None) -> str:
    """Return three digits or all before the point: no column grows with its numbers."""
    if value is None:
        return "–"
    if abs(value) >= 1e6:
        return f"{value:.0e}".replace("e+0", "e")
    digits = 2 if abs(value) < 10.0 else 1 if abs(value) < 100.0 else 0
    return f"{value:.{digits}f}"


def _watts(power: Power) -> str:
    return f"{'+' if power.is_battery and power.watts > 0 else ''}{_short(power.watts)}".replace("-", "−")


def _direction(stored: Power) -> str:
    if not stored.watts:
        return "battery idle"
    return "from battery" if stored.watts < 0 else "into battery"


def _spark(device: DeviceHistory) -> str:
    return sparkline([one.latency_p50_seconds for one in device.inference[-_SPARK_WINDOWS:]])


def latest_pss_bytes(samples: Sequence[SystemSample]) -> int | None:
    """Return the last proportional memory that this run of the agent told: it is read more rarely than the rest."""
    for sample in reversed(samples):
        if sample.envelope.boot_id != samples[-1].envelope.boot_id:
            return None
        if sample.process_pss_bytes is not None:
            return sample.process_pss_bytes
    return None


def hottest_celsius(sample: ThermalSample) -> float | None:
    """Return the highest temperature of a sample in degrees Celsius; None when it has none."""
    values = [one.value for one in sample.readings if one.name.endswith("_celsius") and one.value is not None]
    return max(values, default=None)


def sparkline(values: Sequence[float | None]) -> str:
    """Return one block character a value, lowest to highest; a gap for None."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    top = len(_SPARKS) - 1
    return "".join(" " if value is None else _SPARKS[round(top * (value - low) / span)] for value in values)


# --- events ---


def _events(history: History, console: Console, width: int) -> list[Text]:
    """Return the latest events by the time they happened, with a heading; long ones folded and cut."""
    latest = [
        (device.moment(event), device.device, event)
        for device in history.devices.values()
        for event in device.events[-_SHOWN_EVENTS:]
    ]
    if not latest:
        return []
    latest.sort(key=lambda one: one[0])
    lines = [Text("Events", style="bold")]
    for moment, device, event in latest[-_SHOWN_EVENTS:]:
        folded = _event(moment, device, event).wrap(console, width)
        lines += folded[: _EVENT_LINES - 1]
        if len(folded) >= _EVENT_LINES:
            last = Text("  ").append_text(Text(" ").join(folded[_EVENT_LINES - 1 :]))
            lines.append(_cropped(last, width))
    return lines


def _event(moment: float, device: str, event: Event) -> Text:
    at = time.localtime(moment)
    is_today = at[:3] == time.localtime()[:3]
    text = Text(time.strftime("%H:%M:%S" if is_today else "%m-%d %H:%M", at), style="dim")
    style = _SEVERITY_STYLE[event.severity]
    return Text.assemble(text, f"  {device}  ", (f"{event.name}: {event.text}", style))


def _cropped(text: Text, width: int) -> Text:
    text.no_wrap = True
    text.truncate(width, overflow="ellipsis")
    return text


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
