"""Work on samples side by side, results in the samples' order, and no more than a handful of samples in memory."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from concurrent.futures import Future

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def side_by_side(
    items: Iterable[_Item], work: Callable[[int, _Item], _Result], *, workers: int
) -> Generator[tuple[_Item, _Result], None, None]:
    """Yield (item, ``work(index, item)``) in the items' order.

    Items are read on the thread that iterates, because they may come from a user's own code; so the next ones are read while the
    workers are busy. Close the generator when leaving it early.

    Args:
        items: Read one at a time, at most ``workers`` + 1 ahead of what was yielded.
        work: Called on a worker's thread. What it raises is raised where its result would have been yielded.
        workers: Threads, at least 1.
    """
    waiting: deque[tuple[_Item, Future[_Result]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="edgewright-observe")
    try:
        for index, item in enumerate(items):
            waiting.append((item, pool.submit(work, index, item)))
            if len(waiting) > workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
