"""An alarm that is over has no number: it is in the store as often as it was sent, whatever is sent again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.review.store import alarm_words
from host_tools.review.store.column_store import ColumnStore
from tests.unit.host_tools.review.store.opened_stores import STORES, duckdb_store
from tests.unit.host_tools.review.store.stored_messages import EPOCH, Said, alarm, batch_of, stamp


def words(chance: random.Random) -> list[tuple[str, int]]:
    """Severity and number: raised and over in turn; the last may go on."""
    found: list[tuple[str, int]] = []
    for number in range(1, chance.randint(2, 5)):
        found += [("error", number), ("cleared", -1)]
    return found[: len(found) - chance.randint(0, 1)]


def sent(said: list[tuple[str, int]], received: float, *, again: bool) -> list[Said]:
    """One delivery of a worker: all of it was received at once."""
    return [
        alarm(
            stamp("a", "boot" if seq > 0 else "", seq if seq > 0 else -1 - again, 1.0, received=received),
            "hot",
            severity,
        )
        for severity, seq in said
    ]


def told(store: ColumnStore) -> list[str]:
    rows = store._engine.select("SELECT severity FROM alarm ORDER BY received")
    return rows.column("severity").to_pylist()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_is_sent_again_in_its_order_is_there_once(seed: int) -> None:
    chance = random.Random(seed)
    said = words(chance)
    with duckdb_store() as store:
        done, received, frames = 0, EPOCH, []
        while done < len(said):
            # The broker sends again what was not acknowledged, and with it what never came: all of it may have come.
            again = chance.random() < 0.5
            first = chance.randint(0, done) if again else done
            received += 1.0
            end = chance.randint(done, len(said)) if again else chance.randint(done + 1, len(said))
            frames.append(sent(said[first:end], received, again=again))
            store.write(batch_of(frames[-1])) if frames[-1] else None
            done = end
            if chance.random() < 0.3:  # a worker sends what it holds to the next writer as it was
                for frame in frames[chance.randrange(len(frames)) :]:
                    store.write(batch_of(frame)) if frame else None
            assert told(store) == [severity for severity, _ in said[:done]]


def test_a_second_end_after_a_second_start_counts_in_every_store() -> None:
    for opened in STORES:
        with opened() as store:
            said = [("error", 1), ("cleared", -1), ("error", 2), ("cleared", -1)]
            store.write(batch_of(sent(said[:3], EPOCH, again=False)))
            store.write(batch_of(sent(said[:3], EPOCH + 1, again=True)))
            assert told(store) == ["error", "cleared", "error"]
            store.write(batch_of(sent(said[3:], EPOCH + 2, again=False)))
            store.write(batch_of(sent(said[1:], EPOCH + 3, again=True)))
            assert told(store) == ["error", "cleared", "error", "cleared"]


def test_a_device_that_words_alarms_without_end_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_words, "MOST_HELD", 10)
    with duckdb_store() as store:
        for seq in range(1, 31):
            store.write(
                batch_of([alarm(stamp("a", "boot", seq, 1.0, received=EPOCH + seq), f"alarm-{seq}", "error")])
            )
            assert len(store._writing.alarms) <= 11
        assert told(store) == ["error"] * 30
