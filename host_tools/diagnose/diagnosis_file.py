"""``diagnosis.json``: a `Diagnosis` as bytes and back, exactly; the same diagnosis gives the same bytes.

The types say what each key must be. Keys of a newer minor version are passed over; a newer major version is refused.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

from device_agent.contract.errors import SchemaVersionError
from host_tools.diagnose.diagnosis import SCHEMA_VERSION, Diagnosis
from host_tools.errors import InputError

T = TypeVar("T")

_MAJOR = int(SCHEMA_VERSION.partition(".")[0])
_HINT = "Convert the model anew."


class DiagnosisFileError(InputError):
    """A diagnosis file is damaged or does not say what a diagnosis must; the message names file and key."""

    code = "diagnosis_file"


def encode(diagnosis: Diagnosis) -> bytes:
    """Return the diagnosis as UTF-8 JSON with one layer a line and a final newline."""
    table = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(diagnosis)}
    layers = table.pop("layers")
    lines = [f"{_json(key)}: {_json(value)}" for key, value in table.items()]
    rows = ",\n".join(f" {_json(layer)}" for layer in layers)
    lines.append(f'"layers": [\n{rows}\n]' if layers else '"layers": []')
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def decode(data: bytes, *, where: str) -> Diagnosis:
    """Read a diagnosis from the bytes of a ``diagnosis.json``.

    Args:
        data: The file's bytes.
        where: The file's name, for messages.

    Raises:
        DiagnosisFileError: The bytes are not a diagnosis; the message names file and key.
        SchemaVersionError: The diagnosis is of a newer major version.
    """
    try:
        document: object = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DiagnosisFileError(f"{where}: not a JSON document: {error}.", hint=_HINT) from error
    reader = _Reader(where)
    reader.require_version(document)
    found = reader.read(Diagnosis, document, "diagnosis")
    if not isinstance(found, Diagnosis):
        reader.refuse("diagnosis", "a table", document)
    return found


@lru_cache(maxsize=64)
def _fields(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


class _Reader:
    """Reads a value as the type that a field has."""

    def __init__(self, where: str) -> None:
        self._where = where

    def refuse(self, key: str, expected: str, got: object) -> NoReturn:
        shown = repr(got)
        raise DiagnosisFileError(
            f"{self._where}: {key}: expected {expected}, got {shown if len(shown) <= 80 else shown[:77] + '...'}.",
            hint=_HINT,
        )

    def require_version(self, document: object) -> None:
        """Refuse what this reader does not know.

        Raises:
            DiagnosisFileError: There is no version.
            SchemaVersionError: The major version is another.
        """
        if not isinstance(document, dict):
            self.refuse("diagnosis", "a table", document)
        version = document.get("schema_version")
        major = version.partition(".")[0] if isinstance(version, str) else ""
        if not (major.isdecimal() and len(major) < 10):
            self.refuse("schema_version", 'a version such as "1.0"', version)
        if int(major) != _MAJOR:
            raise SchemaVersionError(
                f"{self._where}: schema_version: this reader knows diagnoses of version {_MAJOR}, got {version}.",
                hint="Use the version of edgewright that wrote it.",
            )

    def read(self, kind: Any, value: object, at: str) -> object:
        """Return ``value`` if it is of ``kind``, made into its dataclasses and tuples."""
        origin = typing.get_origin(kind)
        if origin in (types.UnionType, typing.Union):
            inner = next(part for part in typing.get_args(kind) if part is not type(None))
            return None if value is None else self.read(inner, value, at)
        if origin is tuple:
            if not isinstance(value, list):
                self.refuse(at, "a list", value)
            item = typing.get_args(kind)[0]
            return tuple(self.read(item, entry, f"{at}[{index}]") for index, entry in enumerate(value))
        if origin is typing.Literal:
            options = typing.get_args(kind)
            if value not in options:
                self.refuse(at, f"one of {', '.join(options)}", value)
            return value
        if dataclasses.is_dataclass(kind):
            return self._table(kind, value, at)
        return self._plain(kind, value, at)

    def _table(self, kind: Any, value: object, at: str) -> object:
        if not isinstance(value, dict):
            self.refuse(at, "a table", value)
        read = {}
        for name, wanted in _fields(kind).items():
            if name not in value:
                self.refuse(f"{at}.{name}", "a value", "nothing")
            read[name] = self.read(wanted, value[name], f"{at}.{name}")
        return kind(**read)

    def _plain(self, kind: type, value: object, at: str) -> object:
        if kind is float:
            # The comparison also refuses NaN, and whole numbers beyond any float.
            if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf:
                try:
                    return float(value)
                except OverflowError:
                    pass
            self.refuse(at, "a finite number", value)
        if type(value) is not kind:
            self.refuse(
                at,
                {str: "text", int: "a whole number", bool: "true or false"}.get(kind, kind.__name__),
                value,
            )
        return value
