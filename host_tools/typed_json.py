"""Read JSON as the frozen dataclasses that it was written from: the types say what each key must be."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import types
import typing
from functools import lru_cache
from typing import Any, Generic, NoReturn, TypeVar

from device_agent.contract.errors import SchemaVersionError

if typing.TYPE_CHECKING:
    from host_tools.errors import InputError

T = TypeVar("T")

_LARGEST = sys.float_info.max
_HINT = "Convert the model anew."
_NAMES = {str: "text", int: "a whole number", bool: "true or false"}


class TypedReader(Generic[T]):
    """Reads one kind of document.

    Keys of a newer minor version are passed over; a newer major version is refused.
    """

    def __init__(self, kind: type[T], *, version: str, error: type[InputError], null_is_nan: bool) -> None:
        """Say what is read.

        Args:
            kind: A dataclass of texts, numbers, literals, optional values, tuples and such dataclasses.
            version: ``MAJOR.MINOR`` that this code writes.
            error: What to raise; its message names file and key.
            null_is_nan: Whether null stands for a number that was not finite.
        """
        self._kind = kind
        self._major = int(version.partition(".")[0])
        self._error = error
        self._null_is_nan = null_is_nan

    def decode(self, data: bytes, *, where: str) -> T:
        """Read a document.

        Args:
            data: The file's bytes.
            where: The file's name, for messages.

        Raises:
            InputError: Of the class given: the bytes are no such document.
            SchemaVersionError: It is of a newer major version.
        """
        try:
            document: object = json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise self._error(f"{where}: not a JSON document: {error}.", hint=_HINT) from error
        reading = _Reading(where, self._error, null_is_nan=self._null_is_nan)
        table = reading.table(document, "document")
        version = table.get("schema_version")
        major = version.partition(".")[0] if isinstance(version, str) else ""
        if not (major.isdecimal() and len(major) < 10):
            reading.refuse("schema_version", 'a version such as "1.0"', version)
        if int(major) != self._major:
            raise SchemaVersionError(
                f"{where}: schema_version: this reader knows version {self._major}, got {version}.",
                hint="Use the version of edgewright that wrote it.",
            )
        read: T = reading.dataclass(self._kind, table, "")
        return read


@lru_cache(maxsize=64)
def _fields(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


class _Reading:
    """One document being read."""

    def __init__(self, where: str, error: type[InputError], *, null_is_nan: bool) -> None:
        self._where = where
        self._error = error
        self._null_is_nan = null_is_nan

    def refuse(self, key: str, expected: str, got: object) -> NoReturn:
        shown = repr(got)
        raise self._error(
            f"{self._where}: {key}: expected {expected}, got {shown if len(shown) <= 80 else shown[:77] + '...'}.",
            hint=_HINT,
        )

    def table(self, value: object, at: str) -> dict[str, object]:
        if not isinstance(value, dict):
            self.refuse(at, "a table", value)
        return value

    def dataclass(self, kind: Any, value: object, at: str) -> Any:
        table = self.table(value, at)
        read = {}
        for name, wanted in _fields(kind).items():
            key = f"{at}.{name}".lstrip(".")
            if name not in table:
                self.refuse(key, "a value", "nothing")
            read[name] = self.value(wanted, table[name], key)
        return kind(**read)

    def value(self, kind: Any, value: object, at: str) -> object:
        origin, parts = typing.get_origin(kind), typing.get_args(kind)
        if origin in (types.UnionType, typing.Union):
            inner = next(part for part in parts if part is not type(None))
            return None if value is None else self.value(inner, value, at)
        if origin is tuple:
            return self._tuple(parts, value, at)
        if origin is typing.Literal:
            if value not in parts:
                self.refuse(at, f"one of {', '.join(parts)}", value)
            return value
        if dataclasses.is_dataclass(kind):
            return self.dataclass(kind, value, at)
        if kind is float:
            return self._number(value, at)
        if type(value) is not kind:
            self.refuse(at, _NAMES.get(kind, str(kind)), value)
        return value

    def _tuple(self, parts: tuple[Any, ...], value: object, at: str) -> tuple[object, ...]:
        if not isinstance(value, list):
            self.refuse(at, "a list", value)
        if parts[-1] is Ellipsis:
            kinds = [parts[0]] * len(value)
        elif len(parts) == len(value):
            kinds = list(parts)
        else:
            self.refuse(at, f"a list of {len(parts)}", value)
        return tuple(
            self.value(kind, entry, f"{at}[{index}]")
            for index, (kind, entry) in enumerate(zip(kinds, value, strict=True))
        )

    def _number(self, value: object, at: str) -> float:
        if value is None and self._null_is_nan:
            return math.nan
        # The comparison also refuses NaN, and whole numbers beyond any float.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
            self.refuse(at, "a finite number", value)
        return float(value)
