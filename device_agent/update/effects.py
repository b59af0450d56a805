"""What `machine.UpdateMachine.handle` gives out, and `updates` carries out, in order. ``model`` is the name in the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.contract.model_names import MAIN_MODEL

if TYPE_CHECKING:
    from device_agent.update.state import Candidate, Notice, Release, UpdateState


@dataclass(frozen=True, slots=True)
class WriteState:
    """Make the state durable. If that fails, drop the effects behind it and report `StateUnwritten`."""

    state: UpdateState


@dataclass(frozen=True, slots=True)
class TakeDelivered:
    """Take a model's delivered artifact into the store; report `DeliveredTaken` or `Undelivered`."""

    model: str = MAIN_MODEL


@dataclass(frozen=True, slots=True)
class Run:
    """Begin a model with this release; once a process. It is verified again before it is loaded."""

    release: Release
    model: str = MAIN_MODEL


@dataclass(frozen=True, slots=True)
class RunDelivered:
    """Begin a model with the delivered artifact where it lies: it was never updated, or the store cannot be written."""

    model: str = MAIN_MODEL


@dataclass(frozen=True, slots=True)
class Switch:
    """Let a model beside the main one begin anew with this release, the others running on; report `Switched`.

    None: with the delivered artifact, where it lies.
    """

    release: Release | None
    model: str


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
    model: str = MAIN_MODEL


@dataclass(frozen=True, slots=True)
class Shadow:
    """Run beside the current release of the model; report `Shadowed` or `TrialFailed`."""

    release: Release
    model: str = MAIN_MODEL


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
    """End this process in order and begin anew with what is active."""

    reason: str


Effect = (
    WriteState
    | TakeDelivered
    | Run
    | RunDelivered
    | Switch
    | Check
    | Fetch
    | Try
    | Shadow
    | Cancel
    | Tell
    | Collect
    | Restart
)
