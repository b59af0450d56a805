"""What a scenario does when, for people: a line for every fault, load and power, and one for every way from point to point."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, TypeVar

from hil.scenario.schedule import MOVES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hil.scenario.scenario import Scenario
    from hil.scenario.schedule import Action


class _Point(Protocol):
    @property
    def at_seconds(self) -> float: ...


P = TypeVar("P", bound=_Point)


def listing(scenario: Scenario, actions: Sequence[Action]) -> Iterator[str]:
    """Yield lines by time, headed by name, duration and what the rig must have.

    Args:
        scenario: Whose temperatures and charges are told from point to point.
        actions: Its schedule, of which all else is told.
    """
    yield f"{scenario.name}: {scenario.duration_seconds:g} s; needs {', '.join(scenario.needs)}"
    lines = [
        (one.at_seconds, _line(one.at_seconds, one.verb, one.subject, f"{one.value:g}"))
        for one in actions
        if one.verb not in MOVES
    ]
    lines += _ways("temperature", scenario.temperatures, lambda point: f"{point.celsius:g} C")
    lines += _ways("battery", scenario.batteries, lambda point: f"{point.charge_ratio:g}  {point.watts:g} W")
    yield from (line for _, line in sorted(lines, key=lambda one: one[0]))


def _ways(verb: str, points: Sequence[P], said: Callable[[P], str]) -> Iterator[tuple[float, str]]:
    for point, after in pairwise(points):
        way = f"{said(point)}, evenly to {said(after)} at {after.at_seconds:.2f} s"
        yield point.at_seconds, _line(point.at_seconds, verb, "", way)
    for last in points[-1:]:
        yield last.at_seconds, _line(last.at_seconds, verb, "", said(last))


def _line(at_seconds: float, verb: str, subject: str, value: str) -> str:
    return f"{at_seconds:10.2f} s  {verb:12} {subject:16} {value}"
