"""Findings that are asked for beside the rounds: the last answer at once, and an error where none comes."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest
from rollout_world import RELEASE, draft, plan

from host_tools.errors import StoreError
from host_tools.fleet.records.gates import Gate, GateFinding
from host_tools.fleet.rollout.asked_beside import AskedBeside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.records.rollouts import Rollout

LATENCY = Gate(measure="latency_p50", worst=0.1)
ROLLOUT = draft(plan(gates=(LATENCY,)))
PASSED = (GateFinding(gate=LATENCY, outcome="passed", text="fast."),)
FAILED = (GateFinding(gate=LATENCY, outcome="failed", text="slow."),)


class Telemetry:
    """Answers each question when it is told to, with what it is told."""

    def __init__(self) -> None:
        self.asked, self.told = threading.Semaphore(0), threading.Semaphore(0)
        self.answer: Sequence[GateFinding] | Exception = ()

    def __call__(self, rollout: Rollout, release: Release, now_seconds: float) -> Sequence[GateFinding]:
        assert (rollout, release, now_seconds) == (ROLLOUT, RELEASE, 7.0)
        self.asked.release()
        assert self.told.acquire(timeout=60)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Rounds:
    """A server's rounds: each asks, and a clock of their own says when."""

    def __init__(self) -> None:
        self.now, self.telemetry = 0.0, Telemetry()
        self.beside = AskedBeside(self.telemetry, longest_seconds=30.0, seconds=lambda: self.now)

    def look(self) -> Sequence[GateFinding]:
        return self.beside(ROLLOUT, RELEASE, 7.0)

    def answer(self, answer: Sequence[GateFinding] | Exception) -> None:
        """Answer the question that is being asked, and wait until the next one is: then the answer is known."""
        self.telemetry.answer = answer
        self.telemetry.told.release()
        assert self.telemetry.asked.acquire(timeout=60)


@pytest.fixture
def rounds() -> Iterator[Rounds]:
    made = Rounds()
    made.look()
    assert made.telemetry.asked.acquire(timeout=60)
    yield made
    for _ in range(10):
        made.telemetry.told.release()
    assert made.beside.close()


def test_a_round_is_told_what_was_found_last_and_waits_for_nothing(rounds: Rounds) -> None:
    (first,) = rounds.look()
    assert (first.gate, first.outcome) == (LATENCY, "unavailable")
    assert first.text == "median latency: telemetry cannot be asked: it has not answered yet."
    rounds.answer(PASSED)
    assert rounds.look() == PASSED
    rounds.answer(FAILED)
    assert rounds.look() == FAILED


def test_what_hangs_too_long_cannot_be_asked_until_it_answers(rounds: Rounds) -> None:
    rounds.now = 31.0  # the very first question hangs
    with pytest.raises(StoreError, match="has not answered within 30 s"):
        rounds.look()
    rounds.answer(PASSED)
    rounds.now = 61.0
    assert rounds.look() == PASSED
    rounds.now = 62.0
    with pytest.raises(StoreError, match="has not answered within 30 s") as caught:
        rounds.look()
    assert "orders are carried out" in caught.value.hint
    rounds.answer(FAILED)
    assert rounds.look() == FAILED


def test_what_fails_says_why_and_is_asked_again(rounds: Rounds, caplog: pytest.LogCaptureFixture) -> None:
    rounds.look()
    rounds.answer(StoreError("http://page: does not answer.", hint="Is it running?"))
    with pytest.raises(StoreError, match="does not answer") as caught:
        rounds.look()
    assert caught.value.hint == "Is it running?"
    with caplog.at_level(logging.ERROR, "edgewright.fleet"):
        rounds.answer(ZeroDivisionError("of ours"))
    with pytest.raises(StoreError, match="a defect of the server"):
        rounds.look()
    assert "of ours" in caplog.text
    rounds.answer(PASSED)
    assert rounds.look() == PASSED


def test_what_still_hangs_at_the_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host_tools.fleet.rollout.asked_beside._END_SECONDS", 0.0)
    rounds = Rounds()
    rounds.look()
    assert rounds.telemetry.asked.acquire(timeout=60)
    assert rounds.beside.close() is False
    monkeypatch.setattr("host_tools.fleet.rollout.asked_beside._END_SECONDS", 60.0)
    rounds.telemetry.told.release()
    assert rounds.beside.close() is True
