"""One TOML table as one frozen dataclass: types from the annotations, strict keys, ranges from `bounded`. Knows no key by name."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, NoReturn, TypeVar

if typing.TYPE_CHECKING:
    from host_tools.errors import InputError

T = TypeVar("T")
_SHOWN = 80


def bounded(default: Any = dataclasses.MISSING, *, low: float, high: float) -> Any:
    """Declare a number with its range, both ends included."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


def read_table(kind: type[T], table: object, *, where: str, error: type[InputError]) -> T:
    """Read one table.

    Args:
        kind: A frozen dataclass whose fields are texts, numbers, truth values, literals, tuples of texts, any of them or None.
        table: As TOML gave it.
        where: File and table, for messages.
        error: What to raise.

    Raises:
        InputError: As ``error``: a key is unknown, missing, of the wrong type or out of range.
    """
    if not isinstance(table, Mapping):
        raise error(f"{where}: expected a table, got {said(table)}.")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # T is a dataclass
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in fields:
            unknown(f"{where}.{key[:_SHOWN]}", key, fields, error=error)
        values[key] = _read(value, hints[key], fields[key].metadata, f"{where}.{key}", error)
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise error(f"{where}.{name}: is missing.")
    return kind(**values)


def unknown(
    shown: str, key: str, known: Mapping[str, object] | tuple[str, ...], *, error: type[InputError]
) -> NoReturn:
    """Refuse a name, with the one that was probably meant.

    Raises:
        InputError: As ``error``, always.
    """
    close = difflib.get_close_matches(key[:_SHOWN], list(known), n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
    raise error(f"{shown}: unknown.", hint=hint)


def said(value: object) -> str:
    """Return a value as a message shows it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _read(value: object, hint: Any, bounds: Mapping[str, Any], where: str, error: type[InputError]) -> Any:
    if isinstance(hint, types.UnionType):  # X | None: TOML has no null, so a value that is there is an X
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if typing.get_origin(hint) is Literal:
        options = typing.get_args(hint)
        if not isinstance(value, str) or value not in options:
            unknown(
                f"{where}: expected one of {', '.join(options)}, got {said(value)}",
                str(value),
                options,
                error=error,
            )
        return value
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise error(f"{where}: expected a list of texts, got {said(value)}.")
        return tuple(value)
    if hint is bool:
        if not isinstance(value, bool):
            raise error(f"{where}: expected true or false, got {said(value)}.")
        return value
    if hint in (int, float):
        return _number(value, hint, bounds, where, error)
    if not isinstance(value, str) or not value or "\0" in value:
        raise error(f"{where}: expected a text, not empty and without NUL, got {said(value)}.")
    return value


def _number(
    value: object,
    kind: type[int | float],
    bounds: Mapping[str, Any],
    where: str,
    error: type[InputError],
) -> float:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(value, int | float) or not (is_whole or (kind is float and math.isfinite(value))):
        raise error(f"{where}: expected {'an integer' if kind is int else 'a number'}, got {said(value)}.")
    if not bounds["low"] <= value <= bounds["high"]:
        raise error(f"{where}: expected {bounds['low']:g} to {bounds['high']:g}, got {said(value)}.")
    return kind(value)
