"""Messages of `telemetry` from JSON objects: every rule that a message obeys, asked field by field."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, TypedDict, get_args

from device_agent.contract.model_names import MODEL_NAME
from device_agent.contract.telemetry import (
    INPUT_BUCKETS,
    TELEMETRY_VERSION,
    Alarm,
    Birth,
    Clock,
    CommandState,
    CommandStatus,
    Envelope,
    Event,
    ExponentialHistogram,
    Health,
    HealthStatus,
    InferenceWindow,
    InputSketch,
    InputWindow,
    Measurement,
    Message,
    PowerSample,
    Quality,
    Raw,
    Reading,
    Reported,
    Result,
    RunningModel,
    Severity,
    Summary,
    SystemSample,
    ThermalSample,
    TopK,
    Variant,
)
from device_agent.contract.telemetry_writing import (
    EVENT_SOURCE_PREFIX,
    EVENT_TYPE_PREFIX,
    FORM_NAMES,
    TIME_MAX,
    rfc3339,
)
from device_agent.contract.units import has_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_agent.contract.fields import Fields

MAX_READINGS = 256
MAX_BUCKETS = 4096
MAX_OUTPUTS = 256
MAX_INPUTS = 64
MAX_MODELS = 64
MAX_TARGETS = 64
MAX_VALUES = 65536
"""Most values of one output in a `Result`; a larger output is sent as `TopK` or `Summary`."""
COUNT_MAX = (1 << 53) - 1
"""Largest integer that every JSON reader keeps exactly."""
NUMBER_MAX = 1.7976931348623157e308

_BOOT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BUCKET = re.compile(r"0|-?[1-9][0-9]{0,8}")
_GROUP = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EVENT_TYPE = re.compile(r"edgewright\.device\.[a-z][a-z0-9_]{0,63}")
_EVENT_SOURCE = re.compile(r"/device/[A-Za-z0-9_-]{1,64}")
_CLOCKS: tuple[Clock, ...] = get_args(Clock)
_QUALITIES: tuple[Quality, ...] = get_args(Quality)
_STATUSES: tuple[HealthStatus, ...] = get_args(HealthStatus)
_VARIANTS: tuple[Variant, ...] = get_args(Variant)
_SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_COMMAND_STATUSES: tuple[CommandStatus, ...] = get_args(CommandStatus)
_NUMBER_TYPES = ("int", "int | None", "float", "float | None")
_BIRTH_OPTIONAL = ("engine", "engine_version", "model_name", "model_version", "target")
_RESERVED = frozenset(
    {"schema_version", "absent", "sources", *(field.name for field in dataclasses.fields(Envelope))}
)


class _Base(TypedDict):
    envelope: Envelope
    schema_version: str


class _Whose(TypedDict):
    model: str | None
    variant: Variant | None


def envelope_of(fields: Fields) -> Envelope:
    """Read the envelope of a message of any type, known here or not."""
    return _base(fields)["envelope"]


def _base(fields: Fields) -> _Base:
    """Read what every message has; ``extra`` is added last, when it is known what was not asked for."""
    version = fields.schema_version(TELEMETRY_VERSION)
    artifact = fields.digest("artifact") if fields.has("artifact") else None
    envelope = Envelope(
        time=fields.number("time", low=0.0, high=TIME_MAX),
        boot_id=fields.text("boot_id", pattern=_BOOT_ID),
        seq=fields.integer("seq", low=0, high=COUNT_MAX),
        uptime_seconds=fields.number("uptime_seconds", low=0.0, high=NUMBER_MAX),
        clock=fields.choice("clock", _CLOCKS),
        artifact=artifact,
    )
    return {"envelope": envelope, "schema_version": version}


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


def _read_inference(fields: Fields) -> InferenceWindow:
    base, absent = _base(fields), _absent(fields)
    numbers = _numbers(fields, InferenceWindow, absent)
    whose, hist = _whose(fields), _hist(fields.child("hist"))
    counted = hist.zero_count + sum(hist.counts.values())
    if counted != numbers["latency_count"]:
        fields.refuse("hist", f"as many values as latency_count, {numbers['latency_count']}", counted)
    if not numbers["window_seconds"]:
        fields.refuse("window_seconds", "a number greater than 0", 0)
    return InferenceWindow(**base, **whose, absent=absent, **numbers, hist=hist, extra=fields.unknown())  # type: ignore[arg-type]  # by name


def _read_input(fields: Fields) -> InputWindow:
    base, absent, whose = _base(fields), _absent(fields), _whose(fields)
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


def _whose(fields: Fields) -> _Whose:
    """Read which model and variant a message is about; neither is there where there is only one."""
    return {
        "model": fields.text("model", pattern=MODEL_NAME) if fields.has("model") else None,
        "variant": fields.choice("variant", _VARIANTS) if fields.has("variant") else None,
    }


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


def _read_system(fields: Fields) -> SystemSample:
    base, absent = _base(fields), _absent(fields)
    numbers = _numbers(fields, SystemSample, absent)
    return SystemSample(**base, absent=absent, **numbers, extra=fields.unknown())  # type: ignore[arg-type]  # by name


def _read_thermal(fields: Fields) -> ThermalSample:
    base, absent = _base(fields), _absent(fields)
    return ThermalSample(**base, absent=absent, readings=_readings(fields, absent), extra=fields.unknown())


def _read_power(fields: Fields) -> PowerSample:
    base, absent = _base(fields), _absent(fields)
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


def _read_birth(fields: Fields) -> Birth:
    base = _base(fields)
    optional = {name: fields.text(name) if fields.has(name) else None for name in _BIRTH_OPTIONAL}
    return Birth(
        **base,
        agent_version=fields.text("agent_version"),
        python_version=fields.text("python_version"),
        host=fields.scalars("host", most=MAX_READINGS),
        models=tuple(_running_model(one) for one in fields.children("models", least=0, most=MAX_MODELS))
        if fields.has("models")
        else (),
        **optional,
        extra=fields.unknown(),
    )


def _running_model(fields: Fields) -> RunningModel:
    optional = {name: fields.text(name) if fields.has(name) else None for name in _BIRTH_OPTIONAL}
    running = RunningModel(
        model=fields.text("model", pattern=MODEL_NAME),
        variant=_whose(fields)["variant"],
        artifact=fields.digest("artifact") if fields.has("artifact") else None,
        **optional,
    )
    fields.require_nothing_else()
    return running


def _read_health(fields: Fields) -> Health:
    base = _base(fields)
    return Health(
        **base,
        status=fields.choice("status", _STATUSES),
        pid=fields.integer("pid", low=0, high=COUNT_MAX) if fields.has("pid") else None,
        reason=fields.text("reason", empty=True),
        extra=fields.unknown(),
    )


def _read_reported(fields: Fields) -> Reported:
    return Reported(
        **_base(fields),
        group=fields.text("group", pattern=_GROUP) if fields.has("group") else None,
        targets=fields.texts("targets", least=0, most=MAX_TARGETS),
        desired_serial=fields.integer("desired_serial", low=0, high=COUNT_MAX),
        desired=fields.digest("desired") if fields.has("desired") else None,
        in_trial=_truth(fields, "in_trial"),
        on_probation=_truth(fields, "on_probation"),
        counter_floor=fields.integer("counter_floor", low=0, high=COUNT_MAX),
        extra=fields.unknown(),
    )


def _truth(fields: Fields, key: str) -> bool:
    value = fields.value(key)
    if not isinstance(value, bool):
        fields.refuse(key, "true or false", value)
    return value


def _read_alarm(fields: Fields) -> Alarm:
    base = _base(fields)
    severity = fields.choice("severity", _SEVERITIES)
    return Alarm(**base, severity=severity, text=fields.text("text"), extra=fields.unknown())


def _read_event(fields: Fields) -> Event:
    fields.choice("specversion", ("1.0",))
    data = fields.child("data")
    base = _base(data)
    envelope = base["envelope"]
    event = Event(
        **base,
        device=fields.text("source", pattern=_EVENT_SOURCE).removeprefix(EVENT_SOURCE_PREFIX),
        name=fields.text("type", pattern=_EVENT_TYPE).removeprefix(EVENT_TYPE_PREFIX),
        severity=data.choice("severity", _SEVERITIES),
        text=data.text("text"),
        details=data.scalars("details", most=MAX_READINGS),
        extra={},
    )
    data.require_nothing_else()
    # What says the same thing twice must say the same thing.
    fields.choice("id", (f"{envelope.boot_id}:{envelope.seq}",))
    fields.choice("time", (rfc3339(envelope.time),))
    fields.choice("datacontenttype", ("application/json",))
    return dataclasses.replace(event, extra=fields.unknown())


def _read_command(fields: Fields) -> CommandState:
    base = _base(fields)
    status = fields.choice("status", _COMMAND_STATUSES)
    code = fields.text("code", empty=True, longest=64)
    if bool(code) != (status == "failed"):
        fields.refuse("code", "a code exactly when the command failed", code)
    return CommandState(
        **base,
        status=status,
        code=code,
        reason=fields.text("reason", empty=True),
        result=fields.scalars("result", most=MAX_READINGS),
        extra=fields.unknown(),
    )


def _read_result(fields: Fields) -> Result:
    base, whose = _base(fields), _whose(fields)
    return Result(
        **base,
        **whose,
        frame=fields.text("frame"),
        latency_seconds=fields.number("latency_seconds", low=0.0, high=NUMBER_MAX),
        outputs=tuple(_output(item) for item in fields.children("outputs", least=0, most=MAX_OUTPUTS)),
        extra=fields.unknown(),
    )


def _output(fields: Fields) -> TopK | Raw | Summary:
    form = fields.choice("form", tuple(FORM_NAMES.values()))
    name = fields.text("name")
    shape = fields.integers("shape", least=0, most=8, low=1, high=COUNT_MAX)
    output: TopK | Raw | Summary
    if form == "summary":
        numbers = {
            key: fields.number(key, low=-NUMBER_MAX, high=NUMBER_MAX)
            for key in ("minimum", "maximum", "mean")
        }
        output = Summary(name=name, shape=shape, **numbers)
    else:
        size = math.prod(shape)
        least = size if form == "raw" else 1
        most = min(size, MAX_VALUES)
        values = fields.numbers("values", least=least, most=most, low=-NUMBER_MAX, high=NUMBER_MAX)
        if form == "raw":
            output = Raw(name=name, shape=shape, values=values)
        else:
            indices = fields.integers("indices", least=len(values), most=len(values), low=0, high=size - 1)
            output = TopK(name=name, shape=shape, indices=indices, values=values)
    fields.require_nothing_else()
    return output


READERS: Mapping[type[Message], Callable[[Fields], Message]] = {
    InferenceWindow: _read_inference,
    InputWindow: _read_input,
    SystemSample: _read_system,
    ThermalSample: _read_thermal,
    PowerSample: _read_power,
    Birth: _read_birth,
    Health: _read_health,
    Reported: _read_reported,
    Alarm: _read_alarm,
    Event: _read_event,
    CommandState: _read_command,
    Result: _read_result,
}
