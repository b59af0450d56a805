"""When messages were made and when they arrived: what windows do not tell, and whoever looks for outages needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from host_tools.review.store.window_rows import column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.review.store.engine import Engine

_MAIN = "(model = '' OR model = 'main') AND (variant = '' OR variant = 'a')"
_STAMPS = ("boot", "seq", "moment", "time", "received", "uptime_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTable:
    """Messages, one a row, by the moment they were made: windows of inference, samples and events.

    What brokers keep and send again (birth, health, alarms) is not among them: when it arrived says nothing.

    Attributes:
        run: int64: number of the run of the agent, the same for all messages of it.
        seq: int64: number in the run.
        moment: float64 Unix seconds, repaired.
        time: float64 Unix seconds, as the device's clock had it.
        received: float64 Unix seconds of whoever ingests.
        uptime_seconds: float64: since the run began.
        window_seconds: float64: of a window of the device's own model; NaN elsewhere.
        frames_total: int64: inferences, failures and dropped frames of the run until then; -1 elsewhere.
    """

    run: NDArray[np.int64]
    seq: NDArray[np.int64]
    moment: NDArray[np.float64]
    time: NDArray[np.float64]
    received: NDArray[np.float64]
    uptime_seconds: NDArray[np.float64]
    window_seconds: NDArray[np.float64]
    frames_total: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.run)


def read_messages(engine: Engine, where: str) -> MessageTable:
    """Read what meets a condition."""
    stamps = 'boot, seq, moment, "time", received, uptime_seconds'
    frames = "inferences_total + errors_total + dropped_frames_total"
    least = ", ".join(f'min("{name}") AS "{name}"' for name in _STAMPS[2:])
    windows = engine.select(
        f"SELECT {stamps}, window_seconds, {frames} AS frames FROM inference WHERE {where} AND {_MAIN}"
    )
    others = [
        engine.select(f"SELECT boot, seq, {least} FROM reading WHERE {where} GROUP BY boot, seq"),
        engine.select(f"SELECT {stamps} FROM event WHERE {where}"),
    ]
    stamped = pa.concat_tables([table.select(_STAMPS) for table in (windows, *others)])
    count = stamped.num_rows - windows.num_rows
    order = np.lexsort((column(stamped, "seq"), column(stamped, "moment")))
    columns = {name: column(stamped, name)[order] for name in _STAMPS}
    return MessageTable(
        run=columns.pop("boot"),
        **columns,
        window_seconds=np.concatenate((column(windows, "window_seconds"), np.full(count, np.nan)))[order],
        frames_total=np.concatenate((column(windows, "frames"), np.full(count, -1)))[order],
    )
