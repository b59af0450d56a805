"""Windows and events as bytes, and back: what a server that holds the store tells another program of ours.

A column is its type and its little-endian bytes; msgspec checks the shape of everything else.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any, Final

import msgspec
import numpy as np

from host_tools.errors import StoreError
from host_tools.review.store.windows import Histograms, Level, Selection, StoredEvent, WindowTable

WINDOWS_PATH: Final = "/table/windows"
EVENTS_PATH: Final = "/table/events"
_TYPES: Final = ("<i8", "<f8", "<i4")
_HIST: Final = {"offsets": "<i8", "indices": "<i4", "counts": "<i8", "zero_counts": "<i8"}
_NO_COLUMNS: Final = frozenset({"axes", "keys", "level", "hist"})


class AskedWindows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which windows are asked for; `level` is in seconds."""

    selection: Selection
    level: int
    by: tuple[str, ...]


class AskedEvents(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which events are asked for."""

    selection: Selection
    names: tuple[str, ...] | None = None
    limit: int = 1000


class _Column(msgspec.Struct, frozen=True):
    type: str
    values: bytes


class _Table(msgspec.Struct, frozen=True):
    axes: tuple[str, ...]
    keys: tuple[_Column | list[str | None], ...]
    level: int
    scale: int
    hist: dict[str, _Column]
    columns: dict[str, _Column]


def write_windows(table: WindowTable) -> bytes:
    """Write a table of windows."""
    columns = {
        one.name: _column(getattr(table, one.name)) for one in fields(table) if one.name not in _NO_COLUMNS
    }
    keys = tuple(
        _column(values) if axis == "time" else values.tolist()
        for axis, values in zip(table.axes, table.keys, strict=True)
    )
    hist = {name: _column(getattr(table.hist, name)) for name in _HIST}
    wire = _Table(
        axes=table.axes,
        keys=keys,
        level=table.level.seconds,
        scale=table.hist.scale,
        hist=hist,
        columns=columns,
    )
    return msgspec.msgpack.encode(wire)


def read_windows(data: bytes, *, where: str) -> WindowTable:
    """Read what `write_windows` wrote.

    Raises:
        StoreError: It is something else, or of another version.
    """
    try:
        wire = msgspec.msgpack.decode(data, type=_Table)
        hist = Histograms(
            scale=wire.scale,
            **{name: _values(wire.hist[name], expected) for name, expected in _HIST.items()},
        )
        columns: dict[str, Any] = {
            one.name: _values(wire.columns[one.name])
            for one in fields(WindowTable)
            if one.name not in _NO_COLUMNS
        }
        keys = tuple(
            _values(key, "<i8") if isinstance(key, _Column) else np.array(key, dtype=object)
            for key in wire.keys
        )
        table = WindowTable(axes=wire.axes, keys=keys, level=Level(wire.level), hist=hist, **columns)
        _check_lengths(table)
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
        raise StoreError(
            f"{where}: expected a table of windows, got something else: {error}.",
            hint="Are both sides of the same version of Edgewright?",
        ) from error
    return table


def write_events(events: tuple[StoredEvent, ...]) -> bytes:
    """Write events."""
    return msgspec.msgpack.encode(events)


def read_events(data: bytes, *, where: str) -> tuple[StoredEvent, ...]:
    """Read what `write_events` wrote.

    Raises:
        StoreError: It is something else.
    """
    try:
        return msgspec.msgpack.decode(data, type=tuple[StoredEvent, ...])
    except msgspec.MsgspecError as error:
        raise StoreError(
            f"{where}: expected events, got something else: {error}.",
            hint="Are both sides of the same version of Edgewright?",
        ) from error


def _column(values: np.ndarray[Any, Any]) -> _Column:
    if sys.byteorder == "big":
        values = values.byteswap().view(values.dtype.newbyteorder())
    return _Column(type=values.dtype.newbyteorder("<").str, values=np.ascontiguousarray(values).tobytes())


def _values(column: _Column, expected: str | None = None) -> np.ndarray[Any, Any]:
    if column.type not in (_TYPES if expected is None else (expected,)):
        raise ValueError(f"expected numbers of {expected or ', '.join(_TYPES)}, got {column.type!r}")
    return np.frombuffer(column.values, dtype=column.type).astype(np.dtype(column.type).newbyteorder("="))


def _check_lengths(table: WindowTable) -> None:
    rows, buckets = len(table.devices), len(table.hist.indices)
    lengths = {name: len(getattr(table, name)) for name in (one.name for one in fields(table))
               if name not in _NO_COLUMNS}  # fmt: skip
    lengths |= {axis: len(key) for axis, key in zip(table.axes, table.keys, strict=True)}
    lengths |= {"offsets": len(table.hist.offsets) - 1, "zero_counts": len(table.hist.zero_counts)}
    for name, length in lengths.items():
        if length != rows:
            raise ValueError(f"{name} has {length} rows, devices has {rows}")
    steps = np.diff(table.hist.offsets)
    if table.hist.offsets[0] != 0 or table.hist.offsets[-1] != buckets or (steps < 0).any():
        raise ValueError("offsets do not divide the buckets")
    if len(table.hist.counts) != buckets:
        raise ValueError(f"counts has {len(table.hist.counts)} buckets, indices has {buckets}")
