"""What may be asked: one type a body, each field with its range, as OpenAPI shows it. What it means is checked where it is done."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from host_tools.fleet.records.access import Role
from host_tools.fleet.records.devices import Provides, Selector
from host_tools.fleet.records.gates import Gate, GateMeasure
from host_tools.fleet.records.releases import ReleasedArtifact
from host_tools.fleet.records.rollouts import PARTS_PER_MILLION, RolloutPlan, ScheduleWindow, Stage
from host_tools.fleet.rollout.plan_file import (
    DEFAULT_GATES,
    DEFAULT_STAGES,
    LONGEST_SECONDS,
    MOST_DEVICES,
    MOST_STAGES,
    MOST_WINDOWS,
)
from host_tools.fleet.serve import patterns

_DAY_SECONDS = 86_400
_MOST = 1 << 53


def _whole(value: Any) -> Any:
    """To JSON 3.0 is a whole number too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)
Name = Annotated[str, Field(pattern=patterns.NAME)]
Profile = Annotated[str, Field(pattern=patterns.PROFILE)]
Digest = Annotated[str, Field(pattern=patterns.DIGEST)]
Tag = Annotated[str, Field(pattern=patterns.TAG)]
Words = Annotated[str, Field(max_length=500, pattern=patterns.WORDS)]
Seconds = Annotated[float, Field(ge=1.0, le=LONGEST_SECONDS, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]

InDevice = Annotated[str, Path(pattern=patterns.NAME, description="Id of a device.")]
InGroup = Annotated[str, Path(pattern=patterns.NAME, description="Name of a group.")]
InRelease = Annotated[str, Path(pattern=patterns.RELEASE, description="Id of a release.")]
InRollout = Annotated[str, Path(pattern=patterns.NAME, description="Id of a rollout.")]
InStage = Annotated[int, Path(ge=0, lt=MOST_STAGES, description="Number of a stage, from 0.")]
InClaim = Annotated[str, Path(pattern=patterns.SHORT_ID, description="Id of a claim token.")]
InToken = Annotated[str, Path(pattern=patterns.SHORT_ID, description="Id of a token.")]
Limit = Annotated[int, Query(ge=1, le=1_000, description="How many at most.")]
AfterName = Annotated[str, Query(pattern=patterns.AFTER, description="`next` of the page before.")]
AfterNumber = Annotated[int, Query(ge=0, le=_MOST, description="`next` of the page before.")]


class Asked(BaseModel):
    """Base of all bodies: nothing else may be in one, and numbers are numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ProvidesAsked(Asked):
    """What a device can run, where it is known before the device says so."""

    targets: Annotated[list[Profile], Field(max_length=16)] = []
    engine: Words = ""
    agent_version: Words = ""
    memory_bytes: Annotated[int, Field(ge=0, le=_MOST), _WHOLE] | None = None

    def record(self) -> Provides:
        """Return it as it is stored."""
        return Provides(
            targets=tuple(self.targets),
            engine=self.engine,
            agent_version=self.agent_version,
            memory_bytes=self.memory_bytes,
        )


class DeviceAsked(Asked):
    """A device that is made known before it is heard."""

    id: Name
    group: Name
    tags: Annotated[list[Tag], Field(max_length=32)] = []
    provides: ProvidesAsked = ProvidesAsked()


class DeviceEdit(Asked):
    """What changes; what is left out stays."""

    group: Name | None = None
    tags: Annotated[list[Tag], Field(max_length=32)] | None = None


class Reason(Asked):
    """Why; it is kept in the audit."""

    reason: Words = ""


class PinAsked(Asked):
    """What a device shall run, whatever its group does; a device refuses what lies below what it has kept, unless it is allowed to."""

    release: Annotated[str, Field(pattern=patterns.RELEASE)]
    allow_downgrade: bool = False


_SOMETHING = [
    *(
        {"required": [name], "properties": {name: {"minItems": 1}}}
        for name in ("groups", "tags", "targets", "engines", "agent_versions")
    ),
    {"required": ["least_memory_bytes"], "properties": {"least_memory_bytes": {"type": "integer"}}},
]


class SelectorAsked(Asked):
    """Which devices a group takes by itself; see `records.devices.Selector`. Something must be given beside the rank."""

    model_config = ConfigDict(json_schema_extra={"anyOf": _SOMETHING})  # type: ignore[dict-item]  # lists of JSON are JSON

    groups: Annotated[list[Name], Field(max_length=32)] = []
    tags: Annotated[list[Tag], Field(max_length=32)] = []
    targets: Annotated[list[Profile], Field(max_length=16)] = []
    engines: Annotated[list[Profile], Field(max_length=16)] = []
    agent_versions: Annotated[
        list[Annotated[str, Field(pattern=patterns.VERSION)]], Field(max_length=32)
    ] = []
    least_memory_bytes: Annotated[int, Field(ge=1, le=_MOST), _WHOLE] | None = None
    rank: Annotated[int, Field(ge=0, le=1_000_000), _WHOLE] = 100

    def record(self) -> Selector:
        """Return it as it is stored."""
        return Selector(
            groups=frozenset(self.groups),
            tags=frozenset(self.tags),
            targets=frozenset(self.targets),
            engines=frozenset(self.engines),
            agent_versions=frozenset(self.agent_versions),
            least_memory_bytes=self.least_memory_bytes,
            rank=self.rank,
        )


class GroupAsked(Asked):
    """A new group."""

    name: Name
    note: Words = ""
    selector: SelectorAsked | None = None


class GroupEdit(Asked):
    """What changes of a group; what is left out stays.

    A selector of null takes the group's selector away: its devices go back to where people put them.
    """

    note: Words | None = None
    selector: Annotated[
        SelectorAsked | None,
        Field(description="Which devices it takes from now on; null: it takes none by itself any more."),
    ] = None


class ClaimAsked(Asked):
    """A claim token: lets one device have one certificate, once."""

    group: Name
    device: Annotated[str, Field(pattern=patterns.NAME_OR_NONE)] = ""
    lifetime_seconds: Annotated[float, Field(ge=60.0, le=366 * _DAY_SECONDS, allow_inf_nan=False)] = 86_400.0
    needs_approval: bool = False


class ArtifactAsked(Asked):
    """One artifact of a release, as it is signed in the repository."""

    path: Annotated[str, Field(pattern=patterns.TARGET_PATH)]
    digest: Digest
    size_bytes: Annotated[int, Field(ge=1, le=_MOST), _WHOLE]


class ReleaseAsked(Asked):
    """A version of a model, with one artifact for each capability profile."""

    model: Annotated[str, Field(pattern=patterns.MODEL)]
    version: Annotated[str, Field(pattern=patterns.VERSION)]
    counter: Annotated[int, Field(ge=1, le=_MOST), _WHOLE]
    artifacts: Annotated[
        dict[Profile, ArtifactAsked],
        Field(min_length=1, max_length=64, json_schema_extra={"additionalProperties": False}),
    ]

    def artifact_records(self) -> dict[str, ReleasedArtifact]:
        """Return the artifacts as they are stored."""
        return {
            profile: ReleasedArtifact(path=one.path, digest=one.digest, size_bytes=one.size_bytes)
            for profile, one in self.artifacts.items()
        }


class StageAsked(Asked):
    """A step of a rollout; see `records.rollouts.Stage`."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=patterns.WORDS)]
    share_ppm: Annotated[int, Field(ge=0, le=PARTS_PER_MILLION), _WHOLE]
    devices: Annotated[list[Name], Field(max_length=MOST_DEVICES)] = []
    success_ratio: Annotated[float, Field(ge=0.01, le=1.0, allow_inf_nan=False)] = 0.9
    error_ratio: Annotated[float, Field(ge=0.0001, le=1.0, allow_inf_nan=False)] = 0.1
    soak_seconds: Annotated[float, Field(ge=0.0, le=LONGEST_SECONDS, allow_inf_nan=False)] = 600.0
    needs_approval: bool = False

    def record(self) -> Stage:
        """Return it as it is stored."""
        return Stage(**{**dict(self), "devices": tuple(self.devices)})


class GateAsked(Asked):
    """What the candidate may cost; see `records.gates.Gate`."""

    measure: GateMeasure
    worst: Annotated[float, Field(ge=1e-6, le=1_000.0, allow_inf_nan=False)]
    confidence: Annotated[float, Field(ge=0.8, le=0.999999, allow_inf_nan=False)] = 0.99
    least_devices: Annotated[int, Field(ge=2, le=100_000), _WHOLE] = 5
    required: bool = False

    def record(self) -> Gate:
        """Return it as it is stored."""
        return Gate(**dict(self))


class WindowAsked(Asked):
    """When stages may begin; see `records.rollouts.ScheduleWindow`."""

    weekdays: Annotated[list[Annotated[int, Field(ge=0, le=6), _WHOLE]], Field(min_length=1, max_length=7)]
    begin_seconds: Annotated[int, Field(ge=0, lt=_DAY_SECONDS), _WHOLE]
    end_seconds: Annotated[int, Field(ge=0, le=_DAY_SECONDS), _WHOLE]

    def record(self) -> ScheduleWindow:
        """Return it as it is stored."""
        return ScheduleWindow(
            weekdays=frozenset(self.weekdays), begin_seconds=self.begin_seconds, end_seconds=self.end_seconds
        )


class RolloutAsked(Asked):
    """A rollout; see `records.rollouts.RolloutPlan`. Without stages or gates it has the usual ones; an empty list of gates means none."""

    id: Name
    release: Annotated[str, Field(pattern=patterns.RELEASE)]
    group: Name
    stages: Annotated[list[StageAsked], Field(min_length=1, max_length=MOST_STAGES)] | None = None
    gates: Annotated[list[GateAsked], Field(max_length=16)] | None = None
    windows: Annotated[list[WindowAsked], Field(max_length=MOST_WINDOWS)] = []
    job_seconds: Seconds = 3_600.0
    absent_seconds: Seconds = 86_400.0
    hold_seconds: Seconds = 86_400.0
    needs_approval: bool = False
    rolls_back: bool = True
    allow_downgrade: bool = False

    def record(self) -> RolloutPlan:
        """Return it as it is stored."""
        return RolloutPlan(
            id=self.id,
            release=self.release,
            group=self.group,
            stages=DEFAULT_STAGES if self.stages is None else tuple(one.record() for one in self.stages),
            gates=DEFAULT_GATES if self.gates is None else tuple(one.record() for one in self.gates),
            windows=tuple(one.record() for one in self.windows),
            job_seconds=self.job_seconds,
            absent_seconds=self.absent_seconds,
            hold_seconds=self.hold_seconds,
            needs_approval=self.needs_approval,
            rolls_back=self.rolls_back,
            allow_downgrade=self.allow_downgrade,
        )


class OrderAsked(Asked):
    """An order to a rollout; with the revision that was looked at, it is refused when the rollout has changed since."""

    revision: Annotated[int, Field(ge=0, le=_MOST), _WHOLE] | None = None


class TokenAsked(Asked):
    """A new token."""

    name: Annotated[str, Field(pattern=patterns.HOLDER)]
    role: Role
    lifetime_days: Annotated[float, Field(gt=0.0, le=3_660.0, allow_inf_nan=False)] = 90.0


HealthFilter = Literal["up", "degraded", "draining", "down", "unknown"]
