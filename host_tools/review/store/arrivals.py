"""`Arrivals`: the messages of a batch with keys in place of texts, one row a message, beside the rows that they brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from device_agent.contract.model_names import MAIN_MODEL
from host_tools.review.store.keys import REFUSED, encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from host_tools.review.store.boots import Boots
    from host_tools.review.store.keys import Keys
    from host_tools.review.store.limits import Refusals
    from host_tools.review.store.tables import Batch, TableName

_CLOCKS = {"synced": 0, "unsynced": 1, "floor": 2}
_STATES = ("birth", "health", "alarm")
"""Messages that brokers keep and send again."""
FAREWELL_SEQ = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Messages of one table in the order they came. Arrays have one element a message, but for ``row_message``.

    Attributes:
        table: Which.
        rows: What they brought, as it came.
        row_message: int64: message of each row.
        device: int64: key.
        place: int64: place of its run in `Boots`; -1 where there is none.
        boot: int64: key of its run; -1 likewise.
        seq: int64.
        artifact: int64: key.
        time: float64.
        uptime: float64.
        received: float64.
        clock: int64: as `clock_evidence.Heard`.
        retained: bool.
        is_numbered: bool: whether its number counts. What a broker kept says nothing of the numbers since, and the
            farewell's is the first of the run and comes last.
        is_main: bool: whether its artifact is the device's own, not that of a model beside it or of a side that is tried.
    """

    table: TableName
    rows: pa.RecordBatch
    row_message: NDArray[np.int64]
    device: NDArray[np.int64]
    place: NDArray[np.int64]
    boot: NDArray[np.int64]
    seq: NDArray[np.int64]
    artifact: NDArray[np.int64]
    time: NDArray[np.float64]
    uptime: NDArray[np.float64]
    received: NDArray[np.float64]
    clock: NDArray[np.int64]
    retained: NDArray[np.bool_]
    is_numbered: NDArray[np.bool_]
    is_main: NDArray[np.bool_]


def arrivals(
    batch: Batch, *, devices: Keys, artifacts: Keys, boots: Boots, refusals: Refusals
) -> tuple[list[Arrivals], list[int]]:
    """Return what came, by table, and the keys of devices that are new; messages whose names find no room are refused."""
    found: list[Arrivals] = []
    fresh: list[int] = []
    for table, came in batch.rows.items():
        if table == "dead_letter":
            continue
        codes, names = encoded(came.column("device"))
        keys_of_devices, new = devices.give(names)
        fresh += new
        device = keys_of_devices[codes]
        artifact = artifacts.given(came.column("artifact"), device)
        is_kept = (device != REFUSED) & (artifact != REFUSED)
        rows = came
        if not is_kept.all():
            _refuse(table, came, device, artifact, refusals, limits=(devices.limit, artifacts.limit))
            rows, device, artifact = came.filter(pa.array(is_kept)), device[is_kept], artifact[is_kept]
        if not rows.num_rows:
            continue
        boot_codes, boot_ids = encoded(rows.column("boot_id"))
        seq = rows.column("seq").to_numpy()
        runs, run = np.unique(device * len(boot_ids) + boot_codes, return_inverse=True)
        run = run.reshape(-1)
        begins = np.ones(rows.num_rows, dtype=bool)
        if table in ("reading", "output", "input"):
            begins[1:] = (run[1:] != run[:-1]) | (seq[1:] != seq[:-1])
        at = np.flatnonzero(begins)
        named = [(int(code) // len(boot_ids), boot_ids[int(code) % len(boot_ids)] or "") for code in runs]
        has_run = np.array([bool(boot_id) for _, boot_id in named])
        places = np.full(len(named), -1, dtype=np.int64)
        places[has_run] = boots.places([one for one in named if one[1]])
        keys = np.where(places >= 0, boots.columns["boot"][places], -1)
        retained = rows.column("retained").to_numpy(zero_copy_only=False)[at]
        is_state = table in _STATES
        is_farewell = (seq[at] == FAREWELL_SEQ) if table == "health" else np.zeros(len(at), dtype=bool)
        clock_codes, clock_names = encoded(rows.column("clock"))
        clocks = np.array([_CLOCKS.get(name or "", 1) for name in clock_names], dtype=np.int64)
        found.append(
            Arrivals(
                table=table,
                rows=rows,
                row_message=np.cumsum(begins) - 1,
                device=device[at],
                place=places[run[at]],
                boot=keys[run[at]],
                seq=seq[at],
                artifact=artifact[at],
                time=rows.column("time").to_numpy()[at],
                uptime=rows.column("uptime_seconds").to_numpy()[at],
                received=rows.column("received").to_numpy()[at],
                clock=clocks[clock_codes[at]],
                retained=retained,
                is_numbered=(places[run[at]] >= 0) & ~(retained & is_state) & ~is_farewell,
                is_main=_is_main(rows)[at],
            )
        )
    return found, fresh


def _refuse(
    table: TableName,
    rows: pa.RecordBatch,
    device: NDArray[np.int64],
    artifact: NDArray[np.int64],
    refusals: Refusals,
    *,
    limits: tuple[Callable[[], str], Callable[[int], str]],
) -> None:
    """Say of each message why it is not taken."""
    chosen = np.flatnonzero((device == REFUSED) | (artifact == REFUSED))
    columns = ("device", "boot_id", "seq", "received", "artifact")
    last = None
    for place, row in zip(
        chosen.tolist(), rows.select(columns).take(pa.array(chosen)).to_pylist(), strict=True
    ):
        number = row["device"], row["boot_id"], row["seq"]
        if number == last:
            continue  # a message of several rows
        last = number
        if device[place] == REFUSED:
            what, name, limit = "device", row["device"], limits[0]()
        else:
            what, name, limit = "artifact", row["artifact"], limits[1](int(device[place]))
        refusals.add(
            received=row["received"], device=row["device"], table=table, what=what, name=name, limit=limit
        )


def _is_main(rows: pa.RecordBatch) -> NDArray[np.bool_]:
    told = np.ones(rows.num_rows, dtype=bool)
    for name, own in (("model", MAIN_MODEL), ("variant", "a")):
        if name in rows.schema.names:
            codes, texts = encoded(rows.column(name))
            told &= np.array([text in (None, "", own) for text in texts], dtype=bool)[codes]
    return told
