"""What is said of updates: to `edgewright-agent status` how they stand, to the host what is followed (`contract.telemetry.states.Reported`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.contract.model_names import MAIN_MODEL
from device_agent.update.occurrences import NothingDesired, Offered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Scalar
    from device_agent.update.occurrences import Unmet
    from device_agent.update.state import Release, Standing, UpdateState


@dataclass(frozen=True, slots=True, kw_only=True)
class LastCheck:
    """How the last check of this run ended.

    Attributes:
        seconds: Monotonic time at which it began.
        outcome: For people.
    """

    seconds: float
    outcome: str


def outcome_text(answer: Offered | NothingDesired | Unmet) -> str:
    """Say for people what a check found to be wanted of a model."""
    whose = "" if answer.model == MAIN_MODEL else f"model {answer.model}: "
    if isinstance(answer, Offered):
        return f"{whose}{answer.release.name} {answer.release.version} is wanted"
    return f"{whose}{answer.reason if isinstance(answer, NothingDesired) else answer.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What `contract.telemetry.states.Reported` says beside its envelope, of the main model; see there."""

    group: str | None
    targets: tuple[str, ...]
    desired_serial: int
    desired: str | None
    in_trial: bool
    on_probation: bool
    counter_floor: int


def following(state: UpdateState, *, group: str | None, targets: tuple[str, ...]) -> Following:
    """Return what a device of this group and with these targets follows."""
    main = state.main
    return Following(
        group=group,
        targets=targets,
        desired_serial=state.desired_serial,
        desired=main.desired_digest or None,
        in_trial=main.is_in_trial,
        on_probation=main.probation is not None,
        counter_floor=main.counter_floor,
    )


def report(
    state: UpdateState,
    *,
    phase: str,
    inferences: Mapping[str, int | None],
    last: LastCheck | None,
    now_seconds: float,
) -> dict[str, Scalar]:
    """Return the section ``updates`` of a status; what is about a model beside the main one has its name in front.

    Args:
        state: What stands on the disk.
        phase: Of the machine.
        inferences: Name of each model that is updated to what its release on probation has given since this process began; None: there
            is none.
        last: None before the first check of this run.
        now_seconds: Monotonic time.
    """
    found: dict[str, Scalar] = {"phase": phase, **_standing(state.main, inferences[MAIN_MODEL])}
    found |= {
        "desired_serial": state.desired_serial,
        "last_check": last.outcome if last else None,
        "last_check_seconds": round(now_seconds - last.seconds, 3) if last else None,
    }
    for name, given in inferences.items():
        if name != MAIN_MODEL:
            found |= {f"{name}.{key}": value for key, value in _standing(state.of(name), given).items()}
    return found


def _standing(standing: Standing, inferences: int | None) -> dict[str, Scalar]:
    active, good = standing.active, standing.known_good
    candidate, probation = standing.candidate, standing.probation
    return {
        "current": _named(active),
        "current_artifact": active.digest if active else None,
        "on_probation": probation is not None,
        "probation_starts": probation.attempts if probation else None,
        "probation_inferences": inferences if probation else None,
        "rollback_to": _named(good) if probation else None,
        "candidate": _named(candidate.release) if candidate else None,
        "counter_floor": standing.counter_floor,
        "refused": len(standing.rejected),
        "last_refusal": standing.rejected[-1].reason if standing.rejected else None,
    }


def _named(release: Release | None) -> str | None:
    return f"{release.name} {release.version}" if release else None
