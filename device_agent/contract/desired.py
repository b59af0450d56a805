"""What a signed repository says beside the artifacts: `ReleaseFacts` of each, and `Desired`, what a device or group shall run.

A group's desired state may carry a `Trial`: a share of the group, and named devices, run something else (ADR 0021). It says what the
model of ``[artifact]`` shall be, and in `Desired.models` what the others shall be (ADR 0024).
"""

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
from device_agent.contract.model_names import MAIN_MODEL, MAX_MODELS, MODEL_NAME

DESIRED_VERSION: Final = "1.3"
"""1.1: `Desired.trial` and `DesiredArtifact.since`. 1.2: `Desired.follows`. 1.3: `Desired.models`."""
MAX_BYTES: Final = 1 << 16
MAX_TARGETS: Final = 64
MAX_DEVICES: Final = 256
"""Devices that a trial names."""
WHOLE_SHARE: Final = 1_000_000
MAX_COUNT: Final = (1 << 53) - 1
TARGET_PATH: Final = re.compile(
    r"models/([A-Za-z0-9_-][A-Za-z0-9._-]{0,127})/([A-Za-z0-9_-][A-Za-z0-9._+-]{0,199})"
)
"""A model's name, then a file's: nothing that could leave a folder."""
SUBJECT: Final = re.compile(r"(?:device|group)/[A-Za-z0-9_-]{1,64}")
GROUP: Final = re.compile(r"group/[A-Za-z0-9_-]{1,64}")
_DEVICE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SALT: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredArtifact:
    """One artifact.

    Attributes:
        path: Its signed name in the repository.
        digest: Of the file.
        since: Serial of the desired state that first asked for it, or asked for it anew. A device on which it failed at this serial or
            later does not try it again. 0: with every new serial.
    """

    path: str
    digest: str
    since: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a part of a group runs in place of what the others do.

    Attributes:
        artifacts: Capability profile to artifact. A device whose profile is not among them runs what the others do.
        salt: Which devices a share means hangs on it; of 1 to 128 letters, digits, ``_``, ``.`` and ``-``.
        share_ppm: How much of the group, in parts per million. Growing it keeps every device that was in it.
        devices: Devices that belong to it besides, at most `MAX_DEVICES`.
    """

    artifacts: Mapping[str, DesiredArtifact] = field(hash=False)
    salt: str
    share_ppm: int
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredModel:
    """What one of several models shall be.

    Attributes:
        artifacts: Capability profile to artifact. Empty only beside a trial, where the others keep what they have.
        allow_downgrade: Permits a release below the model's floor on the device.
        trial: What a part of the group runs instead; None: there is none.
    """

    artifacts: Mapping[str, DesiredArtifact] = field(hash=False)
    allow_downgrade: bool = False
    trial: Trial | None = None

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What ``subject`` shall run.

    Attributes:
        subject: ``device/ID`` or ``group/NAME``.
        serial: Grows with every change; a device refuses an older one.
        artifacts: Capability profile to artifact, of the model of ``[artifact]``. Empty only where it keeps what it has: beside a trial or
            `models`, and with `follows`.
        allow_downgrade: Permits a release below the device's floor.
        trial: What a part of the group runs instead; None: there is none.
        models: Names of the tables ``[[model]]`` to what these shall be, at most `MAX_MODELS` - 1; one that is not named keeps what it has.
        follows: Of a single device: the group, as ``group/NAME``, whose desired state is its own from now on, in place of the one that its
            configuration names. Empty: this state says itself what to run.
    """

    subject: str
    serial: int
    artifacts: Mapping[str, DesiredArtifact] = field(hash=False)
    allow_downgrade: bool = False
    trial: Trial | None = None
    models: Mapping[str, DesiredModel] = field(default_factory=dict, hash=False)
    follows: str = ""

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))
        object.__setattr__(self, "models", MappingProxyType(dict(self.models)))

    @classmethod
    def of_models(
        cls,
        *,
        subject: str,
        serial: int,
        main: DesiredModel,
        models: Mapping[str, DesiredModel],
        follows: str = "",
    ) -> Desired:
        """Return what a subject shall run, from what each of its models shall be; the main one's is said by the state itself."""
        return cls(
            subject=subject,
            serial=serial,
            artifacts=main.artifacts,
            allow_downgrade=main.allow_downgrade,
            trial=main.trial,
            models=models,
            follows=follows,
        )

    def of_model(self, name: str) -> DesiredModel | None:
        """Return what one model of the device shall be; None: nothing is said of it."""
        if name != MAIN_MODEL:
            return self.models.get(name)
        if not self.artifacts and self.trial is None:
            return None
        return DesiredModel(artifacts=self.artifacts, allow_downgrade=self.allow_downgrade, trial=self.trial)


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


