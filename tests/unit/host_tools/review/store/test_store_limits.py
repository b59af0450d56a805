"""Whoever words ids, digests and names without end fills neither memory nor tables, and keeps nobody else out."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from host_tools.review.store import alarm_words, boots
from host_tools.review.store.column_store import ColumnStore
from host_tools.review.store.duckdb_engine import DuckDbEngine
from host_tools.review.store.limits import Limits
from host_tools.review.store.opening import open_store, opened
from host_tools.review.store.windows import Level, Selection
from tests.unit.host_tools.review.store.opened_stores import STORES, Opener
from tests.unit.host_tools.review.store.stored_messages import (
    DIGESTS,
    EPOCH,
    Said,
    alarm,
    batch_of,
    birth,
    dead_letter,
    event,
    inference,
    sample,
    stamp,
)

HOUR = Selection(start=EPOCH - 60.0, end=EPOCH + 3600.0)
every_store = pytest.mark.parametrize("opened_store", STORES)


def limited(store: ColumnStore, limits: Limits) -> ColumnStore:
    """The same database with other limits."""
    return opened(store._engine, limits=limits)


def size(store: ColumnStore, table: str) -> int:
    rows = store._engine.select(f"SELECT count(*) AS size FROM {table}")
    return int(rows.column("size")[0].as_py())


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


@every_store
def test_devices_beyond_the_limit_are_dead_letters_and_those_that_are_known_go_on(
    opened_store: Opener,
) -> None:
    with opened_store() as plain:
        store = limited(plain, Limits(devices=3))
        first = store.write(batch_of([inference(stamp(f"d{one}", "boot", 1, 10.0)) for one in range(5)]))
        assert (first.messages, first.dead_letters) == (3, 2)
        later = [
            *(event(stamp(f"e{one}", "boot", 1, 10.0)) for one in range(4)),
            event(stamp("d0", "boot", 2, 11.0)),
        ]
        written = store.write(batch_of(later))
        assert (written.messages, written.duplicates, written.dead_letters) == (1, 0, 4)
        assert store.write(batch_of(later[:4])).messages == 0  # a batch of which nothing is left
        store.roll_up()
        assert {one.device for one in store.devices()} == {"d0", "d1", "d2"}
        letters = {one.topic: one for one in store.dead_letters()}
        assert {f"device e{one}: event" for one in range(4)} < set(letters)
        letter = letters["device e1: event"]
        assert letter.reason.startswith("device 'e1' is new, and ")
        assert "this store has 3, as many as it takes" in letter.reason
        assert "docs/ingest.md" in letter.reason
        again = limited(plain, Limits(devices=3))
        assert again.write(batch_of([event(stamp("f", "boot", 1, 1.0))])).dead_letters == 1
        assert again.write(batch_of([event(stamp("d2", "boot", 2, 1.0))])).messages == 1


@every_store
def test_one_device_that_invents_digests_keeps_nobody_else_from_a_new_one(opened_store: Opener) -> None:
    with opened_store() as plain:
        store = limited(plain, Limits(artifacts=50, of_one_device=4))
        hostile = [
            inference(stamp("bad", "boot", seq, 10.0 * seq, artifact=digest(seq))) for seq in range(1, 31)
        ]
        written = store.write(batch_of(hostile))
        assert (written.messages, written.dead_letters) == (4, 26)
        assert "this device has brought 4 since the store was opened" in store.dead_letters()[0].reason
        good = inference(stamp("good", "boot", 1, 10.0, artifact=DIGESTS[0]))
        assert store.write(batch_of([good])).messages == 1
        # What the device may still say of what is known.
        assert store.write(batch_of([inference(stamp("bad", "boot", 31, 310.0))])).messages == 1
        assert size(store, "artifact") == 5


@every_store
def test_digests_that_births_name_are_bounded_too(opened_store: Opener) -> None:
    with opened_store() as plain:
        store = limited(plain, Limits(of_one_device=4))
        models = [
            {"artifact": digest(one), "model_name": f"m{one}", "model_version": "1"}
            for one in range(100, 110)
        ]
        written = store.write(batch_of([birth(stamp("bad", "boot", 1, 0.5), models=json.dumps(models))]))
        assert (written.messages, written.dead_letters) == (1, 7)
        assert size(store, "artifact") == 4
        assert sorted(store.model_names().values()) == ["m100 1", "m101 1", "m102 1", "net 1.0.0"]
        assert store.dead_letters()[0].topic == "device bad: birth"


@every_store
def test_of_a_sample_only_the_numbers_without_room_are_left_out(opened_store: Opener) -> None:
    with opened_store() as plain:
        store = limited(plain, Limits(sensors=3, outputs=2))
        names = {f"rail_{one}_watts": 1.0 for one in range(5)}
        said = sample(stamp("a", "boot", 1, 10.0), "power", **names)
        written = store.write(batch_of([said, said]))
        assert (written.messages, written.dead_letters) == (1, 1)  # a letter a message
        assert size(store, "reading") == 3
        assert "sensor 'rail_" in store.dead_letters()[0].reason
        outputs = Said("output", stamp("a", "boot", 2, 11.0), tuple(
            {"model": None, "variant": None, "frame": "1", "latency_seconds": 0.1, "name": f"out{one}", "top_index": 1, "top_value": 0.5,
             "minimum": None, "maximum": None, "mean": None} for one in range(4)
        ))  # fmt: skip
        assert store.write(batch_of([outputs])).dead_letters == 1
        assert size(store, "output") == 2
        assert store.write(batch_of([outputs])).duplicates == 1
        # A sample of nothing that has room is heard, and its number is not missed.
        only = sample(stamp("a", "boot", 3, 12.0), "power", other_watts=1.0)
        assert store.write(batch_of([only])).dead_letters == 1
        assert store.write(batch_of([only])).duplicates == 1


@every_store
def test_long_names_are_bounded_by_their_characters(opened_store: Opener) -> None:
    with opened_store() as plain:
        store = limited(plain, Limits(characters=200))
        said = [event(stamp("x" * 60 + str(one), "boot", 1, 1.0)) for one in range(9)]
        assert store.write(batch_of(said)).messages == 3
        assert "200 characters, as many as this store takes" in store.dead_letters()[0].reason


@every_store
def test_questions_by_label_are_right_when_there_is_no_room_for_another_cohort(opened_store: Opener) -> None:
    answers = []
    for cohorts in (1000, 2):
        with opened_store() as plain:
            store = limited(plain, Limits(cohorts=cohorts))
            said: list[Said] = []
            for one in range(6):
                device = f"d{one}"
                said.append(birth(stamp(device, "boot", 1, 0.5), target=f"t{one // 2}"))
                said += [inference(stamp(device, "boot", 1 + n, 10.0 * n), total=5 * n) for n in (1, 2)]
            store.write(batch_of(said))
            store.roll_up()
            assert size(store, "cohort") == min(cohorts, 3)
            by_target = store.windows(HOUR, level=Level.MINUTE, by=("label:target",))
            of_one = store.windows(
                Selection(start=HOUR.start, end=HOUR.end, labels=(("target", "t2"),)),
                level=Level.MINUTE,
                by=("time",),
            )
            whole = store.windows(HOUR, level=Level.MINUTE, by=("time",))
            answers.append(
                [
                    list(by_target.keys[0]),
                    *(list(map(int, one.inferences)) for one in (by_target, of_one, whole)),
                ]
            )
    assert answers[0] == answers[1]
    assert answers[0][0] == ["t0", "t1", "t2"]


@every_store
def test_a_birth_of_endless_texts_is_a_few_labels(opened_store: Opener) -> None:
    with opened_store() as store:
        host = {**{f"key_{one:03}": "v" for one in range(200)}, "machine": "aarch64", "aaa": "w" * 1000}
        store.write(batch_of([birth(stamp("a", "boot", 1, 0.5), host=json.dumps(host))]))
        (device,) = store.devices()
        labels = dict(device.labels)
        assert len(labels) <= 70
        assert labels["target"] == "pi5"
        assert "aaa" not in labels


@every_store
def test_of_dead_letters_the_latest_are_kept(opened_store: Opener) -> None:
    with opened_store() as plain:
        store = limited(plain, Limits(dead_letters=10, dead_letter_bytes=1 << 20))
        for turn in range(12):
            batch = [dead_letter(EPOCH + turn + one / 10, f"letter {turn}.{one}") for one in range(5)]
            assert store.write(batch_of(batch)).dead_letters == 5
            assert size(store, "dead_letter") <= 20
        assert store.dead_letters(limit=3)[0].reason == "letter 11.4"
        small = limited(plain, Limits(dead_letter_bytes=100))
        for turn in range(100, 200):
            small.write(batch_of([dead_letter(EPOCH + turn, f"letter {turn}")]))
        assert 1 <= size(small, "dead_letter") <= 60
        assert small.dead_letters(limit=1)[0].reason == "letter 199"


@every_store
def test_of_a_run_that_leaves_out_numbers_without_end_the_oldest_holes_are_given_up_and_told(
    opened_store: Opener,
) -> None:
    with opened_store() as plain:
        store = limited(plain, Limits(holes=3))
        for seq in range(1, 40, 2):
            said = [event(stamp("bad", "boot-1", seq, float(seq))), event(stamp("good", "boot", seq, 1.0))]
            store.write(batch_of(said if seq < 8 else said[:1]))
            assert size(store, "heard") <= 8
        missing = {device.device: device.missing for device in store.devices()}
        assert missing == {"bad": 19, "good": 3}
        letters = store.dead_letters(limit=100)
        assert {letter.topic for letter in letters} == {"device bad: heard"}
        assert len(letters) == 16  # one for each hole that there is no room for
        assert letters[0].reason == (
            "run 'boot-1' has more than 3 holes in its numbers: 1 missing message between 1 and 33 given up, and "
            'what still comes of them is not written; see "What is bounded" in docs/ingest.md.'
        )
        # What is given up is not written any more; what lies in the latest holes is.
        late = [event(stamp("bad", "boot-1", seq, float(seq))) for seq in (2, 38)]
        written = store.write(batch_of(late))
        assert (written.messages, written.duplicates) == (1, 1)
        assert {device.device: device.missing for device in store.devices()} == {"bad": 18, "good": 3}
        # A store with more room does not forget what was given up.
        wider = limited(plain, Limits())
        assert wider.write(batch_of([event(stamp("bad", "boot-1", 50, 50.0))])).dead_letters == 0
        assert {device.device: device.missing for device in wider.devices()} == {"bad": 28, "good": 3}


@every_store
def test_of_a_device_of_many_runs_only_those_that_speak_are_held(opened_store: Opener) -> None:
    with opened_store() as store:
        store.write(batch_of([event(stamp("a", f"boot-{run}", 1, 1.0)) for run in range(200)]))
        store._boots.forget()
        assert store.write(batch_of([event(stamp("a", "boot-7", 1, 1.0))])).duplicates == 1
        assert (
            store.write(
                batch_of([event(stamp("a", "boot-8", 2, 2.0)), event(stamp("a", "new", 1, 1.0))])
            ).messages
            == 2
        )
        assert len(store._boots) == 3
        assert size(store, "boot") == 201


def test_runs_that_are_held_are_forgotten_when_they_are_many(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(boots, "_MOST_HELD", 50)
    store = open_store(tmp_path / "a.duckdb", threads=1)
    for turn in range(20):
        store.write(batch_of([event(stamp("a", f"{turn}-{one}", 1, 1.0)) for one in range(20)]))
        assert len(store._boots) <= 71
    store.close()


@every_store
def test_of_an_alarm_that_never_rests_the_latest_words_are_read(
    opened_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarm_words, "MOST_WORDS", 6)
    with opened_store() as store:
        for seq in range(1, 21):
            received = EPOCH + seq
            said = [
                alarm(stamp("a", "boot", seq, 1.0, received=received), "hot", "error"),
                alarm(stamp("a", "", -1, 0.0, received=received + 0.5), "hot", "cleared"),
                alarm(stamp("a", "boot", 100 + seq, 1.0, received=received), f"other_{seq}", "error"),
            ]
            assert store.write(batch_of(said)).messages == 3
        again = [alarm(stamp("a", "boot", 20, 1.0, received=EPOCH + 30.0), "hot", "error")]
        assert store.write(batch_of(again)).duplicates == 1
        rows = store._engine.select("SELECT count(*) AS size FROM alarm WHERE \"name\" = 'hot'")
        assert rows.column("size")[0].as_py() == 40


def held_objects() -> int:
    """Return how many blocks Python holds: of bytes, a table of the interpreter's own may take megabytes more at any moment."""
    gc.collect()
    return sys.getallocatedblocks()


