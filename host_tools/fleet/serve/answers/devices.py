"""What is told of devices, groups and what they run."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from host_tools.fleet.records.devices import DeviceState
from host_tools.fleet.serve.answers.answer import Answer, as_dict, in_order


class ProvidesAnswer(Answer):
    """What a device says it can run."""

    targets: list[str]
    engine: str
    agent_version: str
    memory_bytes: int | None


class DeviceAnswer(Answer):
    """A device; see `records.devices.Device`."""

    id: str
    group: str
    home: str
    configured: str
    tags: Annotated[list[str], BeforeValidator(in_order)]
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


Artifacts = Annotated[dict[str, ArtifactAnswer], BeforeValidator(as_dict)]


class SelectorAnswer(Answer):
    """Which devices a group takes by itself; see `records.devices.Selector`."""

    groups: Annotated[list[str], BeforeValidator(in_order)]
    tags: Annotated[list[str], BeforeValidator(in_order)]
    targets: Annotated[list[str], BeforeValidator(in_order)]
    engines: Annotated[list[str], BeforeValidator(in_order)]
    agent_versions: Annotated[list[str], BeforeValidator(in_order)]
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
    """A release; see `records.releases.Release`."""

    id: str
    model: str
    version: str
    counter: int
    artifacts: Artifacts
    created_by: str
    created_seconds: float


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
