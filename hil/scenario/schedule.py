"""A scenario and a seed to what is done when. Pure: the same arguments give the same schedule, on every machine."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hil.scenario.scenario import BatteryPoint, FaultKind, Scenario, TemperaturePoint

TEMPERATURE_STEP_SECONDS = 0.25
"""How often the temperature is moved between two points."""
CHARGE_STEP_SECONDS = 1.0
"""How often a battery's charge is."""

Verb = Literal["temperature", "power", "rail", "battery", "fault", "undo", "load", "unload"]
_ORDER: Sequence[Verb] = ("undo", "unload", "temperature", "power", "rail", "battery", "load", "fault")
"""At one moment what ends goes before what begins."""
MOVES: Sequence[Verb] = ("temperature", "battery")
"""What is moved from point to point in steps so small that nobody wants a line of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that is done.

    Attributes:
        at_seconds: When, since the model is active.
        verb: What is done.
        kind: Of a fault and its undoing; empty elsewhere.
        value: Degrees Celsius, watts, charge (1 is full), seconds of delay or jump, bytes a second, share of packets, number of processes;
            0 where there is none.
        rail: Of a rail, its name; empty elsewhere.
        watts: Of a battery, what it takes or (negative) gives; 0 elsewhere.
        is_between: A step between two points of the scenario.
    """

    at_seconds: float
    verb: Verb
    kind: FaultKind | Literal[""] = ""
    value: float = 0.0
    rail: str = ""
    watts: float = 0.0
    is_between: bool = False

    @property
    def subject(self) -> str:
        """What it is done to, where there are several: the fault's kind or the rail."""
        return self.kind or self.rail

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "planned_seconds": round(self.at_seconds, 3),
            "verb": self.verb,
            "kind": self.subject,
            "value": self.value,
            "watts": self.watts,
        }


def schedule(scenario: Scenario, seed: int | None = None) -> tuple[Action, ...]:
    """Return everything that is done, by time; each fault and load is undone by the scenario's end.

    Args:
        scenario: What is played.
        seed: Takes the place of the scenario's own.
    """
    draw = random.Random(scenario.seed if seed is None else seed)  # noqa: S311  no secret: it is to be the same again
    actions = [*_faults(scenario, draw), *_loads(scenario), *_temperatures(scenario.temperatures)]
    actions += _batteries(scenario.batteries)
    actions += [
        Action(at_seconds=point.at_seconds, verb="rail", value=point.watts, rail=point.name)
        for point in scenario.rails
    ]
    actions += [
        Action(at_seconds=point.at_seconds, verb="power", value=point.watts) for point in scenario.powers
    ]
    return tuple(sorted(actions, key=lambda action: (action.at_seconds, _ORDER.index(action.verb))))


def with_next_moves(actions: Sequence[Action]) -> Iterable[tuple[Action, float]]:
    """Return each action with when it need not be done any more: a step between points, when the next move of the same thing is due."""
    due: dict[Verb, float] = {}
    found: list[tuple[Action, float]] = []
    for action in reversed(actions):
        found.append((action, due.get(action.verb, math.inf) if action.is_between else math.inf))
        if action.verb in MOVES:
            due[action.verb] = action.at_seconds
    return reversed(found)


def _faults(scenario: Scenario, draw: random.Random) -> Iterator[Action]:
    for fault in scenario.faults:
        values = {
            "network_slow": fault.delay_seconds,
            "slow_reader": fault.bytes_per_second,
            "packets_late": fault.delay_seconds,
            "packets_lost": fault.loss_share,
            "clock_jump": fault.jump_seconds,
        }
        for number in range(fault.repeat):
            begin = fault.at_seconds + number * fault.every_seconds + draw.random() * fault.jitter_seconds
            yield Action(at_seconds=begin, verb="fault", kind=fault.kind, value=values.get(fault.kind, 0.0))
            yield Action(at_seconds=begin + fault.for_seconds, verb="undo", kind=fault.kind)


def _loads(scenario: Scenario) -> Iterator[Action]:
    for load in scenario.loads:
        yield Action(at_seconds=load.at_seconds, verb="load", value=float(load.processes))
        yield Action(
            at_seconds=load.at_seconds + load.for_seconds, verb="unload", value=float(load.processes)
        )


def _temperatures(points: Sequence[TemperaturePoint]) -> Iterator[Action]:
    for point, after in pairwise(points):
        for at, share in _steps(point.at_seconds, after.at_seconds, TEMPERATURE_STEP_SECONDS):
            celsius = point.celsius + share * (after.celsius - point.celsius)
            yield Action(at_seconds=at, verb="temperature", value=celsius, is_between=share > 0.0)
    for last in points[-1:]:
        yield Action(at_seconds=last.at_seconds, verb="temperature", value=last.celsius)


def _batteries(points: Sequence[BatteryPoint]) -> Iterator[Action]:
    for point, after in pairwise(points):
        for at, share in _steps(point.at_seconds, after.at_seconds, CHARGE_STEP_SECONDS):
            charge = point.charge_ratio + share * (after.charge_ratio - point.charge_ratio)
            yield Action(
                at_seconds=at, verb="battery", value=charge, watts=point.watts, is_between=share > 0.0
            )
    for last in points[-1:]:
        yield Action(at_seconds=last.at_seconds, verb="battery", value=last.charge_ratio, watts=last.watts)


def _steps(begin: float, end: float, step_seconds: float) -> Iterator[tuple[float, float]]:
    """Yield moments from a point on to just before the next, and the share of the way that is covered then."""
    span = end - begin
    steps = max(1, round(span / step_seconds))
    for step in range(steps):
        yield begin + step / steps * span, step / steps
