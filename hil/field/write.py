"""A scenario with its remarks as TOML, as `hil.scenario.parse` reads it."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from hil.field.recover import Recovered


def encode_scenario(recovered: Recovered) -> bytes:
    """Return the file; every remark is one line of comment above what it is of."""
    return ("\n".join(_lines(recovered)) + "\n").encode()


def _lines(recovered: Recovered) -> Iterator[str]:
    scenario, remarks = recovered.scenario, recovered.remarks
    yield "# Made from telemetry by `edgewright hil scenario from-field`."
    yield from (f"# {line}" for line in recovered.origin)
    if recovered.left_out:
        yield "# Could not be reproduced:"
        yield from (f"# - {line}" for line in recovered.left_out)
    head = {"name": scenario.name, "seed": scenario.seed, "duration_seconds": scenario.duration_seconds}
    yield from _table("[scenario]", head, "")
    for place, (name, table) in enumerate(scenario.agent.items()):
        yield from _table(f"[agent.{name}]", table, remarks.get("agent", "") if not place else "")
    yield from _tables("temperature", scenario.temperatures, remarks)
    yield from _tables("power", scenario.powers, remarks)
    yield from _tables("rail", scenario.rails, remarks)
    yield from _tables("battery", scenario.batteries, remarks)
    yield from _tables("fault", scenario.faults, remarks)
    yield from _tables("load", scenario.loads, remarks)
    yield from _table("[expect]", _told(scenario.expectation), remarks.get("expect", ""))


def _tables(key: str, entries: Sequence[object], remarks: Mapping[str, str]) -> Iterator[str]:
    if key in remarks:
        yield ""
        yield f"# {remarks[key]}"
    for place, entry in enumerate(entries):
        yield from _table(f"[[{key}]]", _told(entry), remarks.get(f"{key}[{place}]", ""))


def _table(head: str, values: Mapping[str, object], remark: str) -> Iterator[str]:
    yield ""
    if remark:
        yield f"# {remark}"
    yield head
    # Texts, numbers and lists of them are the same in JSON, but for one control character that no name has.
    yield from (f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())


def _told(entry: Any) -> dict[str, object]:
    """Return the fields of a dataclass that differ from their defaults; tuples as lists."""
    told = {}
    for field in fields(entry):
        value = getattr(entry, field.name)
        if field.default is MISSING or value != field.default:
            told[field.name] = list(value) if isinstance(value, tuple) else value
    return told
