"""Measurements from JSON objects."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, get_args

from device_agent.contract.telemetry.bounds import (
    COUNT_MAX,
    MAX_BUCKETS,
    MAX_INPUTS,
    MAX_READINGS,
    NUMBER_MAX,
)
from device_agent.contract.telemetry.envelope_reading import base_of, whose_of
from device_agent.contract.telemetry.measurements import (
    INPUT_BUCKETS,
    ExponentialHistogram,
    InferenceWindow,
    InputSketch,
    InputWindow,
    Measurement,
    PowerSample,
    Quality,
    Reading,
    SystemSample,
    ThermalSample,
)
from device_agent.contract.telemetry.message import Envelope
from device_agent.contract.telemetry.units import has_unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.fields import Fields

_BUCKET = re.compile(r"0|-?[1-9][0-9]{0,8}")
_QUALITIES: tuple[Quality, ...] = get_args(Quality)
_NUMBER_TYPES = ("int", "int | None", "float", "float | None")
_RESERVED = frozenset(
    {"schema_version", "absent", "sources", *(field.name for field in dataclasses.fields(Envelope))}
)


def _absent(fields: Fields) -> dict[str, str]:
    return fields.text_map("absent", most=MAX_READINGS)


def _numbers(
    fields: Fields, kind: type[Measurement], absent: Mapping[str, str]
) -> dict[str, int | float | None]:
    """Read every number that ``kind`` declares; the annotation says: integer or not, optional or not.

    One with a default is of a later minor version: an older agent leaves it out without a reason.
    """
    numbers: dict[str, int | float | None] = {}
    for field in dataclasses.fields(kind):
        if field.type not in _NUMBER_TYPES:
            continue
        optional = str(field.type).endswith("| None")
        if optional and not fields.has(field.name):
            if field.name not in absent and field.default is dataclasses.MISSING:
                fields.refuse(f"absent.{field.name}", "a reason, because the value is not there", None)
            numbers[field.name] = None
            continue
        if field.name in absent:
            fields.refuse(f"absent.{field.name}", "no reason, because the value is there", absent[field.name])
        if str(field.type).startswith("int"):
            numbers[field.name] = fields.integer(field.name, low=0, high=COUNT_MAX)
        else:
            numbers[field.name] = fields.number(field.name, low=0.0, high=NUMBER_MAX)
    return numbers


def read_inference(fields: Fields) -> InferenceWindow:
    """Read what was inferred in a window."""
    base, absent = base_of(fields), _absent(fields)
    numbers = _numbers(fields, InferenceWindow, absent)
    whose, hist = whose_of(fields), _hist(fields.child("hist"))
    counted = hist.zero_count + sum(hist.counts.values())
    if counted != numbers["latency_count"]:
        fields.refuse("hist", f"as many values as latency_count, {numbers['latency_count']}", counted)
    if not numbers["window_seconds"]:
        fields.refuse("window_seconds", "a number greater than 0", 0)
    return InferenceWindow(**base, **whose, absent=absent, **numbers, hist=hist, extra=fields.unknown())  # type: ignore[arg-type]  # by name


def read_input(fields: Fields) -> InputWindow:
    """Read what the inputs of a window were like."""
    base, absent, whose = base_of(fields), _absent(fields), whose_of(fields)
    return InputWindow(
        **base,
        **whose,
        absent=absent,
        frame_count=fields.integer("frame_count", low=1, high=COUNT_MAX),
        inputs=tuple(_sketch(one) for one in fields.children("inputs", least=1, most=MAX_INPUTS)),
        extra=fields.unknown(),
    )


def _sketch(fields: Fields) -> InputSketch:
    has_ratio = fields.has("saturated_ratio")
    sketch = InputSketch(
        name=fields.text("name"),
        value_count=fields.integer("value_count", low=1, high=COUNT_MAX),
        mean=fields.number("mean", low=-NUMBER_MAX, high=NUMBER_MAX),
        deviation=fields.number("deviation", low=0.0, high=NUMBER_MAX),
        minimum=fields.number("minimum", low=-NUMBER_MAX, high=NUMBER_MAX),
        maximum=fields.number("maximum", low=-NUMBER_MAX, high=NUMBER_MAX),
        saturated_ratio=fields.number("saturated_ratio", low=0.0, high=1.0) if has_ratio else None,
        zero_count=fields.integer("zero_count", low=0, high=COUNT_MAX),
        negative=_buckets(fields.child("negative"), INPUT_BUCKETS),
        positive=_buckets(fields.child("positive"), INPUT_BUCKETS),
    )
    counted = sketch.zero_count + sum(sketch.negative.values()) + sum(sketch.positive.values())
    if counted != sketch.value_count:
        fields.refuse("value_count", f"as many values as are counted, {counted}", sketch.value_count)
    fields.require_nothing_else()
    return sketch


def _buckets(counts: Fields, within: range) -> dict[int, int]:
    buckets = {}
    for key in counts.names:
        if not _BUCKET.fullmatch(key) or int(key) not in within:
            counts.refuse(key, f"a bucket index from {within[0]} to {within[-1]}", key)
        buckets[int(key)] = counts.integer(key, low=1, high=COUNT_MAX)
    return buckets


def _hist(fields: Fields) -> ExponentialHistogram:
    scale = fields.integer("scale", low=-10, high=20)
    zero_count = fields.integer("zero_count", low=0, high=COUNT_MAX)
    counts = fields.child("counts")
    if len(counts.names) > MAX_BUCKETS:
        fields.refuse("counts", f"at most {MAX_BUCKETS} buckets", len(counts.names))
    buckets = {}
    for key in counts.names:
        if not _BUCKET.fullmatch(key):
            counts.refuse(key, "a bucket index", key)
        buckets[int(key)] = counts.integer(key, low=1, high=COUNT_MAX)
    fields.require_nothing_else()
    return ExponentialHistogram(scale=scale, zero_count=zero_count, counts=buckets)


def read_system(fields: Fields) -> SystemSample:
    """Read a sample of the system."""
    base, absent = base_of(fields), _absent(fields)
    numbers = _numbers(fields, SystemSample, absent)
    return SystemSample(**base, absent=absent, **numbers, extra=fields.unknown())  # type: ignore[arg-type]  # by name


def read_thermal(fields: Fields) -> ThermalSample:
    """Read a sample of temperatures."""
    base, absent = base_of(fields), _absent(fields)
    return ThermalSample(**base, absent=absent, readings=_readings(fields, absent), extra=fields.unknown())


def read_power(fields: Fields) -> PowerSample:
    """Read a sample of power."""
    base, absent = base_of(fields), _absent(fields)
    return PowerSample(**base, absent=absent, readings=_readings(fields, absent), extra=fields.unknown())


def _readings(fields: Fields, absent: Mapping[str, str]) -> tuple[Reading, ...]:
    sources = fields.child("sources")
    names = sources.names
    if len(names) > MAX_READINGS:
        fields.refuse("sources", f"at most {MAX_READINGS} readings", len(names))
    return tuple(_reading(fields, sources.child(name), name, absent) for name in names)


def _reading(fields: Fields, source: Fields, name: str, absent: Mapping[str, str]) -> Reading:
    if not has_unit(name):
        fields.refuse(f"sources.{name}", "lower snake case that ends in a unit, e.g. _celsius", name)
    if name in _RESERVED:
        fields.refuse(f"sources.{name}", "a name that the envelope does not use", name)
    quality = source.choice("quality", _QUALITIES)
    there = fields.has(name)
    if there != (quality != "unavailable") or there != (name not in absent):
        fields.refuse(name, "either a number, or quality 'unavailable' and a reason in 'absent'", quality)
    reading = Reading(
        name=name,
        value=fields.number(name, low=-NUMBER_MAX, high=NUMBER_MAX) if there else None,
        source=source.text("source"),
        scope=source.text("scope"),
        quality=quality,
    )
    source.require_nothing_else()
    return reading
