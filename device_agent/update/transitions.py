"""How the durable state changes: pure functions, one a decision of `machine`; most change how one model stands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from device_agent.contract.document import printable
from device_agent.update.state import MAX_NOTICES, MAX_REJECTIONS, Candidate, Probation, Rejection

if TYPE_CHECKING:
    from device_agent.update.occurrences import Offered
    from device_agent.update.state import Notice, Release, Standing, UpdateState

_LONGEST_TEXT = 1_000
"""Of what is written down: engines may say anything, and a state that cannot be read again is a floor that is lost."""
_FLOOR_STEP_SECONDS = 3_600.0
"""The time floor is raised in such steps, so that a check that finds nothing new writes nothing."""


def delivered(standing: Standing, release: Release) -> Standing:
    """The delivered artifact is what runs and what is known to be good."""
    return replace(standing, active=release, known_good=release, probation=None)


def undelivered(standing: Standing) -> Standing:
    """Nothing in the store can be used: the delivered artifact runs again. The floor stays, and what is on its way."""
    return replace(standing, active=None, known_good=None, probation=None)


def start_counted(standing: Standing, starts: int) -> Standing:
    """One start more, or one less, of a release on probation."""
    if standing.probation is None:
        return standing
    attempts = max(0, standing.probation.attempts + starts)
    return replace(standing, probation=replace(standing.probation, attempts=attempts))


def time_seen(state: UpdateState, wall_seconds: float) -> UpdateState:
    """It is not before ``wall_seconds``."""
    if wall_seconds < state.time_floor_seconds + _FLOOR_STEP_SECONDS:
        return state
    return replace(state, time_floor_seconds=wall_seconds)


def followed(state: UpdateState, model: str, *, serial: int, digest: str, is_in_trial: bool) -> UpdateState:
    """A desired state was read, and this is what it wants of a model."""
    standing = replace(state.of(model), desired_digest=digest, is_in_trial=is_in_trial)
    return replace(state.having(model, standing), desired_serial=serial)


def withdrawn(standing: Standing) -> Standing:
    """The candidate is not wanted any more; it has not failed."""
    return replace(standing, candidate=None)


def offered(standing: Standing, offer: Offered) -> Standing:
    """A release is on its way in; what was counted of the same one before still counts."""
    before = standing.candidate
    same = before is not None and before.release == offer.release and before.serial == offer.since
    candidate = Candidate(
        release=offer.release,
        size_bytes=offer.size_bytes,
        path=offer.path,
        serial=offer.since,
        trials=before.trials if before is not None and same else 0,
        mismatches=before.mismatches if before is not None and same else 0,
    )
    return replace(standing, candidate=candidate)


def trial_counted(standing: Standing) -> Standing:
    """One trial more of the candidate."""
    if standing.candidate is None:
        return standing
    return replace(standing, candidate=replace(standing.candidate, trials=standing.candidate.trials + 1))


def trial_uncounted(standing: Standing) -> Standing:
    """The trial of the candidate that was counted was none."""
    if standing.candidate is None or not standing.candidate.trials:
        return standing
    return replace(standing, candidate=replace(standing.candidate, trials=standing.candidate.trials - 1))


def mismatch_counted(standing: Standing) -> Standing:
    """The candidate came once more with wrong bytes."""
    if standing.candidate is None:
        return standing
    return replace(
        standing, candidate=replace(standing.candidate, mismatches=standing.candidate.mismatches + 1)
    )


def rejected(standing: Standing, fault: str) -> Standing:
    """The candidate is not wanted any more."""
    candidate = standing.candidate
    if candidate is None:
        return standing
    return replace(_remembered(standing, candidate.release.digest, candidate.serial, fault), candidate=None)


def activated(standing: Standing, *, baseline_p95_seconds: float | None, baseline_hot: bool) -> Standing:
    """The candidate is what the next start runs, on probation."""
    candidate = standing.candidate
    if candidate is None:
        return standing
    probation = Probation(
        attempts=0,
        serial=candidate.serial,
        baseline_p95_seconds=baseline_p95_seconds,
        baseline_hot=baseline_hot,
    )
    return replace(standing, active=candidate.release, candidate=None, probation=probation)


def committed(standing: Standing) -> Standing:
    """What runs has proved itself; nothing below it may come back."""
    counter = 0 if standing.active is None else standing.active.counter
    return replace(
        standing,
        known_good=standing.active,
        probation=None,
        counter_floor=max(standing.counter_floor, counter),
    )


def rolled_back(standing: Standing, fault: str) -> Standing:
    """What was on probation is not wanted any more; the next start runs what is known to be good."""
    if standing.active is None or standing.probation is None:
        return standing
    remembered = _remembered(standing, standing.active.digest, standing.probation.serial, fault)
    return replace(remembered, active=standing.known_good, probation=None)


def noted(state: UpdateState, notice: Notice) -> UpdateState:
    """A notice waits to be told."""
    return replace(
        state, notices=(*state.notices, replace(notice, text=_writable(notice.text)))[-MAX_NOTICES:]
    )


def _remembered(standing: Standing, digest: str, serial: int, fault: str) -> Standing:
    rejection = Rejection(digest=digest, serial=serial, reason=_writable(fault))
    others = tuple(one for one in standing.rejected if one.digest != digest)
    return replace(standing, rejected=(*others, rejection)[-MAX_REJECTIONS:])


def _writable(text: str) -> str:
    return printable(text)[:_LONGEST_TEXT]
