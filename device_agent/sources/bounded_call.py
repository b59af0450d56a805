"""`BoundedCall`: calls of a library that may take for ever, each waited for no longer than it may take."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")


class TooSlowError(Exception):
    """A call did not return in time, or the one before it has not returned yet."""


class _Outcome(Generic[_Result]):
    """What a call gave, or what it raised."""

    result: _Result
    error: BaseException | None = None


class BoundedCall:
    """Makes calls on threads of their own, so that whoever asked can give up waiting.

    Nothing ends a call that is inside a library: its thread goes on, on a core of its own, until it returns or the process ends. Till then
    every further call is refused at once, so that there is never more than one such thread. It helps only with calls that release the
    interpreter's lock.

    Args:
        seconds: How long a call may take.
        name: Of the threads.
    """

    def __init__(self, seconds: float, *, name: str) -> None:
        self._seconds = seconds
        self._name = name
        self._lost: threading.Thread | None = None

    def __call__(self, work: Callable[[], _Result]) -> _Result:
        """Return what ``work`` returns, or raise what it raises.

        Raises:
            TooSlowError: It did not return in time, or an earlier one has not returned yet.
        """
        if self._lost is not None and self._lost.is_alive():
            raise TooSlowError("is still at an earlier one")
        outcome: _Outcome[_Result] = _Outcome()
        thread = threading.Thread(target=_take_down, args=(work, outcome), name=self._name, daemon=True)
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            self._lost = thread
            raise TooSlowError(f"takes longer than {self._seconds:g} s")
        if outcome.error is not None:
            raise outcome.error
        return outcome.result


def _take_down(work: Callable[[], _Result], outcome: _Outcome[_Result]) -> None:
    try:
        outcome.result = work()
    except BaseException as error:  # noqa: BLE001  whatever it is, it belongs to the thread that waits
        outcome.error = error
