"""Calls that are given up after a while, and what is refused until they return."""

from __future__ import annotations

import threading

import pytest

from device_agent.sources.bounded_call import BoundedCall, TooSlowError


def test_what_a_call_gives_or_raises_comes_back() -> None:
    bounded = BoundedCall(10.0, name="t")
    assert bounded(lambda: 3) == 3
    assert bounded(threading.current_thread) is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        bounded(lambda: 1 // 0)
    with pytest.raises(KeyboardInterrupt):
        bounded(_interrupted)


def test_a_call_that_does_not_return_is_given_up_and_there_is_never_a_second_beside_it() -> None:
    bounded, may_end, began = BoundedCall(0.05, name="t"), threading.Event(), []

    def slow() -> None:
        began.append(threading.current_thread())
        may_end.wait(30.0)

    with pytest.raises(TooSlowError, match=r"^takes longer than 0\.05 s$"):
        bounded(slow)
    for _ in range(3):
        with pytest.raises(TooSlowError, match=r"^is still at an earlier one$"):
            bounded(slow)
    assert len(began) == 1
    may_end.set()
    began[0].join(30.0)
    assert bounded(lambda: "again") == "again"


def _interrupted() -> None:
    raise KeyboardInterrupt
