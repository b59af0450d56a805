"""`Collector`: rows of many messages until they become one batch, and when they do; a batch as bytes, from worker to writer."""

from __future__ import annotations

import struct
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
import pyarrow as pa

from host_tools.review.store.tables import TABLES, Batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.review.ingest.rows import Row, Rows
    from host_tools.review.ingest.settings import IngestSettings
    from host_tools.review.store.tables import TableName

MAX_DEAD_PAYLOAD = 64 << 10
"""So much of a message that was not understood is kept, in bytes."""

_ENVELOPE_FIELDS = tuple(TABLES["other"])
_MOST_BATCH_BYTES = 8 << 20
_FEW_MESSAGES = 16
"""A transaction costs as much as a hundred messages: for fewer than these alone none is begun before it must be."""
_QUIET_SECONDS = 0.03
"""A broker that has nothing more, or that waits for acknowledgements, sends nothing for so long."""
_LIST_TYPES = (pa.list_(pa.int32()), pa.list_(pa.int64()))
_NAMES: tuple[TableName, ...] = tuple(TABLES)
_COUNT = struct.Struct("!B")
_PART = struct.Struct("!BI")

Tables: TypeAlias = "Mapping[TableName, pa.RecordBatch]"


class Collector:
    """Takes rows message by message. Not for several threads."""

    def __init__(self) -> None:
        self._envelopes: dict[TableName, list[tuple[object, ...]]] = {}
        self._counts: dict[TableName, list[int]] = {}
        self._rows: dict[TableName, list[Row]] = {}
        self._dead: list[tuple[object, ...]] = []
        self.messages = 0
        """How many came, dead letters included."""

    def add(self, device: str, message: Rows, *, received: float, retained: bool) -> None:
        """Take the rows of a message of ``device``."""
        table = message.table
        if table not in self._rows:
            self._envelopes[table], self._counts[table], self._rows[table] = [], [], []
        self._envelopes[table].append(
            (
                device,
                message.boot_id,
                message.seq,
                message.time,
                message.uptime_seconds,
                message.clock,
                received,
                retained,
                message.artifact,
            )
        )
        self._counts[table].append(len(message.rows))
        self._rows[table] += message.rows
        self.messages += 1

    def add_dead_letter(self, topic: str, payload: bytes, *, received: float, reason: str) -> None:
        """Take a message that was not understood, or as much of it as is kept."""
        self._dead.append((received, topic, payload[:MAX_DEAD_PAYLOAD], len(payload), reason))
        self.messages += 1

    def take(self) -> Tables:
        """Return what was collected, and begin anew."""
        tables: dict[TableName, pa.RecordBatch] = {
            table: _record_batch(table, self._envelopes[table], self._counts[table], rows)
            for table, rows in self._rows.items()
        }
        if self._dead:
            schema = TABLES["dead_letter"]
            tables["dead_letter"] = pa.RecordBatch.from_arrays(
                _arrays(self._dead, tuple(schema)), schema=schema
            )
        self.__init__()  # type: ignore[misc]  # everything is as new
        return tables


def seconds_to_grow(
    settings: IngestSettings, *, messages: int, size: int, age: float, quiet: float, is_writing: bool
) -> float:
    """Return how long what is collected may wait for more, in seconds; 0.0 when it is to be sent to the writer now.

    A batch of few messages waits as long as it may: one transaction for each message of a small fleet took a quarter of a core.
    Of more than few, with nothing on its way to the writer, the batch goes when no more come: a broker that allows 20
    unacknowledged messages, whatever it is asked for, sends the next when these are acknowledged.

    Args:
        settings: Of the ingest.
        messages: How many are collected, at least one.
        size: Bytes that they take.
        age: Seconds since the first of them came.
        quiet: Seconds since the last of them came.
        is_writing: Whether an earlier batch is not committed yet.
    """
    if messages >= settings.batch_messages or size >= _MOST_BATCH_BYTES:
        return 0.0
    left = settings.batch_seconds - age
    if not is_writing and messages >= min(_FEW_MESSAGES, settings.receive_maximum):
        left = min(left, _QUIET_SECONDS - quiet)
    return max(left, 0.0)


def pack(tables: Tables) -> bytes:
    """Write tables as bytes; `unpack` reads them. Both ends are processes of ours, on one machine."""
    parts = [_COUNT.pack(len(tables))]
    for name, rows in tables.items():
        body = rows.serialize()
        parts += (_PART.pack(_NAMES.index(name), body.size), body)
    return b"".join(parts)


def unpack(data: bytes | bytearray) -> Tables:
    """Read what `pack` wrote, without copying: the tables keep ``data`` alive."""
    view = memoryview(data)
    tables: dict[TableName, pa.RecordBatch] = {}
    (count,), place = _COUNT.unpack_from(view), _COUNT.size
    for _ in range(count):
        number, size = _PART.unpack_from(view, place)
        place += _PART.size
        name = _NAMES[number]
        tables[name] = pa.ipc.read_record_batch(pa.py_buffer(view[place : place + size]), TABLES[name])
        place += size
    return tables


def joined(several: Sequence[Tables]) -> Batch:
    """Return one batch of many, in their order."""
    rows: dict[TableName, pa.RecordBatch] = {}
    for name in _NAMES:
        parts = [tables[name] for tables in several if name in tables]
        if parts:
            rows[name] = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
    return Batch(rows=rows)


def _record_batch(
    table: TableName, envelopes: list[tuple[object, ...]], counts: list[int], rows: list[Row]
) -> pa.RecordBatch:
    """Build columns: an envelope is turned into Arrow once, however many rows a message has."""
    schema = TABLES[table]
    columns = _arrays(envelopes, _ENVELOPE_FIELDS)
    if len(rows) != len(envelopes):
        of_row = pa.array(np.repeat(np.arange(len(counts), dtype=np.int32), counts))
        columns = [column.take(of_row) for column in columns]
    columns += _arrays(rows, tuple(schema)[len(_ENVELOPE_FIELDS) :])
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _arrays(rows: Sequence[tuple[object, ...]], fields: tuple[pa.Field, ...]) -> list[pa.Array]:
    """Turn rows into columns."""
    width = len(fields)
    flat = list(
        chain.from_iterable(rows)
    )  # and every ``width``-th of it: quicker than zip of thousands of rows
    columns = (flat[place::width] for place in range(width))
    return [
        _lists(cast("Sequence[list[int]]", values), field.type)
        if field.type in _LIST_TYPES
        else pa.array(values, field.type)
        for values, field in zip(columns, fields, strict=True)
    ]


def _lists(values: Sequence[list[int]], kind: pa.ListType) -> pa.Array:
    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(one) for one in values], out=offsets[1:])
    flat = np.fromiter(
        chain.from_iterable(values), dtype=kind.value_type.to_pandas_dtype(), count=offsets[-1]
    )
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), type=kind)
