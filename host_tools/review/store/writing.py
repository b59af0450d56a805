"""From a batch to rows: what is new, when it was made, which windows it changes. Called within one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from host_tools.review.sensor_role import Role
from host_tools.review.store import clock_evidence, message_ledger
from host_tools.review.store.alarm_words import AlarmWords
from host_tools.review.store.arrivals import FAREWELL_SEQ, Arrivals, arrivals
from host_tools.review.store.device_words import birth_labels, take_word
from host_tools.review.store.dirty_windows import dirty_rows, dirty_runs, heard, heard_rows
from host_tools.review.store.engine import one_of
from host_tools.review.store.keys import REFUSED
from host_tools.review.store.limits import Refusals
from host_tools.review.store.message_ledger import Stretches
from host_tools.review.store.schema import TABLES
from host_tools.review.store.windows import Written

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.review.store.boots import Boots
    from host_tools.review.store.cohorts import Cohorts
    from host_tools.review.store.dead_letters import DeadLetters
    from host_tools.review.store.engine import Engine
    from host_tools.review.store.keys import Keys
    from host_tools.review.store.model_names import ModelNames
    from host_tools.review.store.sensors import Sensors
    from host_tools.review.store.tables import Batch


@dataclass(frozen=True, slots=True)
class Writing:
    """What a batch is written with."""

    engine: Engine
    devices: Keys
    artifacts: Keys
    outputs: Keys
    sensors: Sensors
    boots: Boots
    cohorts: Cohorts
    names: ModelNames
    letters: DeadLetters
    most_holes: int
    alarms: AlarmWords = field(default_factory=AlarmWords)

    def write(self, batch: Batch) -> Written:
        """Write what is new."""
        refusals = Refusals()
        messages, duplicates = self._write_messages(batch, refusals)
        found = [one for one in (batch.rows.get("dead_letter"), refusals.rows()) if one is not None]
        dead_letters = self.letters.write(found)
        return Written(messages=messages, duplicates=duplicates, dead_letters=dead_letters)

    def _write_messages(self, batch: Batch, refusals: Refusals) -> tuple[int, int]:
        """Write all but dead letters; return how many messages were new, and how many were not."""
        found, fresh = arrivals(
            batch, devices=self.devices, artifacts=self.artifacts, boots=self.boots, refusals=refusals
        )
        if not found:
            self._tell_devices([], [], fresh, refusals)
            return 0, 0
        new, added = self._new(found, refusals)
        places = self._hear(found)
        self._dirty(found, new, added.shifted)
        for one, is_new in zip(found, new, strict=True):
            self._append(one, is_new, refusals)
        self._tell_devices(found, new, fresh, refusals)
        self.engine.replace("boot", self.boots.rows(places))
        # Last of all, for where a batch is not one transaction: what is not told as heard is taken in again.
        self.engine.remove("heard", pa.table({"boot": added.removed.boot, "first": added.removed.first}))
        self.engine.append("heard", heard_rows(added.written))
        messages = sum(int(is_new.sum()) for is_new in new)
        return messages, sum(len(one.seq) for one in found) - messages

    # --- what is new ---

    def _new(
        self, found: list[Arrivals], refusals: Refusals
    ) -> tuple[list[NDArray[np.bool_]], message_ledger.Added]:
        """Return which messages are new, by table, and what becomes of the numbers of their runs."""
        is_numbered = np.concatenate([one.is_numbered for one in found])
        numbers = Stretches(
            boot=np.concatenate([one.boot for one in found])[is_numbered],
            first=np.concatenate([one.seq for one in found])[is_numbered],
            last=np.concatenate([one.seq for one in found])[is_numbered],
            time=np.concatenate([one.time for one in found])[is_numbered],
            uptime=np.concatenate([one.uptime for one in found])[is_numbered],
            artifact=np.concatenate([one.artifact for one in found])[is_numbered],
            closed=np.zeros(int(is_numbered.sum()), dtype=np.int64),
        )
        there = heard(self.engine, np.unique(numbers.boot))
        added, given_up = message_ledger.close_oldest(
            there, message_ledger.add(there, numbers), self.most_holes + 1
        )
        self._give_up(found, given_up, refusals)
        is_new = np.zeros(len(is_numbered), dtype=bool)
        is_new[is_numbered] = added.is_new
        ends = np.cumsum([len(one.seq) for one in found])[:-1]
        new = np.split(is_new, ends)
        return [self._new_states(one, known) for one, known in zip(found, new, strict=True)], added

    def _give_up(self, found: list[Arrivals], given_up: Stretches, refusals: Refusals) -> None:
        """Say which numbers of runs with too many holes are waited for no longer."""
        for run in range(len(given_up)):
            one, place = next(
                (one, places[0])
                for one in found
                if len(places := np.flatnonzero(one.boot == given_up.boot[run]))
            )
            refusals.give_up(
                received=float(one.received[place]),
                device=self.devices.name(int(one.device[place])) or "",
                boot_id=self.boots.id_at(int(one.place[place])),
                first=int(given_up.first[run]),
                last=int(given_up.last[run]),
                missing=int(given_up.closed[run]),
                holes=self.most_holes,
            )

    def _new_states(self, one: Arrivals, is_new: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which messages are new of those that brokers keep: theirs is what no row is there of."""
        if one.table not in ("birth", "health", "alarm"):
            return is_new
        is_new = is_new | ~one.is_numbered
        if one.table == "alarm":
            return is_new & self.alarms.are_new(self.engine, one)
        there = self.engine.select(
            f"SELECT boot, seq FROM {one.table} WHERE {one_of('boot', one.boot[one.boot >= 0])} "
            f"AND {one_of('seq', one.seq)}"
        )
        seen = set(zip(there.column("boot").to_pylist(), there.column("seq").to_pylist(), strict=True))
        for place in np.argsort(one.received, kind="stable").tolist():
            number = (int(one.boot[place]), int(one.seq[place]))
            is_new[place] &= number not in seen
            seen.add(number)
        return is_new

    # --- runs ---

    def _hear(self, found: list[Arrivals]) -> NDArray[np.int64]:
        """Take in what all messages tell of their runs, those too that came before; return the runs' places."""
        has_run = np.concatenate([one.place >= 0 for one in found])
        place, seq, artifact, clock = (
            np.concatenate([getattr(one, name) for one in found])[has_run]
            for name in ("place", "seq", "artifact", "clock")
        )
        time, uptime, received = (
            np.concatenate([getattr(one, name) for one in found])[has_run]
            for name in ("time", "uptime", "received")
        )
        retained = np.concatenate([one.retained for one in found])[has_run]
        numbered = np.concatenate([one.is_numbered for one in found])[has_run]
        places, local = np.unique(place, return_inverse=True)
        local = local.reshape(-1)
        columns = self.boots.columns
        heard_now = clock_evidence.Heard(
            place=local, seq=seq, time=time, uptime=uptime, received=received, clock=clock
        )
        states = self.boots.clock[places] = clock_evidence.hear(self.boots.clock[places], heard_now)
        np.minimum.at(columns["first_received"], place, received)
        np.fmax.at(columns["last_received"], place[~retained], received[~retained])
        np.minimum.at(columns["low_uptime"], place[numbered], uptime[numbered])
        np.maximum.at(columns["high_uptime"], place[numbered], uptime[numbered])
        is_main = np.concatenate([one.is_main for one in found])[has_run]
        latest = _latest_of_runs(place, seq, is_main)
        later = latest[seq[latest] >= columns["high_seq"][place[latest]]]
        columns["artifact"][place[later]] = artifact[later]
        np.maximum.at(columns["high_seq"], place, seq)
        is_fresh = np.isnan(columns["placed_start"][places])
        columns["placed_wrong"][places[is_fresh]] = clock_evidence.is_wrong(states[is_fresh])
        columns["placed_start"][places[is_fresh]] = clock_evidence.starts(states[is_fresh])
        return places

    def _keep_caps(self, one: Arrivals, sensor: NDArray[np.int64], is_new: NDArray[np.bool_]) -> None:
        """Keep the frequency cap of each run's first sample; where that was another one, the whole run changes."""
        caps = self.sensors.with_role(Role.FREQUENCY_CAP)
        rows = np.flatnonzero(np.isin(sensor, caps) & is_new[one.row_message])
        message = one.row_message[rows]
        value = one.rows.column("value").to_numpy()[rows]
        columns = self.boots.columns
        before: dict[int, tuple[int, float]] = {}
        for place, seq, cap in zip(
            one.place[message].tolist(), one.seq[message].tolist(), value.tolist(), strict=True
        ):
            known = columns["cap_seq"][place]
            before.setdefault(place, (int(known), float(columns["cap"][place])))
            if known < 0 or seq < known:
                columns["cap_seq"][place], columns["cap"][place] = seq, cap
        changed = [
            columns["boot"][place]
            for place, (seq, cap) in before.items()
            if seq >= 0 and cap != columns["cap"][place]
        ]
        if changed:
            dirty_runs(self.engine, np.array(changed))

    def _moments(
        self, place: NDArray[np.int64], time: NDArray[np.float64], uptime: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        columns = self.boots.columns
        return clock_evidence.moments(
            columns["placed_wrong"][place], columns["placed_start"][place], time, uptime
        )

    def _moments_of(self, one: Arrivals, message: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return when messages were made; those without a run when they came."""
        moment = np.where(one.boot[message] < 0, one.received[message], 0.0)
        has_run = one.place[message] >= 0
        moment[has_run] = self._moments(
            one.place[message][has_run], one.time[message][has_run], one.uptime[message][has_run]
        )
        if one.table == "health":  # a last will was written when the agent connected: it counts when it comes
            is_farewell = (one.seq[message] == FAREWELL_SEQ) & ~one.retained[message]
            moment[is_farewell] = one.received[message][is_farewell]
        return moment

    # --- which windows change ---

    def _dirty(self, found: list[Arrivals], new: list[NDArray[np.bool_]], shifted: Stretches) -> None:
        changed = [
            (one.device[is_new], self._moments(one.place[is_new], one.time[is_new], one.uptime[is_new]))
            for one, is_new in zip(found, new, strict=True)
            if one.table in ("inference", "reading")
        ]
        if len(shifted):
            place = np.concatenate([one.place for one in found])
            runs, firsts = np.unique(self.boots.columns["boot"][place[place >= 0]], return_index=True)
            at = place[place >= 0][firsts[np.searchsorted(runs, shifted.boot)]]
            moment = self._moments(at, shifted.time, shifted.uptime)
            device = self.boots.columns["device"][at]
            changed += [(device, moment), (device, moment - shifted.uptime)]
        device, moment = (np.concatenate([one[part] for one in changed] or [np.zeros(0)]) for part in (0, 1))
        if len(device):
            self.engine.append("dirty", dirty_rows(device.astype(np.int64), moment))

    # --- rows ---

    def _append(self, one: Arrivals, is_new: NDArray[np.bool_], refusals: Refusals) -> None:
        if one.table == "other" or not is_new.any():
            return
        kept = is_new[one.row_message]
        if one.table in ("reading", "output", "input"):
            is_reading = one.table == "reading"
            device = one.device[one.row_message]
            extra = (
                self.sensors.given(one.rows, device)
                if is_reading
                else self.outputs.given(one.rows.column("name"), device)
            )
            if is_reading:
                self._keep_caps(one, extra, is_new)
            kept &= _first_of_message(one.row_message, extra - REFUSED)
            self._refuse_rows(one, np.flatnonzero(kept & (extra == REFUSED)), refusals)
            kept &= extra != REFUSED
        chosen = np.flatnonzero(kept)
        if not len(chosen):
            return
        message = one.row_message[chosen]
        rows = one.rows.take(pa.array(chosen)) if len(chosen) < one.rows.num_rows else one.rows
        made: dict[str, pa.Array] = {
            "device": pa.array(one.device[message], pa.int32()),
            "boot": pa.array(one.boot[message]),
            "seq": pa.array(np.where(one.boot[message] < 0, -1, one.seq[message])),
            "artifact": pa.array(one.artifact[message], pa.int32()),
            "moment": pa.array(self._moments_of(one, message)),
            "time": pa.array(one.time[message]),
            "uptime_seconds": pa.array(one.uptime[message]),
            "received": pa.array(one.received[message]),
        }
        if one.table == "reading":
            made["sensor"] = pa.array(extra[chosen], pa.int32())
        elif one.table in ("output", "input"):
            made["output"] = pa.array(extra[chosen], pa.int32())
        elif one.table == "birth":
            made["labels"] = pa.array(birth_labels(rows), pa.string())
        for name, kind in TABLES[one.table].columns.items():
            if name not in made:
                made[name] = _without_nulls(rows.column(name), kind)
        self.engine.append(one.table, pa.table(made))

    def _refuse_rows(self, one: Arrivals, rows: NDArray[np.int64], refusals: Refusals) -> None:
        """Say why something of a message is not taken; the rest of it is."""
        what, keys = ("sensor", self.sensors) if one.table == "reading" else (one.table, self.outputs)
        for place in rows.tolist():
            message = one.row_message[place]
            refusals.add(
                received=float(one.received[message]),
                device=one.rows.column("device")[place].as_py(),
                table=one.table,
                what=what,
                name=one.rows.column("name")[place].as_py(),
                limit=keys.limit(int(one.device[message])),
            )

    def _tell_devices(
        self, found: list[Arrivals], new: list[NDArray[np.bool_]], fresh: list[int], refusals: Refusals
    ) -> None:
        """Write devices that are new, and the latest word on health and birth of those that said one."""
        told = [
            (one, is_new | one.retained)
            for one, is_new in zip(found, new, strict=True)
            if one.table in ("birth", "health")
        ]
        changed = {key for one, counts in told for key in one.device[counts].tolist()}
        there: dict[int, dict[str, object]] = {}
        if changed - set(fresh):
            rows = self.engine.select(f"SELECT * FROM device WHERE {one_of('id', changed)}")
            there = {row["id"]: row for row in rows.to_pylist()}
        for key in fresh:
            there[key] = {
                "id": key, "name": self.devices.name(key), "status": "", "reason": "", "status_received": -1.0,
                "status_seq": -1, "birth": "{}", "birth_received": -1.0, "birth_seq": -1, "cohort": 0,
            }  # fmt: skip
        for one, counts in told:
            take_word(one, np.flatnonzero(counts), there)
            if one.table == "birth":
                self.names.take(one, refusals)
        if there:
            kinds = {
                "id": pa.int32(),
                "cohort": pa.int32(),
                "status_seq": pa.int64(),
                "birth_seq": pa.int64(),
            }
            columns = {
                name: pa.array([row[name] for row in there.values()], kinds.get(name))
                for name in TABLES["device"].columns
            }
            self.engine.replace("device", pa.table(columns))
            self.cohorts.assign(there)


def _latest_of_runs(
    place: NDArray[np.int64], seq: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return where the message of the highest number is, of each run that has a chosen one."""
    order = np.flatnonzero(chosen)
    order = order[np.lexsort((seq[order], place[order]))]
    is_last = np.ones(len(order), dtype=bool)
    is_last[:-1] = place[order][1:] != place[order][:-1]
    return order[is_last]


def _first_of_message(message: NDArray[np.int64], part: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows are the first of their message and part: a message that came twice in a row brought each twice."""
    _, firsts = np.unique(message * (int(part.max()) + 1) + part, return_index=True)
    is_first = np.zeros(len(message), dtype=bool)
    is_first[firsts] = True
    return is_first


_FILLS = {"double": float("nan"), "int64": -1, "text": ""}


def _without_nulls(column: pa.Array, kind: str) -> pa.Array:
    return pc.fill_null(column, _FILLS[kind]) if column.null_count else column
