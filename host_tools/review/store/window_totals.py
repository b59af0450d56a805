"""What windows of inference count from the start of a run: how much each message adds to it.

Each model of a run, and each side of a split, is a *stream* with totals of its own. What a message adds is the
difference from the message of its stream before it, by number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from host_tools.review.store.engine import ASKED
from host_tools.review.store.window_rows import column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.review.store.engine import Engine

_TOTALS = ("inferences", "errors", "dropped")
_FIRST_WINDOWS = 1.5
"""A run's first message tells of all that happened since its start, when it came within so many of its windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedTotals:
    """What the last messages told that were removed.

    Attributes:
        rows: Of the table `removed_totals`, one a stream.
        before: Unix time in seconds before which messages were removed.
    """

    rows: pa.Table
    before: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rises:
    """What messages add, one element a message.

    Attributes:
        added: int64[messages, 3]: inferences, errors, dropped frames; at least 0.
        has_before: bool: whether a message of its stream before it was among them, or has no say. One that has not
            may follow what was removed, or one that was not read.
    """

    added: NDArray[np.int64]
    has_before: NDArray[np.bool_]


def keep_totals(engine: Engine, before: int) -> None:
    """Keep the totals of each stream's last message that goes: what the next one adds is the difference."""
    goes = f"FROM inference WHERE moment < {before}"
    latest = ", ".join(f"max_by({name}, number) AS {name}" for name in _TOTALS)
    engine.replace(
        "removed_totals",
        engine.select(
            f"SELECT boot, model, variant, max(number) AS seq, {latest} FROM ("
            "SELECT boot, model, variant, seq AS number, inferences_total AS inferences, errors_total AS errors, "
            f"dropped_frames_total AS dropped {goes} UNION ALL "
            "SELECT boot, model, variant, seq AS number, inferences, errors, dropped FROM removed_totals "
            f"WHERE boot IN (SELECT boot {goes})) AS told GROUP BY boot, model, variant"
        ),
    )


def read_removed(engine: Engine, boots: NDArray[np.int64], before: float) -> RemovedTotals:
    """Return what was removed of some runs."""
    rows = engine.select(f"SELECT * FROM removed_totals WHERE boot IN {ASKED}", boots)
    return RemovedTotals(rows=rows, before=before)


def streams(rows: pa.Table, removed: RemovedTotals) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a number for the model and variant of each row of the table `inference`, and of what was removed."""
    names = [
        pc.binary_join_element_wise(one.column("model"), one.column("variant"), "\0")
        for one in (rows, removed.rows)
    ]
    codes = pa.concat_arrays([chunk for one in names for chunk in one.chunks]).dictionary_encode().indices
    stream = codes.to_numpy().astype(np.int64)
    return stream[: rows.num_rows], stream[rows.num_rows :]


def rises(
    rows: pa.Table,
    stream: NDArray[np.int64],
    removed: RemovedTotals,
    removed_stream: NDArray[np.int64],
) -> Rises:
    """Return what messages add.

    Args:
        rows: Of the table `inference`, at least one, ascending by ``boot``, ``stream`` and ``seq``.
        stream: int64, of each row.
        removed: What came before, and is there no more.
        removed_stream: int64, of each row of that.
    """
    boot, seq = column(rows, "boot"), column(rows, "seq")
    totals = np.stack(
        [column(rows, name) for name in ("inferences_total", "errors_total", "dropped_frames_total")], axis=1
    )
    was_read = np.zeros(len(boot), dtype=bool)
    was_read[1:] = (boot[1:] == boot[:-1]) & (stream[1:] == stream[:-1])
    before = np.zeros_like(totals)
    before[1:] = totals[:-1]
    # What was removed counts as one message before all that came after it.
    removed_seq, removed_totals = _removed_of(boot, stream, removed.rows, removed_stream)
    previous_seq = np.concatenate(([-1], seq[:-1]))
    after_removed = (removed_seq >= 0) & (seq > removed_seq) & (~was_read | (previous_seq < removed_seq))
    before[after_removed] = removed_totals[after_removed]
    # What comes late for a time that is sealed was counted already, in the message after it.
    is_sealed = (seq <= removed_seq) & (column(rows, "moment") < removed.before)
    added = np.where((was_read | after_removed)[:, None], totals - before, _of_first(rows, totals))
    added[is_sealed | (~was_read & (seq <= removed_seq))] = 0
    return Rises(added=np.maximum(added, 0), has_before=was_read | is_sealed)


def _of_first(rows: pa.Table, totals: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what each message adds where it is the first of its stream that was heard.

    A model may begin late in a run: the first that it tells is all of its own when it never inferred before this window.
    """
    count = column(rows, "latency_count")
    whole = column(rows, "uptime_seconds") <= _FIRST_WINDOWS * column(rows, "window_seconds")
    whole |= (count > 0) & (count == totals[:, 0])
    alone = np.stack((count, 0 * count, 0 * count), axis=1)
    return np.where(whole[:, None], totals, alone)


def _removed_of(
    boot: NDArray[np.int64],
    stream: NDArray[np.int64],
    removed: pa.Table,
    removed_stream: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return number and totals of what was removed of each message's stream; -1 and 0 where nothing was."""
    seq, totals = np.full(len(boot), -1, dtype=np.int64), np.zeros((len(boot), len(_TOTALS)), dtype=np.int64)
    if not removed.num_rows:
        return seq, totals
    width = 1 + max(int(stream.max()), int(removed_stream.max()))
    own, theirs = boot * width + stream, column(removed, "boot") * width + removed_stream
    order = np.argsort(theirs)
    place = np.minimum(np.searchsorted(theirs[order], own), len(order) - 1)
    found = theirs[order[place]] == own
    at = order[place[found]]
    seq[found] = column(removed, "seq")[at]
    totals[found] = np.stack([column(removed, name) for name in _TOTALS], axis=1)[at]
    return seq, totals
