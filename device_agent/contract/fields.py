"""`Fields`: one JSON object read field by field, each with its type and range.

Messages name document and dotted key. What was never asked for is `unknown`: the fields of a newer minor
version, which codecs keep and write back.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn, TypeVar

from device_agent.contract.digest import checked_digest
from device_agent.contract.document import INTEGER_RANGE
from device_agent.contract.errors import ContractError, SchemaVersionError

if TYPE_CHECKING:
    from collections.abc import Sequence

_Choice = TypeVar("_Choice", bound=str)
_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\Z")
MAX_TEXT = 1024
"""Longest text of a field that says nothing else, in characters."""


class Fields:
    """A JSON object and where it stands.

    Every method raises `ContractError` when the field is absent, of another type or outside its range.
    """

    def __init__(self, document: Mapping[str, object], *, where: str, path: str = "") -> None:
        self._document = document
        self._where = where
        self._path = path
        self._asked: set[str] = set()

    def refuse(self, key: str, expected: str, got: object) -> NoReturn:
        """Raise the `ContractError` that names document, key, what was expected and what is there."""
        raise ContractError(
            f"{self._where}: {self._path}{key}: expected {expected}, got {reprlib.repr(got)}."
        )

    def unknown(self) -> dict[str, object]:
        """Return the fields that no method was asked for, in file order."""
        return {key: value for key, value in self._document.items() if key not in self._asked}

    def has(self, key: str) -> bool:
        """Say whether the field is there and not null; a null counts as absent."""
        self._asked.add(key)
        return self._document.get(key) is not None

    def value(self, key: str) -> object:
        """Return whatever is there."""
        self._asked.add(key)
        if key not in self._document:
            raise ContractError(f"{self._where}: {self._path}{key} is missing.")
        return self._document[key]

    def text(
        self,
        key: str,
        *,
        pattern: re.Pattern[str] | None = None,
        empty: bool = False,
        longest: int = MAX_TEXT,
    ) -> str:
        """Return a text of at most ``longest`` characters; a whole match of ``pattern`` if there is one."""
        value = self.value(key)
        if not isinstance(value, str) or not (value or empty):
            self.refuse(key, "a text" if empty else "a text that is not empty", value)
        if len(value) > longest:
            self.refuse(key, f"at most {longest} characters", value)
        if pattern is not None and not pattern.fullmatch(value):
            self.refuse(key, f"a text like {pattern.pattern}", value)
        return value

    def choice(self, key: str, options: Sequence[_Choice]) -> _Choice:
        """Return one of ``options``."""
        value = self.value(key)
        chosen = next((option for option in options if option == value), None)
        if chosen is None:
            self.refuse(key, "one of " + ", ".join(options), value)
        return chosen

    def boolean(self, key: str) -> bool:
        """Return true or false; 1 and 0 are neither."""
        value = self.value(key)
        if not isinstance(value, bool):
            self.refuse(key, "true or false", value)
        return value

    def integer(self, key: str, *, low: int, high: int) -> int:
        """Return an integer in [low, high]; a boolean or 1.0 is none."""
        value = self.value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.refuse(key, f"an integer from {low} to {high}", value)
        return value

    def number(self, key: str, *, low: float, high: float) -> float:
        """Return a number in [low, high] as a float; a boolean is none, nor is an integer that no reader takes."""
        value = self.value(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            self.refuse(key, f"a number from {low:g} to {high:g}", value)
        if isinstance(value, int) and value not in INTEGER_RANGE:
            self.refuse(key, "an integer of at most 64 bits", value)
        return float(value)

    def child(self, key: str) -> Fields:
        """Return the object under ``key``."""
        return self._fields(self.value(key), key)

    def children(self, key: str, *, least: int, most: int) -> list[Fields]:
        """Return the objects of the array under ``key``."""
        return [
            self._fields(item, f"{key}[{index}]") for index, item in enumerate(self.array(key, least, most))
        ]

    def array(self, key: str, least: int, most: int) -> Sequence[object]:
        """Return the array under ``key`` if it has ``least`` to ``most`` items, of whatever type."""
        value = self.value(key)
        if not isinstance(value, list | tuple):
            self.refuse(key, "an array", value)
        if not least <= len(value) <= most:
            self.refuse(key, f"{least} to {most} items", f"{len(value)} items")
        return value

    def texts(
        self, key: str, *, least: int, most: int, pattern: re.Pattern[str] | None = None
    ) -> tuple[str, ...]:
        """Return an array of texts that are not empty, whole matches of ``pattern`` if there is one."""
        items = self._indexed(key, least, most)
        return tuple(items.text(index, pattern=pattern) for index in items.names)

    def integers(self, key: str, *, least: int, most: int, low: int, high: int) -> tuple[int, ...]:
        """Return an array of integers in [low, high]."""
        items = self._indexed(key, least, most)
        return tuple(items.integer(index, low=low, high=high) for index in items.names)

    def numbers(self, key: str, *, least: int, most: int, low: float, high: float) -> tuple[float, ...]:
        """Return an array of numbers in [low, high] as floats."""
        items = self._indexed(key, least, most)
        return tuple(items.number(index, low=low, high=high) for index in items.names)

    def text_map(
        self, key: str, *, most: int, least: int = 0, pattern: re.Pattern[str] | None = None
    ) -> dict[str, str]:
        """Return an object of ``least`` to ``most`` keys whose values are texts that are not empty, whole matches of ``pattern``."""
        child = self.child(key)
        names = child.names
        if not least <= len(names) <= most:
            self.refuse(
                key, f"{least} to {most} keys" if least else f"at most {most} keys", f"{len(names)} keys"
            )
        return {name: child.text(name, pattern=pattern) for name in names}

    def scalars(self, key: str, *, most: int) -> dict[str, str | int | float | bool | None]:
        """Return an object whose values are texts, numbers, booleans or null, of at most ``most`` keys."""
        child = self.child(key)
        names = child.names
        if len(names) > most:
            self.refuse(key, f"at most {most} keys", f"{len(names)} keys")
        scalars: dict[str, str | int | float | bool | None] = {}
        for name in names:
            value = child.value(name)
            if value is not None and not isinstance(value, str | int | float):  # bool is an int
                child.refuse(name, "a text, number, boolean or null", value)
            if isinstance(value, int) and value not in INTEGER_RANGE:
                child.refuse(name, "an integer of at most 64 bits", value)
            scalars[name] = value
        return scalars

    def digest(self, key: str) -> str:
        """Return a digest."""
        return checked_digest(self.text(key), where=f"{self._where}: {self._path}{key}")

    def require_nothing_else(self) -> None:
        """Refuse fields that no method was asked for."""
        for key, value in self.unknown().items():
            self.refuse(key, "no such field here", value)

    @property
    def names(self) -> tuple[str, ...]:
        """Return every key of the object, in file order."""
        return tuple(self._document)

    def schema_version(self, supported: str) -> str:
        """Return ``schema_version`` if a reader of ``supported`` may read it: any minor of the same major.

        Raises:
            SchemaVersionError: The document's major version is newer.
            ContractError: It is no version, or an older major version.
        """
        version = self.text("schema_version")
        match = _VERSION.match(version)
        if match is None:
            self.refuse("schema_version", "MAJOR.MINOR", version)
        major, supported_major = int(match[1]), int(supported.split(".", maxsplit=1)[0])
        if major > supported_major:
            raise SchemaVersionError(
                f"{self._where}: schema_version {version} is newer than {supported}, the newest known here.",
                hint="Update Edgewright on the side that reads.",
            )
        if major < supported_major:
            self.refuse("schema_version", f"{supported_major}.x", version)
        return version

    def _fields(self, value: object, name: str) -> Fields:
        if not isinstance(value, Mapping):
            self.refuse(name, "an object", value)
        return Fields(value, where=self._where, path=f"{self._path}{name}.")

    def _indexed(self, key: str, least: int, most: int) -> Fields:
        """View an array as an object with keys ``[0]``, ``[1]``, …, so that items are named like fields."""
        items = {f"[{index}]": item for index, item in enumerate(self.array(key, least, most))}
        return Fields(items, where=self._where, path=f"{self._path}{key}")
