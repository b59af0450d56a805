"""What is said of updates: to `edgewright-agent status` how they stand, to the host what is followed (`contract.telemetry.Reported`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device_agent.contract.telemetry import Scalar
    from device_agent.update.state import Release, UpdateState


@dataclass(frozen=True, slots=True, kw_only=True)
class LastCheck:
    """How the last check of this run ended.

    Attributes:
        seconds: Monotonic time at which it began.
        outcome: For people.
    """

    seconds: float
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What `contract.telemetry.Reported` says beside its envelope; see there."""

    group: str | None
    targets: tuple[str, ...]
    desired_serial: int
    desired: str | None
    in_trial: bool
    on_probation: bool
    counter_floor: int


def following(state: UpdateState, *, group: str | None, targets: tuple[str, ...]) -> Following:
    """Return what a device of this group and with these targets follows."""
    return Following(
        group=group,
        targets=targets,
        desired_serial=state.desired_serial,
        desired=state.desired_digest or None,
        in_trial=state.is_in_trial,
        on_probation=state.probation is not None,
        counter_floor=state.counter_floor,
    )


def report(
    state: UpdateState, *, phase: str, inferences: int | None, last: LastCheck | None, now_seconds: float
) -> dict[str, Scalar]:
    """Return the section ``updates`` of a status.

    Args:
        state: What stands on the disk.
        phase: Of the machine.
        inferences: What the release on probation has given since this process began; None: there is none.
        last: None before the first check of this run.
        now_seconds: Monotonic time.
    """
    active, good, candidate, probation = state.active, state.known_good, state.candidate, state.probation
    return {
        "phase": phase,
        "current": _named(active),
        "current_artifact": active.digest if active else None,
        "on_probation": probation is not None,
        "probation_starts": probation.attempts if probation else None,
        "probation_inferences": inferences if probation else None,
        "rollback_to": _named(good) if probation else None,
        "candidate": _named(candidate.release) if candidate else None,
        "counter_floor": state.counter_floor,
        "desired_serial": state.desired_serial,
        "refused": len(state.rejected),
        "last_refusal": state.rejected[-1].reason if state.rejected else None,
        "last_check": last.outcome if last else None,
        "last_check_seconds": round(now_seconds - last.seconds, 3) if last else None,
    }


def _named(release: Release | None) -> str | None:
    return f"{release.name} {release.version}" if release else None
