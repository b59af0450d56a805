"""`RolloutRounds`: one rollout after another is brought as far as it can be brought now."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EdgewrightError
from host_tools.fleet.carrying_out import carry_out, counts_of, make_jobs
from host_tools.fleet.rollout.jobs import expire
from host_tools.fleet.rollout.machine import advance
from host_tools.fleet.rollout.stage_end import unavailable
from host_tools.fleet.rollout.steps import OfferTo
from host_tools.fleet.rollout.wanted import last_begun
from host_tools.fleet.store.rollouts import OCCUPYING
from host_tools.fleet.whereabouts import CLOCKS_APART_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from host_tools.fleet.outside import Findings
    from host_tools.fleet.records.gates import GateFinding
    from host_tools.fleet.records.jobs import JobCounts
    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.records.rollouts import Rollout
    from host_tools.fleet.store.fleet_store import FleetBook, FleetStore

_LOG: Final = logging.getLogger("edgewright.fleet")
_LATE_AT_ONCE: Final = 1_000


class RolloutRounds:
    """What is remembered of rollouts from round to round, so that no round does all of the last one again.

    Args:
        store: Keeps everything.
        findings: Of the gates.
        wake: Called when the next round has something to do.
    """

    def __init__(self, store: FleetStore, findings: Findings, *, wake: Callable[[], None]) -> None:
        self._store = store
        self._findings = findings
        self._wake = wake
        self._placed: dict[str, float] = {}
        self._told: dict[str, Sequence[JobCounts]] = {}
        self._unlooked: dict[str, str] = {}

    def go_on(self, seen: Rollout, release: Release) -> None:
        """End what is over, begin what may begin, and store what follows.

        Args:
            seen: The rollout, as it was read.
            release: What it brings.

        Raises:
            StoreError: The store cannot be read, or nothing of it could be stored.
        """
        # What stopped a rollout stays told while it is taken back.
        gated = bool(seen.plan.gates) and last_begun(seen) is not None and seen.state != "rolling_back"
        findings = self._look(seen, release) if gated else ()
        with self._store.writing() as book:
            rollout = book.rollouts.get(seen.plan.id)
            if rollout.state not in OCCUPYING:
                return
            has_begun = self._bring_up_to_date(book, rollout, release)
            counts = counts_of(book, rollout)
            if gated and tuple(findings) != book.rollouts.findings(rollout.plan.id):
                book.rollouts.find_out(rollout.plan.id, findings)
            following = advance(rollout, counts, findings, book.now_seconds)
            has_begun = has_begun or any(isinstance(step, OfferTo) for step in following.steps)
            if following.rollout != rollout or following.steps or following.said:
                carry_out(book, rollout, following, actor="server")
                self._wake()
            if counts != self._told.get(rollout.plan.id):
                _tell_counts(book, rollout, counts)
        # Only what was stored is remembered.
        self._told[rollout.plan.id] = counts
        if has_begun:
            self._placed[rollout.plan.id] = book.now_seconds - CLOCKS_APART_SECONDS

    def _look(self, rollout: Rollout, release: Release) -> Sequence[GateFinding]:
        """Ask what the gates find. Telemetry that is away lets no stage pass, and keeps no job from its end and no stop from its time."""
        try:
            found = self._findings(rollout, release, self._store.wall_seconds())
        except EdgewrightError as error:
            why = str(error.args[0])[:500]
            if self._unlooked.get(rollout.plan.id) != why:  # once, not every round
                _LOG.warning("the gates of rollout %s cannot be looked at: %s", rollout.plan.id, error)
            self._unlooked[rollout.plan.id] = why
            return unavailable(rollout.plan.gates, why)
        self._unlooked.pop(rollout.plan.id, None)
        return found

    def _bring_up_to_date(self, book: FleetBook, rollout: Rollout, release: Release) -> bool:
        """End the jobs whose time is over, and give new members theirs; return whether members were looked at."""
        has_begun = rollout.state != "rolling_back" and last_begun(rollout) is not None
        if has_begun:
            since = self._placed.get(rollout.plan.id, 0.0)
            make_jobs(book, rollout, release, placed_since_seconds=since)
        while late := book.jobs.late(rollout.plan, book.now_seconds, limit=_LATE_AT_ONCE):
            ended = [
                expire(
                    one.job,
                    rollout.plan,
                    running=one.running,
                    last_seen_seconds=one.last_seen_seconds,
                    now_seconds=book.now_seconds,
                )
                for one in late
            ]
            book.jobs.put(ended)
            if any(job == one.job for job, one in zip(ended, late, strict=True)):
                break  # the last bit of a second: it is over in the next round
        return has_begun


def _tell_counts(book: FleetBook, rollout: Rollout, counts: Sequence[JobCounts]) -> None:
    totals = {
        what: sum(getattr(one, what) for one in counts)
        for what in ("total", "open", "absent", "succeeded", "failed", "canceled")
    }
    book.changes.tell(book.now_seconds, "jobs", f"rollout/{rollout.plan.id}", totals)
