"""What a signed repository says beside the artifacts: `ReleaseFacts` of each, and `Desired`, what a device or group shall run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Final

from device_agent.contract.document import read_document, write_document
from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields

DESIRED_VERSION: Final = "1.0"
MAX_BYTES: Final = 1 << 16
MAX_TARGETS: Final = 64
MAX_COUNT: Final = (1 << 53) - 1
TARGET_PATH: Final = re.compile(
    r"models/([A-Za-z0-9_-][A-Za-z0-9._-]{0,127})/([A-Za-z0-9_-][A-Za-z0-9._+-]{0,199})"
)
"""A model's name, then a file's: nothing that could leave a folder."""
SUBJECT: Final = re.compile(r"(?:device|group)/[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredArtifact:
    """One artifact: its signed name in the repository, and its digest."""

    path: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a part of a group runs instead: a stage of a rollout.

    Attributes:
        artifacts: Capability profile to artifact.
        salt: What makes this trial's choice of devices another than that of the next.
        share_ppm: Share of the group, in parts per million.
        devices: Devices that belong besides, by name.
    """

    artifacts: Mapping[str, DesiredArtifact] = field(hash=False)
    salt: str
    share_ppm: int
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))


def belongs(trial: Trial, device: str) -> bool:
    """Say whether a device is in a trial; server and device compute the same, and a larger share keeps everybody."""
    number = int.from_bytes(hashlib.sha256(f"{trial.salt}\0{device}".encode()).digest()[:8], "big")
    return device in trial.devices or number * 1_000_000 < trial.share_ppm * 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What ``subject`` shall run.

    Attributes:
        subject: ``device/ID`` or ``group/NAME``.
        serial: Grows with every change; a device refuses an older one.
        artifacts: Capability profile to artifact.
        allow_downgrade: Permits a release below the device's floor.
        trial: What a part of the group runs instead; None: nothing.
    """

    subject: str
    serial: int
    artifacts: Mapping[str, DesiredArtifact] = field(hash=False)
    allow_downgrade: bool = False
    trial: Trial | None = None

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFacts:
    """What is signed about an artifact beside its length and digest; TUF calls it ``custom``.

    Attributes:
        model: The model's name.
        version: Its version.
        target: Capability profile id.
        release_counter: Its place in the order of releases.
    """

    model: str
    version: str
    target: str
    release_counter: int


def facts_document(facts: ReleaseFacts) -> dict[str, str | int]:
    """Return the facts as JSON values."""
    return asdict(facts)


def read_facts(document: object, *, where: str) -> ReleaseFacts:
    """Read the facts.

    Raises:
        ContractError: They are none.
    """
    if not isinstance(document, Mapping):
        raise ContractError(f"{where}: custom: expected an object, got {type(document).__name__}.")
    fields = Fields(document, where=where, path="custom.")
    return ReleaseFacts(
        model=fields.text("model", longest=128),
        version=fields.text("version", longest=128),
        target=fields.text("target", longest=128),
        release_counter=fields.integer("release_counter", low=1, high=MAX_COUNT),
    )


def desired_path(subject: str) -> str:
    """Return the signed name of a subject's desired state."""
    return f"desired/{subject}.json"


def encode(desired: Desired) -> bytes:
    """Write a desired state as JSON.

    Raises:
        ContractError: It breaks a rule.
    """
    data = write_document(
        {
            "schema_version": DESIRED_VERSION,
            "subject": desired.subject,
            "serial": desired.serial,
            "allow_downgrade": desired.allow_downgrade,
            "artifacts": {
                target: {"path": one.path, "digest": one.digest} for target, one in desired.artifacts.items()
            },
        },
        where="desired state",
    )
    decode(data, where="desired state", subject=desired.subject)
    return data


def decode(data: bytes, *, where: str, subject: str) -> Desired:
    """Read the desired state of ``subject``.

    Raises:
        ContractError: It is none, or another's.
    """
    fields = Fields(read_document(data, where=where, max_bytes=MAX_BYTES), where=where)
    fields.schema_version(DESIRED_VERSION)
    found = fields.text("subject", pattern=SUBJECT)
    if found != subject:
        raise ContractError(f"{where}: expected the desired state of {subject}, got that of {found}.")
    artifacts = fields.child("artifacts")
    if not 1 <= len(artifacts.names) <= MAX_TARGETS:
        fields.refuse("artifacts", f"1 to {MAX_TARGETS} profiles", len(artifacts.names))
    allow = fields.value("allow_downgrade")
    if not isinstance(allow, bool):
        fields.refuse("allow_downgrade", "true or false", allow)
    return Desired(
        subject=found,
        serial=fields.integer("serial", low=1, high=MAX_COUNT),
        artifacts={
            target: DesiredArtifact(
                path=artifacts.child(target).text("path", pattern=TARGET_PATH),
                digest=artifacts.child(target).digest("digest"),
            )
            for target in artifacts.names
        },
        allow_downgrade=allow,
    )
