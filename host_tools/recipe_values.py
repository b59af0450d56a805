"""Values of a recipe: each of its type and in its range, or refused by its key."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NoReturn, TypeVar

from host_tools.errors import InputError

_LARGEST = sys.float_info.max
LARGEST_FLOAT32 = float.fromhex("0x1.fffffep+127")
_Option = TypeVar("_Option", bound=str)


class RecipeError(InputError):
    """A recipe is wrong or names a node, operator or tensor that the model lacks; the message names file and key."""

    code = "recipe"


def refuse(where: str, key: str, expected: str, got: object) -> NoReturn:
    """Refuse a value.

    Raises:
        RecipeError: Always.
    """
    raise RecipeError(f"{where}: {key}: expected {expected}, got {got!r}.")


def as_table(value: object, where: str, key: str) -> Mapping[str, object]:
    """Return a table with names of text."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        refuse(where, key, "a table", value)
    return value


def require_keys(table: Mapping[str, object], known: tuple[str, ...], where: str, key: str) -> None:
    """Refuse a table that has another key."""
    for name in table:
        if name not in known:
            refuse(where, f"{key}.{name}" if key else name, f"one of the keys {', '.join(known)}", name)


def as_boolean(value: object, where: str, key: str) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        refuse(where, key, "true or false", value)
    return value


def one_of(value: object, options: tuple[_Option, ...], where: str, key: str) -> _Option:
    """Return which of the options a value is."""
    for option in options:
        if option == value:
            return option
    refuse(where, key, f"one of {', '.join(options)}", value)


def as_number(value: object, where: str, key: str) -> float:
    """Return a finite number."""
    # The comparison also refuses NaN, and whole numbers beyond any float.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_LARGEST <= value <= _LARGEST:
        refuse(where, key, "a finite number", value)
    return float(value)


def as_share(value: object, where: str, key: str) -> float | None:
    """Return a number above 0 and at most 1; None is none."""
    if value is None:
        return None
    number = as_number(value, where, key)
    if not 0.0 < number <= 1.0:
        refuse(where, key, "above 0 and at most 1", value)
    return number


def as_names(value: object, where: str, key: str) -> frozenset[str]:
    """Return a list of names."""
    if not isinstance(value, (list, tuple)):
        refuse(where, key, "a list of names", value)
    names = [name for name in value if isinstance(name, str) and name]
    if len(names) != len(value):
        refuse(where, key, "a list of names", value)
    return frozenset(names)


def as_range(value: object, where: str, key: str) -> tuple[float, float]:
    """Return two numbers, low < high."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        refuse(where, key, "[low, high]", value)
    low, high = (as_number(number, where, key) for number in value)
    if not low < high:
        refuse(where, key, "low < high", value)
    if max(-low, high) > LARGEST_FLOAT32:
        refuse(where, key, f"numbers of float32, at most {LARGEST_FLOAT32:.4g} in magnitude", value)
    return low, high
