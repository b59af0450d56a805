"""`Facts`: what a profile says, fact by fact, each with its type and range; a wrong one is refused where its file spells it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NoReturn, TypeVar

from targets.document import refuse, shown
from targets.errors import did_you_mean
from targets.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from targets.document import Entry

T = TypeVar("T")

NONE = "none"
"""How a profile spells "no limit" or "not for this target": TOML has no null."""


class Facts:
    """Typed, range-checked access to the entries; the ones never asked for are unknown."""

    def __init__(self, entries: Mapping[str, Entry], origin: str) -> None:
        self._entries = entries
        self._origin = origin
        self._asked: set[str] = set()

    def under(self, prefix: str) -> list[str]:
        """Keys that start with ``prefix.``, in file order."""
        return [key for key in self._entries if key.startswith(f"{prefix}.")]

    def refuse(self, key: str, what: str, *, hint: str = "") -> NoReturn:
        """Raise the error that names the fact where its file spells it."""
        entry = self._entries.get(key)
        refuse(entry.origin if entry else self._origin, entry.where if entry else key, what, hint=hint)

    def value(self, key: str, expected: str) -> object:
        """Return what the fact says; it must be there."""
        self._asked.add(key)
        if key not in self._entries:
            hint = 'Spell it { is = VALUE, source = "NAME" }.'
            self.refuse(key, f"missing; expected {expected}", hint=hint)
        return self._entries[key].value

    def whole(self, key: str, low: int, high: int | None = None) -> int:
        """Return a whole number of a range, its ends included."""
        expected = f"a whole number >= {low}" if high is None else f"a whole number from {low} to {high}"
        value = self.value(key, expected)
        number = whole_number(value)
        if number is None or number < low or (high is not None and number > high):
            self.refuse(key, f"expected {expected}, got {shown(value)}")
        return number

    def number(self, key: str, *, low: float, high: float = math.inf, above: bool = False) -> float:
        """Return a finite number of a range, its ends included, but the lower with ``above``."""
        bound = f"{'>' if above else '>='} {low:g}" + ("" if math.isinf(high) else f" and <= {high:g}")
        value = self.value(key, f"a finite number {bound}")
        number = finite_number(value)
        if number is None or number < low or number > high or (above and number == low):
            self.refuse(key, f"expected a finite number {bound}, got {shown(value)}")
        return number

    def flag(self, key: str) -> bool:
        """Return true or false."""
        value = self.value(key, "true or false")
        if not isinstance(value, bool):
            self.refuse(key, f"expected true or false, got {shown(value)}")
        return value

    def text(self, key: str) -> str:
        """Return a text that says something."""
        value = self.value(key, "a text that is not empty")
        if not isinstance(value, str) or not value.strip():
            self.refuse(key, f"expected a text that is not empty, got {shown(value)}")
        return value

    def choice(self, key: str, options: tuple[T, ...]) -> T:
        """Return the one option that the fact names."""
        value = self.value(key, f"one of {', '.join(map(str, options))}")
        return one_of(value, options, lambda what: self.refuse(key, what))

    def choices(self, key: str, options: tuple[T, ...]) -> tuple[T, ...]:
        """Return the options that the fact lists, each once."""
        values = self.items(key, f"a list of {', '.join(map(str, options))}")
        chosen = tuple(one_of(value, options, lambda what: self.refuse(key, what)) for value in values)
        if len(set(chosen)) != len(chosen):
            self.refuse(key, f"expected each name once, got {shown(values)}")
        return chosen

    def items(self, key: str, expected: str) -> tuple[object, ...]:
        """Return what the fact lists, of any kind."""
        value = self.value(key, expected)
        if not isinstance(value, tuple):
            self.refuse(key, f"expected {expected}, got {shown(value)}")
        return value

    def operators(self, key: str, known: frozenset[str] = OPERATORS) -> tuple[str, ...]:
        """Return the operator types that the fact lists."""
        return tuple(self.operator(key, name, known) for name in self.items(key, "a list of operator names"))

    def operator(self, key: str, name: object, known: frozenset[str] = OPERATORS) -> str:
        """Return a name in a fact, which must be that of an operator type."""
        if not isinstance(name, str) or name not in known:
            hint = did_you_mean(name, known) if isinstance(name, str) else ""
            self.refuse(key, f"unknown operator {shown(name)}; expected an ONNX operator type", hint=hint)
        return name

    def optional(self, key: str, read: Callable[[str], T]) -> T | None:
        """Read the fact, or None where it says ``"none"``."""
        if key in self._entries and self._entries[key].value == NONE:
            self._asked.add(key)
            return None
        return read(key)

    def stated(self, key: str, read: Callable[[str], T]) -> T | None:
        """Read the fact, or None where it is left out or says ``"none"``."""
        return self.optional(key, read) if key in self._entries else None

    def check_all_asked(self) -> None:
        """Refuse the first fact that nobody asked for."""
        for key in self._entries:
            if key not in self._asked:
                self.refuse(key, "unknown key", hint=did_you_mean(key, self._asked))


def one_of(value: object, options: tuple[T, ...], fail: Callable[[str], NoReturn]) -> T:
    """Return the option that a value is; ``fail`` says what is wrong with any other, and does not return."""
    matches = [option for option in options if isinstance(value, str) and option == value]
    if not matches:
        fail(f"expected one of {', '.join(map(str, options))}, got {shown(value)}")
    return matches[0]


def whole_number(value: object) -> int | None:
    """Return a value that is a whole number; None for any other."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def finite_number(value: object) -> float | None:
    """Return a value that is a finite number; None for any other."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
