"""Which windows have to be made anew, and the stretches of numbers that some of what they tell comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from host_tools.review.store import clock_evidence
from host_tools.review.store.engine import ASKED
from host_tools.review.store.message_ledger import Stretches
from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.review.store.engine import Engine

FINEST = Level.SECONDS_10.seconds


def window_start(moment: NDArray[np.float64], seconds: int) -> NDArray[np.int64]:
    """Return the Unix time at which the window of each moment begins."""
    return np.floor(moment / seconds).astype(np.int64) * seconds


def dirty_rows(device: NDArray[np.int64], moment: NDArray[np.float64]) -> pa.Table:
    """Return the windows of 10 s that these moments lie in, each once."""
    windows = np.unique(np.stack((device, window_start(moment, FINEST))), axis=1)
    return pa.table({"device": pa.array(windows[0], pa.int32()), "time": pa.array(windows[1])})


def dirty_runs(engine: Engine, boots: NDArray[np.int64]) -> None:
    """Mark every window in which something of these runs lies, by where its rows are placed now."""
    for table in ("inference", "reading"):
        rows = engine.select(f"SELECT DISTINCT device, moment FROM {table} WHERE boot IN {ASKED}", boots)
        moment = rows.column("moment").to_numpy()
        if len(moment):
            engine.append("dirty", dirty_rows(rows.column("device").to_numpy().astype(np.int64), moment))
    runs = engine.select(
        f"SELECT boot, device, placed_wrong, placed_start FROM boot WHERE boot IN {ASKED} ORDER BY boot",
        boots,
    )
    stretches = heard(engine, boots)
    at = np.searchsorted(runs.column("boot").to_numpy(), stretches.boot)
    wrong = runs.column("placed_wrong").to_numpy()[at]
    moment = clock_evidence.moments(
        wrong, runs.column("placed_start").to_numpy()[at], stretches.time, stretches.uptime
    )
    device = runs.column("device").to_numpy().astype(np.int64)[at]
    if len(device):
        both = np.concatenate((moment, moment - stretches.uptime))
        engine.append("dirty", dirty_rows(np.concatenate((device, device)), both))


def heard(engine: Engine, boots: NDArray[np.int64]) -> Stretches:
    """Return every stretch of numbers that was heard of some runs."""
    rows = engine.select(f'SELECT * FROM heard WHERE boot IN {ASKED} ORDER BY boot, "first"', boots)
    return read_heard(rows)


def read_heard(rows: pa.Table) -> Stretches:
    """Return rows of the table `heard`."""
    return Stretches(
        boot=rows.column("boot").to_numpy(),
        first=rows.column("first").to_numpy(),
        last=rows.column("last").to_numpy(),
        time=rows.column("time").to_numpy(),
        uptime=rows.column("uptime").to_numpy(),
        artifact=rows.column("artifact").to_numpy().astype(np.int64),
        closed=rows.column("closed").to_numpy(),
    )


def heard_rows(stretches: Stretches) -> pa.Table:
    """Return stretches as the table `heard` has them."""
    return pa.table(
        {
            "boot": stretches.boot,
            "first": stretches.first,
            "last": stretches.last,
            "time": stretches.time,
            "uptime": stretches.uptime,
            "artifact": pa.array(stretches.artifact, pa.int32()),
            "closed": stretches.closed,
        }
    )
