"""How the commands end on Ctrl-C and SIGTERM: with one line, and 128 plus the signal's number as exit status.

Imports nothing that takes time: `edgewright` and `edgewright-agent` do this first.
"""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_heard: list[signal.Signals] = []


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends in order what Ctrl-C ends in order."""


def end_at_once(command: str) -> None:
    """Until `end_in_order` let a signal end the process where it is.

    There is nothing to put in order while modules are loaded, and an exception might end in one that takes it for a failure of its own.

    Args:
        command: Who says so.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        how = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
        os.write(2, f"{command}: {how} before it began.\n".encode())
        os._exit(128 + number)

    _hear(leave)


def end_at_once_when_asked_again(command: str) -> None:
    """From now on let the first signal raise, as `end_in_order` has it, and the next end the process where it is.

    For servers, whose end in order may take its time; nothing where `end_at_once` was not asked for.

    Args:
        command: Who says so.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        os.write(2, f"{command}: asked to end again: ended at once.\n".encode())
        os._exit(128 + number)

    def begin_to_end(number: int, frame: FrameType | None) -> None:
        for one in _heard:
            signal.signal(one, leave)
        _heard.clear()  # so it stays, whatever is asked for from here on
        _raise(number, frame)

    for number in _heard:
        signal.signal(number, begin_to_end)


def end_in_order() -> None:
    """From now on let a signal raise `KeyboardInterrupt` or `Terminated`; nothing where `end_at_once` was not asked for."""
    for number in _heard:
        signal.signal(number, _raise)


def end_silently() -> None:
    """From now on let a signal do what it does to any process: all is done, and only the interpreter has still to end."""
    for number in _heard:
        signal.signal(number, signal.SIG_DFL)


def status_of(end: KeyboardInterrupt) -> int:
    """Return the exit status after a signal: 130 or 143."""
    return 128 + (signal.SIGTERM if isinstance(end, Terminated) else signal.SIGINT)


def _hear(handler: Callable[[int, FrameType | None], None]) -> None:
    _heard.clear()
    for number in _SIGNALS:
        if (
            signal.getsignal(number) is not signal.SIG_IGN
        ):  # as a shell leaves SIGINT for what runs in the background
            _heard.append(number)
            signal.signal(number, handler)


def _raise(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
