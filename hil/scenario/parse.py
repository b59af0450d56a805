"""A scenario's file to a `Scenario`. Every error names file and key; what cannot be played is refused before anything is started."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from hil.board import read_toml
from hil.errors import ScenarioError
from hil.rail_name import require_rail_name
from hil.scenario.scenario import (
    LONGEST_SECONDS,
    MAX_ENTRIES,
    OWN_KEYS,
    BatteryPoint,
    Expectation,
    Fault,
    Load,
    PowerPoint,
    RailPoint,
    Scenario,
    TemperaturePoint,
)
from hil.table import bounded, read_table, said, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

T = TypeVar("T", TemperaturePoint, PowerPoint, RailPoint, BatteryPoint, Fault, Load)

_MAX_BYTES = 1 << 20
"""Of a file: `MAX_ENTRIES` of every table, each with a remark, as a week out of the field may have."""
_TABLES = ("scenario", "temperature", "power", "rail", "battery", "fault", "load", "agent", "expect")
_KEYS_OF_THE_RIG = {"mqtt": ("host", "port", "enabled"), "spool": ("path",), "sensors": ("sysfs_root",)}
"""Keys of ``agent.toml`` that the rig fills in; so are the tables ``device`` and ``artifact``."""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The table ``[scenario]``."""

    name: str
    seed: int = bounded(0, low=0, high=2**63 - 1)
    duration_seconds: float = bounded(low=0.1, high=LONGEST_SECONDS)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario.

    Raises:
        ScenarioError: It cannot be read, a key is wrong, or it cannot be played.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror or error}.") from error
    return parse_scenario(data, origin=str(path))


def parse_scenario(data: bytes, *, origin: str) -> Scenario:
    """Read a scenario from its file's bytes; ``origin`` stands in messages.

    Raises:
        ScenarioError: See `load_scenario`.
    """
    document = read_toml(data, origin=origin, error=ScenarioError, max_bytes=_MAX_BYTES)
    for key in document:
        if key not in _TABLES:
            unknown(f"{origin}: {key[:80]}", key, _TABLES, error=ScenarioError)
    head = read_table(_Head, document.get("scenario", {}), where=f"{origin}: scenario", error=ScenarioError)
    scenario = Scenario(
        name=head.name,
        seed=head.seed,
        duration_seconds=head.duration_seconds,
        temperatures=_entries(TemperaturePoint, document, "temperature", origin),
        powers=_entries(PowerPoint, document, "power", origin),
        rails=_entries(RailPoint, document, "rail", origin),
        batteries=_entries(BatteryPoint, document, "battery", origin),
        faults=_entries(Fault, document, "fault", origin),
        loads=_entries(Load, document, "load", origin),
        agent=_agent_tables(document.get("agent", {}), origin),
        expectation=read_table(
            Expectation, document.get("expect", {}), where=f"{origin}: expect", error=ScenarioError
        ),
    )
    _require_keys_of_their_kinds(scenario.faults, document.get("fault", []), origin)
    _require_playable(scenario, origin)
    return scenario


def _entries(kind: type[T], document: dict[str, Any], key: str, origin: str) -> tuple[T, ...]:
    listed = document.get(key, [])
    if not isinstance(listed, list):
        raise ScenarioError(f"{origin}: {key}: expected tables [[{key}]], got {said(listed)}.")
    if len(listed) > MAX_ENTRIES:
        raise ScenarioError(f"{origin}: {key}: expected at most {MAX_ENTRIES} entries, got {len(listed)}.")
    return tuple(
        read_table(kind, table, where=f"{origin}: {key}[{index}]", error=ScenarioError)
        for index, table in enumerate(listed)
    )


def _require_keys_of_their_kinds(
    faults: Sequence[Fault], tables: Sequence[dict[str, Any]], origin: str
) -> None:
    """Refuse what would change nothing: whoever writes `delay_seconds` of a cut means another fault."""
    for index, (fault, table) in enumerate(zip(faults, tables, strict=True)):
        for key in table:
            if key in OWN_KEYS and fault.kind not in OWN_KEYS[key]:
                raise ScenarioError(
                    f"{origin}: fault[{index}].{key}: {fault.kind} has no such key.",
                    hint=f"It is of {', '.join(OWN_KEYS[key])}.",
                )


