"""Messages as JSON objects, before they are bytes: what each type writes, in the order of the wire."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from device_agent.contract.errors import ContractError
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import (
    InferenceWindow,
    InputSketch,
    InputWindow,
    Measurement,
    PowerSample,
    ThermalSample,
)
from device_agent.contract.telemetry.result import Raw, Result, Summary, TopK
from device_agent.contract.telemetry.states import Birth, RunningModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_agent.contract.telemetry.message import Envelope, Message

EVENT_TYPE_PREFIX = "edgewright.device."
EVENT_SOURCE_PREFIX = "/device/"
TIME_MAX = 253402300799.0
"""9999-12-31T23:59:59Z, the last second that RFC 3339 can say."""
FORM_NAMES = {TopK: "top_k", Raw: "raw", Summary: "summary"}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_WHOSE = ("model", "variant")
_SHARED = frozenset({"envelope", "schema_version", "extra", "absent"})


def document_of(message: Message) -> dict[str, object]:
    """Return a message as the JSON object that its reader expects; fields that are unknown here are not in it.

    Raises:
        ContractError: A reading stands in it twice, or an event's time is none.
    """
    return _WRITERS.get(type(message), _document)(message)


def _document(message: Message) -> dict[str, object]:
    """Write any message whose fields are JSON types; numbers that are None are left out."""
    document: dict[str, object] = {"schema_version": message.schema_version, **_plain(message.envelope)}
    for name in _own_fields(type(message)):
        value = getattr(message, name)
        if value is not None or not isinstance(message, Measurement):
            document[name] = value
    if isinstance(message, Measurement):
        document["absent"] = message.absent
    return document


def _inference_document(message: InferenceWindow) -> dict[str, object]:
    hist = message.hist
    counts = {str(index): count for index, count in sorted(hist.counts.items())}
    return {
        **_document(message),
        "hist": {"scale": hist.scale, "zero_count": hist.zero_count, "counts": counts},
    }


def _input_document(message: InputWindow) -> dict[str, object]:
    inputs = [
        {
            **_plain(one),
            **{
                name: {str(index): count for index, count in sorted(getattr(one, name).items())}
                for name in ("negative", "positive")
            },
        }
        for one in message.inputs
    ]
    return {**_document(message), "inputs": inputs}


def _readings_document(message: ThermalSample | PowerSample) -> dict[str, object]:
    document: dict[str, object] = {"schema_version": message.schema_version, **_plain(message.envelope)}
    sources: dict[str, object] = {}
    for reading in message.readings:
        if reading.name in document or reading.name in sources:
            raise ContractError(f"{type(message).__name__}: reading {reading.name!r} stands there twice.")
        if reading.value is not None:
            document[reading.name] = reading.value
        sources[reading.name] = {"source": reading.source, "scope": reading.scope, "quality": reading.quality}
    return {**document, "sources": sources, "absent": message.absent}


def _result_document(message: Result) -> dict[str, object]:
    outputs = [{"form": FORM_NAMES[type(output)], **_plain(output)} for output in message.outputs]
    document = {**_document(message), "outputs": outputs}
    return {name: value for name, value in document.items() if name not in _WHOSE or value is not None}


def _birth_document(message: Birth) -> dict[str, object]:
    document = _document(message)
    document["models"] = [_plain(one) for one in message.models]
    return (
        document if message.models else {name: value for name, value in document.items() if name != "models"}
    )


def _event_document(message: Event) -> dict[str, object]:
    data = {
        "schema_version": message.schema_version,
        **_plain(message.envelope),
        "severity": message.severity,
        "text": message.text,
        "details": message.details,
    }
    return {
        "specversion": "1.0",
        "id": f"{message.envelope.boot_id}:{message.envelope.seq}",
        "source": EVENT_SOURCE_PREFIX + message.device,
        "type": EVENT_TYPE_PREFIX + message.name,
        "time": rfc3339(message.envelope.time),
        "datacontenttype": "application/json",
        "data": data,
    }


def rfc3339(time: float) -> str:
    """Return Unix seconds as an event's ``time``, in microseconds and UTC."""
    if not 0.0 <= time <= TIME_MAX:
        raise ContractError(f"Event: time: expected Unix seconds from 0 to {TIME_MAX:.0f}, got {time}.")
    # Not `datetime.fromtimestamp`: on boards with 32-bit time it ends in 2038.
    moment = _EPOCH + timedelta(seconds=time)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _plain(value: Envelope | InputSketch | RunningModel | TopK | Raw | Summary) -> dict[str, object]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _own_fields(kind: type[Message]) -> list[str]:
    """Names of the fields that a message type adds to its bases."""
    return [field.name for field in dataclasses.fields(kind) if field.name not in _SHARED]


_WRITERS: Mapping[type[Message], Callable[[Any], dict[str, object]]] = {
    InferenceWindow: _inference_document,
    InputWindow: _input_document,
    ThermalSample: _readings_document,
    PowerSample: _readings_document,
    Birth: _birth_document,
    Result: _result_document,
    Event: _event_document,
}
"""Writers of the messages that `_document` does not fit."""
