"""One TOML table as one frozen dataclass: types from the annotations, ranges from `setting`, strict keys. Knows no key by name."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from device_agent.contract.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DAY_SECONDS: Final = 86_400.0
_LONGEST_PATH_BYTES: Final = 4_095
"""PATH_MAX without the NUL at its end. Source: limits.h of Linux."""


def setting(default: Any, *, low: float, high: float) -> Any:
    """Declare a number with its default and its range, both bounds included."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


def read_section(
    document: Mapping[str, Any], kinds: Mapping[str, type[Any]], *, where: str, folder: Path
) -> dict[str, Any]:
    """Read the tables of a document.

    Args:
        document: As TOML gave it.
        kinds: Table name to the dataclass that it becomes.
        where: The file's name, for messages.
        folder: Where relative paths start.

    Raises:
        ConfigError: A table or key is unknown, missing, of the wrong type or out of range.
    """
    sections = {}
    for name, table in document.items():
        if name not in kinds:
            _unknown(where, f"[{name}]", name, kinds)
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: {name}: expected a table [{name}], got {_said(table)}.")
        sections[name] = read_table(kinds[name], table, f"{where}: {name}", folder)
    return sections


def read_table(kind: type[Any], table: Mapping[str, Any], where: str, folder: Path) -> Any:
    """Read one table, which may hold tables itself.

    Args:
        kind: The dataclass that it becomes.
        table: As TOML gave it.
        where: File and table, for messages.
        folder: Where relative paths start.

    Raises:
        ConfigError: A key is unknown, missing, of the wrong type or out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in fields:
            _unknown(where, key, key, fields)
        if dataclasses.is_dataclass(hints[key]):
            values[key] = _read_inner_table(value, hints[key], f"{where}.{key}", folder)
        else:
            values[key] = _read_value(value, hints[key], fields[key].metadata, f"{where}.{key}", folder)
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}.{name}: is missing.")
    return kind(**values)


def _read_inner_table(value: Any, kind: Any, where: str, folder: Path) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a table, got {_said(value)}.")
    return read_table(kind, value, where, folder)


def _read_value(value: Any, hint: Any, bounds: Mapping[str, Any], where: str, folder: Path) -> Any:
    if isinstance(hint, types.UnionType):  # X | None: TOML has no null, so a value that is there is an X
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if typing.get_origin(hint) is Literal:
        return _read_choice(value, typing.get_args(hint), where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise ConfigError(f"{where}: expected a list of texts, got {_said(value)}.")
        return tuple(value)
    if hint is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{where}: expected true or false, got {_said(value)}.")
        return value
    if hint in (int, float):
        return _read_number(value, hint, bounds, where)
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError(f"{where}: expected a text, not empty and without NUL, got {_said(value)}.")
    if hint is Path:
        return _read_path(value, where, folder)
    return value


def _read_path(text: str, where: str, folder: Path) -> Path:
    path = Path(text) if text == "-" else folder / text
    size = len(os.fsencode(path))
    if size > _LONGEST_PATH_BYTES:
        raise ConfigError(f"{where}: expected a path of at most {_LONGEST_PATH_BYTES} bytes, got {size}.")
    return path


def _read_choice(value: Any, options: tuple[str, ...], where: str) -> str:
    if value not in options:
        close = difflib.get_close_matches(value[:64] if isinstance(value, str) else "", options, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"{where}: expected one of {', '.join(options)}, got {_said(value)}.", hint=hint)
    return str(value)


def _read_number(value: Any, kind: type[Any], bounds: Mapping[str, Any], where: str) -> float:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole and not (kind is float and isinstance(value, float) and math.isfinite(value)):
        raise ConfigError(
            f"{where}: expected {'an integer' if kind is int else 'a number'}, got {_said(value)}."
        )
    if not bounds["low"] <= value <= bounds["high"]:
        low, high = number_text(bounds["low"]), number_text(bounds["high"])
        raise ConfigError(f"{where}: expected {low} to {high}, got {_said(value)}.")
    number: float = kind(value)
    return number


def number_text(number: float) -> str:
    """Return a number as it would be written in the file, every digit of it; ``0.05``, ``86400``, ``9007199254740992``."""
    return str(int(number)) if number == int(number) else repr(number)


def _unknown(where: str, shown: str, key: str, known: Iterable[str]) -> NoReturn:
    names = list(known)
    close = difflib.get_close_matches(key[:64], names, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names)}."
    raise ConfigError(f"{where}: {shown[:80]}: unknown.", hint=hint)


def _said(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # in hexadecimal TOML takes integers of more digits than Python writes in decimal
        text = "an integer of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
