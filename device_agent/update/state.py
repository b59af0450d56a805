"""`UpdateState`: everything about updates that must survive a power cut; `Standing` is one model's part of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from device_agent.contract.model_names import MAIN_MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Scalar, Severity

MAX_REJECTIONS: Final = 32
"""Rejections that are remembered; the oldest is forgotten first."""
BELOW_FLOOR: Final = "below_floor"
"""Begins the reason of a rejection that a signed permission lifts."""
MAX_NOTICES: Final = 16
"""Notices that wait to be told; a step makes one or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One artifact that may run.

    Attributes:
        digest: Of the ``.ewa`` file.
        name: Model name.
        version: Its version as people count it.
        counter: Its place in the order of releases; it never goes down without a signed permission. 0 for the artifact that the
            device was delivered with.
    """

    digest: str
    name: str
    version: str
    counter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A release on its way in.

    Attributes:
        release: What it is.
        size_bytes: Signed length.
        path: Signed name in the repository, with ``/``.
        serial: Of the desired state that first asked for it, or asked anew.
        trials: Trials begun; written before each, so that one that takes the device down with it is counted.
        mismatches: Whole downloads whose bytes were not the signed ones.
    """

    release: Release
    size_bytes: int
    path: str
    serial: int
    trials: int = 0
    mismatches: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probation:
    """The active release is not known to be good yet.

    Attributes:
        attempts: Starts begun; written before each.
        serial: As the candidate's.
        baseline_p95_seconds: What the release before it took; None when that is not known.
        baseline_hot: The device was too hot with the release before it already, so heat says nothing against this one.
    """

    attempts: int
    serial: int
    baseline_p95_seconds: float | None
    baseline_hot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A release that failed here; it is tried again only when a newer desired state asks anew."""

    digest: str
    serial: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """An event that must be told at least once; it waits here until it stands in the spool."""

    name: str
    severity: Severity
    text: str
    details: Mapping[str, Scalar] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one model stands.

    Attributes:
        active: What it begins with; None before its delivered artifact was taken into the store.
        known_good: What a rollback runs; it has proved itself, or was delivered.
        candidate: What is on its way in.
        probation: Set exactly while ``active`` has not proved itself.
        counter_floor: Releases below it are refused; raised by a commit, never lowered.
        desired_digest: What the last desired state wants of it; empty: nothing.
        is_in_trial: Whether that was its trial's.
        rejected: Newest last.
    """

    active: Release | None = None
    known_good: Release | None = None
    candidate: Candidate | None = None
    probation: Probation | None = None
    counter_floor: int = 0
    desired_digest: str = ""
    is_in_trial: bool = False
    rejected: tuple[Rejection, ...] = ()

    @property
    def kept(self) -> frozenset[str]:
        """Digests that the store must keep."""
        candidate = None if self.candidate is None else self.candidate.release
        return frozenset(one.digest for one in (self.active, self.known_good, candidate) if one is not None)

    def has_rejected(self, digest: str, since: int, *, allow_downgrade: bool = False) -> bool:
        """Whether this release failed here, and nobody has asked anew since; ``since`` is the serial that asked.

        That it lies below the floor is no failure any more once that is allowed.
        """
        return any(
            one.digest == digest
            and one.serial >= since
            and not (allow_downgrade and one.reason.startswith(BELOW_FLOOR))
            for one in self.rejected
        )

    @property
    def runs_trial(self) -> bool:
        """Whether what runs came by the trial that was followed last."""
        active = self.active
        return self.is_in_trial and active is not None and active.digest == self.desired_digest

    def is_way_back(self, release: Release) -> bool:
        """Whether a release lies below what has run here: only a signed permission brings it, because what came after is not wanted."""
        return release.counter < self.counter_floor


UNTOUCHED: Final = Standing()
"""How a model stands of which updates know nothing yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateState:
    """The durable state; replaced whole.

    Attributes:
        models: Name in the configuration to how the model stands; one that is `UNTOUCHED` is left out.
        desired_serial: Desired states below it are refused.
        time_floor_seconds: Unix time; a clock that is behind it is wrong.
        notices: Oldest first.
    """

    models: Mapping[str, Standing] = field(default_factory=dict, hash=False)
    desired_serial: int = 0
    time_floor_seconds: float = 0.0
    notices: tuple[Notice, ...] = ()

    def __post_init__(self) -> None:
        """Make the mapping read-only, and one state one value."""
        touched = {name: one for name, one in self.models.items() if one != UNTOUCHED}
        object.__setattr__(self, "models", MappingProxyType(touched))

    @property
    def main(self) -> Standing:
        """How the main model stands."""
        return self.of(MAIN_MODEL)

    def of(self, model: str) -> Standing:
        """Return how a model stands."""
        return self.models.get(model, UNTOUCHED)

    def having(self, model: str, standing: Standing) -> UpdateState:
        """Return the state in which a model stands so."""
        return replace(self, models={**self.models, model: standing})

    @property
    def kept(self) -> frozenset[str]:
        """Digests that the store must keep, of all models."""
        return frozenset[str]().union(*(one.kept for one in self.models.values()))
