"""`DesiredStates`: what devices and groups are asked to run, as the role ``fleet`` signs it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tuf.api.metadata import TargetFile

from device_agent.contract import desired
from device_agent.contract.errors import ContractError
from host_tools.errors import InputError
from host_tools.repository.desires import asked_since, groups_of, is_below, unfollowed
from host_tools.repository.roles import FLEET
from host_tools.repository.signed_folder import put
from host_tools.repository.signed_target import HASH, custom_of, digest_of, target_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tuf.api.metadata import Targets

    from host_tools.repository.artifacts import SignedArtifacts
    from host_tools.repository.desires import Move
    from host_tools.repository.signed_folder import SignedFolder

_OF_DEVICE: Final = "desired/device/"

MOST_FOLLOWING: Final = 15_000
"""Records of devices that follow another group than they are configured for: together well below the 5 MB that a device reads."""


class DesiredStates:
    """The desired states of a repository.

    Args:
        folder: The repository's.
        signed: Its metadata.
        artifacts: What may be desired.
    """

    def __init__(self, folder: Path, signed: SignedFolder, artifacts: SignedArtifacts) -> None:
        self._folder = folder
        self._signed = signed
        self._artifacts = artifacts

    def of(self, subject: str) -> desired.Desired | None:
        """Return what a subject is asked to run; None: nothing.

        Raises:
            InputError: The repository is damaged.
        """
        name = desired.desired_path(subject)
        target = self._signed.targets(FLEET).targets.get(name)
        if target is None:
            return None
        path = target_file(self._folder, name, digest_of(target))
        try:
            return desired.decode(path.read_bytes(), where=str(path), subject=subject)
        except (OSError, ContractError) as error:
            raise InputError(f"{path}: is no desired state that can be read: {error}.") from error

    def serial(self, subject: str) -> int:
        """Return the serial below which a subject's next one must not lie: its own, and those with which devices began to follow it.

        Of a device it is the highest of all: it may have followed any group, and refuses what is older.
        """
        name, is_device = desired.desired_path(subject), subject.startswith("device/")
        customs = ((one, custom_of(target)) for one, target in self._signed.targets(FLEET).targets.items())
        serials = (
            custom.get("serial", 0)
            for one, custom in customs
            if is_device or one == name or custom.get("follows") == subject
        )
        return max(serials, default=0)

    def highest(self, subject: str) -> int:
        """Return the highest release counter that a subject was ever asked to run."""
        target = self._signed.targets(FLEET).targets.get(desired.desired_path(subject))
        found: Mapping[str, int] = {} if target is None else custom_of(target)
        if "highest_counter" in found or not found:
            return found.get("highest_counter", 0)
        before = self.of(subject)  # signed by an older version
        return max(self._artifacts.counters({} if before is None else before.artifacts), default=0)

    def sign(self, wanted: desired.Desired) -> desired.Desired:
        """Write a desired state and sign it; return it.

        Raises:
            InputError: An artifact is not what is signed, or a rule of the contract is broken.
            OutputError: It cannot be written.
        """
        for one in wanted.models.values():
            self._artifacts.counters(one.artifacts)
        counters = self._artifacts.counters({} if wanted.trial is None else wanted.trial.artifacts)
        highest = max(
            [self.highest(wanted.subject), *counters, *self._artifacts.counters(wanted.artifacts)],
            default=0,
        )
        fleet = self._signed.targets(FLEET)
        self._put(fleet, wanted, {"highest_counter": highest})
        self._signed.renew({FLEET: fleet})
        return wanted

    def followed(self) -> Mapping[str, str]:
        """Return the devices of which a record says which group they follow, with that group."""
        return _followed(self._signed.targets(FLEET))

    def pinned(self) -> Mapping[str, int]:
        """Return the devices that have a desired state of their own, which does not only say which group they follow, with its serial."""
        devices = _of_devices(self._signed.targets(FLEET))
        return {
            device: int(custom.get("serial", 0))
            for device, custom in devices.items()
            if "follows" not in custom
        }

    def follow(self, moves: Sequence[Move]) -> None:
        """Sign that devices follow another group; see `Repository.follow`."""
        fleet = self._signed.targets(FLEET)
        customs = {name: custom_of(target) for name, target in fleet.targets.items()}
        fresh = unfollowed(moves, customs)
        if not fresh:
            return
        serial = max((custom.get("serial", 0) for custom in customs.values()), default=0)
        serial = self._put_groups(fleet, fresh, serial)
        self._put_records(fleet, fresh, serial)
        records = len(_followed(fleet))
        if records > MOST_FOLLOWING:
            raise InputError(
                f"devices that follow another group than they are configured for: expected at most {MOST_FOLLOWING}, got {records}.",
                hint="Every device reads them all. Name the group in their agent.toml ([update] group), and the records go.",
            )
        self._signed.renew({FLEET: fleet})

    def _put_groups(self, fleet: Targets, moves: Sequence[Move], serial: int) -> int:
        """Write the followed groups' states above ``serial``; return the highest serial that was given."""
        for group, former in sorted(groups_of(moves).items()):
            state = self.of(group)
            if state is not None:
                serial += 1
                highest = max([self.highest(group), *map(self.highest, former)])
                allow = state.allow_downgrade or is_below(self._artifacts.counters(state.artifacts), highest)
                dated = asked_since(replace(state, serial=serial, allow_downgrade=allow), state)
                self._put(fleet, dated, {"highest_counter": highest})
        return serial

    def _put_records(self, fleet: Targets, moves: Sequence[Move], serial: int) -> None:
        """Write of each device which group it follows, above ``serial``, and drop what is not needed any more."""
        for move in moves:
            if not move.group or (move.needs_no_record and self.of(move.group_subject) is not None):
                del fleet.targets[desired.desired_path(move.subject)]
                continue
            serial += 1
            redirect = desired.Desired(
                subject=move.subject, serial=serial, artifacts={}, follows=move.group_subject
            )
            self._put(fleet, redirect, {"follows": move.group_subject})

    def _put(self, fleet: Targets, wanted: desired.Desired, custom: Mapping[str, object]) -> None:
        """Write a desired state, and let the role name it; it is signed with the role."""
        try:
            data = desired.encode(wanted)
        except ContractError as error:
            raise InputError(str(error)) from error
        name = desired.desired_path(wanted.subject)
        target = TargetFile.from_data(name, data, [HASH])
        target.unrecognized_fields["custom"] = {"serial": wanted.serial, **custom}
        fleet.targets[name] = target
        put(target_file(self._folder, name, digest_of(target)), data)


def _followed(fleet: Targets) -> dict[str, str]:
    return {
        device: str(custom["follows"]).removeprefix("group/")
        for device, custom in _of_devices(fleet).items()
        if "follows" in custom
    }


def _of_devices(fleet: Targets) -> dict[str, Mapping[str, Any]]:
    """Return what is signed beside the desired state of each single device."""
    return {
        name.removeprefix(_OF_DEVICE).removesuffix(".json"): custom_of(target)
        for name, target in fleet.targets.items()
        if name.startswith(_OF_DEVICE)
    }
