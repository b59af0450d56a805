"""The tables of `benchmarks.review.detection` in docs/analysis.md."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from benchmarks.marked import write_marked

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCUMENT = Path(__file__).parents[2] / "docs" / "analysis.md"
_MARK = "detection"
_SIZES = {
    "regression: latency": "latency of one target",
    "regression: energy": "energy of one target",
    "regression: failures": "failures of one target",
    "regression on some devices": "latency of a tenth of one target's devices with B",
    "improvement": "latency of one target that B takes away",
    "output_drift": "frames that go to another class, on one target",
    "input_drift": "mean of the inputs' values on one target, in standard deviations of theirs",
    "change_point of a target": "latency of a target, from one hour on",
    "change_point of a device": "latency of a device, from one hour on",
    "straggler": "latency of a device",
    "throttling": "slowed down for 10 % of the time or more",
    "silent": "for 12 h",
    "flapping": "starts a day",
    "memory_leak": "MB a day",
    "heat_trend": "°C a day",
    "battery_wear": "capacity a day",
    "sensor_fault": "stuck, or impossible",
}
_SHARES = (
    "regression: latency",
    "regression: energy",
    "regression: failures",
    "regression on some devices",
    "improvement",
    "output_drift",
    "straggler",
    "battery_wear",
)
_OF_NO_DEVICE = ("regression", "improvement", "output_drift", "input_drift")
"""Such a finding is of a fleet or a target, and names no device."""


class Rate(TypedDict):
    """One row of the figures."""

    kind: str
    size: float
    hits: int
    trials: int
    rate: float
    low: float
    high: float


def tables(rates: Sequence[Rate], *, fleets: int) -> str:
    """Return both tables as Markdown."""
    by_kind: dict[str, list[Rate]] = {}
    for row in rates:
        by_kind.setdefault(row["kind"], []).append(row)
    lines = [
        f"**False alarms**, in {fleets} fleets without any fault:",
        "",
        "| looked for | reviews with a false one | devices falsely told, of all |",
        "|---|---|---|",
    ]
    for name, rows in sorted(by_kind.items()):
        if name.startswith("fleet:"):
            kind = name.removeprefix("fleet:")
            told = "" if kind in _OF_NO_DEVICE else _rate(by_kind[f"device:{kind}"][0])
            lines.append(f"| {kind.replace('_', ' ')} | {_rate(rows[0])} | {told} |")
    wrong = [
        (name.split(": ")[1], rows[0]) for name, rows in sorted(by_kind.items()) if name.startswith("wrong")
    ]
    lines += [
        "",
        f"Devices without the fault that were told beside those that have it, in {fleets} fleets with one fault of every kind: "
        + "; ".join(f"{kind.replace('_', ' ')} {row['hits']} of {row['trials']}" for kind, row in wrong)
        + ".",
        "",
        "Intervals of 95 % that hold the true change: "
        + "; ".join(
            f"{name.split(': ')[1]} {_rate(rows[0])}"
            for name, rows in sorted(by_kind.items())
            if name.startswith("interval")
        )
        + ".",
        "",
        "Called `no_worse` where nothing changed (all groups): "
        + "; ".join(
            f"{name.split(':')[1]} {_rate(rows[0])}"
            for name, rows in sorted(by_kind.items())
            if name.startswith("no_worse")
        )
        + ".",
        "",
        f"**Detection** by size, in {fleets} fleets with one fault of every kind at once:",
        "",
        "| fault | of what size | found, by size |",
        "|---|---|---|",
    ]
    for name, what in _SIZES.items():
        cells = "; ".join(f"{_size(name, row['size'])}{_rate(row)}" for row in by_kind.get(name, []))
        lines.append(f"| {name.replace('_', ' ')} | {what} | {cells} |")
    return "\n".join(lines) + "\n"


def write_tables(rates: Sequence[Rate], *, fleets: int, document: Path = DOCUMENT) -> None:
    """Put the tables between their marks in the document."""
    write_marked(document, _MARK, tables(rates, fleets=fleets))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables of figures that were kept."""
    parser = argparse.ArgumentParser(description="Write the tables of docs/analysis.md from kept figures.")
    parser.add_argument("json", type=Path, help="what `benchmarks.review.detection --json` wrote")
    options = parser.parse_args(arguments)
    kept = json.loads(options.json.read_text(encoding="utf-8"))
    write_tables(kept["rates"], fleets=kept["fleets"])
    return 0


def _rate(row: Rate) -> str:
    return f"{row['hits']} of {row['trials']} ({100 * row['low']:.2g} to {100 * row['high']:.3g} %)"


def _size(kind: str, size: float) -> str:
    if kind in ("throttling", "silent", "sensor_fault"):
        return ""
    if kind in _SHARES or kind.startswith("change_point"):
        return f"{100 * size:g} %: "
    return f"{size / 1e6 if kind == 'memory_leak' else size:g}: "


if __name__ == "__main__":
    sys.exit(main())
