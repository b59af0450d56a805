"""`Loss`: how many messages never reached the broker, and `LossCounts`: how many of them were told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.telemetry.store import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """How many messages were lost: dropped because the spool was full, refused by the broker, or too large to be sent.

    States are among them only when they are refused or too large, and are counted as events are.
    """

    results: int = 0
    measurements: int = 0
    events: int = 0

    @property
    def total(self) -> int:
        """All kinds together."""
        return self.results + self.measurements + self.events


class LossCounts:
    """What was lost, and what of it a message has told, as counters of the store.

    Args:
        counters: As the store has them.
    """

    def __init__(self, counters: Mapping[str, int] | None = None) -> None:
        self.counters = dict(counters or {})

    @property
    def lost(self) -> Loss:
        """Everything lost since the file was begun."""
        return self._sum("lost")

    @property
    def unreported(self) -> Loss:
        """Lost and not yet told."""
        lost, told = self._sum("lost"), self._sum("told")
        return Loss(
            results=lost.results - told.results,
            measurements=lost.measurements - told.measurements,
            events=lost.events - told.events,
        )

    def count(self, kind: Kind, *, tell: bool = True) -> None:
        """Count a message that was lost; without ``tell`` it counts as told."""
        name = _counted_as(kind)
        for prefix in ("lost",) if tell else ("lost", "told"):
            self._add(f"{prefix}_{name}", 1)

    def told(self, loss: Loss) -> None:
        """Count what a message has told."""
        for kind, count in (
            ("result", loss.results),
            ("measurement", loss.measurements),
            ("event", loss.events),
        ):
            self._add(f"told_{kind}", count)

    def with_lost(self, kinds: Iterable[Kind]) -> LossCounts:
        """Return these counts with messages of these kinds lost as well."""
        more = LossCounts(self.counters)
        for kind in kinds:
            more.count(kind)
        return more

    def with_counters(self, counters: Mapping[str, int]) -> LossCounts:
        """Return these counts and those of another store together."""
        more = LossCounts(self.counters)
        for name, count in counters.items():
            more._add(name, count)
        return more

    def _add(self, name: str, count: int) -> None:
        self.counters[name] = self.counters.get(name, 0) + count

    def _sum(self, prefix: str) -> Loss:
        return Loss(
            results=self.counters.get(f"{prefix}_result", 0),
            measurements=self.counters.get(f"{prefix}_measurement", 0),
            events=self.counters.get(f"{prefix}_event", 0),
        )


def _counted_as(kind: Kind) -> str:
    return Kind.EVENT.name.lower() if kind is Kind.STATE else kind.name.lower()
