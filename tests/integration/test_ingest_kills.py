"""Everything that ingest is made of, and the broker, killed at random under load: each message is in the store once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.review.kills import kill_everything

if TYPE_CHECKING:
    from pathlib import Path

# What it waits for has limits of its own; on a busy machine many programs are long in coming.
pytestmark = pytest.mark.timeout(900)


@pytest.mark.slow
def test_twenty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    outcome = kill_everything(
        tmp_path, kills=20, rate=300.0, workers=2, seed=11, resend_seconds=120.0, pause=0.6
    )
    assert sum(outcome.kills.values()) == 20
    assert set(outcome.kills) >= {"worker", "writer", "broker"}
    assert outcome.sent > 1000
    assert (outcome.missing, outcome.doubled) == (0, 0), outcome
