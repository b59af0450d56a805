"""Deliveries as JSON lines, ``{"received": …, "topic": …, "payload": …}``, so that what was seen once can be reported again."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, TextIO

from host_tools.errors import InputError
from host_tools.review.listener import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LINE_MAX_CHARACTERS = 4 << 20


def write_delivery(stream: TextIO, delivery: Delivery) -> None:
    """Append one delivery; a payload that is not UTF-8 goes as base64 under ``payload_base64``."""
    line: dict[str, object] = {"received": delivery.received, "topic": delivery.topic}
    try:
        line["payload"] = delivery.payload.decode()
    except UnicodeDecodeError:
        line["payload_base64"] = base64.b64encode(delivery.payload).decode()
    stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_recording(path: Path) -> Iterator[Delivery]:
    """Yield every delivery of a recording.

    Raises:
        InputError: The file cannot be read, or a line is not a delivery; the message names the line.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            number = 0
            while line := stream.readline(_LINE_MAX_CHARACTERS):
                number += 1
                if line.strip():
                    yield _parse(line, where=f"{path}:{number}")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the recording: {error}.") from error


def _parse(line: str, *, where: str) -> Delivery:
    hint = "Make recordings with `edgewright watch --record FILE`."
    try:
        fields = json.loads(line)
        encoded = fields.get("payload_base64")
        payload = fields["payload"].encode() if encoded is None else base64.b64decode(encoded, validate=True)
        topic, received = fields["topic"], fields["received"]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise InputError(
            f"{where}: not a recorded message ({type(error).__name__}: {error}).", hint=hint
        ) from error
    if not isinstance(topic, str) or isinstance(received, bool) or not isinstance(received, (int, float)):
        raise InputError(
            f"{where}: expected a topic (text) and a time (number), got {topic!r} and {received!r}.",
            hint=hint,
        )
    return Delivery(topic=topic, payload=payload, received=float(received))
