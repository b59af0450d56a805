"""What a plan is short of a goal."""

from __future__ import annotations

import pytest

from host_tools.mixed_precision import Goal
from host_tools.stages.yardstick import Worth


@pytest.mark.parametrize(
    ("sqnr", "same", "missing"),
    [
        (20.0, 1.0, ""),
        (17.5, 1.0, "2.5 dB"),
        (20.0, 0.9, "9.0% of the top classes"),
        (17.5, 0.9, "2.5 dB and 9.0% of the top classes"),
        (None, None, ""),
        (17.5, None, "2.5 dB"),
    ],
)
def test_what_is_missing_is_named_by_limit(sqnr: float | None, same: float | None, missing: str) -> None:
    goal = Goal(min_sqnr_db=20.0, min_agreement=0.99)
    worth = Worth(sqnr_db=sqnr, same_top_class=same)
    assert goal.missing(worth) == missing
    assert goal.is_reached(worth) is (missing == "")


def test_without_limits_nothing_is_missing() -> None:
    assert Goal().missing(Worth(sqnr_db=-200.0, same_top_class=0.0)) == ""
