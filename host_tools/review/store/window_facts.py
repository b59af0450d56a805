"""From messages to windows of 10 s: what each message adds, and to which window.

What needs the message before it (errors, frames that were dropped, watts by a counter of joules) is taken over each
run's messages in the order of their numbers, so the order in which they came has no say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from device_agent.contract.model_names import MAIN_MODEL
from host_tools.review.sensor_role import Role
from host_tools.review.store import histograms, message_ledger, window_rows
from host_tools.review.store.dirty_windows import FINEST, window_start
from host_tools.review.store.window_rows import WindowRows, column
from host_tools.review.store.window_totals import RemovedTotals, rises, streams
from host_tools.review.store.windows import Histograms

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEYS = ("device", "time", "artifact")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Rows of the table `boot`, ascending by ``boot``; arrays of one element a run."""

    boot: NDArray[np.int64]
    device: NDArray[np.int64]
    cap: NDArray[np.float64]
    placed_wrong: NDArray[np.bool_]
    placed_start: NDArray[np.float64]
    low_uptime: NDArray[np.float64]
    high_uptime: NDArray[np.float64]

    def at(self, boot: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of runs by their keys."""
        return np.searchsorted(self.boot, boot)


def read_runs(rows: pa.Table) -> Runs:
    """Take rows of the table `boot`, which ascend by it."""
    return Runs(
        boot=column(rows, "boot"),
        device=column(rows, "device").astype(np.int64),
        **{
            name: column(rows, name)
            for name in ("cap", "placed_wrong", "placed_start", "low_uptime", "high_uptime")
        },
    )


@dataclass(slots=True)
class Facts:
    """Gathers what messages add, as rows of windows that are merged in the end.

    Attributes:
        runs: Runs of all messages.
        removed: What messages told that are there no more.
        unsure: Messages (device, window's start, uptime, run's place, -1 or 1) beside which another may be that was
            not read: before or after it.
        shifted: Windows (device, start) of messages that follow one of another window.
    """

    runs: Runs
    removed: RemovedTotals
    parts: list[pa.Table] = field(default_factory=list)
    edges: list[pa.Table] = field(default_factory=list)
    follows: list[pa.Table] = field(default_factory=list)

    def add_inference(self, rows: pa.Table) -> None:
        """Take rows of the table `inference`, in any order."""
        if not rows.num_rows:
            return
        stream, removed_stream = streams(rows, self.removed)
        boot, seq = column(rows, "boot"), column(rows, "seq")
        order = np.lexsort((seq, stream, boot))
        rows, boot, stream = rows.take(pa.array(order)), boot[order], stream[order]
        rise = rises(rows, stream, self.removed, removed_stream)
        self._note_edges(rows, boot, self.runs.at(boot), stream, rise.has_before)
        hist = window_rows.read_hist(rows)
        numbers: dict[str, NDArray[Any]] = {
            "covered_seconds": column(rows, "window_seconds"),
            "device_seconds": np.where(_is_main(rows), column(rows, "window_seconds"), 0.0),
            "inferences": rise.added[:, 0],
            "errors": rise.added[:, 1],
            "dropped": rise.added[:, 2],
            "latency_count": column(rows, "latency_count"),
            "latency_sum": column(rows, "latency_sum_seconds"),
            "latency_min": column(rows, "latency_min_seconds"),
            "latency_max": column(rows, "latency_max_seconds"),
        }
        self._part(_keys(rows), numbers, hist)

    def add_readings(self, rows: pa.Table, roles: NDArray[np.int64]) -> None:
        """Take rows of the table `reading` whose sensors have a role, in any order."""
        if not rows.num_rows:
            return
        boot, seq, sensor = (column(rows, name) for name in ("boot", "seq", "sensor"))
        order = np.lexsort((seq, sensor, boot))
        rows = rows.take(pa.array(order))
        boot, seq, sensor = boot[order], seq[order], sensor[order]
        run, role = self.runs.at(boot), roles[sensor]
        value, uptime = column(rows, "value"), column(rows, "uptime_seconds")
        counts = (role == Role.JOULES_TOTAL) | (role == Role.THROTTLE_COUNT)
        has_before = np.zeros(len(boot), dtype=bool)
        has_before[1:] = (boot[1:] == boot[:-1]) & (sensor[1:] == sensor[:-1])
        counted = np.flatnonzero(counts)
        self._note_edges(
            rows.take(pa.array(counted)),
            boot[counted],
            run[counted],
            sensor[counted].astype(np.int64),
            has_before[counted],
        )
        rise, elapsed = np.zeros(len(boot)), np.zeros(len(boot))
        rise[1:], elapsed[1:] = value[1:] - value[:-1], uptime[1:] - uptime[:-1]
        rises = has_before & counts & (elapsed > 0) & (rise >= 0)
        keys = _keys(rows)
        keys["boot"], keys["seq"] = boot, seq
        # Watts: the largest source of each message.
        with np.errstate(divide="ignore", invalid="ignore"):
            watts = np.where(role == Role.JOULES_TOTAL, rise / elapsed, value)
        chosen = (role == Role.WATTS) | (rises & (role == Role.JOULES_TOTAL))
        at, most = _by_message(keys, chosen, watts)
        self._sample(at, {"watts_sum": most, "watts_count": _ones(most)})
        at, most = _by_message(keys, role == Role.CELSIUS, value)
        self._sample(at, {"celsius_sum": most, "celsius_count": _ones(most), "celsius_max": most})
        cap = self.runs.cap[run]
        throttled = np.select(
            [role == Role.THROTTLED, role == Role.THROTTLE_COUNT, role == Role.FREQUENCY_CAP],
            [value > 0, rises & (rise > 0), value < cap],
            default=False,
        )
        tells = np.isin(role, (Role.THROTTLED, Role.THROTTLE_COUNT, Role.FREQUENCY_CAP))
        at, most = _by_message(keys, tells, throttled.astype(np.float64))
        self._sample(at, {"throttled": most.astype(np.int64), "throttle_samples": _ones(most)})
        at, most = _by_message(keys, role == Role.CPU_RATIO, value)
        self._sample(at, {"cpu_ratio_sum": most, "cpu_ratio_count": _ones(most)})
        at, most = _by_message(keys, role == Role.RSS_BYTES, value)
        self._sample(at, {"rss_max": most})
        at, most = _by_message(keys, role == Role.JOULES_PER_INFERENCE, value)
        # For now sum and number of the samples; `windows` makes them the energy of the window's inferences.
        self._sample(at, {"energy_joules": most, "energy_inferences": _ones(most)})

    def add_stretches(self, stretches: message_ledger.Stretches, *, since: float) -> None:
        """Take all stretches of numbers of the runs; windows before ``since`` have them, and stay as they are."""
        if not len(stretches):
            return
        run = self.runs.at(stretches.boot)
        moment = np.where(
            self.runs.placed_wrong[run], self.runs.placed_start[run] + stretches.uptime, stretches.time
        )
        keys = {"device": self.runs.device[run], "artifact": stretches.artifact}
        gaps = message_ledger.holes(stretches)
        has_gap = (gaps > 0) & (moment >= since)
        missed = _at({**keys, "time": window_start(moment, FINEST)}, has_gap)
        self._sample(missed, {"gaps": gaps[has_gap]})
        start = moment - stretches.uptime
        is_first = start >= since
        is_first[1:] &= stretches.boot[1:] != stretches.boot[:-1]
        began = _at({**keys, "time": window_start(start, FINEST)}, is_first)
        self._sample(began, {"starts": np.ones(int(is_first.sum()), dtype=np.int64)})

    def windows(self) -> WindowRows:
        """Return what was gathered, merged by device, window and artifact."""
        rows = window_rows.read(pa.concat_tables(self.parts), KEYS)
        groups, keys = window_rows.grouped(rows.keys)
        made = window_rows.merged(rows, groups, keys)
        samples, inferences = made.numbers["energy_inferences"], made.numbers["inferences"]
        told = (samples > 0) & (inferences > 0)
        mean = made.numbers["energy_joules"] / np.maximum(samples, 1)
        made.numbers["energy_joules"] = np.where(told, mean * inferences, 0.0)
        made.numbers["energy_inferences"] = np.where(told, inferences, 0)
        return made

    def _note_edges(
        self,
        rows: pa.Table,
        boot: NDArray[np.int64],
        run: NDArray[np.int64],
        series: NDArray[np.int64],
        has_before: NDArray[np.bool_],
    ) -> None:
        """Note the first and the last message of each series, and the windows of those that follow another window."""
        keys = _keys(rows)
        moment, uptime = column(rows, "moment"), column(rows, "uptime_seconds")
        is_last = np.ones(len(boot), dtype=bool)
        is_last[:-1] = (boot[1:] != boot[:-1]) | (series[1:] != series[:-1])
        for side, chosen in ((-1, ~has_before), (1, is_last)):
            self.edges.append(
                pa.table(
                    {
                        "device": keys["device"][chosen],
                        "time": keys["time"][chosen],
                        "moment": moment[chosen],
                        "uptime": uptime[chosen],
                        "low_uptime": self.runs.low_uptime[run[chosen]],
                        "high_uptime": self.runs.high_uptime[run[chosen]],
                        "side": np.full(int(chosen.sum()), side),
                    }
                )
            )
        later = np.flatnonzero(has_before)
        later = later[(later > 0)]
        later = later[(boot[later] == boot[later - 1]) & (series[later] == series[later - 1])]
        later = later[keys["time"][later] != keys["time"][later - 1]]
        self.follows.append(
            pa.table(
                {
                    "device": keys["device"][later],
                    "time": keys["time"][later],
                    "before": keys["time"][later - 1],
                }
            )
        )

    def _sample(self, keys: dict[str, NDArray[np.int64]], numbers: dict[str, NDArray[Any]]) -> None:
        size = len(keys["device"])
        nothing = Histograms(
            scale=histograms.EMPTY_SCALE,
            offsets=np.zeros(size + 1, dtype=np.int64),
            indices=np.zeros(0, dtype=np.int32),
            counts=np.zeros(0, dtype=np.int64),
            zero_counts=np.zeros(size, dtype=np.int64),
        )
        self._part({name: keys[name] for name in KEYS}, numbers, nothing)

    def _part(
        self,
        keys: dict[str, NDArray[np.int64]],
        numbers: dict[str, NDArray[Any]],
        hist: Histograms,
    ) -> None:
        size = len(keys["device"])
        whole: dict[str, NDArray[Any]] = {}
        for name in window_rows.NUMBERS:
            if name in numbers:
                whole[name] = numbers[name]
            elif name in window_rows.COUNTS:
                whole[name] = np.zeros(size, dtype=np.int64)
            else:
                is_sum = name in window_rows.FLOAT_SUMS
                whole[name] = np.zeros(size) if is_sum else np.full(size, np.nan)
        self.parts.append(window_rows.write(WindowRows(keys, whole, hist)))


def _is_main(rows: pa.Table) -> NDArray[np.bool_]:
    """Return which windows are of a device's own model, and of no side that is tried."""
    told = [
        pc.is_in(rows.column(name), value_set=pa.array(["", own]))
        for name, own in (("model", MAIN_MODEL), ("variant", "a"))
    ]
    return np.asarray(pc.and_(*told).to_numpy())


def _keys(rows: pa.Table) -> dict[str, NDArray[np.int64]]:
    return {
        "device": column(rows, "device").astype(np.int64),
        "time": window_start(column(rows, "moment"), FINEST),
        "artifact": column(rows, "artifact").astype(np.int64),
    }


def _at(keys: dict[str, NDArray[np.int64]], chosen: NDArray[Any]) -> dict[str, NDArray[np.int64]]:
    return {name: values[chosen] for name, values in keys.items()}


def _ones(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.ones(len(values), dtype=np.int64)


def _by_message(
    keys: dict[str, NDArray[np.int64]], chosen: NDArray[np.bool_], value: NDArray[np.float64]
) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.float64]]:
    """Return each message that has a chosen row, and the largest value of its chosen rows."""
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return _at(keys, rows), value[rows]
    rows = rows[np.lexsort((keys["seq"][rows], keys["boot"][rows]))]
    begins = np.ones(len(rows), dtype=bool)
    for name in ("boot", "seq"):
        begins[1:] &= keys[name][rows[1:]] == keys[name][rows[:-1]]
    begins[1:] = ~begins[1:]
    starts = np.flatnonzero(begins)
    return _at(keys, rows[starts]), np.maximum.reduceat(value[rows], starts)
