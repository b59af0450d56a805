"""One profile's TOML text as a flat list of facts, each with its source.

Form only: what a fact may say is the business of `assemble`.

The spelling::

    [sources]
    tflite-spec = "https://…, section …"

    [weights]
    bits = { is = 8, source = "tflite-spec" }

    [op_groups.integer]                       # the same facts for several operators, one source
    ops = ["Conv", "Gemm"]
    precisions = ["int8", "float32"]
    source = "tflite-spec"

    [ops.Conv]                                # one operator; wins over its group
    max_stride = { is = 3, source = ["tflite-spec", "another-source"] }
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, cast

from targets.errors import ProfileError, did_you_mean
from targets.operators import OPERATORS
from targets.profile import UNCALIBRATED

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PLAIN_KEYS = ("id", "title", "proof", "based_on")
SECTIONS = (
    "weights", "activations", "scale", "bias", "rounding", "accumulator", "same_scale", "fixed_outputs",
    "fusions", "interface", "fallback", "artifact", "parity", "engine", "wide", "wide_outputs", "cost",
    *UNCALIBRATED,
)  # fmt: skip
OP_FIELDS = (
    "precisions", "requantization_ratio", "max_rank", "max_batch", "max_stride", "max_kernel", "max_dilation",
    "axes", "modes", "constant_operand",
)  # fmt: skip
SHOWN_CHARACTERS = 80
"""Longest part of a wrong value that an error message repeats."""
MAX_DEPTH = 16
"""Deepest nesting of tables and arrays; the deepest fact needs 6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One fact as its file spells it.

    Attributes:
        key: Dotted key, e.g. ``ops.Conv.max_stride``, whatever group it was written in.
        value: The TOML value; arrays as tuples, tables as read-only mappings.
        source: The text of its source; several are joined by ``"; "``.
        origin: File, for messages.
        where: The dotted key as written, e.g. ``op_groups.integer.precisions``.
    """

    key: str
    value: object
    source: str
    origin: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A profile's file, read but not yet judged.

    Attributes:
        origin: File, for messages.
        plain: The keys without a source: id, title, proof, based_on.
        entries: Facts by dotted key, in file order.
    """

    origin: str
    plain: Mapping[str, str]
    entries: Mapping[str, Entry]


def refuse(origin: str, where: str, what: str, *, hint: str = "") -> NoReturn:
    """Raise the `ProfileError` that names file and key."""
    raise ProfileError(f"{origin}: {where}: {what}", hint=hint)


def shown(value: object) -> str:
    """Spell a wrong value for a message, as JSON where it can be, cut to `SHOWN_CHARACTERS`."""
    text = json.dumps(thawed(value), default=str, ensure_ascii=True)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def thawed(value: object) -> object:
    """Return a fact's value as plain lists and dicts, fit for `json.dumps`."""
    if isinstance(value, tuple):
        return [thawed(item) for item in value]
    if isinstance(value, MappingProxyType):
        return {key: thawed(item) for key, item in value.items()}
    return value


def read(text: str, *, origin: str) -> Document:
    """Read one profile's TOML.

    Args:
        text: The file's text.
        origin: The file's name for messages.

    Raises:
        ProfileError: Not TOML; an unknown table or key; a fact without value or source; a source that is not
            listed or not used.
    """
    tables = _parsed(text, origin)
    _known(tables, (*PLAIN_KEYS, "sources", *SECTIONS, "op_groups", "ops"), origin, "")
    reader = _Reader(origin, _sources(tables, origin))
    for section in SECTIONS:
        for name, value in _table(tables.get(section, {}), origin, section).items():
            reader.add(f"{section}.{name}", value)
    for name, value in _table(tables.get("op_groups", {}), origin, "op_groups").items():
        reader.add_group(f"op_groups.{name}", value)
    for name, value in _table(tables.get("ops", {}), origin, "ops").items():
        reader.add_operator(name, value)
    reader.check_sources_used()
    plain = {key: _text(tables[key], origin, key) for key in PLAIN_KEYS if key in tables}
    return Document(origin=origin, plain=plain, entries=reader.entries)


