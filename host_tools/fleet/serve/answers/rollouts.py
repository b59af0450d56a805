"""What is told of rollouts and their jobs."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from host_tools.fleet.records.gates import GateMeasure, GateOutcome
from host_tools.fleet.records.jobs import JobResult, JobState
from host_tools.fleet.records.rollouts import RolloutState, StageState
from host_tools.fleet.serve.answers.answer import Answer, in_order
from host_tools.fleet.serve.answers.devices import Artifacts, SelectorAnswer


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

    weekdays: Annotated[list[int], BeforeValidator(in_order)]
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
    """Jobs of a stage by how they are; see `records.jobs.JobCounts`."""

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
    """What one device owes one rollout; see `records.jobs.Job`."""

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
