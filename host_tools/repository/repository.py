"""`Repository`: artifacts, what devices shall run, and the signatures over both. Files appear whole, the timestamp last."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from device_agent.contract import desired
from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.errors import ContractError
from device_agent.durable import write_durably
from host_tools.errors import InputError, OutputError
from host_tools.repository.roles import FLEET, MODEL_PREFIX, RULES, rule_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner

    from host_tools.repository.keys import KeyRing

_Signed = TypeVar("_Signed", Root, Timestamp, Snapshot, Targets)
_TOP: Final = ("root", "targets", "snapshot", "timestamp")
_HASH: Final = "sha256"


class Repository:
    """A repository on disk.

    Args:
        folder: Holds ``metadata/`` and ``targets/``.
        keys: Private keys; of a role that is signed anew, at least its threshold.
    """

    def __init__(self, folder: Path, keys: KeyRing) -> None:
        self._folder = folder
        self._keys = keys
        self._metadata = folder / "metadata"

    def init(self) -> Path:
        """Make keys and first metadata; return the bootstrap root for the devices.

        Raises:
            InputError: There is a repository already.
            OutputError: It cannot be written.
        """
        if self._metadata.exists():
            raise InputError(f"{self._folder}: there is a repository already.")
        root = Root(consistent_snapshot=True, expires=_expires("root"))
        for role in _TOP:
            for signer in self._keys.make(role, RULES[role].keys):
                root.add_key(signer.public_key, role)
            root.roles[role].threshold = RULES[role].threshold
        targets = Targets(expires=_expires("targets"))
        self._delegate(targets, FLEET, ["desired/device/*.json", "desired/group/*.json"])
        self._write("root", root)
        self._write("targets", targets)
        self._write(FLEET, Targets(expires=_expires(FLEET)))
        self._publish({"targets": 1, FLEET: 1})
        return self._metadata / "1.root.json"

    def add(self, artifact: Path, *, release_counter: int) -> str:
        """Add an artifact; return its signed name.

        Args:
            artifact: ``.ewa`` file; every digest in it is checked.
            release_counter: Its place in the order of the model's releases, at least 1.

        Raises:
            InputError: There is no repository, a name is not in the grammar, or the name is taken by other bytes.
            ContractError: It is no artifact.
            TrustError: Its bytes are not what its manifest says.
            OutputError: It cannot be written.
        """
        archive = ArtifactArchive.open(artifact)
        archive.check_members()
        manifest = archive.manifest
        path = f"models/{manifest.name}/{artifact.name}"
        if desired.TARGET_PATH.fullmatch(path) is None:
            raise InputError(
                f"{artifact.name}: {path!r} is no name for a repository: letters, digits, '.', '_', '-'."
            )
        if not 1 <= release_counter <= desired.MAX_COUNT:
            raise InputError(f"release_counter: expected 1 to {desired.MAX_COUNT}, got {release_counter}.")
        facts = desired.ReleaseFacts(
            model=manifest.name,
            version=manifest.version,
            target=manifest.target,
            release_counter=release_counter,
        )
        role = f"{MODEL_PREFIX}{manifest.name}"
        signed = self._model_role(role, manifest.name)
        target = TargetFile.from_file(path, str(artifact), [_HASH])
        target.unrecognized_fields["custom"] = desired.facts_document(facts)
        before = signed.targets.get(path)
        if before is not None and before.hashes != target.hashes:
            raise InputError(
                f"{path}: is there already, with other bytes.", hint="Give the file another name."
            )
        signed.targets[path] = target
        self._put_target(path, artifact.read_bytes(), archive.digest)
        self._renewed({role: signed})
        return path

    def release(
        self, subject: str, paths: Sequence[str], *, allow_downgrade: bool = False
    ) -> desired.Desired:
        """Say what a device or a group shall run; return the new desired state.

        Args:
            subject: ``device/ID`` or ``group/NAME``.
            paths: Signed names, at most one a capability profile.
            allow_downgrade: Permit a release below the devices' floor.

        Raises:
            InputError: A name is unknown, or two are for one profile.
            OutputError: It cannot be written.
        """
        name, fleet = desired.desired_path(subject), self._targets(FLEET)
        before = fleet.targets.get(name)
        serial = 1 if before is None else int(before.unrecognized_fields["custom"]["serial"]) + 1
        artifacts: dict[str, desired.DesiredArtifact] = {}
        for path in paths:
            target, facts = self._released(path)
            if facts.target in artifacts:
                raise InputError(f"{path}: another artifact is for {facts.target} already.")
            artifacts[facts.target] = desired.DesiredArtifact(
                path=path, digest=f"sha256:{target.hashes[_HASH]}"
            )
        wanted = desired.Desired(
            subject=subject, serial=serial, artifacts=artifacts, allow_downgrade=allow_downgrade
        )
        try:
            data = desired.encode(wanted)
        except ContractError as error:
            raise InputError(str(error)) from error
        target = TargetFile.from_data(name, data, [_HASH])
        target.unrecognized_fields["custom"] = {"serial": serial}
        fleet.targets[name] = target
        self._put_target(name, data, f"sha256:{target.hashes[_HASH]}")
        self._renewed({FLEET: fleet})
        return wanted

    def refresh(self) -> None:
        """Sign the timestamp and snapshot anew, so that they do not expire; the keys of the other roles are not needed.

        Raises:
            InputError: There is no repository, or a key is missing.
            OutputError: It cannot be written.
        """
        self._renewed({})

    def rotate(self, role: str) -> None:
        """Give a role new keys and take the old ones from it. Of root, old and new keys sign the new version.

        Raises:
            InputError: The role is unknown, or a key is missing.
            OutputError: It cannot be written.
        """
        old = self._keys.of(role)
        if role in _TOP:
            self._rotate_top(role, old)
            return
        targets = self._targets("targets")
        if targets.delegations is None or role not in (targets.delegations.roles or {}):
            raise InputError(f"role {role!r} is unknown.")
        signed = self._targets(role)
        for signer in old:
            targets.revoke_key(signer.public_key.keyid, role)
        for signer in self._keys.make(role, rule_of(role).keys):
            targets.add_key(signer.public_key, role)
        self._renewed({"targets": targets, role: signed})

    # --- roles ---

    def _rotate_top(self, role: str, old: Sequence[CryptoSigner]) -> None:
        root = self._root()
        # Before anything is made: devices follow a new root only when enough of the keys that they trust have signed it.
        trusted = root.roles["root"]
        here = sum(one.public_key.keyid in trusted.keyids for one in self._keys.of("root"))
        if here < trusted.threshold:
            raise InputError(f"role 'root': {trusted.threshold} keys must sign, {here} are here.")
        for signer in old:
            if signer.public_key.keyid in root.roles[role].keyids:
                root.revoke_key(signer.public_key.keyid, role)
        for signer in self._keys.make(role, RULES[role].keys):
            root.add_key(signer.public_key, role)
        root.version += 1
        root.expires = _expires("root")
        self._write("root", root, also=old if role == "root" else ())
        self._renewed({"targets": self._targets("targets")} if role == "targets" else {})

    def _model_role(self, role: str, model: str) -> Targets:
        if self._version(role):
            return self._targets(role)
        targets = self._targets("targets")
        self._delegate(targets, role, [f"models/{model}/*"])
        self._renewed({"targets": targets, role: Targets(expires=_expires(role))})
        return self._targets(role)

    def _delegate(self, targets: Targets, role: str, patterns: list[str]) -> None:
        rule = rule_of(role)
        if targets.delegations is None:
            targets.delegations = Delegations({}, {})
        roles = cast("dict[str, DelegatedRole]", targets.delegations.roles)
        roles[role] = DelegatedRole(role, [], rule.threshold, terminating=True, paths=patterns)
        for signer in self._keys.of(role) or self._keys.make(role, rule.keys):
            targets.add_key(signer.public_key, role)

    def _released(self, path: str) -> tuple[TargetFile, desired.ReleaseFacts]:
        match = desired.TARGET_PATH.fullmatch(path)
        role = f"{MODEL_PREFIX}{match[1]}" if match else ""
        target = self._targets(role).targets.get(path) if role and self._version(role) else None
        if target is None:
            raise InputError(
                f"{path}: is not in the repository.", hint="Add it with `edgewright repository add`."
            )
        return target, desired.read_facts(target.unrecognized_fields.get("custom"), where=path)

    # --- files ---

    def _renewed(self, roles: Mapping[str, Targets]) -> None:
        """Sign roles anew, then snapshot and timestamp."""
        versions = {}
        for role, signed in roles.items():
            signed.version = self._version(role) + 1
            signed.expires = _expires(role)
            self._write(role, signed)
            versions[role] = signed.version
        self._publish(versions)

    def _publish(self, versions: Mapping[str, int]) -> None:
        number = self._version("snapshot")
        snapshot = self._load("snapshot", Snapshot) if number else Snapshot()
        for role, version in versions.items():
            snapshot.meta[f"{role}.json"] = MetaFile(version)
        snapshot.version, snapshot.expires = number + 1, _expires("snapshot")
        self._write("snapshot", snapshot)
        before = self._metadata / "timestamp.json"
        timestamp = Timestamp()
        if before.exists():
            timestamp = self._read(before, Timestamp)
            timestamp.version += 1
        timestamp.expires = _expires("timestamp")
        timestamp.snapshot_meta = MetaFile(snapshot.version)
        self._write("timestamp", timestamp)

    def _write(self, role: str, signed: Any, *, also: Sequence[CryptoSigner] = ()) -> None:
        metadata = Metadata(signed)
        allowed, threshold = self._allowed(role, signed)
        signers = {one.public_key.keyid: one for one in (*self._keys.of(role), *also)}
        wanted = [one for keyid, one in signers.items() if keyid in allowed or one in also]
        if sum(one.public_key.keyid in allowed for one in wanted) < threshold:
            raise InputError(f"role {role!r}: {threshold} keys must sign, {len(wanted)} are here.")
        for signer in wanted:
            metadata.sign(signer, append=True)
        name = "timestamp.json" if role == "timestamp" else f"{signed.version}.{role}.json"
        _put(self._metadata / name, metadata.to_bytes(JSONSerializer(compact=True)))

    def _allowed(self, role: str, signed: Any) -> tuple[Sequence[str], int]:
        """Return the keys that may sign a role, and how many must."""
        if role in _TOP:
            top = (signed if role == "root" else self._root()).roles[role]
            return top.keyids, top.threshold
        delegations = self._targets("targets").delegations
        delegated = None if delegations is None or delegations.roles is None else delegations.roles.get(role)
        if delegated is None:
            raise InputError(f"role {role!r} is unknown.")
        return delegated.keyids, delegated.threshold

    def _put_target(self, path: str, data: bytes, digest: str) -> None:
        folder, _, name = path.rpartition("/")
        _put(self._folder / "targets" / folder / f"{digest.partition(':')[2]}.{name}", data)

    def _root(self) -> Root:
        return self._load("root", Root)

    def _targets(self, role: str) -> Targets:
        return self._load(role, Targets)

    def _version(self, role: str) -> int:
        """Return a role's newest version; 0 when it has none."""
        found = self._metadata.glob(f"*.{role}.json") if self._metadata.is_dir() else ()
        numbers = [path.name.removesuffix(f".{role}.json") for path in found]
        return max((int(number) for number in numbers if number.isdigit()), default=0)

    def _load(self, role: str, kind: type[_Signed]) -> _Signed:
        number = self._version(role)
        if not number:
            raise InputError(
                f"{self._folder}: no metadata of role {role!r}.",
                hint="Make it with `edgewright repository init`.",
            )
        return self._read(self._metadata / f"{number}.{role}.json", kind)

    @staticmethod
    def _read(path: Path, kind: type[_Signed]) -> _Signed:
        try:
            metadata: Metadata[_Signed] = Metadata.from_file(str(path))
        except (RepositoryError, OSError) as error:
            raise InputError(f"{path}: is no metadata that can be read: {error}.") from error
        if not isinstance(metadata.signed, kind):
            raise InputError(f"{path}: expected metadata of another role.")
        return metadata.signed


def _expires(role: str) -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0) + rule_of(role).lifetime


def _put(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, data)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}.") from error
