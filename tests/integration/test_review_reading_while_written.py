"""Questions of the page while somebody writes: each answer is of one moment."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from host_tools.errors import StoreError
from host_tools.review.serve.directory import Directory
from host_tools.review.serve.looked import Looked
from host_tools.review.serve.ranking import ranking
from host_tools.review.serve.span import named_span
from host_tools.review.serve.timeline import timeline_of
from host_tools.review.serve.views import fleet
from host_tools.review.store.opening import open_store
from tests.integration import review_fleet
from tests.integration.review_fleet import START
from tests.integration.support import wait_until

if TYPE_CHECKING:
    from pathlib import Path

WRITES = 20


def test_a_store_is_closed_when_the_question_under_way_is_answered(tmp_path: Path) -> None:
    """As when the page is ended while somebody asks: DuckDB refuses to close what is in use, and the process ended by a signal."""
    store = open_store(tmp_path / "fleet.duckdb")
    asked, go_on = threading.Event(), threading.Event()

    def ask() -> None:
        with store._asked():
            asked.set()
            assert go_on.wait(60)
            assert store.devices() == ()

    asking, closing = threading.Thread(target=ask), threading.Thread(target=store.close)
    asking.start()
    assert asked.wait(60)
    closing.start()
    closing.join(0.5)
    assert closing.is_alive()
    go_on.set()
    asking.join()
    closing.join()
    with pytest.raises(StoreError, match=r"fleet\.duckdb: is closed"):
        store.devices()


def test_answers_are_of_one_moment(tmp_path: Path) -> None:
    store = open_store(tmp_path / "fleet.duckdb")
    failures: list[Exception] = []
    seen: list[int] = []
    done = threading.Event()

    def ask() -> None:
        directory = Directory(store, keep_seconds=0.0)
        try:
            while not done.is_set():
                roll = directory.roll()
                looked = Looked(span=named_span("24h", newest=roll.newest))
                answer = fleet(store, roll, looked)
                seen.append(answer.total.inferences)
                assert sum(row.measures.inferences for row in answer.artifacts) == answer.total.inferences
                timeline_of(store, roll, looked)
                ranking(store, roll, looked)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
            failures.append(error)

    readers = [threading.Thread(target=ask) for _ in range(2)]
    for reader in readers:
        reader.start()
    for write in range(WRITES):
        if write in (1, WRITES - 1):
            before = len(seen)
            wait_until(lambda before=before: len(seen) > before or failures, what="somebody has asked")  # type: ignore[misc]
        for batch in review_fleet.batches(
            devices=3, start=START + 60 * write, windows=1, boot=f"boot-{write}"
        ):
            store.write(batch)
        store.roll_up()
    done.set()
    for reader in readers:
        reader.join()
    store.close()
    assert failures == []
    assert len(set(seen)) > 1, "nothing was asked while it was written"
