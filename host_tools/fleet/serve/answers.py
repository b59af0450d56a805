"""What is told: one type an answer. Times are Unix seconds; null: not known, or not yet."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from host_tools.fleet.records.access import ClaimState, Role
from host_tools.fleet.records.devices import DeviceState
from host_tools.fleet.records.gates import GateMeasure, GateOutcome
from host_tools.fleet.records.jobs import JobResult, JobState
from host_tools.fleet.records.rollouts import RolloutState, StageState

T = TypeVar("T")


def _in_order(value: Any) -> Any:
    return sorted(value) if isinstance(value, (set, frozenset)) else value


def _as_dict(value: Any) -> Any:
    return dict(value) if hasattr(value, "keys") else value


class Answer(BaseModel):
    """Base of all: read from a record by the names of its fields."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Page(Answer, Generic[T]):
    """A part of a list; ``next`` is what to ask for with ``after``, null at the end."""

    items: list[T]
    next: str | None


class ProvidesAnswer(Answer):
    """What a device says it can run."""

    targets: list[str]
    engine: str
    agent_version: str
    memory_bytes: int | None


class DeviceAnswer(Answer):
    """A device; see `records.Device`."""

    id: str
    group: str
    home: str
    configured: str
    tags: Annotated[list[str], BeforeValidator(_in_order)]
    state: DeviceState
    provides: ProvidesAnswer
    artifact: str | None
    desired_serial: int | None
    health: str
    last_seen_seconds: float | None
    added_seconds: float


class ArtifactAnswer(Answer):
    """An artifact as it is signed in the repository."""

    path: str
    digest: str
    size_bytes: int


Artifacts = Annotated[dict[str, ArtifactAnswer], BeforeValidator(_as_dict)]


class SelectorAnswer(Answer):
    """Which devices a group takes by itself; see `records.Selector`."""

    groups: Annotated[list[str], BeforeValidator(_in_order)]
    tags: Annotated[list[str], BeforeValidator(_in_order)]
    targets: Annotated[list[str], BeforeValidator(_in_order)]
    engines: Annotated[list[str], BeforeValidator(_in_order)]
    agent_versions: Annotated[list[str], BeforeValidator(_in_order)]
    least_memory_bytes: int | None
    rank: int


class GroupAnswer(Answer):
    """A group, and what its devices run outside of any trial, by capability profile. Without a selector people put devices into it."""

    name: str
    note: str
    selector: SelectorAnswer | None
    artifacts: Artifacts
    created_seconds: float


class ReleaseAnswer(Answer):
    """A release; see `records.Release`."""

    id: str
    model: str
    version: str
    counter: int
    artifacts: Artifacts
    created_by: str
    created_seconds: float


class StageAnswer(Answer):
    """A stage as it is planned."""

    name: str
    share_ppm: int
    devices: list[str]
    success_ratio: float
    error_ratio: float
    soak_seconds: float
    needs_approval: bool


class GateAnswer(Answer):
    """A gate as it is planned."""

    measure: GateMeasure
    worst: float
    confidence: float
    least_devices: int
    required: bool


class WindowAnswer(Answer):
    """When stages may begin."""

    weekdays: Annotated[list[int], BeforeValidator(_in_order)]
    begin_seconds: int
    end_seconds: int


class PlanAnswer(Answer):
    """What was asked for."""

    id: str
    release: str
    group: str
    stages: list[StageAnswer]
    gates: list[GateAnswer]
    windows: list[WindowAnswer]
    job_seconds: float
    absent_seconds: float
    hold_seconds: float
    needs_approval: bool
    rolls_back: bool
    allow_downgrade: bool


class ProgressAnswer(Answer):
    """Where a stage is."""

    state: StageState
    began_seconds: float | None
    ended_seconds: float | None
    approved_by: str
    reason: str


class RolloutAnswer(Answer):
    """A rollout: its plan, and how far it is."""

    id: str
    plan: PlanAnswer
    previous: Artifacts
    state: RolloutState
    stages: list[ProgressAnswer]
    reason: str
    created_by: str
    created_seconds: float
    changed_seconds: float
    revision: int


class CountsAnswer(Answer):
    """Jobs of a stage by how they are; see `records.JobCounts`."""

    total: int
    absent: int
    open: int
    succeeded: int
    failed: int
    canceled: int
    holding: int


class StageExplained(Answer):
    """Why a stage is where it is."""

    name: str
    state: StageState
    share_ppm: int
    began_seconds: float | None
    ended_seconds: float | None
    reason: str
    jobs: CountsAnswer


