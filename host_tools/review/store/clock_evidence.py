"""What is known of the clocks of many runs, and when their messages were made: `BootClock` in columns.

The rules are those of `host_tools.review.boot_clock`; what differs is that the order in which messages come does not
matter here, for batches of several workers, replays and late data come in any. So "first" and "last" go by the time of
receipt, and deliveries at one pace are those within the two to three seconds of start after the quickest, kept as
three bands of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

Matrix = NDArray[np.float64]

_TOLERANCE_SECONDS = 5.0
_LIVE_SECONDS = 8.0
_BANDS = 3
_START, _AHEAD, _FLOOR = 0, 1, 2
_LAST = slice(3, 6)
"""Time of receipt, number, and whether unsynced, of the message received last."""
_SYNCED = slice(6, 9)
"""Time of receipt, number and start by its clock, of the synced message received last."""
_BAND_WIDTH = 8
"""Of a band: lowest and highest uptime; received, number and error of its first message, and of its last."""
WIDTH = 9 + _BANDS * _BAND_WIDTH
NOTHING: Matrix = np.array(
    [np.inf, -np.inf, 0.0, *(-np.inf, -np.inf, 0.0) * 2]
    + [np.inf, -np.inf, np.inf, np.inf, 0.0, -np.inf, -np.inf, 0.0] * _BANDS
)
"""State of a run that was not heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Messages as they came, one an element.

    Attributes:
        place: int64: row of its run in the states.
        seq: int64.
        time: float64.
        uptime: float64.
        received: float64.
        clock: int64: 0 synced, 1 unsynced, 2 floor.
    """

    place: NDArray[np.int64]
    seq: NDArray[np.int64]
    time: NDArray[np.float64]
    uptime: NDArray[np.float64]
    received: NDArray[np.float64]
    clock: NDArray[np.int64]


def hear(states: Matrix, heard: Heard) -> Matrix:
    """Return the states with the messages taken in; each run has a row of `WIDTH` numbers, `NOTHING` at first."""
    after: Matrix = states.copy()
    if not len(heard.place):
        return after
    start = heard.received - heard.uptime
    error = heard.time - heard.received
    np.minimum.at(after[:, _START], heard.place, start)
    np.maximum.at(after[:, _AHEAD], heard.place, error)
    np.maximum.at(after[:, _FLOOR], heard.place, (heard.clock == 2).astype(np.float64))
    _rebase(after, states)
    order = np.lexsort((heard.seq, heard.received, heard.place))
    seq = heard.seq.astype(np.float64)
    unsynced = (heard.clock != 0).astype(np.float64)
    _take_last(after[:, _LAST], heard.place, (heard.received, seq, unsynced), order)
    synced_start = heard.time - heard.uptime
    is_synced = heard.clock[order] == 0
    _take_last(after[:, _SYNCED], heard.place, (heard.received, seq, synced_start), order[is_synced])
    band = np.floor(start) - np.floor(after[heard.place, _START])
    for number in range(_BANDS):
        chosen = order[band[order] == number]
        kept = after[:, 9 + number * _BAND_WIDTH : 9 + (number + 1) * _BAND_WIDTH]
        np.minimum.at(kept[:, 0], heard.place[chosen], heard.uptime[chosen])
        np.maximum.at(kept[:, 1], heard.place[chosen], heard.uptime[chosen])
        _take_first(kept[:, 2:5], heard.place, (heard.received, seq, error), chosen)
        _take_last(kept[:, 5:8], heard.place, (heard.received, seq, error), chosen)
    return after


def is_live(states: Matrix) -> NDArray[np.bool_]:
    """Return whether messages came at the pace of their making."""
    bands = _bands(states)
    with np.errstate(invalid="ignore"):
        lasted = bands[:, :, 1].max(axis=1) - bands[:, :, 0].min(axis=1)
    return np.asarray(lasted >= _LIVE_SECONDS)


def errors(states: Matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the clock's error in seconds in the first and in the last message that was delivered at once."""
    bands = _bands(states)
    rows = np.arange(len(states))
    first = _extreme_band(bands[:, :, 2], bands[:, :, 3], np.less)
    last = _extreme_band(bands[:, :, 5], bands[:, :, 6], np.greater)
    return bands[rows, first, 4], bands[rows, last, 7]


