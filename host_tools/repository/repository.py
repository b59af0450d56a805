"""`Repository`: artifacts, what devices shall run, and the signatures over both. Files appear whole, the timestamp last."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from tuf.api.metadata import Root, Targets

from device_agent.contract import desired
from host_tools.errors import InputError, StaleError
from host_tools.repository.artifacts import SignedArtifacts, checked_archive, signed_name
from host_tools.repository.desired_states import DesiredStates
from host_tools.repository.desires import anew, asked_since, is_below, kept, released, says_the_same
from host_tools.repository.role_keys import RoleKeys
from host_tools.repository.roles import FLEET, RULES
from host_tools.repository.signed_folder import TOP, SignedFolder, expires

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from host_tools.repository.desires import Move
    from host_tools.repository.keys import KeyRing


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
        self._roles = RoleKeys(self.signed, keys)
        self._artifacts = SignedArtifacts(folder, self.signed)
        self._states = DesiredStates(folder, self.signed, self._artifacts)

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
            self._roles.delegate(targets, FLEET, ["desired/device/*.json", "desired/group/*.json"])
            path = self.signed.put_root(root)
            self.signed.renew({"targets": targets, FLEET: Targets(expires=expires(FLEET))})
        return path

    def add(self, artifact: Path, *, release_counter: int) -> str:
        """Add an artifact; return its signed name. As `add_all`, of one."""
        return self.add_all([artifact], release_counter=release_counter)[0]

    def add_all(
        self, artifacts: Sequence[Path], *, release_counter: int, digests: Sequence[str] = ()
    ) -> list[str]:
        """Add the artifacts of one model, all or none; return their signed names.

        Args:
            artifacts: ``.ewa`` files; every digest in them is checked.
            release_counter: Their place in the order of the model's releases, at least 1.
            digests: What whoever asks has looked at, one each: nothing else may have taken its place since; none: whatever they are.

        Raises:
            InputError: There is no repository, a name is not in the grammar or is taken by other bytes, or they are of several models.
            ContractError: One is no artifact.
            TrustError: Its bytes are not what its manifest says, or not those of ``digests``.
            OutputError: It cannot be written.
        """
        if not 1 <= release_counter <= desired.MAX_COUNT:
            raise InputError(f"release_counter: expected 1 to {desired.MAX_COUNT}, got {release_counter}.")
        expected: Sequence[str | None] = digests or [None] * len(artifacts)
        archives = [checked_archive(path, digest) for path, digest in zip(artifacts, expected, strict=True)]
        model = archives[0].manifest.name
        names = [signed_name(path, archive) for path, archive in zip(artifacts, archives, strict=True)]
        for path, archive in zip(artifacts, archives, strict=True):
            if archive.manifest.name != model:
                raise InputError(
                    f"{path.name}: is of model {archive.manifest.name!r}, the first is of {model!r}."
                )
        with self.signed.alone():
            role, signed = self._roles.role_of_model(model)
            for name, path, archive in zip(names, artifacts, archives, strict=True):
                self._artifacts.put(signed, name, path, archive=archive, release_counter=release_counter)
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
                    artifacts=self._artifacts.by_profile(paths), allow_downgrade=allow_downgrade, trial=trial
                )
            others = {
                name: desired.DesiredModel(
                    artifacts=self._artifacts.by_profile(one), allow_downgrade=allow_downgrade
                )
                for name, one in models.items()
            }
            serial, before = self._states.serial(subject) + 1, self._states.of(subject)
            return self._states.sign(
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
            before, highest = self._states.of(subject), self._states.highest(subject)
            counters = self._artifacts.counters(artifacts)
            most = max(
                [highest, *counters, *self._artifacts.counters({} if trial is None else trial.artifacts)]
            )
            wanted = desired.Desired(
                subject=subject,
                serial=self._states.serial(subject) + 1,
                artifacts=artifacts,
                allow_downgrade=is_below(counters, most) if allow_downgrade is None else allow_downgrade,
                trial=trial,
                models={} if before is None else kept(before).models,
            )
            if before is not None and not ask_anew and says_the_same(before, wanted):
                return before
            return self._states.sign(
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
            self._states.follow(moves)

    def followed(self) -> Mapping[str, str]:
        """Return the devices of which a record says which group they follow, with that group.

        Raises:
            InputError: The repository is damaged, or there is none.
        """
        return self._states.followed()

    def pinned(self) -> Mapping[str, int]:
        """Return the devices that have a desired state of their own, which does not only say which group they follow, with its serial.

        Raises:
            InputError: The repository is damaged, or there is none.
        """
        return self._states.pinned()

    def desired_of(self, subject: str) -> desired.Desired | None:
        """Return what a subject is asked to run; None: nothing.

        Raises:
            InputError: The repository is damaged.
        """
        return self._states.of(subject)

    def released(self, model: str) -> Mapping[str, tuple[desired.ReleaseFacts, str, int]]:
        """Return a model's artifacts: signed name to its facts, digest and length.

        Raises:
            InputError: The repository is damaged, or there is none.
        """
        return self._artifacts.of_model(model)

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
                self._roles.sign_root_anew(self.signed.root())
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
            self._roles.rotate(role, uris)