def test_memory_stays_flat_under_a_publisher_that_never_repeats_a_name() -> None:
    arrow_before, settled, turns = pa.total_allocated_bytes(), 20, 60
    store = opened(
        DuckDbEngine(Path(":memory:"), threads=1),
        limits=Limits(devices=200, artifacts=200, outputs=200, sensors=200, cohorts=20, dead_letters=500),
    )
    before = 0
    for turn in range(turns):
        if turn == settled:
            before = held_objects()
        names = [f"{turn}-{one}" for one in range(100)]
        store.write(batch_of([
            *(event(stamp(name, "boot", 1, 1.0)) for name in names),
            *(birth(stamp("bad", f"boot-{turn}", 1 + one, 1.0, artifact=digest(100 * turn + one)), target=names[one], models="[]") for one in range(20)),
            *(sample(stamp("bad", f"boot-{turn}", 50 + one, 2.0), "power", **{f"rail_{turn}_{one}_watts": 1.0}) for one in range(20)),
        ]))  # fmt: skip
    grown = held_objects() - before
    sizes = [size(store, table) for table in ("device", "artifact", "sensor", "cohort")]
    assert all(np.array(sizes) <= [200, 200, 200, 20])
    assert size(store, "dead_letter") <= 1000
    assert grown < 70 * (turns - settled), f"{grown} blocks of {turns - settled} batches of 140 new names"
    store.close()
    assert pa.total_allocated_bytes() - arrow_before < 64 << 20
