"""What a reader of a run's times must know, in the words of `BootClock`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.review.boot_clock import BootClock
from host_tools.review.store import clock_evidence

if TYPE_CHECKING:
    from host_tools.review.store.clock_evidence import Matrix


def clock_note(state: Matrix) -> str:
    """Return a sentence for one run (one row of a state); empty when there is nothing to say."""
    first, last = clock_evidence.errors(state)
    known = BootClock(
        _first_error=float(first[0]),
        _last_error=float(last[0]),
        _most_ahead=float(clock_evidence.most_ahead(state)[0]),
        _is_live=bool(clock_evidence.is_live(state)[0]),
        _is_floor=bool(clock_evidence.is_floor(state)[0]),
        _is_unsynced=bool(clock_evidence.is_unsynced(state)[0]),
    )
    return known.note
