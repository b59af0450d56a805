"""Messages from JSON objects, every rule asked field by field. Measurements are in `measurement_reading`."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, get_args

from device_agent.contract.model_names import MODEL_NAME
from device_agent.contract.telemetry.bounds import (
    COUNT_MAX,
    MAX_MODELS,
    MAX_OUTPUTS,
    MAX_READINGS,
    MAX_TARGETS,
    MAX_VALUES,
    NUMBER_MAX,
)
from device_agent.contract.telemetry.envelope_reading import base_of, whose_of
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurement_reading import (
    read_inference,
    read_input,
    read_power,
    read_system,
    read_thermal,
)
from device_agent.contract.telemetry.measurements import (
    InferenceWindow,
    InputWindow,
    PowerSample,
    SystemSample,
    ThermalSample,
)
from device_agent.contract.telemetry.message import Message, Severity
from device_agent.contract.telemetry.result import Raw, Result, Summary, TopK
from device_agent.contract.telemetry.states import (
    Alarm,
    Birth,
    CommandState,
    CommandStatus,
    Health,
    HealthStatus,
    Reported,
    RunningModel,
)
from device_agent.contract.telemetry.writing import (
    EVENT_SOURCE_PREFIX,
    EVENT_TYPE_PREFIX,
    FORM_NAMES,
    rfc3339,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_agent.contract.fields import Fields

_GROUP = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EVENT_TYPE = re.compile(r"edgewright\.device\.[a-z][a-z0-9_]{0,63}")
_EVENT_SOURCE = re.compile(r"/device/[A-Za-z0-9_-]{1,64}")
_STATUSES: tuple[HealthStatus, ...] = get_args(HealthStatus)
_SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_COMMAND_STATUSES: tuple[CommandStatus, ...] = get_args(CommandStatus)
_BIRTH_OPTIONAL = ("engine", "engine_version", "model_name", "model_version", "target")


def _read_birth(fields: Fields) -> Birth:
    base = base_of(fields)
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
        variant=whose_of(fields)["variant"],
        artifact=fields.digest("artifact") if fields.has("artifact") else None,
        **optional,
    )
    fields.require_nothing_else()
    return running


def _read_health(fields: Fields) -> Health:
    base = base_of(fields)
    return Health(
        **base,
        status=fields.choice("status", _STATUSES),
        pid=fields.integer("pid", low=0, high=COUNT_MAX) if fields.has("pid") else None,
        reason=fields.text("reason", empty=True),
        extra=fields.unknown(),
    )


def _read_reported(fields: Fields) -> Reported:
    return Reported(
        **base_of(fields),
        group=fields.text("group", pattern=_GROUP) if fields.has("group") else None,
        targets=fields.texts("targets", least=0, most=MAX_TARGETS),
        desired_serial=fields.integer("desired_serial", low=0, high=COUNT_MAX),
        desired=fields.digest("desired") if fields.has("desired") else None,
        in_trial=fields.boolean("in_trial"),
        on_probation=fields.boolean("on_probation"),
        counter_floor=fields.integer("counter_floor", low=0, high=COUNT_MAX),
        extra=fields.unknown(),
    )


def _read_alarm(fields: Fields) -> Alarm:
    base = base_of(fields)
    severity = fields.choice("severity", _SEVERITIES)
    return Alarm(**base, severity=severity, text=fields.text("text"), extra=fields.unknown())


def _read_event(fields: Fields) -> Event:
    fields.choice("specversion", ("1.0",))
    data = fields.child("data")
    base = base_of(data)
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
    base = base_of(fields)
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
    base, whose = base_of(fields), whose_of(fields)
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
    InferenceWindow: read_inference,
    InputWindow: read_input,
    SystemSample: read_system,
    ThermalSample: read_thermal,
    PowerSample: read_power,
    Birth: _read_birth,
    Health: _read_health,
    Reported: _read_reported,
    Alarm: _read_alarm,
    Event: _read_event,
    CommandState: _read_command,
    Result: _read_result,
}
