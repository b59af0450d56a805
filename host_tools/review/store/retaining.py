"""Retention: what is older than it is to be kept goes, and what was made of it stays as it is.

A window is made anew from what it was made of while that is there. Before that is removed, the window is *sealed*: it
becomes a part of its own, and what comes later for the same time makes another part beside it. Answers merge parts as
they merge everything.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from host_tools.errors import InputError, StoreError
from host_tools.review.store.schema import fleet_table, window_table
from host_tools.review.store.telemetry_store import Retention
from host_tools.review.store.window_totals import keep_totals
from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from host_tools.review.store.engine import Engine

_DAY = 86400.0
_SEALED = "sealed_before"
_RETENTION = "retention"


def retention(engine: Engine) -> Retention:
    """Return how long rows are to be kept.

    Raises:
        StoreError: What the store says of it is not understood.
    """
    rows = engine.select(f'SELECT "value" FROM setting WHERE "name" = \'{_RETENTION}\'')
    if not rows.num_rows:
        return Retention()
    told = rows.column("value")[0].as_py()
    try:
        return msgspec.json.decode(told, type=Retention)
    except (msgspec.MsgspecError, InputError) as error:
        raise StoreError(
            f"{engine.where}: its setting {_RETENTION!r} says {told[:200]!r}, which is no retention."
        ) from error


def keep(engine: Engine, retention: Retention) -> None:
    """Remember how long rows are to be kept."""
    told = msgspec.json.encode(retention).decode()
    with engine.transaction():
        engine.replace("setting", pa.table({"name": [_RETENTION], "value": [told]}))


def retain(engine: Engine, retention: Retention, *, now: float) -> int:
    """Remove what is older than it is to be kept, when all of it is rolled up; return how many rows went."""
    gone = 0
    if retention.messages_days is not None:
        gone += _remove_messages(engine, _cut(now, retention.messages_days, Level.SECONDS_10))
    days = {
        Level.SECONDS_10: retention.seconds_10_days,
        Level.MINUTE: retention.minute_days,
        Level.HOUR: retention.hour_days,
        Level.HOURS_6: retention.hour_days,
        Level.DAY: retention.day_days,
        Level.DAYS_5: retention.day_days,
    }
    longer = dict(zip(list(Level), list(Level)[1:], strict=False))
    for level, kept in days.items():
        if kept is None:
            continue
        with engine.transaction():
            before = _cut(now, kept, longer.get(level, level))
            if level in longer:
                _seal(engine, longer[level], before)
            gone += engine.remove_where(window_table(level), f'"time" < {before}')
            gone += engine.remove_where(fleet_table(level), f'"time" < {before}')
    with engine.transaction():
        if retention.events_days is not None:
            since = now - _DAY * retention.events_days
            for table in ("event", "health", "alarm", "birth"):
                gone += engine.remove_where(table, f"moment < {since!r}")
        if retention.dead_letters_days is not None:
            since = now - _DAY * retention.dead_letters_days
            gone += engine.remove_where("dead_letter", f"received < {since!r}")
    engine.compact()
    return gone


def sealed_before(engine: Engine) -> float:
    """Return the Unix time before which messages were removed; what windows tell of it stays."""
    rows = engine.select(f'SELECT "value" FROM setting WHERE "name" = \'{_SEALED}\'')
    return float(rows.column("value")[0].as_py()) if rows.num_rows else -math.inf


def _remove_messages(engine: Engine, before: int) -> int:
    with engine.transaction():
        keep_totals(engine, before)
        _seal(engine, Level.SECONDS_10, before)
        latest = max(float(before), sealed_before(engine))
        engine.replace("setting", pa.table({"name": [_SEALED], "value": [repr(latest)]}))
        return sum(
            engine.remove_where(table, f"moment < {before}")
            for table in ("inference", "reading", "output", "input")
        )


def _seal(engine: Engine, level: Level, before: int) -> None:
    table = window_table(level)
    highest = engine.select(f"SELECT max(part) AS part FROM {table}").column("part")[0].as_py() or 0
    engine.seal(table, f'"time" < {before}', int(highest) + 1)


def _cut(now: float, days: float, level: Level) -> int:
    """Return where what is kept begins, in whole windows of a level."""
    return math.floor((now - _DAY * days) / level.seconds) * level.seconds