class FindingAnswer(Answer):
    """What a gate found."""

    gate: GateAnswer
    outcome: GateOutcome
    devices: int
    estimate: float | None
    low: float | None
    high: float | None
    text: str


class MembersAnswer(Answer):
    """Who is in a rollout, and who came and left; see `rollout.members.Members`."""

    selector: SelectorAnswer | None
    now: int
    came: int
    left: int
    pinned: int


class ExplanationAnswer(Answer):
    """Why a rollout is where it is, with the figures, and the same in words."""

    rollout: str
    release: str
    group: str
    members: MembersAnswer
    state: RolloutState
    reason: str
    next_step: str
    stages: list[StageExplained]
    gates: list[FindingAnswer]
    words: str


class JobAnswer(Answer):
    """What one device owes one rollout; see `records.Job`."""

    rollout: str
    device: str
    stage: int
    state: JobState
    result: JobResult
    wanted: str
    previous: str | None
    attempts: int
    reason: str
    created_seconds: float
    changed_seconds: float
    heard_seconds: float | None


class AuditAnswer(Answer):
    """An entry of the audit; see `records.AuditEntry`."""

    number: int
    seconds: float
    actor: str
    action: str
    subject: str
    details: Annotated[dict[str, str | int | float | bool | None], BeforeValidator(_as_dict)]
    previous: str
    digest: str


class AuditCheck(Answer):
    """Whether the audit's chain is whole, and its newest entry: note its digest elsewhere, to see later that none was cut off."""

    whole: bool
    broken: str
    entries: int
    newest_digest: str


class TokenAnswer(Answer):
    """A token without its secret."""

    id: str
    name: str
    role: Role
    created_by: str
    created_seconds: float
    expires_seconds: float
    revoked_seconds: float | None


class MadeToken(Answer):
    """A new token; ``secret`` is told this once and kept nowhere."""

    token: TokenAnswer
    secret: str


class MadeClaim(Answer):
    """A new claim token; it is told this once and kept nowhere. ``id`` names it in lists."""

    claim: str
    id: str


class ClaimAnswer(Answer):
    """A claim token without its secret; see `records.IssuedClaim`."""

    id: str
    group: str
    device: str
    needs_approval: bool
    expires_seconds: float
    state: ClaimState
    used_by: str


class MadeDdiToken(Answer):
    """A new token of a device or a group; it is told this once and kept nowhere."""

    secret: str


class Me(Answer):
    """Who asks."""

    token: str
    name: str
    role: Role


class Alive(Answer):
    """The server answers, and so does its store.

    `leads`: this server makes the fleet's rollouts go on; of several servers of one database one does.
    """

    status: str
    leads: bool


class Overview(Answer):
    """The fleet at a glance.

    Attributes:
        devices: How many.
        by_state: Of devices.
        by_health: Likewise; an empty key: not heard.
        by_group: Likewise.
        by_artifact: Likewise, by digest; an empty key: none, or not heard.
        open_rollouts: Rollouts that have not ended.
        open_effects: What devices were not told yet.
        newest_change: Number of the newest event.
    """

    devices: int
    by_state: dict[str, int]
    by_health: dict[str, int]
    by_group: dict[str, int]
    by_artifact: dict[str, int]
    open_rollouts: int
    open_effects: int
    newest_change: int


class DriftAnswer(Answer):
    """Enrolled devices of a group by whether they run what they shall; see `store.drift.GroupDrift`."""

    group: str
    as_desired: int
    underway: int
    differing: int
    silent: int
    free: int


class DesiredAnswer(Answer):
    """What a device shall run and what it says that it runs, by digest; null: nothing. See `store.drift.DesiredOfDevice`."""

    device: str
    desired: str | None
    reported: str | None
    rollout: str | None
    own_serial: int | None
    unsigned: str | None


class Imported(Answer):
    """What came of a device list."""

    added: int
    changed: int
    same: int


def page_of(kind: type[T], records: Any, *, limit: int, key: str) -> Any:
    """Return a page of records as answers.

    Args:
        kind: A type of answers.
        records: One more than ``limit`` where there are more.
        limit: How many were asked for.
        key: The field that the next page goes on after.
    """
    shown = records[:limit]
    following = str(getattr(shown[-1], key)) if len(records) > limit else None
    model: Any = kind
    return {"items": [model.model_validate(one) for one in shown], "next": following}