class _Reader:
    """Gathers the entries of one file and remembers which sources they name."""

    def __init__(self, origin: str, sources: Mapping[str, str]) -> None:
        self.entries: dict[str, Entry] = {}
        self._origin = origin
        self._sources = sources
        self._used: set[str] = set()

    def add(self, key: str, spelled: object) -> None:
        """Take ``{ is = …, source = … }`` as the fact ``key``."""
        table = _table(spelled, self._origin, key, expected="a table { is = VALUE, source = NAME }")
        _known(table, ("is", "source"), self._origin, key)
        if "is" not in table:
            refuse(self._origin, f"{key}.is", "missing; expected the fact's value")
        self._put(key, table["is"], self._source(table, key), where=key)

    def add_group(self, where: str, spelled: object) -> None:
        """Take a table of facts that several operators share."""
        group = _table(spelled, self._origin, where)
        _known(group, ("ops", "source", *OP_FIELDS), self._origin, where)
        operators = group.get("ops")
        if not isinstance(operators, list) or not operators:
            what = f"expected a list of operator names, got {shown(_frozen(operators))}"
            refuse(self._origin, f"{where}.ops", what)
        source = self._source(group, where)
        for operator in operators:
            self._check_operator(operator, f"{where}.ops")
            for name in OP_FIELDS:
                if name in group:
                    self._put_grouped(f"ops.{operator}.{name}", group[name], source, where=f"{where}.{name}")

    def add_operator(self, operator: str, spelled: object) -> None:
        """Take the facts of one operator, which win over those of its group."""
        where = f"ops.{operator}"
        self._check_operator(operator, where)
        table = _table(spelled, self._origin, where)
        _known(table, OP_FIELDS, self._origin, where)
        for name, value in table.items():
            self.add(f"{where}.{name}", value)

    def check_sources_used(self) -> None:
        """Refuse a listed source that no fact names."""
        for name in self._sources:
            if name not in self._used:
                hint = "Remove it, or name it in a fact."
                refuse(self._origin, f"sources.{name}", "no fact names this source", hint=hint)

    def _put_grouped(self, key: str, value: object, source: str, *, where: str) -> None:
        if key in self.entries:
            what = f"{key} is given by {self.entries[key].where} already"
            refuse(self._origin, where, what, hint="Keep one of the two.")
        self._put(key, value, source, where=where)

    def _put(self, key: str, value: object, source: str, *, where: str) -> None:
        self.entries[key] = Entry(
            key=key, value=_frozen(value), source=source, origin=self._origin, where=where
        )

    def _check_operator(self, operator: object, where: str) -> None:
        if not isinstance(operator, str) or operator not in OPERATORS:
            what = f"unknown operator {shown(_frozen(operator))}; expected an ONNX operator type"
            hint = did_you_mean(operator, OPERATORS) if isinstance(operator, str) else ""
            refuse(self._origin, where, what, hint=hint)

    def _source(self, table: Mapping[str, object], where: str) -> str:
        if "source" not in table:
            what = "missing; every fact names where it is from"
            refuse(self._origin, f"{where}.source", what, hint="List it under [sources].")
        named = table["source"]
        names = named if isinstance(named, list) else [named]
        if not names:
            refuse(self._origin, f"{where}.source", "expected a source's name or a list of them, got []")
        return "; ".join(self._source_text(name, where) for name in names)

    def _source_text(self, name: object, where: str) -> str:
        if not isinstance(name, str):
            refuse(self._origin, f"{where}.source", f"expected a source's name, got {shown(_frozen(name))}")
        if name not in self._sources:
            what = f"source {shown(name)} is not listed under [sources]"
            hint = did_you_mean(name, self._sources) or "List it under [sources]."
            refuse(self._origin, f"{where}.source", what, hint=hint)
        self._used.add(name)
        return self._sources[name]


def _parsed(text: str, origin: str) -> dict[str, object]:
    try:
        tables = cast("dict[str, object]", tomllib.loads(text))
    except ValueError as error:  # TOMLDecodeError, and int()'s refusal of huge literals
        raise ProfileError(f"{origin}: not TOML: {error}") from error
    except RecursionError as error:
        raise ProfileError(f"{origin}: not TOML that we read: nested too deeply") from error
    _check_depth(tables, origin)
    return tables


def _check_depth(tables: Mapping[str, object], origin: str) -> None:
    """Refuse what recursion over values could not survive; dotted keys nest without limit."""
    level: list[object] = [tables]
    for _ in range(MAX_DEPTH):
        containers = [item for item in level if isinstance(item, (dict, list))]
        level = [
            inner for item in containers for inner in (item.values() if isinstance(item, dict) else item)
        ]
    if level:
        raise ProfileError(f"{origin}: not TOML that we read: nested more than {MAX_DEPTH} deep")


def _sources(tables: Mapping[str, object], origin: str) -> dict[str, str]:
    sources = _table(tables.get("sources", {}), origin, "sources")
    return {name: _text(value, origin, f"sources.{name}") for name, value in sources.items()}


def _table(value: object, origin: str, where: str, *, expected: str = "a table") -> dict[str, object]:
    if not isinstance(value, dict):
        refuse(origin, where, f"expected {expected}, got {shown(_frozen(value))}")
    return cast("dict[str, object]", value)


def _text(value: object, origin: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        refuse(origin, where, f"expected a text that is not empty, got {shown(_frozen(value))}")
    return value


def _known(table: Mapping[str, object], allowed: Collection[str], origin: str, where: str) -> None:
    for key in table:
        if key not in allowed:
            place = f"{where}.{key}" if where else key
            what = f"unknown key {shown(key)}; expected one of {', '.join(allowed)}"
            refuse(origin, place, what, hint=did_you_mean(key, allowed))


def _frozen(value: object) -> object:
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return MappingProxyType({key: _frozen(item) for key, item in value.items()})
    return value
