"""How long a run of kills waits: as long as anything moves, however slowly."""

from __future__ import annotations

import pytest

from benchmarks.review.kills import Patience


def test_what_moves_however_slowly_is_waited_for() -> None:
    patience = Patience(seconds=60.0)
    for acknowledged in range(100):
        patience.look(acknowledged, what="all is acknowledged", now=59.0 * acknowledged)


def test_what_stands_still_for_a_minute_is_given_up_and_told() -> None:
    patience = Patience(seconds=60.0)
    patience.look(7, what="all is acknowledged", now=1000.0)
    patience.look(8, what="all is acknowledged", now=1050.0)
    patience.look(8, what="all is acknowledged", now=1110.0)
    with pytest.raises(TimeoutError, match="nothing moved for 60 s, waiting until all is acknowledged: 8"):
        patience.look(8, what="all is acknowledged", now=1110.1)
