"""JSON documents of the contract: read with bounds, frozen, written canonically; no meaning.

Stricter than `json.loads`: UTF-8 only, an object at the top, no key twice, no NaN or infinity (``1e999``
included), no integer outside 64 bits, no lone surrogates, bounded size and depth. So whatever was read can
be written back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn, cast

from device_agent.contract.errors import ContractError

MAX_DEPTH = 32
"""Deepest nesting of arrays and objects that is read."""

INTEGER_RANGE = range(-(1 << 63), 1 << 64)
"""Integers that are read: signed or unsigned, 64 bits."""

_LONGEST_INTEGER = 20
"""Characters of the longest 64-bit integer; longer ones are refused before they are converted."""


def read_document(data: bytes, *, where: str, max_bytes: int) -> Mapping[str, object]:
    """Parse one JSON object; the result is deeply read-only (arrays are tuples).

    Args:
        data: The document.
        where: What it is and where it came from, for messages.
        max_bytes: Longest document that is parsed at all.

    Raises:
        ContractError: Too long, not UTF-8, not JSON, not an object, or outside the bounds of this module.
    """
    if len(data) > max_bytes:
        raise ContractError(f"{where}: expected at most {max_bytes} bytes, got {len(data)}.")
    try:
        document = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded_integer,
        )
    except RecursionError:
        raise ContractError(f"{where}: expected nesting of at most {MAX_DEPTH} levels, got more.") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ContractError(f"{where}: not valid JSON: {error}.") from error
    if not isinstance(document, dict):
        raise ContractError(f"{where}: expected a JSON object, got {type(document).__name__}.")
    try:
        return cast("Mapping[str, object]", _frozen(document))
    except ValueError as error:
        raise ContractError(f"{where}: {error}.") from error


def write_document(document: Mapping[str, object], *, where: str) -> bytes:
    """Write compact UTF-8 JSON, keys in the mapping's order, without a newline; byte-stable.

    Raises:
        ContractError: A value cannot be written so that `read_document` reads it back.
    """
    try:
        text = json.dumps(
            document, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
        )
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise ContractError(f"{where}: cannot be written as JSON: {error}.") from error


def printable(text: str) -> str:
    """Return ``text`` with every half of a surrogate pair written out: in Python a file name that is not UTF-8 has them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def visible(text: str) -> str:
    """Return ``text`` for a terminal: what would steer it, as a name that others chose could, is written out; lines and tabs stay."""
    return "".join(
        letter
        if letter.isprintable() or letter in "\n\t"
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def visible_json(document: object, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """Return a document as JSON that does not steer a terminal either, with the same meaning.

    JSON itself writes out the control characters of ASCII only, DEL not among them, and leaves those from U+0080 on as they are, which
    terminals obey too (U+009B begins what ESC [ does).

    Args:
        document: What `json.dumps` takes.
        indent: Spaces a level; None: one line.
        ascii_only: For a terminal or a file that can hold no other letters.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    return "".join(
        letter if letter.isprintable() or letter == "\n" else _written_out(letter) for letter in text
    )


def _written_out(letter: str) -> str:
    """Return a letter as JSON's own escape: of two halves where it is beyond U+FFFF."""
    return f"\\u{ord(letter):04x}" if ord(letter) < 1 << 16 else json.dumps(letter)[1:-1]


def frozen(value: Mapping[str, object]) -> Mapping[str, object]:
    """Return unknown fields with every mapping read-only and every list a tuple, to the bottom.

    Raises:
        ContractError: Nested deeper than `MAX_DEPTH`, or a text that UTF-8 cannot carry.
    """
    try:
        return cast("Mapping[str, object]", _frozen(value))
    except ValueError as error:
        raise ContractError(f"unknown fields: {error}.") from error


def _frozen(value: object, depth: int = MAX_DEPTH) -> object:
    if isinstance(value, str):
        if not value.isascii():
            _require_unicode(value)
        return value
    if value is None or isinstance(value, int | float):  # most of them; to ask for a Mapping takes far longer
        return value
    if isinstance(value, Mapping | list | tuple):
        if depth == 0:
            raise ValueError(f"expected nesting of at most {MAX_DEPTH} levels, got more")
        if isinstance(value, Mapping):
            return MappingProxyType({_frozen(key): _frozen(item, depth - 1) for key, item in value.items()})
        return tuple(_frozen(item, depth - 1) for item in value)
    return value


def _require_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"a text holds half of a surrogate pair: {text[:40]!a}") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise ValueError(f"key {twice[:40]!a} stands twice in one object")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {text[:40]} is outside the range of float64")
    return value


def _bounded_integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER or int(text) not in INTEGER_RANGE:
        raise ValueError(f"integer {text[:40]} does not fit in 64 bits")
    return int(text)


def _plain(value: object) -> dict[object, object]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON type")