def is_wrong(states: Matrix) -> NDArray[np.bool_]:
    """Return whether a clock was certainly wrong at some time of its run."""
    first, last = errors(states)
    behind = is_live(states) & (np.minimum(first, last) < -_TOLERANCE_SECONDS)
    return np.asarray(is_floor(states) | behind | (states[:, _AHEAD] > _TOLERANCE_SECONDS))


def starts(states: Matrix) -> NDArray[np.float64]:
    """Return the Unix time from which uptime counts where the clock is wrong."""
    vouched = ~is_live(states) & np.isfinite(states[:, _SYNCED.start])
    return np.where(vouched, np.minimum(states[:, _START], states[:, _SYNCED.stop - 1]), states[:, _START])


def is_unsynced(states: Matrix) -> NDArray[np.bool_]:
    """Return whether the message received last said that no time service sets the clock."""
    return np.asarray(states[:, _LAST.stop - 1] > 0)


def is_floor(states: Matrix) -> NDArray[np.bool_]:
    """Return whether a message said that the clock is known to be wrong."""
    return np.asarray(states[:, _FLOOR] > 0)


def most_ahead(states: Matrix) -> NDArray[np.float64]:
    """Return by how many seconds the clock was ahead of the time of receipt at most."""
    return states[:, _AHEAD]


def moments(
    wrong: NDArray[np.bool_],
    start: NDArray[np.float64],
    time: NDArray[np.float64],
    uptime: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return when messages were made, Unix seconds, from what is known of their runs (one element each)."""
    return np.where(wrong, start + uptime, time)


def _bands(states: Matrix) -> Matrix:
    return states[:, 9:].reshape(len(states), _BANDS, _BAND_WIDTH)


def _rebase(after: Matrix, before: Matrix) -> None:
    """Shift the bands where the quickest delivery is quicker by a second or more than all before."""
    known = np.isfinite(before[:, _START])
    shift = np.zeros(len(before))
    shift[known] = np.floor(before[known, _START]) - np.floor(after[known, _START])
    old, new = _bands(before), _bands(after)
    empty = NOTHING[9 : 9 + _BAND_WIDTH]
    for number in range(_BANDS):
        source = number - shift
        moved = shift > 0
        there = moved & (source >= 0)
        new[moved, number] = empty
        new[there, number] = old[there, source[there].astype(np.int64)]


def _take_last(
    kept: Matrix, place: NDArray[np.int64], told: tuple[NDArray[np.float64], ...], order: NDArray[np.int64]
) -> None:
    """Keep what the message received last tells: of those in ``order``, and of what is kept already."""
    at = place[order]
    ends = order[np.concatenate((at[1:] != at[:-1], [True]))[: len(at)]]
    _take(kept, place, told, ends, np.greater)


def _take_first(
    kept: Matrix, place: NDArray[np.int64], told: tuple[NDArray[np.float64], ...], order: NDArray[np.int64]
) -> None:
    at = place[order]
    begins = order[np.concatenate(([True], at[1:] != at[:-1]))[: len(at)]]
    _take(kept, place, told, begins, np.less)


def _take(
    kept: Matrix,
    place: NDArray[np.int64],
    told: tuple[NDArray[np.float64], ...],
    chosen: NDArray[np.int64],
    beats: Callable[..., NDArray[np.bool_]],
) -> None:
    rows = place[chosen]
    received, seq = told[0][chosen], told[1][chosen]
    better = beats(received, kept[rows, 0]) | ((received == kept[rows, 0]) & beats(seq, kept[rows, 1]))
    kept[rows[better]] = np.stack(told, axis=1)[chosen[better]]


def _extreme_band(
    received: Matrix, seq: Matrix, beats: Callable[..., NDArray[np.bool_]]
) -> NDArray[np.int64]:
    best = np.zeros(len(received), dtype=np.int64)
    rows = np.arange(len(received))
    for number in range(1, _BANDS):
        than = (received[rows, best], seq[rows, best])
        better = beats(received[:, number], than[0]) | (
            (received[:, number] == than[0]) & beats(seq[:, number], than[1])
        )
        best[better] = number
    return best
