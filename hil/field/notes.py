"""What is noted while a scenario is recovered: its stretch of time, where steps came from, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """The time that a scenario is of, Unix seconds, and how often the device reported in it, in seconds."""

    begin: float
    end: float
    interval: float

    @property
    def seconds(self) -> float:
        """Its length, to the millisecond."""
        return round(self.end - self.begin, 3)


@dataclass(slots=True)
class Notes:
    """Grows on the way.

    Attributes:
        remarks: By what they are of (``temperature``, ``power``, ``rail``, ``battery``, ``agent``, ``expect``, ``fault[0]``, ``load[0]``):
            where that came from.
        left_out: What could not be reproduced, as sentences.
    """

    remarks: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, sentence: str) -> None:
        """Note what could not be reproduced."""
        self.left_out.append(sentence)


def shown(seconds: float) -> str:
    """Return a Unix time as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(float(seconds), tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
