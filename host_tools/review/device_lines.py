"""The lines of a device in the live view: who it is and how it is, and its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from host_tools.review.boot_clock import duration
from host_tools.review.device_numbers import hottest_celsius, latest_pss_bytes, short
from host_tools.review.fitted_text import cropped, fitted, folded
from host_tools.review.power import Power, battery, consumption, latest_powers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from device_agent.contract.telemetry.measurements import InferenceWindow
    from host_tools.review.history import DeviceHistory

_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WINDOWS = 16
_WIDE_COLUMNS = 160
_WIDE_IDENTITY = 40
_WIDE_POWER = 38
_NARROWEST_WITH_SPARK = 60
_HEALTH_STYLE = {"up": "green", "degraded": "yellow", "draining": "yellow", "down": "red"}
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


def heading(width: int) -> Text:
    """Return the line above all devices."""
    line = "".join(name.rjust(size) for name, size in _NUMBERS) + "  Power W"
    if width >= _WIDE_COLUMNS:
        line = "Device".ljust(_WIDE_IDENTITY) + line.ljust(_NUMBERS_WIDTH + _WIDE_POWER) + "p50 over time"
    return cropped(Text(line, style="bold"), width)


def block(device: DeviceHistory, now: float, console: Console, width: int) -> list[Text]:
    """Return a device's lines."""
    lines = _one_line(device, now, width) if width >= _WIDE_COLUMNS else _two_lines(device, now, width)
    lines += _model_lines(device, now, width)
    if device.health is not None and device.health.reason:
        lines += folded(Text(f"  {device.health.reason}", style="dim"), console, width)
    return lines


def _one_line(device: DeviceHistory, now: float, width: int) -> list[Text]:
    told = latest_powers(device.power)
    line = fitted(_identity(device, now, _WIDE_IDENTITY), _WIDE_IDENTITY)
    power = "  ".join(filter(None, (_drawn(told), _stored(told)))) or "–"
    numbers = _numbers(device, now).append(f"  {power}")
    line.append_text(fitted(numbers, _NUMBERS_WIDTH + _WIDE_POWER))
    line.append(_spark(device).ljust(_SPARK_WINDOWS), style="cyan")
    line.append(f"  {'  '.join(_model(device))}", style="dim")
    return [cropped(line, width)]


def _two_lines(device: DeviceHistory, now: float, width: int) -> list[Text]:
    told, spark = latest_powers(device.power), _spark(device)
    room = width - len(spark) - 2 if spark and width >= _NARROWEST_WITH_SPARK else width
    first = _identity(device, now, room)
    if stored := _stored(told):
        first.append(f"  {stored}")
    first.append(f"  {'  '.join(_model(device))}", style="dim")
    if room < width:
        first = fitted(first, room + 2).append(spark, style="cyan")
    second = _numbers(device, now).append(f"  {_drawn(told) or '–'}")
    return [cropped(first, width), cropped(second, width)]


def _model_lines(device: DeviceHistory, now: float, width: int) -> list[Text]:
    """Return a line for each model and side of a split, where there are several; the device's own is then the main one's."""
    if len(device.inference_of) < 2:
        return []
    lines = []
    for name, series in device.series.items():
        line = Text(style=_number_style(device, now))
        if width >= _WIDE_COLUMNS:
            line.append_text(fitted(Text(f"  {name}"), _WIDE_IDENTITY))
        for cell, (_, size) in zip(_window_figures(series[-1]), _NUMBERS, strict=False):
            cell.pad_left(max(size - cell.cell_len, 1))
            line.append_text(cell)
        if width < _WIDE_COLUMNS:
            line.append(f"  {name}")
        lines.append(cropped(line, width))
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


def _spark(device: DeviceHistory) -> str:
    return sparkline([one.latency_p50_seconds for one in device.inference[-_SPARK_WINDOWS:]])


def sparkline(values: Sequence[float | None]) -> str:
    """Return one block character a value, lowest to highest; a gap for None."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    top = len(_SPARKS) - 1
    return "".join(" " if value is None else _SPARKS[round(top * (value - low) / span)] for value in values)
