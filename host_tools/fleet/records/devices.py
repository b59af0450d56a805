"""Devices and groups, and what a device or a group shall run."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.desired import DesiredArtifact
    from host_tools.fleet.records.releases import ReleasedArtifact

DeviceState = Literal["pending", "enrolled", "revoked", "decommissioned"]
"""`pending`: it has asked for a certificate and nobody has approved it."""


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
