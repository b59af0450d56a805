"""Events as marks on the axis of time: at a fleet's size they are counted by window, not drawn one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.serve.answers import Marker
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.review.serve.answers import ShareLine
    from host_tools.review.serve.span import Span
    from host_tools.review.store.windows import StoredEvent

_GRAVEST_FIRST = ("error", "warning", "info")
_PLACES = 60
"""Marks closer than a sixtieth of the axis would hide each other."""


def markers_of(events: Sequence[StoredEvent], span: Span) -> list[Marker]:
    """Return events of one name and one short stretch of the axis as one mark each."""
    step = max((span.end - span.start) / _PLACES, float(span.level.seconds))
    places: dict[tuple[int, str], list[StoredEvent]] = {}
    for event in events:
        places.setdefault((int((event.time - span.start) // step), event.name), []).append(event)
    return [
        Marker(
            time=min(event.time for event in together),
            name=harmless(name),
            severity=_gravest([event.severity for event in together]),
            count=len(together),
            text=harmless(together[0].text),
            device=together[0].device if len({event.device for event in together}) == 1 else None,
        )
        for (_, name), together in places.items()
    ]


def first_seen(rollout: Sequence[ShareLine], span: Span) -> list[Marker]:
    """Return where artifacts began to run that did not run when the span begins."""
    marks = []
    for line in rollout:
        at = np.flatnonzero(line.devices)
        if line.artifact is not None and at.size and at[0] > 0:
            marks.append(
                Marker(
                    time=span.start + float(at[0]) * span.level.seconds,
                    name="first_seen",
                    severity="info",
                    count=1,
                    text=f"{line.name} is first seen",
                    device=None,
                )
            )
    return marks


def _gravest(severities: Sequence[str]) -> str:
    return next((one for one in _GRAVEST_FIRST if one in severities), "info")
