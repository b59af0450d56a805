"""The live view of `edgewright watch`: every device, and the latest events. Pure: a history in, a renderable out.

A wide terminal has a line a device, any other has two: who it is and how it is, then its numbers. No figure is ever
cut; what does not fit is the model's name. A reason for not being well has lines of its own. All text from the wire
is `rich.text.Text`: as plain `str` it would be read as markup.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from host_tools.review.boot_clock import duration
from host_tools.review.power import Power, battery, consumption, latest_powers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

    from device_agent.contract.telemetry import Event, InferenceWindow, SystemSample, ThermalSample
    from host_tools.review.history import DeviceHistory, History

_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WINDOWS = 16
_SHOWN_EVENTS = 6
_LONGEST_NAME = 24
"""Of a device, beside an event."""
_MOST_LINES = 2
"""Of one event, or of one reason."""
_WIDE_COLUMNS = 160
_WIDE_IDENTITY = 40
_WIDE_POWER = 38
_NARROWEST_WITH_SPARK = 60
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
"""Heading and width of every number of a device; the power follows with its source's name."""
_NUMBERS_WIDTH = sum(size for _, size in _NUMBERS)


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
        most_lines = max(options.max_height // 3, _SHOWN_EVENTS) if console.is_terminal else None
        below = [
            *_events(self.history, console, options.max_width, most_lines),
            *self._warnings(options.max_width),
        ]
        if self.history.devices:
            yield _heading(options.max_width)
            blocks = {
                name: _block(device, self.now, console, options.max_width)
                for name, device in self.history.devices.items()
            }
            room = options.max_height - len(below) - 3 if console.is_terminal else None
            shown = _chosen(self.history, self.now, blocks, room)
            for name in shown:
                yield from blocks[name]
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


def _chosen(
    history: History, now: float, blocks: Mapping[str, Sequence[Text]], room: int | None
) -> list[str]:
    """Return the devices that there is room for: in order of first message, but first those that need care."""
    names = list(blocks)
    if room is None or sum(map(len, blocks.values())) <= room:
        return names
    chosen: list[str] = []
    for name in sorted(names, key=lambda name: _is_well(history.devices[name], now)):
        room -= len(blocks[name])
        if room < 0 and chosen:
            break
        chosen.append(name)
    return chosen


def _left_out(history: History, shown: Sequence[str], now: float) -> list[Text]:
    rest = [device for name, device in history.devices.items() if name not in shown]
    if not rest:
        return []
    ill = sum(not _is_well(device, now) for device in rest)
    return [Text(f"… and {_plural(len(rest), 'more device')}, {ill} of them not well", style="yellow")]


def _is_well(device: DeviceHistory, now: float) -> bool:
    return device.health is not None and device.health.status == "up" and device.silent_seconds(now) is None


# --- the lines of a device ---


def _heading(width: int) -> Text:
    line = "".join(name.rjust(size) for name, size in _NUMBERS) + "  Power W"
    if width >= _WIDE_COLUMNS:
        line = "Device".ljust(_WIDE_IDENTITY) + line.ljust(_NUMBERS_WIDTH + _WIDE_POWER) + "p50 over time"
    return _cropped(Text(line, style="bold"), width)


def _block(device: DeviceHistory, now: float, console: Console, width: int) -> list[Text]:
    lines = _one_line(device, now, width) if width >= _WIDE_COLUMNS else _two_lines(device, now, width)
    lines += _model_lines(device, now, width)
    if device.health is not None and device.health.reason:
        lines += _folded(Text(f"  {device.health.reason}", style="dim"), console, width)
    return lines


def _one_line(device: DeviceHistory, now: float, width: int) -> list[Text]:
    told = latest_powers(device.power)
    line = _fitted(_identity(device, now, _WIDE_IDENTITY), _WIDE_IDENTITY)
    power = "  ".join(filter(None, (_drawn(told), _stored(told)))) or "–"
    numbers = _numbers(device, now).append(f"  {power}")
    line.append_text(_fitted(numbers, _NUMBERS_WIDTH + _WIDE_POWER))
    line.append(_spark(device).ljust(_SPARK_WINDOWS), style="cyan")
    line.append(f"  {'  '.join(_model(device))}", style="dim")
    return [_cropped(line, width)]


def _two_lines(device: DeviceHistory, now: float, width: int) -> list[Text]:
    told, spark = latest_powers(device.power), _spark(device)
    room = width - len(spark) - 2 if spark and width >= _NARROWEST_WITH_SPARK else width
    first = _identity(device, now, room)
    if stored := _stored(told):
        first.append(f"  {stored}")
    first.append(f"  {'  '.join(_model(device))}", style="dim")
    if room < width:
        first = _fitted(first, room + 2).append(spark, style="cyan")
    second = _numbers(device, now).append(f"  {_drawn(told) or '–'}")
    return [_cropped(first, width), _cropped(second, width)]


def _model_lines(device: DeviceHistory, now: float, width: int) -> list[Text]:
    """Return a line for each model and side of a split, where there are several; the device's own is then the main one's."""
    if len(device.inference_of) < 2:
        return []
    lines = []
    for name, series in device.series.items():
        line = Text(style=_number_style(device, now))
        if width >= _WIDE_COLUMNS:
            line.append_text(_fitted(Text(f"  {name}"), _WIDE_IDENTITY))
        for cell, (_, size) in zip(_window_figures(series[-1]), _NUMBERS, strict=False):
            cell.pad_left(max(size - cell.cell_len, 1))
            line.append_text(cell)
        if width < _WIDE_COLUMNS:
            line.append(f"  {name}")
        lines.append(_cropped(line, width))
    return lines


def _identity(device: DeviceHistory, now: float, room: int) -> Text:
    """Return id and health; a long id leaves half of the room to what follows."""
    line = Text(device.device)
    line.stylize("bold")
    line.truncate(max(room // 2, 8), overflow="ellipsis")
    return line.append("  ").append_text(_health(device, now))


def _numbers(device: DeviceHistory, now: float) -> Text:
    line = Text(style=_number_style(device, now))
    for cell, (_, size) in zip(_figures(device), _NUMBERS, strict=True):
        cell.pad_left(max(size - cell.cell_len, 1))
        line.append_text(cell)
    return line


def _drawn(told: Sequence[Power]) -> str:
    drawn = consumption(told)
    return "" if drawn is None else f"{short(drawn.watts)} {drawn.label}"


def _stored(told: Sequence[Power]) -> str:
    stored = battery(told)
    if stored is None:
        return ""
    sign = "+" if stored.watts > 0 else ""
    direction = "from" if stored.watts < 0 else "into"
    return f"{sign}{short(stored.watts)} W {direction} battery".replace("-", "−")


# --- what a device is, and its numbers ---


def _health(device: DeviceHistory, now: float) -> Text:
    text = Text("unknown", style="dim")
    if device.health is not None:
        text = Text(device.health.status, style=_HEALTH_STYLE[device.health.status])
    silent = device.silent_seconds(now)
    if silent is not None:
        text.append(f"  silent for {duration(silent)}", style="yellow")
    elif device.last_heard is None:
        text.append("  by what the broker kept", style="dim")  # it may be long dead; the next message tells
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
    system = device.system[-1] if device.system else None
    cpu = system.cpu_ratio if system else None
    pss = latest_pss_bytes(device.system)
    return [
        *_window_figures(device.inference[-1] if device.inference else None),
        Text("–" if cpu is None else f"{100.0 * cpu:.0f}%"),
        Text(short(None if pss is None else pss / 2**20)),
        Text(short(hottest_celsius(device.thermal[-1]) if device.thermal else None)),
    ]


def _window_figures(window: InferenceWindow | None) -> list[Text]:
    """Return the first numbers of `_NUMBERS`, which are one model's."""
    return [
        *(
            Text(short(None if seconds is None else 1e3 * seconds))
            for seconds in (
                (window.latency_p50_seconds, window.latency_p95_seconds, window.latency_p99_seconds)
                if window
                else (None, None, None)
            )
        ),
        Text(short(window.throughput_per_second if window else None)),
        _fault_count(window.errors_total if window else None, style="red"),
        _fault_count(window.dropped_frames_total if window else None, style="yellow"),
    ]


def _fault_count(count: int | None, *, style: str) -> Text:
    if count is None:
        return Text("–")
    shown = str(count)
    if count >= 100_000:
        shown = f"{count / 1e3:.0f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"
    return Text(shown, style=style if count else "")


def short(value: float | None) -> str:
    """Return three digits, or all before the point: no column grows with its numbers."""
    if value is None:
        return "–"
    if abs(value) >= 1e6:
        return f"{value:.0e}".replace("e+0", "e")
    digits = 2 if abs(value) < 10.0 else 1 if abs(value) < 100.0 else 0
    return f"{value:.{digits}f}"


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


def _events(history: History, console: Console, width: int, most_lines: int | None) -> list[Text]:
    """Return the latest events by the time they happened, with a heading; long ones folded and cut."""
    latest = [
        (device.moment(event), device.device, event)
        for device in history.devices.values()
        for event in device.events[-_SHOWN_EVENTS:]
    ]
    latest.sort(key=lambda one: one[0])
    lines: list[Text] = []
    for moment, device, event in reversed(latest[-_SHOWN_EVENTS:]):
        folded = _folded(_event(moment, device, event), console, width)
        if most_lines is not None and len(lines) + len(folded) >= most_lines:
            break
        lines = folded + lines
    return [Text("Events", style="bold"), *lines] if lines else []


def _event(moment: float, device: str, event: Event) -> Text:
    at = time.localtime(moment)
    is_today = at[:3] == time.localtime()[:3]
    text = Text(time.strftime("%H:%M:%S" if is_today else "%m-%d %H:%M", at), style="dim")
    style = _SEVERITY_STYLE[event.severity]
    who = _cropped(Text(device), _LONGEST_NAME)
    return Text.assemble(text, "  ", who, "  ", (f"{event.name}: {event.text}", style))


def _folded(text: Text, console: Console, width: int) -> list[Text]:
    """Return at most `_MOST_LINES` lines; the last ends in an ellipsis where there were more."""
    lines = text.wrap(console, width)
    if len(lines) < _MOST_LINES:
        return list(lines)
    rest = Text("  ").append_text(Text(" ").join(lines[_MOST_LINES - 1 :]))
    return [*lines[: _MOST_LINES - 1], _cropped(rest, width)]


def _fitted(text: Text, width: int) -> Text:
    """Return exactly ``width`` columns: cut two before the end, or filled with blanks."""
    text = _cropped(text, width - 2)
    text.pad_right(width - text.cell_len)
    return text


def _cropped(text: Text, width: int) -> Text:
    text.no_wrap = True
    text.truncate(width, overflow="ellipsis")
    return text


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
