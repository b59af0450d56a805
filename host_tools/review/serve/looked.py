"""What is looked at: a time, and which devices and artifacts of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.review.serve.answers import Shown
from host_tools.review.store.windows import Selection

if TYPE_CHECKING:
    from host_tools.review.serve.directory import Roll
    from host_tools.review.serve.span import Span
    from host_tools.review.store.windows import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What is looked at: a time, and which devices and artifacts of it."""

    span: Span
    artifacts: tuple[str, ...] = ()
    devices: tuple[str, ...] | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def selection(self, *, every_artifact: bool = False) -> Selection:
        """Return it as the store is asked for it."""
        return Selection(
            start=self.span.start,
            end=self.span.end,
            devices=self.devices,
            artifacts=self.artifacts if self.artifacts and not every_artifact else None,
            labels=self.labels,
        )


def shown_of(looked: Looked, roll: Roll) -> Shown:
    """Return what of it an answer tells."""
    span = looked.span
    return Shown(start=span.start, end=span.end, level=span.level.seconds, newest=roll.newest)


def devices_of(roll: Roll, looked: Looked) -> list[Device]:
    """Return the devices that are looked at."""
    if not looked.labels and looked.devices is None:
        return list(roll.devices.values())
    wanted = set(looked.labels)
    return [
        device
        for device in roll.devices.values()
        if wanted <= set(device.labels) and (looked.devices is None or device.device in looked.devices)
    ]
