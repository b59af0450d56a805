"""Units of measured numbers: what ``…/m/<type>/meta`` publishes, so that any consumer can label its axes.

A name ends in its unit; base units only. OTel names where OpenTelemetry has one, own names
(``edgewright.*``) elsewhere.

Source: UCUM (https://ucum.org) for units; OpenTelemetry semantic conventions, "Hardware metrics" and "System
metrics", for names; Prometheus, "Metric and label naming", for suffixes.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from device_agent.contract.document import read_document, write_document
from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields
from device_agent.contract.telemetry.measurements import (
    InferenceWindow,
    InputWindow,
    Measurement,
    PowerSample,
    SystemSample,
    ThermalSample,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_UNITS_BYTES = 64 << 10
READING_NAME = re.compile(r"[a-z][a-z0-9_]{0,79}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Unit of a number: UCUM ``unit`` and the OTel metric ``otel`` that means the same."""

    unit: str
    otel: str


SUFFIXES: Mapping[str, Unit] = MappingProxyType(
    {
        "_joules_total": Unit(unit="J", otel="hw.energy"),
        "_joules": Unit(unit="J", otel="edgewright.energy"),
        "_watts": Unit(unit="W", otel="hw.power"),
        "_volts": Unit(unit="V", otel="hw.voltage"),
        "_amperes": Unit(unit="A", otel="edgewright.current"),
        "_celsius": Unit(unit="Cel", otel="hw.temperature"),
        "_hertz": Unit(unit="Hz", otel="system.cpu.frequency"),
        "_ratio": Unit(unit="1", otel="edgewright.ratio"),
        "_seconds_total": Unit(unit="s", otel="edgewright.time"),
        "_seconds": Unit(unit="s", otel="edgewright.time"),
        "_bytes": Unit(unit="By", otel="edgewright.size"),
        "_total": Unit(unit="1", otel="edgewright.count"),
        "_count": Unit(unit="1", otel="edgewright.count"),
        "_state": Unit(unit="1", otel="hw.status"),
    }
)
"""Unit of a sensor's number by the end of its name; the longest that fits counts."""

_LONGEST_FIRST = tuple(sorted(SUFFIXES, key=len, reverse=True))
_INFERENCE = {
    "window_seconds": Unit(unit="s", otel="edgewright.window"),
    "inferences_total": Unit(unit="{inference}", otel="edgewright.inferences"),
    "errors_total": Unit(unit="{error}", otel="edgewright.errors"),
    "dropped_frames_total": Unit(unit="{frame}", otel="edgewright.dropped_frames"),
    "throughput_per_second": Unit(unit="{inference}/s", otel="edgewright.throughput"),
    "latency_count": Unit(unit="{inference}", otel="edgewright.inference.duration"),
    **{
        f"latency_{part}_seconds": Unit(unit="s", otel="edgewright.inference.duration")
        for part in ("sum", "min", "max", "p50", "p90", "p95", "p99")
    },
}
_SYSTEM = {
    "cpu_ratio": Unit(unit="1", otel="system.cpu.utilization"),
    "process_cpu_ratio": Unit(unit="1", otel="process.cpu.utilization"),
    "process_rss_bytes": Unit(unit="By", otel="process.memory.usage"),
    "process_pss_bytes": Unit(unit="By", otel="edgewright.process.memory.pss"),
    "memory_available_bytes": Unit(unit="By", otel="system.linux.memory.available"),
    "memory_total_bytes": Unit(unit="By", otel="system.memory.limit"),
    "swap_used_bytes": Unit(unit="By", otel="system.paging.usage"),
    "load_1m": Unit(unit="{task}", otel="edgewright.load"),
    "cpu_frequency_hertz": Unit(unit="Hz", otel="system.cpu.frequency"),
    "storage_available_bytes": Unit(unit="By", otel="system.filesystem.usage"),
    "spool_messages": Unit(unit="{message}", otel="edgewright.spool.messages"),
    "spool_bytes": Unit(unit="By", otel="edgewright.spool.size"),
    "spool_dropped_total": Unit(unit="{message}", otel="edgewright.spool.dropped"),
    **{
        f"{of}_pressure_ratio": Unit(unit="1", otel=f"edgewright.pressure.{of}")
        for of in ("cpu", "memory", "io")
    },
}
_INPUT = {"frame_count": Unit(unit="{frame}", otel="edgewright.input.frames")}
_FIXED = {InferenceWindow.TYPE: _INFERENCE, InputWindow.TYPE: _INPUT, SystemSample.TYPE: _SYSTEM}


def unit_of(name: str) -> Unit:
    """Return the unit that the suffix of a sensor's number says.

    Raises:
        ContractError: ``name`` has no suffix of `SUFFIXES`, or is no lower-snake-case name of at most 80
            characters.
    """
    if has_unit(name):
        return SUFFIXES[next(suffix for suffix in _LONGEST_FIRST if name.endswith(suffix))]
    raise ContractError(
        f"reading {name[:100]!r}: expected lower snake case ending in one of {', '.join(SUFFIXES)}."
    )


def has_unit(name: str) -> bool:
    """Return whether `unit_of` knows the unit of a sensor's number by this name."""
    return READING_NAME.fullmatch(name) is not None and name.endswith(_LONGEST_FIRST)


def units_of(message: Measurement) -> Mapping[str, Unit]:
    """Return the unit of every number that messages like this one carry, by name.

    Raises:
        ContractError: A reading's name says no unit.
    """
    if isinstance(message, ThermalSample | PowerSample):
        return {reading.name: unit_of(reading.name) for reading in message.readings}
    return dict(_FIXED[message.TYPE])


def encode_units(units: Mapping[str, Unit]) -> bytes:
    """Write units as flat JSON: ``{"energy_joules_total": {"unit": "J", "otel": "hw.energy"}, …}``.

    Raises:
        ContractError: A name or unit is not text.
    """
    return write_document({name: dataclasses.asdict(unit) for name, unit in units.items()}, where="units")


def decode_units(data: bytes, *, where: str) -> Mapping[str, Unit]:
    """Read what `encode_units` wrote; unknown fields of an entry are passed over.

    Raises:
        ContractError: It is not of that form.
    """
    fields = Fields(read_document(data, where=where, max_bytes=MAX_UNITS_BYTES), where=where)
    units = {}
    for name in fields.names:
        entry = fields.child(name)
        units[name] = Unit(unit=entry.text("unit"), otel=entry.text("otel"))
    return MappingProxyType(units)