def _agent_tables(tables: object, origin: str) -> dict[str, dict[str, object]]:
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ScenarioError(f"{origin}: agent: expected tables [agent.NAME], as in agent.toml.")
    for name, table in tables.items():
        odd = [key for key in (name, *table) if not _BARE_KEY.fullmatch(key)]
        if odd:
            raise ScenarioError(f"{origin}: agent: {said(odd[0])}: expected a name as agent.toml has them.")
        own = [
            key for key in table if name in ("device", "artifact") or key in _KEYS_OF_THE_RIG.get(name, ())
        ]
        if own:
            raise ScenarioError(f"{origin}: agent.{name}.{own[0]}: the rig says this, not the scenario.")
        for key, value in table.items():
            if not isinstance(value, str | int | float | list):
                raise ScenarioError(f"{origin}: agent.{name}.{key}: expected a text, a number or a list.")
            # The agent's file is written without any.
            if isinstance(value, float) and not math.isfinite(value):
                raise ScenarioError(f"{origin}: agent.{name}.{key}: expected a finite number, got {value}.")
    return tables


def _require_playable(scenario: Scenario, origin: str) -> None:
    for index, rail in enumerate(scenario.rails):
        require_rail_name(rail.name, where=f"{origin}: rail[{index}].name", error=ScenarioError)
    lines = {
        "temperature": [point.at_seconds for point in scenario.temperatures],
        "power": [point.at_seconds for point in scenario.powers],
        "battery": [point.at_seconds for point in scenario.batteries],
    }
    for name in dict.fromkeys(rail.name for rail in scenario.rails):
        lines[f"rail {name!r}"] = [rail.at_seconds for rail in scenario.rails if rail.name == name]
    for key, times in lines.items():
        if any(after <= before for before, after in pairwise(times)):
            raise ScenarioError(f"{origin}: {key}: expected points by rising at_seconds.")
    last: Sequence[tuple[str, float]] = [
        *((f"temperature[{i}]", one.at_seconds) for i, one in enumerate(scenario.temperatures)),
        *((f"power[{i}]", one.at_seconds) for i, one in enumerate(scenario.powers)),
        *((f"rail[{i}]", one.at_seconds) for i, one in enumerate(scenario.rails)),
        *((f"battery[{i}]", one.at_seconds) for i, one in enumerate(scenario.batteries)),
        *((f"load[{i}]", one.at_seconds + one.for_seconds) for i, one in enumerate(scenario.loads)),
        *((f"fault[{i}]", _latest_end(one)) for i, one in enumerate(scenario.faults)),
    ]
    for key, seconds in last:
        if seconds > scenario.duration_seconds:
            raise ScenarioError(
                f"{origin}: {key}: ends at {seconds:g} s, after scenario.duration_seconds, which is {scenario.duration_seconds:g}."
            )
    both = [name for name in scenario.expectation.events if name in scenario.expectation.forbidden_events]
    if both:
        raise ScenarioError(f"{origin}: expect.events: {both[0]!r} is among forbidden_events too.")
    _require_apart(scenario, origin)


def _latest_end(fault: Fault) -> float:
    return (
        fault.at_seconds + (fault.repeat - 1) * fault.every_seconds + fault.jitter_seconds + fault.for_seconds
    )


def _require_apart(scenario: Scenario, origin: str) -> None:
    """Faults of one kind must not overlap, whatever the seed: the end of the first would undo the second."""
    spans: dict[str, list[tuple[float, float, str]]] = {}
    for index, fault in enumerate(scenario.faults):
        for number in range(fault.repeat):
            begin = fault.at_seconds + number * fault.every_seconds
            end = begin + fault.jitter_seconds + fault.for_seconds
            spans.setdefault(_group(fault), []).append((begin, end, f"fault[{index}]"))
    for found in spans.values():
        found.sort()
        for (_, end, one), (begin, _, other) in pairwise(found):
            if begin < end:
                raise ScenarioError(
                    f"{origin}: {other}: begins at {begin:g} s, when {one} may last until {end:g} s (jitter included).",
                    hint="Faults of one thing must not overlap: the end of the first would undo the second.",
                )


def _group(fault: Fault) -> str:
    """Return what a fault is of: ways of breaking the line to the broker are of one thing; so are agent and spool's disk, which may go too."""
    if fault.kind in ("power_cut", "agent_killed", "disk_full", "disk_read_only"):
        return "agent and disk"
    return (
        "line"
        if fault.kind.startswith(("network", "slow_reader", "broker", "cable", "packets"))
        else fault.kind
    )
