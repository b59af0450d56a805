"""What `machine.UpdateMachine.handle` takes in. ``model`` is the name in the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.contract.model_names import MAIN_MODEL

if TYPE_CHECKING:
    from device_agent.update.state import Release, UpdateState


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What time it is.

    Attributes:
        now_seconds: Monotonic.
        wall_seconds: Unix time; trust it as far as ``synced`` says.
        synced: Whether a time service vouches for it.
    """

    now_seconds: float
    wall_seconds: float
    synced: bool


@dataclass(frozen=True, slots=True)
class Started:
    """The process is up."""

    moment: Moment


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""

    moment: Moment


@dataclass(frozen=True, slots=True)
class DeliveredTaken:
    """The delivered artifact of a model lies in the store."""

    release: Release
    model: str = MAIN_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """The delivered artifact of a model cannot be taken into the store."""

    message: str
    model: str = MAIN_MODEL


@dataclass(frozen=True, slots=True)
class Switched:
    """A model beside the main one begins with what is active."""

    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateUnwritten:
    """The state cannot be written; ``durable`` is what stands on the disk, ``begun`` which models were begun in this process."""

    message: str
    durable: UpdateState
    begun: frozenset[str]


@dataclass(frozen=True, slots=True)
class NothingDesired:
    """Nobody says what a model shall be. ``serial`` is that of a desired state that says so; 0: there is none."""

    reason: str
    serial: int = 0
    model: str = MAIN_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """Signed metadata and desired state agree on a release.

    Attributes:
        release: Which.
        size_bytes: Signed length.
        path: Signed name in the repository.
        serial: Of the desired state.
        since: Serial of the desired state that first asked for this release, or asked anew; at most ``serial``.
        allow_downgrade: The desired state permits a release below the floor.
        is_in_trial: The release is that of the trial, and this device belongs to it.
        model: Whose it is.
    """

    release: Release
    size_bytes: int
    path: str
    serial: int
    since: int
    allow_downgrade: bool = False
    is_in_trial: bool = False
    model: str = MAIN_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFailed:
    """Metadata or desired state could not be had, or must not be trusted. ``code`` is the error's."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmet:
    """The desired state can be trusted, and what it wants of one model cannot be had. ``code`` is the error's."""

    code: str
    message: str
    model: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one desired state says of each of several models."""

    answers: tuple[Offered | NothingDesired | Unmet, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """The candidate lies in the store, and its bytes are the signed ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFailed:
    """The candidate is not there. ``mismatch``: it came whole, and its bytes are others than the signed ones."""

    code: str
    message: str
    mismatch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The candidate loads and gives the golden outputs. ``samples`` is 0 when it brings none."""

    samples: int
    largest_lsb: float
    load_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """The candidate ran beside the current model.

    Attributes:
        frames: Frames that both saw; 0: none came in time, or they cannot be compared.
        cosine: Mean cosine of the angle between both models' outputs; None when ``frames`` is 0.
        note: Why they cannot be compared; empty when they can.
    """

    frames: int
    cosine: float | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFailed:
    """The candidate does not load, computes wrongly, takes too much or too long, or dies."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class TrialUnbegun:
    """There was no process for a trial or a shadow run (no memory, too many processes), which says nothing of the candidate."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A window of a model's running release.

    Attributes:
        inferences: That gave a result.
        errors: That failed.
        p95_seconds: Of the latency; None when nothing was inferred.
        nonfinite: Looked-at outputs that held NaN or infinity.
        heat: Why the device was too hot in it, for people; empty when it was not.
        model: Whose it is.
    """

    inferences: int
    errors: int
    p95_seconds: float | None
    nonfinite: int = 0
    heat: str = ""
    model: str = MAIN_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed:
    """A model's running release cannot go on: it was refused, does not load, computes wrongly or fails all the time."""

    code: str
    message: str
    model: str = MAIN_MODEL


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process ends in order, because somebody asked."""


Occurrence = (
    Started
    | Tick
    | DeliveredTaken
    | Undelivered
    | Switched
    | StateUnwritten
    | NothingDesired
    | Offered
    | CheckFailed
    | Wanted
    | Fetched
    | FetchFailed
    | Tried
    | Shadowed
    | TrialFailed
    | TrialUnbegun
    | Observed
    | RunFailed
    | Stopping
)