def share_number(salt: str, device: str) -> int:
    """Return a device's place in a group, from 0 to 2**64 - 1: the first 8 bytes of SHA-256(salt, NUL, device id), big-endian."""
    return int.from_bytes(hashlib.sha256(f"{salt}\0{device}".encode()).digest()[:8], "big")


def belongs(trial: Trial, device: str) -> bool:
    """Say whether a device runs the trial: it is named, or lies in the share. Server and device ask the same function."""
    if device in trial.devices:
        return True
    return share_number(trial.salt, device) * WHOLE_SHARE < trial.share_ppm << 64


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
    document: dict[str, object] = {
        "schema_version": DESIRED_VERSION,
        "subject": desired.subject,
        "serial": desired.serial,
        **_plain_model(desired),
    }
    if desired.models:
        document["models"] = {name: _plain_model(one) for name, one in desired.models.items()}
    if desired.follows:
        document["follows"] = desired.follows
    data = write_document(document, where="desired state")
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
    serial = fields.integer("serial", low=1, high=MAX_COUNT)
    follows = fields.text("follows", pattern=GROUP) if fields.has("follows") else ""
    if follows and not found.startswith("device/"):
        fields.refuse("follows", "none beside the desired state of a group", follows)
    models = _models(fields, found, serial) if fields.has("models") else {}
    main = _model(fields, found, serial, may_be_empty=bool(follows or models))
    for key, there in (("artifacts", main.artifacts), ("models", models)):
        if follows and there:
            fields.refuse(key, "none beside follows", len(there))
    return Desired.of_models(subject=found, serial=serial, main=main, models=models, follows=follows)


def _models(fields: Fields, subject: str, serial: int) -> dict[str, DesiredModel]:
    models = fields.child("models")
    if len(models.names) >= MAX_MODELS:
        fields.refuse("models", f"at most {MAX_MODELS - 1} names", len(models.names))
    for name in models.names:
        if name == MAIN_MODEL or MODEL_NAME.fullmatch(name) is None:
            fields.refuse("models", f"names like {MODEL_NAME.pattern} other than {MAIN_MODEL}", name)
    return {name: _model(models.child(name), subject, serial) for name in models.names}


def _model(fields: Fields, subject: str, serial: int, *, may_be_empty: bool = False) -> DesiredModel:
    allow = fields.boolean("allow_downgrade")
    trial = _trial(fields.child("trial"), serial) if fields.has("trial") else None
    if trial is not None and not subject.startswith("group/"):
        fields.refuse("trial", "none beside the desired state of a single device", subject)
    artifacts = _artifacts(fields, serial, least=0 if may_be_empty or trial is not None else 1)
    return DesiredModel(artifacts=artifacts, allow_downgrade=allow, trial=trial)


def _trial(fields: Fields, serial: int) -> Trial:
    devices = fields.texts("devices", least=0, most=MAX_DEVICES)
    for device in devices:
        if _DEVICE.fullmatch(device) is None:
            fields.refuse("devices", f"device ids like {_DEVICE.pattern}", device)
    return Trial(
        artifacts=_artifacts(fields, serial, least=1),
        salt=fields.text("salt", pattern=_SALT),
        share_ppm=fields.integer("share_ppm", low=0, high=WHOLE_SHARE),
        devices=devices,
    )


def _artifacts(fields: Fields, serial: int, *, least: int) -> dict[str, DesiredArtifact]:
    artifacts = fields.child("artifacts")
    if not least <= len(artifacts.names) <= MAX_TARGETS:
        fields.refuse("artifacts", f"{least} to {MAX_TARGETS} profiles", len(artifacts.names))
    return {target: _artifact(artifacts.child(target), serial) for target in artifacts.names}


def _artifact(fields: Fields, serial: int) -> DesiredArtifact:
    return DesiredArtifact(
        path=fields.text("path", pattern=TARGET_PATH),
        digest=fields.digest("digest"),
        since=fields.integer("since", low=0, high=serial) if fields.has("since") else 0,
    )


def _plain_model(model: Desired | DesiredModel) -> dict[str, object]:
    document: dict[str, object] = {
        "allow_downgrade": model.allow_downgrade,
        "artifacts": _plain_artifacts(model.artifacts),
    }
    if model.trial is not None:
        document["trial"] = {
            "artifacts": _plain_artifacts(model.trial.artifacts),
            "salt": model.trial.salt,
            "share_ppm": model.trial.share_ppm,
            "devices": model.trial.devices,
        }
    return document


def _plain_artifacts(artifacts: Mapping[str, DesiredArtifact]) -> dict[str, dict[str, str | int]]:
    return {
        target: {"path": one.path, "digest": one.digest} | ({"since": one.since} if one.since else {})
        for target, one in artifacts.items()
    }
