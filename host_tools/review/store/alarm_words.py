"""Which words on alarms are new. An alarm that is raised has a number; the message that it is over is empty, and has none.

What such a message means its place tells: a broker brings what it sends again in the order in which it came at first. So
the message that an alarm is over was there before when what follows the raise before it, or stands before the raise
after it, is that the alarm is over. With several workers the order is each worker's own, and this is as good as it gets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.store.engine import one_of, one_of_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.arrivals import Arrivals
    from host_tools.review.store.engine import Engine

Alarm = tuple[int, str]
"""Device's key and the alarm's name."""
Number = tuple[int, int]
"""Key of the run and number of the message; `OVER` where it has none."""
OVER: Number = (-1, -1)
SENT_AGAIN = -2
"""In place of a number, of a message that the broker may have sent before."""
MOST_HELD = 100_000
"""Alarms in memory, some 200 bytes each."""
MOST_WORDS = 1_000
"""On one alarm that are looked at, the latest: what is older is not sent again."""
_SAME_SECONDS = 2e-6
"""So far apart are the times of receipt of one message that a worker sent to two writers, at most."""


class AlarmWords:
    """What was heard of alarms, word by word. Only of those that a batch is about."""

    def __init__(self) -> None:
        self._latest: dict[Alarm, Number] = {}

    def __len__(self) -> int:
        return len(self._latest)

    def forget(self) -> None:
        """Forget what was not committed."""
        self._latest.clear()

    def are_new(self, engine: Engine, one: Arrivals) -> NDArray[np.bool_]:
        """Return which messages of the table `alarm` are new, and tell apart the times of those that came at once."""
        if len(self._latest) > MOST_HELD:
            self.forget()  # as a writer that begins anew: devices word their alarms, and may word any number of them
        known = _known(engine, one)
        places: dict[Alarm, list[int]] = {}
        names = one.rows.column("name").to_pylist()
        for place in np.argsort(one.received, kind="stable").tolist():
            places.setdefault((int(one.device[place]), names[place]), []).append(place)
        is_new = np.zeros(len(one.seq), dtype=bool)
        for alarm, own in places.items():
            self._take(alarm, known.get(alarm, []), one, own, is_new)
        return is_new

    def _take(
        self,
        alarm: Alarm,
        words: list[tuple[Number, float]],
        one: Arrivals,
        places: Sequence[int],
        is_new: NDArray[np.bool_],
    ) -> None:
        """Go through the messages of an alarm in their order."""
        numbers = [number for number, _ in words]
        over = np.array([received for number, received in words if number == OVER])
        latest = self._latest.get(alarm, OVER)
        at = numbers.index(latest) if latest != OVER and latest in numbers else len(numbers) - 1
        for turn, place in enumerate(places):
            number = _number(one, place)
            if number == OVER:
                later = (_number(one, other) for other in places[turn + 1 :])
                following = next((numbers.index(raised) for raised in later if raised in numbers), 0)
                was_sent = len(over) and np.abs(over - one.received[place]).min() <= _SAME_SECONDS
                if was_sent or numbers[-1:] == [OVER]:
                    continue
                if one.seq[place] == SENT_AGAIN and _is_over(numbers, at, following):
                    continue
            elif number in numbers:
                at = numbers.index(number)
                continue
            is_new[place] = True
            if words:
                one.received[place] = max(one.received[place], np.nextafter(words[-1][1], np.inf))
            numbers.append(number)
            words.append((number, float(one.received[place])))
            at = len(numbers) - 1
        raised = [number for number in numbers[: at + 1] if number != OVER]
        if raised:
            self._latest[alarm] = raised[-1]


def _is_over(numbers: Sequence[Number], at: int, following: int) -> bool:
    """Return whether the alarm is over after the word at a place, or before the raise that follows."""
    return OVER in numbers[at : at + 2] or (following > 0 and numbers[following - 1] == OVER)


def _number(one: Arrivals, place: int) -> Number:
    return OVER if one.boot[place] < 0 else (int(one.boot[place]), int(one.seq[place]))


def _known(engine: Engine, one: Arrivals) -> dict[Alarm, list[tuple[Number, float]]]:
    """Return the latest words that are there on these alarms, in the order in which they came."""
    names = one_of_texts('"name"', one.rows.column("name").to_pylist())
    rows = engine.select(
        'SELECT device, "name", boot, seq, received FROM (SELECT *, row_number() OVER '
        '(PARTITION BY device, "name" ORDER BY received DESC, boot) AS back FROM alarm '
        f"WHERE {one_of('device', one.device)} AND {names}) AS word WHERE back <= {MOST_WORDS} "
        "ORDER BY received, boot DESC"
    )
    known: dict[Alarm, list[tuple[Number, float]]] = {}
    for row in rows.to_pylist():
        number = OVER if row["boot"] < 0 else (row["boot"], row["seq"])
        known.setdefault((row["device"], row["name"]), []).append((number, row["received"]))
    return known
