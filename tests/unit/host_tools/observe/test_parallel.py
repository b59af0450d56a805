"""`side_by_side`: in order, not far ahead, and nothing left running."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from host_tools.observe.parallel import side_by_side


def test_results_come_in_the_items_order_whoever_is_done_first() -> None:
    def work(index: int, item: int) -> int:
        time.sleep(0.02 if index % 3 == 0 else 0.0)
        return item * item

    assert list(side_by_side(range(20), work, workers=4)) == [(item, item * item) for item in range(20)]


@pytest.mark.parametrize("workers", [1, 3])
def test_reading_stays_close_to_what_was_handed_out(workers: int) -> None:
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for item in range(50):
            read += 1
            yield item

    for handed_out, _ in enumerate(side_by_side(items(), lambda index, _: index, workers=workers), start=1):
        assert read <= handed_out + workers + 1


def test_work_runs_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=120)
    assert len(list(side_by_side(range(4), lambda *_: both.wait(), workers=2))) == 4


def test_items_are_read_on_the_thread_that_iterates() -> None:
    seen = set()

    def items() -> Iterator[int]:
        for item in range(5):
            seen.add(threading.get_ident())
            yield item

    list(side_by_side(items(), lambda *_: None, workers=2))
    assert seen == {threading.get_ident()}


def test_what_work_raises_is_raised_in_its_place() -> None:
    def work(_: int, item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    taken = []
    with pytest.raises(ValueError, match="three"):
        taken.extend(item for item, _ in side_by_side(range(9), work, workers=2))
    assert not [one for one in threading.enumerate() if "edgewright" in one.name]


def test_closing_early_leaves_no_thread() -> None:
    with closing(side_by_side(range(1000), lambda *_: time.sleep(0.001), workers=3)) as results:
        next(results)
    assert not [one for one in threading.enumerate() if one.name.startswith("edgewright-observe")]
