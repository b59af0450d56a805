"""`encode` and `decode` every message: flat JSON and back, with the rules that a message obeys.

Order on the wire: ``schema_version``, the envelope, the message's own fields, unknown fields last; no
newline, so that JSON lines are one message and one newline. Events are the exception: CloudEvents 1.0 in
structured mode, envelope and all else in ``data``.

A newer minor version may add fields at the top of a message; they survive a round trip. The objects inside
(``hist``, an entry of ``sources`` or ``outputs``, an event's ``data``) are closed within a major version.

Source: CloudEvents 1.0.2, "JSON Event Format":
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

from typing import TypeVar, cast

from device_agent.contract.document import read_document, write_document
from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields
from device_agent.contract.telemetry.envelope_reading import envelope_of
from device_agent.contract.telemetry.message import Envelope, Message
from device_agent.contract.telemetry.reading import READERS
from device_agent.contract.telemetry.writing import document_of

MAX_MESSAGE_BYTES = 1 << 20

_Kind = TypeVar("_Kind", bound=Message)


def encode(message: Message) -> bytes:
    """Write a message as compact JSON.

    Raises:
        ContractError: The message breaks a rule, so no reader would take it.
    """
    where = type(message).__name__
    document = document_of(message)
    document.update({key: value for key, value in message.extra.items() if key not in document})
    data = write_document(document, where=where)
    if len(data) > MAX_MESSAGE_BYTES:
        raise ContractError(f"{where}: expected at most {MAX_MESSAGE_BYTES} bytes, got {len(data)}.")
    # The rules stand in one place; a writer obeys them too. Unknown fields obey those of `read_document` alone.
    checked = read_document(data, where=where, max_bytes=MAX_MESSAGE_BYTES) if message.extra else document
    READERS[type(message)](Fields(checked, where=where))
    return data


def decode(kind: type[_Kind], data: bytes, *, where: str) -> _Kind:
    """Read a message of type ``kind``, strictly.

    Args:
        kind: Which message the topic promises; `MEASUREMENTS` has the measurements by topic.
        data: The payload.
        where: Topic or file it came from, for messages.

    Raises:
        SchemaVersionError: It is of a newer major version.
        ContractError: It breaks a rule; the message names ``where`` and key.
    """
    fields = Fields(read_document(data, where=where, max_bytes=MAX_MESSAGE_BYTES), where=where)
    return cast("_Kind", READERS[kind](fields))


def decode_envelope(data: bytes, *, where: str) -> Envelope:
    """Read the envelope alone, of a message of a type that is not known here; whatever else it has is not looked at.

    Raises:
        SchemaVersionError: It is of a newer major version.
        ContractError: It has no envelope, or a wrong one.
    """
    return envelope_of(Fields(read_document(data, where=where, max_bytes=MAX_MESSAGE_BYTES), where=where))
