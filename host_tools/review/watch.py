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

from host_tools.review.device_lines import block, heading
from host_tools.review.fitted_text import cropped, folded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

    from device_agent.contract.telemetry.event import Event
    from host_tools.review.history import DeviceHistory, History

_SHOWN_EVENTS = 6
_LONGEST_NAME = 24
"""Of a device, beside an event."""
_SEVERITY_STYLE = {"info": "", "warning": "yellow", "error": "red"}


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
            yield heading(options.max_width)
            blocks = {
                name: block(device, self.now, console, options.max_width)
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
        return [cropped(Text(line, style="yellow"), width) for line in lines]


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


# --- what a device is, and its numbers ---


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
        told = folded(_event(moment, device, event), console, width)
        if most_lines is not None and len(lines) + len(told) >= most_lines:
            break
        lines = told + lines
    return [Text("Events", style="bold"), *lines] if lines else []


def _event(moment: float, device: str, event: Event) -> Text:
    at = time.localtime(moment)
    is_today = at[:3] == time.localtime()[:3]
    text = Text(time.strftime("%H:%M:%S" if is_today else "%m-%d %H:%M", at), style="dim")
    style = _SEVERITY_STYLE[event.severity]
    who = cropped(Text(device), _LONGEST_NAME)
    return Text.assemble(text, "  ", who, "  ", (f"{event.name}: {event.text}", style))


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
