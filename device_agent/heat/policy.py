"""`HeatPolicy`: temperatures go in, what to do about them comes out. No clock, sensor or thread.

Each step has a temperature from which on it holds; as it gets hotter steps add up, as it cools they are taken back one at a
time. What keeps it from flapping:

- the median of the last three temperatures counts, so one wrong reading does nothing;
- a step is taken at once, and taken back only after `hold_seconds` below its temperature less `hysteresis_celsius`;
- a step that was taken back in vain, because it soon had to be taken again, is held for twice as long the next time, up to
  `_MOST_DOUBLED` times `hold_seconds`.

Without a temperature nothing changes, for nobody knows whether it has cooled down; after a while that is said.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Measure = Literal["slow", "variant", "pause"]
_MEDIAN_OF: Final = 3
_MOST_DOUBLED: Final = 16
_SOON: Final = 10.0
"""So many times its hold: a step that is taken again within that was taken back in vain."""
_BLIND_READS: Final = 10
"""After so many reads in a row without a temperature it is said that there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatStep:
    """From ``celsius`` on, ``measure`` holds."""

    celsius: float
    measure: Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatRules:
    """What is declared.

    Attributes:
        steps: In the order of their temperatures.
        hysteresis_celsius: How far below its temperature a step is taken back.
        hold_seconds: For how long it must be that cool.
    """

    steps: tuple[HeatStep, ...]
    hysteresis_celsius: float
    hold_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatChange:
    """What changed.

    Attributes:
        kind: Steps were taken, one was taken back, or the temperature cannot be read any more, or again.
        celsius: The temperature that counted; None when there is none.
        measures: All that hold from now on.
        text: For people.
    """

    kind: Literal["hotter", "cooler", "blind", "seen"]
    celsius: float | None
    measures: tuple[Measure, ...]
    text: str


class HeatPolicy:
    """See the module's docstring."""

    def __init__(self, rules: HeatRules) -> None:
        self._rules = rules
        self._recent: deque[float] = deque(maxlen=_MEDIAN_OF)
        self._level = 0
        self._cool_since_seconds: float | None = None
        self._lowered_seconds = float("-inf")
        self._hold_seconds = rules.hold_seconds
        self._unread = 0

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All that hold now."""
        return tuple(step.measure for step in self._rules.steps[: self._level])

    def read(self, celsius: float | None, now_seconds: float, *, why_absent: str = "") -> HeatChange | None:
        """Take in a temperature, or that there is none; return what changes, if anything.

        Args:
            celsius: The temperature to go by; None: it could not be read.
            now_seconds: Monotonic time.
            why_absent: Why there is none.
        """
        if celsius is None:
            return self._blind(why_absent)
        was_blind, self._unread = self._unread >= _BLIND_READS, 0
        self._recent.append(celsius)
        if was_blind:
            return self._change("seen", celsius, "The temperature can be read again.")
        counted = sorted(self._recent)[len(self._recent) // 2]
        wanted = sum(counted >= step.celsius for step in self._rules.steps)
        if len(self._recent) < _MEDIAN_OF:
            return None
        if wanted > self._level:
            return self._raise(wanted, counted, now_seconds)
        return self._lower(counted, now_seconds)

    def _raise(self, level: int, celsius: float, now_seconds: float) -> HeatChange:
        in_vain = now_seconds - self._lowered_seconds < _SOON * self._hold_seconds
        most = _MOST_DOUBLED * self._rules.hold_seconds
        self._hold_seconds = min(2.0 * self._hold_seconds, most) if in_vain else self._rules.hold_seconds
        self._level, self._cool_since_seconds = level, None
        return self._change("hotter", celsius, f"{celsius:.1f} °C: {_said(self.measures)}.")

    def _lower(self, celsius: float, now_seconds: float) -> HeatChange | None:
        if not self._level:
            return None
        step = self._rules.steps[self._level - 1]
        if celsius >= step.celsius - self._rules.hysteresis_celsius:
            self._cool_since_seconds = None
            return None
        if self._cool_since_seconds is None:
            self._cool_since_seconds = now_seconds
        cool_seconds = now_seconds - self._cool_since_seconds
        if cool_seconds < self._hold_seconds:
            return None
        self._level -= 1
        self._cool_since_seconds, self._lowered_seconds = None, now_seconds
        return self._change(
            "cooler",
            celsius,
            f"Cool enough for {cool_seconds:.0f} s, {celsius:.1f} °C: {_said(self.measures)}.",
        )

    def _blind(self, why: str) -> HeatChange | None:
        self._recent.clear()
        self._cool_since_seconds = None
        self._unread += 1
        if self._unread != _BLIND_READS:
            return None
        return self._change(
            "blind",
            None,
            f"The temperature cannot be read, so it stays as it is ({_said(self.measures)}): {why}",
        )

    def _change(
        self, kind: Literal["hotter", "cooler", "blind", "seen"], celsius: float | None, text: str
    ) -> HeatChange:
        return HeatChange(kind=kind, celsius=celsius, measures=self.measures, text=text)


def _said(measures: Sequence[Measure]) -> str:
    words = {"slow": "fewer frames", "variant": "the smaller variant", "pause": "inference pauses"}
    return ", ".join(words[measure] for measure in measures) or "as declared, nothing holds back"
