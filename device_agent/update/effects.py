"""What `machine.UpdateMachine.handle` gives out, and `updates` carries out, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device_agent.update.state import Candidate, Notice, Release, UpdateState


@dataclass(frozen=True, slots=True)
class WriteState:
    """Make the state durable. If that fails, drop the effects behind it and report `StateUnwritten`."""

    state: UpdateState


@dataclass(frozen=True, slots=True)
class TakeDelivered:
    """Take the delivered artifact into the store; report `DeliveredTaken` or `Undelivered`."""


@dataclass(frozen=True, slots=True)
class Run:
    """Run this release; once a process. It is verified again before it is loaded."""

    release: Release


@dataclass(frozen=True, slots=True)
class RunDelivered:
    """Run the delivered artifact where it lies, because the store cannot be written."""


@dataclass(frozen=True, slots=True)
class Check:
    """Fetch the signed metadata and the desired state; report `Offered`, `NothingDesired` or `CheckFailed`."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Download into the store; report `Fetched` or `FetchFailed`."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Try:
    """Verify, load and self-test in a child process under limits; report `Tried` or `TrialFailed`."""

    release: Release


@dataclass(frozen=True, slots=True)
class Shadow:
    """Run beside the current model; report `Shadowed` or `TrialFailed`."""

    release: Release


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the step that is under way, if one is; nothing is reported of it any more."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Record an event, durably."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class Collect:
    """Remove everything from the store but these digests."""

    kept: frozenset[str]


@dataclass(frozen=True, slots=True)
class Restart:
    """End this process in order and begin anew with the active release."""

    reason: str


Effect = (
    WriteState
    | TakeDelivered
    | Run
    | RunDelivered
    | Check
    | Fetch
    | Try
    | Shadow
    | Cancel
    | Tell
    | Collect
    | Restart
)
