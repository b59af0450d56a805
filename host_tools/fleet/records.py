"""What a fleet consists of, one frozen type a record. No database, no network: `store` keeps them, `rollout` decides on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.desired import DesiredArtifact
    from device_agent.contract.telemetry.message import Scalar

DeviceState = Literal["pending", "enrolled", "revoked", "decommissioned"]
"""`pending`: it has asked for a certificate and nobody has approved it."""
RolloutState = Literal[
    "draft", "awaiting_approval", "running", "paused", "rolling_back", "finished", "rolled_back", "aborted"
]
"""The last three are the end. `aborted`: no further stage begins; who is in the share keeps the release."""
StageState = Literal["waiting", "awaiting_approval", "running", "passed", "stopped"]
JobState = Literal["scheduled", "download", "downloaded", "proceeding", "closed", "rejected", "canceled"]
"""hawkBit's `execution`, in its spelling; the last three are the end.

Source: Eclipse hawkBit, "Direct Device Integration API", feedback of `deploymentBase`.
"""
JobResult = Literal["none", "success", "failure"]
GateMeasure = Literal[
    "latency_p50",
    "latency_p95",
    "energy_per_inference",
    "temperature",
    "throttled_share",
    "output_agreement",
    "crashes",
]
GateOutcome = Literal["passed", "failed", "undecided", "not_measured", "unavailable"]
ClaimState = Literal["good", "waiting", "used", "refused", "expired", "revoked"]
"""Of a claim token: `waiting`: a device has shown it and waits for approval; `refused`: that device was kept out."""
Role = Literal["viewer", "operator", "approver", "admin"]

ENDED_ROLLOUTS: Final[frozenset[RolloutState]] = frozenset({"finished", "rolled_back", "aborted"})
ENDED_JOBS: Final[frozenset[JobState]] = frozenset({"closed", "rejected", "canceled"})
PARTS_PER_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Provides:
    """What a device says it can run; empty or None until it has said so.

    Attributes:
        targets: Capability profiles, best first.
        engine: Its engine and the version, e.g. ``tflite 2.1.0``.
        agent_version: The agent's.
        memory_bytes: Memory of the machine.
    """

    targets: tuple[str, ...] = ()
    engine: str = ""
    agent_version: str = ""
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which devices a group takes by itself, for as long as they are so: all that is given must hold, and something must be given.

    Attributes:
        groups: People put the device into one of these.
        tags: It has all of these.
        targets: It can run artifacts of one of these capability profiles.
        engines: Its engine is one of these, e.g. ``tflite``, of any version.
        agent_versions: Its agent is one of these.
        least_memory_bytes: Its machine has so much memory; None: it does not matter.
        rank: Where several groups want a device, the lowest rank has it; of the same rank, the first name.
    """

    groups: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()
    engines: frozenset[str] = frozenset()
    agent_versions: frozenset[str] = frozenset()
    least_memory_bytes: int | None = None
    rank: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Devices with one desired state.

    Attributes:
        name: As in topics and in the repository.
        note: What it is for, in words.
        selector: Which devices it takes by itself; None: those that people put into it.
        artifacts: Capability profile to what its devices run outside of any trial; empty: nothing was rolled out yet.
        created_seconds: Unix time.
    """

    name: str
    note: str = ""
    selector: Selector | None = None
    artifacts: Mapping[str, ReleasedArtifact] = field(hash=False, default_factory=dict)
    created_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device.

    Attributes:
        id: As in its certificate and topics.
        group: The only group that it is in: the one whose desired state it shall follow.
        home: The group into which people put it, and in which it is while no group with a selector takes it; empty: ``group``.
        configured: The group that its own configuration names, as it last said; empty: not heard, or none.
        tags: Free words of the operators.
        state: Whether it may take part.
        provides: What it can run.
        artifact: Digest of what it reports to run; None: not heard, or none.
        desired_serial: Serial of the desired state that it last followed; None: not heard.
        health: `up`, `degraded`, `draining` or `down`, as it last said; empty: not heard.
        last_seen_seconds: Unix time of its last message; None: never.
        added_seconds: Unix time at which it was made known.
    """

    id: str
    group: str
    home: str = ""
    configured: str = ""
    tags: frozenset[str] = frozenset()
    state: DeviceState = "enrolled"
    provides: Provides = field(default_factory=Provides)
    artifact: str | None = None
    desired_serial: int | None = None
    health: str = ""
    last_seen_seconds: float | None = None
    added_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Let a device be at home where it is."""
        object.__setattr__(self, "home", self.home or self.group)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedArtifact:
    """One artifact of a release: its signed name in the repository, its digest (``sha256:…``), its length."""

    path: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version of a model, with one artifact for each capability profile.

    Attributes:
        id: ``NAME-VERSION``.
        model: The model's name.
        version: Its version.
        counter: Its place in the order of the model's releases; devices refuse to go below.
        artifacts: Capability profile to artifact.
        created_by: Who made it.
        created_seconds: Unix time.
    """

    id: str
    model: str
    version: str
    counter: int
    artifacts: Mapping[str, ReleasedArtifact] = field(hash=False)
    created_by: str
    created_seconds: float

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A desired state of one device's own, which it follows in place of its group's.

    Attributes:
        device: Its id.
        serial: Of the desired state.
        artifacts: Capability profile to what it shall run; empty: it keeps what it has.
    """

    device: str
    serial: int
    artifacts: Mapping[str, DesiredArtifact] = field(hash=False)

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What the candidate may cost, against the previous artifact on the same devices.

    Attributes:
        measure: What is compared. Latencies and energy by their ratio; temperature in °C, throttled share, mean cosine of outputs and crashes
            (per device-hour) by their difference.
        worst: The largest worsening that is allowed: 0.1 is a tenth slower, 5.0 five degrees warmer, 0.02 a mean cosine of outputs of
            0.98.
        confidence: Of the decision, each way.
        least_devices: Devices with figures of both artifacts before it decides.
        required: Whether a stage waits for it when it cannot be measured; else it is told and passed over.
    """

    measure: GateMeasure
    worst: float
    confidence: float = 0.99
    least_devices: int = 5
    required: bool = False


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one device owes one rollout. (rollout, device) is unique: no job is run twice.

    Attributes:
        rollout: Id of the rollout.
        device: The device.
        stage: Number of the stage that it came with, from 0.
        state: Where it is.
        result: How it ended.
        wanted: Digest of the artifact that this device shall run.
        previous: Digest of what it ran when the job was made; None: not heard.
        attempts: How often it was begun; a retry adds one.
        reason: Why it is there, in the device's words where it said so.
        created_seconds: Unix time at which this attempt was made.
        changed_seconds: Unix time of the last change of `state`.
        heard_seconds: Unix time at which the device was first heard in this attempt; None: not yet, it is absent.
    """

    rollout: str
    device: str
    stage: int
    state: JobState
    result: JobResult
    wanted: str
    previous: str | None
    attempts: int = 1
    reason: str = ""
    created_seconds: float = 0.0
    changed_seconds: float = 0.0
    heard_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCounts:
    """Jobs of one stage by how they are.

    Attributes:
        total: All of them: open, succeeded, failed and canceled together.
        absent: Open jobs of devices that have not been heard since their job was made, and devices that have
            none yet because nobody knows what they can run; a part of `open`.
        open: Not ended.
        succeeded: Ended so.
        failed: Ended so, rejected ones with them.
        canceled: Ended without a result.
        holding: Devices of these jobs that were last heard to run the release, whatever became of the job, and still take part in
            the group.
    """

    total: int = 0
    absent: int = 0
    open: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    holding: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFinding:
    """What a gate found, with the figures that an explanation shows.

    Attributes:
        gate: Which.
        outcome: What follows from it.
        devices: Devices with figures of both artifacts.
        estimate: The worsening, in the gate's unit; None: not measured.
        low: Lower end of its confidence interval.
        high: Upper end.
        text: One sentence for people.
    """

    gate: Gate
    outcome: GateOutcome
    devices: int = 0
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that somebody did; entries are only ever added, and each has the digest of the one before.

    Attributes:
        number: From 1, without a gap.
        seconds: Unix time.
        actor: ``user NAME``, ``device ID`` or ``server``.
        action: ``rollout.approve``, ``device.revoke``, …
        subject: What it was done to, e.g. ``rollout/r1``.
        details: Figures.
        previous: Digest of the entry before; empty for the first.
        digest: Of this entry, `previous` in it.
    """

    number: int
    seconds: float
    actor: str
    action: str
    subject: str
    details: Mapping[str, Scalar] = field(hash=False)
    previous: str
    digest: str

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedClaim:
    """A claim token of a group, without its secret: that is kept nowhere.

    Attributes:
        id: Names it in lists and in the audit; who has the token can tell it, and nobody the token from it.
        group: The group that it brings a device into.
        device: The only device that may use it; empty: any.
        needs_approval: Whether somebody has to say yes when it is used.
        expires_seconds: Unix time from which it is no longer good.
        state: Where it is.
        used_by: The device that used it, or waits with it; empty: none.
    """

    id: str
    group: str
    device: str
    needs_approval: bool
    expires_seconds: float
    state: ClaimState
    used_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """Who may use the REST interface; its secret is kept nowhere.

    Attributes:
        id: Names it in lists and in the audit.
        name: Of the person or program that has it.
        role: What it may do; each role may do all that the ones before it may.
        created_by: Who made it.
        created_seconds: Unix time.
        expires_seconds: Unix time from which it is no longer good.
        revoked_seconds: Unix time at which it was revoked; None: it was not.
    """

    id: str
    name: str
    role: Role
    created_by: str
    created_seconds: float
    expires_seconds: float
    revoked_seconds: float | None = None
