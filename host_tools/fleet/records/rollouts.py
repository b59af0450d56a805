"""Rollouts: what an operator asks for, stage by stage, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from host_tools.fleet.records.gates import Gate  # noqa: TC001  msgspec reads it where a plan comes out of the store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.fleet.records.releases import ReleasedArtifact

RolloutState = Literal[
    "draft", "awaiting_approval", "running", "paused", "rolling_back", "finished", "rolled_back", "aborted"
]
"""The last three are the end. `aborted`: no further stage begins; who is in the share keeps the release."""
StageState = Literal["waiting", "awaiting_approval", "running", "passed", "stopped"]
ENDED_ROLLOUTS: Final[frozenset[RolloutState]] = frozenset({"finished", "rolled_back", "aborted"})
PARTS_PER_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of a rollout.

    Attributes:
        name: For people.
        share_ppm: Share of the group that has the release once this stage has begun, in parts per million; grows from stage to
            stage. 0: only ``devices``.
        devices: Devices that are in it besides, by name.
        success_ratio: Of the jobs of the stage, how many must have succeeded before the next begins.
        error_ratio: The share of failed jobs at which the rollout stops by itself.
        soak_seconds: How long the stage runs at least.
        needs_approval: Whether an approver must let it begin.
    """

    name: str
    share_ppm: int
    devices: tuple[str, ...] = ()
    success_ratio: float = 0.9
    error_ratio: float = 0.1
    soak_seconds: float = 600.0
    needs_approval: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleWindow:
    """When stages may begin: on these weekdays (0 is Monday) between two times of the day, in seconds since midnight UTC.

    An end below the beginning lies on the day after.
    """

    weekdays: frozenset[int]
    begin_seconds: int
    end_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """What an operator asks for; does not change once the rollout runs.

    Attributes:
        id: Short, unique.
        release: Id of the release that it brings.
        group: The group that gets it.
        stages: In order; the last has the whole group.
        gates: Looked at throughout every stage.
        windows: When stages may begin; empty: always.
        job_seconds: How long a device that is there may take; then its job fails.
        absent_seconds: How long a stage waits for devices that are not heard.
        needs_approval: Whether an approver must let it begin.
        rolls_back: Whether a stop takes the release back from those that have it.
        hold_seconds: How long a stage that is otherwise done waits for its gates; then it waits for a person.
        allow_downgrade: Whether the release may lie below what devices have kept.
    """

    id: str
    release: str
    group: str
    stages: tuple[Stage, ...]
    gates: tuple[Gate, ...] = ()
    windows: tuple[ScheduleWindow, ...] = ()
    job_seconds: float = 3_600.0
    absent_seconds: float = 86_400.0
    needs_approval: bool = False
    rolls_back: bool = True
    hold_seconds: float = 86_400.0
    allow_downgrade: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgress:
    """Where a stage is; the times are Unix seconds, None: not yet.

    One that `awaiting_approval` has not begun waits to begin; one that has begun waits for a person to say that it is passed.
    """

    state: StageState = "waiting"
    began_seconds: float | None = None
    ended_seconds: float | None = None
    approved_by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A plan and how far it is.

    Attributes:
        plan: What was asked for.
        previous: Capability profile to what the group ran before: the gates compare with it, and a rollback goes to it.
        state: Where it is.
        stages: One for each stage of the plan.
        reason: Why it is in this state, for people.
        created_by: Who made it.
        created_seconds: Unix time.
        changed_seconds: Unix time of the last change of state.
        revision: Grows with every stored change; a change based on an older one is refused.
    """

    plan: RolloutPlan
    previous: Mapping[str, ReleasedArtifact] = field(hash=False)
    state: RolloutState
    stages: tuple[StageProgress, ...]
    reason: str = ""
    created_by: str = ""
    created_seconds: float = 0.0
    changed_seconds: float = 0.0
    revision: int = 0

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "previous", MappingProxyType(dict(self.previous)))
