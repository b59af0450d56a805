"""`Repository`: artifacts, what devices shall run, and the signatures over both. Files appear whole, the timestamp last."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from tuf.api.metadata import DelegatedRole, Delegations, Root, TargetFile, Targets

from device_agent.contract import desired
from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.errors import ContractError
from host_tools.errors import InputError, StaleError
from host_tools.repository.desires import (
    Move,
    anew,
    asked_since,
    groups_of,
    is_below,
    kept,
    released,
    says_the_same,
    unfollowed,
)
from host_tools.repository.roles import FLEET, MODEL_PREFIX, RULES, rule_of
from host_tools.repository.signed_folder import TOP, SignedFolder, expires, put

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from securesystemslib.signer import Signer

    from host_tools.repository.keys import KeyRing

_HASH: Final = "sha256"
_OF_DEVICE: Final = "desired/device/"

MOST_FOLLOWING: Final = 15_000
"""Records of devices that follow another group than they are configured for: together well below the 5 MB that a device reads."""


class Repository:
    """A repository on disk. One writer at a time: a second one waits, and gives up after half a minute.

    Args:
        folder: Holds ``metadata/`` and ``targets/``.
        keys: Private keys; of a role that is signed anew, at least its threshold.

    Raises:
        OutputError: From all that write: another process is writing, or the folder cannot be written.
    """

    def __init__(self, folder: Path, keys: KeyRing) -> None:
        self._folder = folder
        self._keys = keys
        self.signed = SignedFolder(folder, keys)

    def init(self) -> Path:
        """Make keys and first metadata; return the bootstrap root for the devices. One that was broken off begins anew.

        Raises:
            InputError: There is a repository already.
            OutputError: It cannot be written.
        """
        with self.signed.alone(new=True):
            if self.signed.is_published:
                raise InputError(f"{self._folder}: there is a repository already.")
            root = Root(consistent_snapshot=True, expires=expires("root"))
            for role in TOP:
                for signer in self._keys.make(role, RULES[role].keys):
                    root.add_key(signer.public_key, role)
                root.roles[role].threshold = RULES[role].threshold
            targets = Targets(expires=expires("targets"))
            self._delegate(targets, FLEET, ["desired/device/*.json", "desired/group/*.json"])
            path = self.signed.put_root(root)
            self.signed.renew({"targets": targets, FLEET: Targets(expires=expires(FLEET))})
        return path

    def add(self, artifact: Path, *, release_counter: int) -> str:
        """Add an artifact; return its signed name. As `add_all`, of one."""
        return self.add_all([artifact], release_counter=release_counter)[0]

    def add_all(self, artifacts: Sequence[Path], *, release_counter: int) -> list[str]:
        """Add the artifacts of one model, all or none; return their signed names.

        Args:
            artifacts: ``.ewa`` files; every digest in them is checked.
            release_counter: Their place in the order of the model's releases, at least 1.

        Raises:
            InputError: There is no repository, a name is not in the grammar or is taken by other bytes, or they are of several models.
            ContractError: One is no artifact.
            TrustError: Its bytes are not what its manifest says.
            OutputError: It cannot be written.
        """
        if not 1 <= release_counter <= desired.MAX_COUNT:
            raise InputError(f"release_counter: expected 1 to {desired.MAX_COUNT}, got {release_counter}.")
        archives = [_checked_archive(path) for path in artifacts]
        model = archives[0].manifest.name
        names = [_signed_name(path, archive) for path, archive in zip(artifacts, archives, strict=True)]
        for path, archive in zip(artifacts, archives, strict=True):
            if archive.manifest.name != model:
                raise InputError(
                    f"{path.name}: is of model {archive.manifest.name!r}, the first is of {model!r}."
                )
        role = f"{MODEL_PREFIX}{model}"
        with self.signed.alone():
            signed = self._model_role(role, model)
            for name, path, archive in zip(names, artifacts, archives, strict=True):
                signed.targets[name] = _target(name, path, archive, release_counter, signed.targets.get(name))
                self._put_target(name, path.read_bytes(), archive.digest)
            self.signed.renew({role: signed})
        return names

    def release(
        self,
        subject: str,
        paths: Sequence[str],
        *,
        models: Mapping[str, Sequence[str]] = MappingProxyType({}),
        allow_downgrade: bool = False,
        trial: desired.Trial | None = None,
    ) -> desired.Desired:
        """Ask a device or a group to run something, anew where it has failed before; return the new desired state.

        Models that are not named are asked for as they were, and not anew.

        Args:
            subject: ``device/ID`` or ``group/NAME``.
            paths: Signed names for the main model, at most one a capability profile; none: it is not named.
            models: The same for the tables ``[[model]]``, by their names; none: nothing is said of that model any more.
            allow_downgrade: Permit a release below the devices' floor, for the models that are named.
            trial: What a part of a group runs instead, of the main model, which is named then.

        Raises:
            InputError: A name is unknown, two are for one profile, or nothing is named.
            OutputError: It cannot be written.
        """
        if not paths and not models and trial is None:
            raise InputError(f"{subject}: nothing is named that it shall run.")
        with self.signed.alone():
            main = None
            if paths or trial is not None:
                main = desired.DesiredModel(
                    artifacts=self._by_profile(paths), allow_downgrade=allow_downgrade, trial=trial
                )
            others = {
                name: desired.DesiredModel(artifacts=self._by_profile(one), allow_downgrade=allow_downgrade)
                for name, one in models.items()
            }
            serial, before = self._serial(subject) + 1, self.desired_of(subject)
            return self._sign_desired(
                released(before, subject=subject, serial=serial, main=main, models=others)
            )

    def ensure(
        self,
        subject: str,
        artifacts: Mapping[str, desired.DesiredArtifact],
        *,
        trial: desired.Trial | None = None,
        allow_downgrade: bool | None = None,
        ask_anew: bool = False,
        is_current: Callable[[], bool] | None = None,
    ) -> desired.Desired:
        """Make the newest desired state say this, and sign only if it does not; return it. May be repeated as often as one likes.

        It is about the main model: what is asked of the others stays.

        An artifact that was desired before, by the others or in a trial, keeps the serial that asked for it: devices on which it failed do not
        try it again because a share has grown.

        Args:
            subject: ``device/ID`` or ``group/NAME``.
            artifacts: Capability profile to artifact.
            trial: What a part of the group runs instead.
            allow_downgrade: Permit a release below the devices' floor. None: exactly when one of ``artifacts`` lies below something that this
                subject was asked to run before, or is in the trial: a device that leaves a trial must be able to go back.
            ask_anew: Ask for all of it anew, also where it has failed.
            is_current: Asked when nobody else can sign any more: whether this is wanted still; None: it is.

        Raises:
            StaleError: It is not wanted any more.
            InputError: A name or digest is not what is signed, or a rule of the contract is broken.
            OutputError: It cannot be written.
        """
        with self.signed.alone():
            if is_current is not None and not is_current():
                raise StaleError(f"{subject}: something newer is wanted by now; nothing was signed.")
            before, highest = self.desired_of(subject), self._highest(subject)
            counters = self._counters(artifacts)
            most = max([highest, *counters, *self._counters({} if trial is None else trial.artifacts)])
            wanted = desired.Desired(
                subject=subject,
                serial=self._serial(subject) + 1,
                artifacts=artifacts,
                allow_downgrade=is_below(counters, most) if allow_downgrade is None else allow_downgrade,
                trial=trial,
                models={} if before is None else kept(before).models,
            )
            if before is not None and not ask_anew and says_the_same(before, wanted):
                return before
            return self._sign_desired(
                anew(wanted) if before is None or ask_anew else asked_since(wanted, before)
            )

    def follow(self, moves: Sequence[Move], *, is_current: Callable[[], bool] | None = None) -> None:
        """Let devices follow another group than the one that their configuration names; all or none, and once is as good as twice.

        The groups' states are signed again with serials above all others, since a device refuses one below what it has followed, and permit a
        release below what the former group was asked to run. A device that has a desired state of its own keeps that, unless it unpins it.

        Every device reads the records of all, so those go that are not needed any more: of a device that is gone, and of one whose own
        configuration names the group. The latter stays while the group has no desired state: only the record has the serial that keeps the
        first one above what the device has followed.

        Args:
            moves: Each device once.
            is_current: As for `ensure`.

        Raises:
            StaleError: It is not wanted any more.
            InputError: A name is none, there would be more than `MOST_FOLLOWING` records, or the repository is damaged.
            OutputError: It cannot be written.
        """
        with self.signed.alone():
            if is_current is not None and not is_current():
                raise StaleError("devices were moved again by now; nothing was signed.")
            fleet = self.signed.targets(FLEET)
            customs = {name: _custom_of(target) for name, target in fleet.targets.items()}
            fresh = unfollowed(moves, customs)
            if not fresh:
                return
            serial = max((custom.get("serial", 0) for custom in customs.values()), default=0)
            for group, former in sorted(groups_of(fresh).items()):
                state = self.desired_of(group)
                if state is not None:
                    serial += 1
                    highest = max([self._highest(group), *map(self._highest, former)])
                    allow = state.allow_downgrade or is_below(self._counters(state.artifacts), highest)
                    dated = asked_since(replace(state, serial=serial, allow_downgrade=allow), state)
                    self._put_desired(fleet, dated, {"highest_counter": highest})
            for move in fresh:
                if not move.group or (
                    move.needs_no_record and self.desired_of(move.group_subject) is not None
                ):
                    del fleet.targets[desired.desired_path(move.subject)]
                    continue
                serial += 1
                redirect = desired.Desired(
                    subject=move.subject, serial=serial, artifacts={}, follows=move.group_subject
                )
                self._put_desired(fleet, redirect, {"follows": move.group_subject})
            records = len(_followed(fleet))
            if records > MOST_FOLLOWING:
                raise InputError(
                    f"devices that follow another group than they are configured for: expected at most {MOST_FOLLOWING}, got {records}.",
                    hint="Every device reads them all. Name the group in their agent.toml ([update] group), and the records go.",
                )
            self.signed.renew({FLEET: fleet})

    def followed(self) -> Mapping[str, str]:
        """Return the devices of which a record says which group they follow, with that group.

        Raises:
            InputError: The repository is damaged, or there is none.
        """
        return _followed(self.signed.targets(FLEET))

    def pinned(self) -> Mapping[str, int]:
        """Return the devices that have a desired state of their own, which does not only say which group they follow, with its serial.

        Raises:
            InputError: The repository is damaged, or there is none.
        """
        devices = _of_devices(self.signed.targets(FLEET))
        return {
            device: int(custom.get("serial", 0))
            for device, custom in devices.items()
            if "follows" not in custom
        }

    def desired_of(self, subject: str) -> desired.Desired | None:
        """Return what a subject is asked to run; None: nothing.

        Raises:
            InputError: The repository is damaged.
        """
        name = desired.desired_path(subject)
        target = self.signed.targets(FLEET).targets.get(name)
        if target is None:
            return None
        path = self._target_path(name, _digest(target))
        try:
            return desired.decode(path.read_bytes(), where=str(path), subject=subject)
        except (OSError, ContractError) as error:
            raise InputError(f"{path}: is no desired state that can be read: {error}.") from error

    def released(self, model: str) -> Mapping[str, tuple[desired.ReleaseFacts, str, int]]:
        """Return a model's artifacts: signed name to its facts, digest and length.

        Raises:
            InputError: The repository is damaged, or there is none.
        """
        role = f"{MODEL_PREFIX}{model}"
        targets = self.signed.targets(role).targets if self.signed.version(role) else {}
        return {
            path: (_facts(target, path), _digest(target), target.length) for path, target in targets.items()
        }

    def refresh(self, roles: Sequence[str] = ()) -> None:
        """Sign the timestamp and snapshot anew, so that they do not expire; the keys of the other roles are not needed.

        Args:
            roles: Others that are signed anew as well, as they are: root, targets, fleet, model-NAME.

        Raises:
            InputError: There is no repository, a role is unknown, or a key is missing.
            OutputError: It cannot be written.
        """
        with self.signed.alone():
            known = self.signed.ends()
            for role in roles:
                if role not in known:
                    raise InputError(f"role {role!r} is unknown.", hint=f"There are {', '.join(known)}.")
            if "root" in roles:
                root = self.signed.root()
                root.version += 1
                root.expires = expires("root")
                self.signed.put_root(root)
            again = [role for role in known if role in roles and (role == "targets" or role not in TOP)]
            self.signed.renew({role: self.signed.targets(role) for role in again})

    def rotate(self, role: str, *, uris: Sequence[str] = ()) -> None:
        """Give a role new keys and take the old ones from it. Of root, old and new keys sign the new version.

        At every moment devices find signatures that the root they know, or the next one, asks for.

        Args:
            role: Which.
            uris: Keys in hardware, as many as the role has; none: new ones are made, as files.

        Raises:
            InputError: The role is unknown, a key is missing, or one in hardware cannot be used.
            OutputError: It cannot be written.
        """
        with self.signed.alone():
            if role in TOP:
                self._rotate_top(role, self._keys.of(role), uris)
                return
            targets = self.signed.targets("targets")
            if targets.delegations is None or role not in (targets.delegations.roles or {}):
                raise InputError(f"role {role!r} is unknown.")
            signed = self.signed.targets(role)
            new = self._new_keys(role, uris)
            for keyid in list(cast("dict[str, DelegatedRole]", targets.delegations.roles)[role].keyids):
                targets.revoke_key(keyid, role)
            for signer in new:
                targets.add_key(signer.public_key, role)
            self.signed.renew({"targets": targets, role: signed})

    # --- roles ---

    def _new_keys(self, role: str, uris: Sequence[str]) -> list[Signer]:
        count = rule_of(role).keys
        if not uris:
            return self._keys.make(role, count)
        if len(uris) != count:
            raise InputError(f"role {role!r}: expected {count} keys, got {len(uris)} URIs.")
        return self._keys.adopt(role, uris)

    def _rotate_top(self, role: str, old: Sequence[Signer], uris: Sequence[str]) -> None:
        root = self.signed.root()
        # Before anything is made: devices follow a new root only when enough of the keys that they trust have signed it.
        trusted = root.roles["root"]
        here = sum(one.public_key.keyid in trusted.keyids for one in self._keys.of("root"))
        if here < trusted.threshold:
            raise InputError(f"role 'root': {trusted.threshold} keys must sign, {here} are here.")
        new = self._new_keys(role, uris)
        signed = {"targets": self.signed.targets("targets")} if role == "targets" else {}
        if role != "root":
            # Whoever knows the old root, and whoever will know the new one, is to find enough signatures.
            self.signed.renew(signed, also={role: new})
        for keyid in list(root.roles[role].keyids):
            root.revoke_key(keyid, role)
        for signer in new:
            root.add_key(signer.public_key, role)
        root.version += 1
        root.expires = expires("root")
        self.signed.put_root(root, also=old if role == "root" else ())
        self.signed.renew(signed)

    def _model_role(self, role: str, model: str) -> Targets:
        if self.signed.version(role):
            return self.signed.targets(role)
        targets = self.signed.targets("targets")
        self._delegate(targets, role, [f"models/{model}/*"])
        self.signed.renew({"targets": targets, role: Targets(expires=expires(role))})
        return self.signed.targets(role)

    def _delegate(self, targets: Targets, role: str, patterns: list[str]) -> None:
        rule = rule_of(role)
        if targets.delegations is None:
            targets.delegations = Delegations({}, {})
        roles = cast("dict[str, DelegatedRole]", targets.delegations.roles)
        roles[role] = DelegatedRole(role, [], rule.threshold, terminating=True, paths=patterns)
        for signer in self._keys.of(role) or self._keys.make(role, rule.keys):
            targets.add_key(signer.public_key, role)

    # --- what is desired ---

    def _by_profile(self, paths: Sequence[str]) -> dict[str, desired.DesiredArtifact]:
        artifacts: dict[str, desired.DesiredArtifact] = {}
        for path in paths:
            target, facts = self._released(path)
            if facts.target in artifacts:
                raise InputError(f"{path}: another artifact is for {facts.target} already.")
            artifacts[facts.target] = desired.DesiredArtifact(path=path, digest=_digest(target))
        return artifacts

    def _sign_desired(self, wanted: desired.Desired) -> desired.Desired:
        for one in wanted.models.values():
            self._counters(one.artifacts)
        counters = self._counters({} if wanted.trial is None else wanted.trial.artifacts)
        highest = max(
            [self._highest(wanted.subject), *counters, *self._counters(wanted.artifacts)], default=0
        )
        fleet = self.signed.targets(FLEET)
        self._put_desired(fleet, wanted, {"highest_counter": highest})
        self.signed.renew({FLEET: fleet})
        return wanted

    def _put_desired(self, fleet: Targets, wanted: desired.Desired, custom: Mapping[str, object]) -> None:
        """Write a desired state, and let the role name it; it is signed with the role."""
        try:
            data = desired.encode(wanted)
        except ContractError as error:
            raise InputError(str(error)) from error
        name = desired.desired_path(wanted.subject)
        target = TargetFile.from_data(name, data, [_HASH])
        target.unrecognized_fields["custom"] = {"serial": wanted.serial, **custom}
        fleet.targets[name] = target
        self._put_target(name, data, _digest(target))

    def _counters(self, artifacts: Mapping[str, desired.DesiredArtifact]) -> list[int]:
        """Return the artifacts' release counters.

        Raises:
            InputError: One is not what is signed.
        """
        counters = []
        for profile, one in artifacts.items():
            target, facts = self._released(one.path)
            if _digest(target) != one.digest:
                raise InputError(f"{one.path}: {_digest(target)} is signed, {one.digest} is asked for.")
            if facts.target != profile:
                raise InputError(f"{one.path}: is signed for {facts.target}, and asked for {profile}.")
            counters.append(facts.release_counter)
        return counters

    def _serial(self, subject: str) -> int:
        """Return the serial below which a subject's next one must not lie: its own, and those with which devices began to follow it.

        Of a device it is the highest of all: it may have followed any group, and refuses what is older.
        """
        name, is_device = desired.desired_path(subject), subject.startswith("device/")
        customs = ((one, _custom_of(target)) for one, target in self.signed.targets(FLEET).targets.items())
        serials = (
            custom.get("serial", 0)
            for one, custom in customs
            if is_device or one == name or custom.get("follows") == subject
        )
        return max(serials, default=0)

    def _highest(self, subject: str) -> int:
        """Return the highest release counter that a subject was ever asked to run."""
        found = self._custom(subject)
        if "highest_counter" in found or not found:
            return found.get("highest_counter", 0)
        before = self.desired_of(subject)  # signed by an older version
        return max(self._counters({} if before is None else before.artifacts), default=0)

    def _custom(self, subject: str) -> Mapping[str, int]:
        target = self.signed.targets(FLEET).targets.get(desired.desired_path(subject))
        return {} if target is None else _custom_of(target)

    def _released(self, path: str) -> tuple[TargetFile, desired.ReleaseFacts]:
        match = desired.TARGET_PATH.fullmatch(path)
        role = f"{MODEL_PREFIX}{match[1]}" if match else ""
        target = self.signed.targets(role).targets.get(path) if role and self.signed.version(role) else None
        if target is None:
            raise InputError(
                f"{path}: is not in the repository.", hint="Add it with `edgewright repository add`."
            )
        return target, _facts(target, path)

    # --- files ---

    def _put_target(self, path: str, data: bytes, digest: str) -> None:
        put(self._target_path(path, digest), data)

    def _target_path(self, path: str, digest: str) -> Path:
        return target_file(self._folder, path, digest)


def _followed(fleet: Targets) -> dict[str, str]:
    return {
        device: str(custom["follows"]).removeprefix("group/")
        for device, custom in _of_devices(fleet).items()
        if "follows" in custom
    }


def _of_devices(fleet: Targets) -> dict[str, Mapping[str, Any]]:
    """Return what is signed beside the desired state of each single device."""
    return {
        name.removeprefix(_OF_DEVICE).removesuffix(".json"): _custom_of(target)
        for name, target in fleet.targets.items()
        if name.startswith(_OF_DEVICE)
    }


def target_file(repository: Path, path: str, digest: str) -> Path:
    """Return where a repository keeps a target: under its digest, as servers of TUF do it with consistent snapshots.

    Args:
        repository: Folder of the repository.
        path: Of the target, as it is signed.
        digest: ``sha256:…``.
    """
    folder, _, name = path.rpartition("/")
    return repository / "targets" / folder / f"{digest.partition(':')[2]}.{name}"


def _checked_archive(path: Path) -> ArtifactArchive:
    archive = ArtifactArchive.open(path)
    archive.check_members()
    return archive


def _signed_name(artifact: Path, archive: ArtifactArchive) -> str:
    name = f"models/{archive.manifest.name}/{artifact.name}"
    if desired.TARGET_PATH.fullmatch(name) is None:
        raise InputError(
            f"{artifact.name}: {name!r} is no name for a repository: letters, digits, '.', '_', '-'."
        )
    return name


def _target(
    name: str, path: Path, archive: ArtifactArchive, counter: int, before: TargetFile | None
) -> TargetFile:
    manifest = archive.manifest
    facts = desired.ReleaseFacts(
        model=manifest.name, version=manifest.version, target=manifest.target, release_counter=counter
    )
    target = TargetFile.from_file(name, str(path), [_HASH])
    target.unrecognized_fields["custom"] = desired.facts_document(facts)
    if before is not None and before.hashes != target.hashes:
        raise InputError(f"{name}: is there already, with other bytes.", hint="Give the file another name.")
    return target


def _facts(target: TargetFile, path: str) -> desired.ReleaseFacts:
    try:
        return desired.read_facts(target.unrecognized_fields.get("custom"), where=path)
    except ContractError as error:
        raise InputError(str(error)) from error


def _custom_of(target: TargetFile) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", target.unrecognized_fields["custom"])


def _digest(target: TargetFile) -> str:
    return f"{_HASH}:{target.hashes[_HASH]}"
