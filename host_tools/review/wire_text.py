"""Text from the wire made harmless before anything shows it.

A terminal obeys escape sequences, so whoever may publish could clear an operator's screen, set its title or draw a
healthy device; marks that turn the direction of writing do the same to a page. Neither belongs into a model's name
or an event's sentence. What is shown as text is `rich.text.Text`, never markup.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from device_agent.contract.telemetry.message import Message

_Kind = TypeVar("_Kind", bound="Message")

_SPACES = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
_COMMANDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters C0 and C1, the marks of Unicode's bidirectional algorithm (UAX #9), and halves of characters."""
_REPLACEMENT = "\ufffd"


def harmless(text: str) -> str:
    """Return one line of text: line breaks and tabs as a space, every other command to the display as ``�``."""
    return _COMMANDS.sub(_REPLACEMENT, _SPACES.sub(" ", text))


def harmless_message(message: _Kind, payload: bytes) -> _Kind:
    """Return a message with every text in it `harmless`.

    Args:
        message: What was decoded.
        payload: What it was decoded from. JSON can say a control character as an escape only, so a payload without a
            backslash or a byte above ``~``, which nearly all are, needs no second look.
    """
    if b"\\" not in payload and payload.isascii() and b"\x7f" not in payload:
        return message
    return cast("_Kind", _harmless_value(message))


def _harmless_value(value: Any) -> Any:
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, Mapping):
        return {_harmless_value(key): _harmless_value(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_harmless_value(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: _harmless_value(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
        return type(value)(**fields)
    return value
