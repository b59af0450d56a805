"""What a change of a rollout asks for: `Step`s for the world, `Said` for the audit log.

A step says how things shall be, not what to change: done twice, or once more after a kill, it changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Scalar
    from host_tools.fleet.records.rollouts import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferTo:
    """Make a job for each device that belongs and has none, and sign the desired state.

    Attributes:
        stage: Number of the stage that began, from 0.
        share_ppm: Share of the group that has the release now, in parts per million.
        devices: Devices that have it besides, by name; those of earlier stages with them.
    """

    stage: int
    share_ppm: int
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBack:
    """Sign the previous artifacts for the whole group, and let devices go down to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """The last stage passed: sign the release as the group's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelJobs:
    """End every open job of the rollout without a result; ``reason`` is for people."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryJobs:
    """Begin failed and canceled jobs anew (`jobs.retried`), and sign the desired state under a new serial.

    A device tries what it took back only when a newer desired state asks for it.

    Attributes:
        before_seconds: Only jobs whose attempt was made before: repeating the step begins nothing twice.
    """

    before_seconds: float


Step: TypeAlias = OfferTo | TakeBack | Settle | CancelJobs | RetryJobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the audit log is told.

    Attributes:
        action: ``rollout.…``.
        reason: For people; never empty.
        figures: What it was decided on.
    """

    action: str
    reason: str
    figures: Mapping[str, Scalar] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "figures", MappingProxyType(dict(self.figures)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What follows: the rollout as it is now, what must be done, what is said."""

    rollout: Rollout
    steps: tuple[Step, ...] = ()
    said: tuple[Said, ...] = ()
