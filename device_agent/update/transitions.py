"""How the durable state changes: pure functions, one a decision of `machine`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from device_agent.update.state import MAX_NOTICES, MAX_REJECTIONS, Candidate, Probation, Rejection

if TYPE_CHECKING:
    from device_agent.update.occurrences import Offered
    from device_agent.update.state import Notice, Release, UpdateState

_LONGEST_REASON = 1_000
_FLOOR_STEP_SECONDS = 3_600.0
"""The time floor is raised in such steps, so that a check that finds nothing new writes nothing."""


def delivered(state: UpdateState, release: Release) -> UpdateState:
    """The delivered artifact is what runs and what is known to be good."""
    return replace(state, active=release, known_good=release, probation=None)


def undelivered(state: UpdateState) -> UpdateState:
    """Nothing in the store can be used: the next start takes the delivered artifact again. The floor stays."""
    return replace(state, active=None, known_good=None, candidate=None, probation=None)


def start_counted(state: UpdateState, starts: int) -> UpdateState:
    """One start more, or one less, of a release on probation."""
    if state.probation is None:
        return state
    attempts = max(0, state.probation.attempts + starts)
    return replace(state, probation=replace(state.probation, attempts=attempts))


def time_seen(state: UpdateState, wall_seconds: float) -> UpdateState:
    """It is not before ``wall_seconds``."""
    if wall_seconds < state.time_floor_seconds + _FLOOR_STEP_SECONDS:
        return state
    return replace(state, time_floor_seconds=wall_seconds)


def followed(state: UpdateState, *, serial: int, digest: str, is_in_trial: bool) -> UpdateState:
    """A desired state was read, and this is what it wants here."""
    return replace(state, desired_serial=serial, desired_digest=digest, is_in_trial=is_in_trial)


def withdrawn(state: UpdateState) -> UpdateState:
    """The candidate is not wanted any more; it has not failed."""
    return replace(state, candidate=None)


def offered(state: UpdateState, offer: Offered) -> UpdateState:
    """A release is on its way in; what was counted of the same one before still counts."""
    before = state.candidate
    same = before is not None and before.release == offer.release and before.serial == offer.since
    candidate = Candidate(
        release=offer.release,
        size_bytes=offer.size_bytes,
        path=offer.path,
        serial=offer.since,
        trials=before.trials if before is not None and same else 0,
        mismatches=before.mismatches if before is not None and same else 0,
    )
    return replace(state, candidate=candidate)


def trial_counted(state: UpdateState) -> UpdateState:
    """One trial more of the candidate."""
    if state.candidate is None:
        return state
    return replace(state, candidate=replace(state.candidate, trials=state.candidate.trials + 1))


def mismatch_counted(state: UpdateState) -> UpdateState:
    """The candidate came once more with wrong bytes."""
    if state.candidate is None:
        return state
    return replace(state, candidate=replace(state.candidate, mismatches=state.candidate.mismatches + 1))


def rejected(state: UpdateState, fault: str) -> UpdateState:
    """The candidate is not wanted any more."""
    candidate = state.candidate
    if candidate is None:
        return state
    return replace(_remembered(state, candidate.release.digest, candidate.serial, fault), candidate=None)


def activated(state: UpdateState, *, baseline_p95_seconds: float | None, baseline_hot: bool) -> UpdateState:
    """The candidate is what the next start runs, on probation."""
    candidate = state.candidate
    if candidate is None:
        return state
    probation = Probation(
        attempts=0,
        serial=candidate.serial,
        baseline_p95_seconds=baseline_p95_seconds,
        baseline_hot=baseline_hot,
    )
    return replace(state, active=candidate.release, candidate=None, probation=probation)


def committed(state: UpdateState) -> UpdateState:
    """What runs has proved itself; nothing below it may come back."""
    counter = 0 if state.active is None else state.active.counter
    return replace(
        state,
        known_good=state.active,
        probation=None,
        counter_floor=max(state.counter_floor, counter),
    )


def rolled_back(state: UpdateState, fault: str) -> UpdateState:
    """What was on probation is not wanted any more; the next start runs what is known to be good."""
    if state.active is None or state.probation is None:
        return state
    remembered = _remembered(state, state.active.digest, state.probation.serial, fault)
    return replace(remembered, active=state.known_good, probation=None)


def noted(state: UpdateState, notice: Notice) -> UpdateState:
    """A notice waits to be told."""
    return replace(state, notices=(*state.notices, notice)[-MAX_NOTICES:])


def _remembered(state: UpdateState, digest: str, serial: int, fault: str) -> UpdateState:
    rejection = Rejection(digest=digest, serial=serial, reason=fault[:_LONGEST_REASON])
    others = tuple(one for one in state.rejected if one.digest != digest)
    return replace(state, rejected=(*others, rejection)[-MAX_REJECTIONS:])
