"""`Publisher`: what a group shall run, as a signed desired state that says exactly that. Repeated as often as one likes."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from host_tools.errors import ConflictError, InputError, OutputError, StaleError, StoreError
from host_tools.fleet.field.releases import unsigned_artifacts
from host_tools.fleet.outside import always
from host_tools.fleet.records.devices import Pin
from host_tools.fleet.rollout.wanted import Wanted
from host_tools.repository.roles import FLEET, rule_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from device_agent.contract.desired import Desired, DesiredArtifact
    from host_tools.fleet.records.releases import Release
    from host_tools.repository.desires import Move
    from host_tools.repository.repository import Repository

_LOG: Final = logging.getLogger("edgewright.fleet")
_FRESH_RATIO: Final = 0.5
"""What the server has the keys of, with less than this of its life left, is signed anew."""
_WARNED_SECONDS: Final = 30 * 86_400.0
"""So long before the end of what others have the keys of it is told, every day."""


class Publisher:
    """Signs what is wanted, if the newest desired state says something else.

    Args:
        repository: With the keys of ``fleet``, ``snapshot`` and ``timestamp``.
        wall_seconds: Unix time.
    """

    def __init__(self, repository: Repository, *, wall_seconds: Callable[[], float] = time.time) -> None:
        self._repository = repository
        self._wall_seconds = wall_seconds
        self._warned: dict[str, int] = {}
        self._pins: tuple[Pin, ...] = ()
        self._pins_version = 0

    def publish(
        self,
        group: str,
        wanted: Wanted,
        *,
        ask_anew: bool = False,
        is_current: Callable[[], bool] = always,
    ) -> None:
        """Make a group's desired state say what is wanted.

        A way back is permitted whenever there is one, also where ``wanted`` does not ask for it: a device that comes back after weeks may
        still have what was taken back since.

        Args:
            group: Its name.
            wanted: All of it. Nothing at all means: nobody runs the trial any more.
            ask_anew: Devices on which it has failed try it again. Each such call signs.
            is_current: Asked when nobody else can sign any more; where it is no more wanted, nothing is signed.

        Raises:
            InputError: An artifact is not signed so, a name is none, or a number is out of its range.
            OutputError: The repository cannot be written.
        """
        try:
            self._publish(f"group/{group}", wanted, ask_anew=ask_anew, is_current=is_current)
        except StaleError as error:
            _LOG.info("%s", error)

    def _publish(
        self, subject: str, wanted: Wanted, *, ask_anew: bool, is_current: Callable[[], bool]
    ) -> None:
        if not wanted.artifacts and wanted.trial is None:
            before = self._repository.desired_of(subject)
            if before is None:
                return
            wanted = _nothing_after(before)
        self._repository.ensure(
            subject,
            wanted.artifacts,
            trial=wanted.trial,
            allow_downgrade=True if wanted.allow_downgrade else None,
            ask_anew=ask_anew,
            is_current=is_current,
        )

    def move(self, moves: Sequence[Move], *, is_current: Callable[[], bool] = always) -> None:
        """Let devices follow the group that they were moved to, whatever their configuration says; who is unpinned follows its group again.

        Args:
            moves: Each device once.
            is_current: Asked when nobody else can sign any more; where it is no more wanted, nothing is signed.

        Raises:
            InputError: A name is none, or a key is missing.
            OutputError: The repository cannot be written.
        """
        try:
            self._repository.follow(moves, is_current=is_current)
        except StaleError as error:
            _LOG.info("%s", error)

    def pin(
        self,
        device: str,
        artifacts: Mapping[str, DesiredArtifact],
        *,
        allow_downgrade: bool,
        is_current: Callable[[], bool] = always,
    ) -> None:
        """Make a device's own desired state say this, in place of what its group runs.

        Args:
            device: Its id.
            artifacts: By capability profile.
            allow_downgrade: Whether it may go below what it has kept.
            is_current: Asked when nobody else can sign any more; where it is no more wanted, nothing is signed.

        Raises:
            InputError: An artifact is not signed so, a name is none, or a key is missing.
            OutputError: The repository cannot be written.
        """
        try:
            self._repository.ensure(
                f"device/{device}", artifacts, allow_downgrade=allow_downgrade, is_current=is_current
            )
        except StaleError as error:
            _LOG.info("%s", error)

    def pins(self) -> Sequence[Pin]:
        """Return every desired state of one device's own, whoever signed it; the same object while none has changed.

        They are read again only when the role that signs them has a newer version, and of them those with another serial.

        Raises:
            InputError: There is no repository, or it is damaged.
            OutputError: Another process does not come to the end of its writing.
        """
        with self._repository.signed.alone():
            version = self._repository.signed.version(FLEET)
            if version != self._pins_version:
                known = {one.device: one for one in self._pins}
                serials = self._repository.pinned()
                if serials != {device: one.serial for device, one in known.items()}:
                    self._pins = tuple(
                        known[device]
                        if device in known and known[device].serial == serial
                        else self._read_pin(device, serial)
                        for device, serial in sorted(serials.items())
                    )
                self._pins_version = version
        return self._pins

    def _read_pin(self, device: str, serial: int) -> Pin:
        state = self._repository.desired_of(f"device/{device}")
        return Pin(device=device, serial=serial, artifacts={} if state is None else state.artifacts)

    def followed(self) -> Mapping[str, str]:
        """Return the devices of which it is signed which group they follow, with that group.

        Raises:
            InputError: There is no repository, or it is damaged.
        """
        with self._repository.signed.alone():
            return self._repository.followed()

    def keep_fresh(self) -> None:
        """Sign timestamp and desired states anew when half of their life is over, and tell of roles that others must sign soon.

        To be called every hour or so. Devices take no update from a repository of which one role has ended.

        Raises:
            InputError: There is no repository, or a key is missing.
            OutputError: It cannot be written.
        """
        with self._repository.signed.alone():
            ends = self._repository.signed.ends()
        left = {role: end.timestamp() - self._wall_seconds() for role, end in ends.items()}
        due = [
            role
            for role in ("timestamp", FLEET)
            if left[role] <= _FRESH_RATIO * rule_of(role).lifetime.total_seconds()
        ]
        if due:
            self._repository.refresh([role for role in due if role == FLEET])
        for role in left.keys() - {"timestamp", "snapshot", FLEET}:
            if left[role] <= _WARNED_SECONDS:
                self._warn(role, ends[role])

    def _warn(self, role: str, end: datetime) -> None:
        today = int(self._wall_seconds() // 86_400)
        if self._warned.get(role) == today:
            return
        self._warned[role] = today
        _LOG.warning(
            "the repository's role %s is signed until %s only; then no device takes an update. "
            "Where its keys are: edgewright repository refresh DIR --keys KEYS --role %s.",
            role,
            f"{end:%Y-%m-%d %H:%M} UTC",
            role,
        )

    def require_signed(self, release: Release) -> None:
        """Refuse a release that the repository does not sign as it says.

        Raises:
            ConflictError: An artifact is not signed, or with another target, counter, digest or size.
            StoreError: The repository cannot be read now.
        """
        try:
            with self._repository.signed.alone():  # rounds sign with the same object, in another thread
                unsigned = unsigned_artifacts(release, self._repository)
        except (InputError, OutputError) as error:
            raise StoreError(f"the repository cannot be read: {error.args[0]}", hint=error.hint) from error
        if unsigned:
            raise ConflictError(
                f"release {release.id}: the repository does not sign its artifacts so: "
                + "; ".join(f"{target}: {difference}" for target, difference in sorted(unsigned.items()))
                + ".",
                hint="Sign it with `edgewright release create` into the server's repository, and send the file that it writes.",
            )


def _nothing_after(before: Desired) -> Wanted:
    """Return what says that a group is to run nothing of ours: a trial of nobody, for a state must name an artifact."""
    if before.trial is None:
        return Wanted(artifacts=before.artifacts, trial=None, allow_downgrade=before.allow_downgrade)
    return Wanted(
        artifacts={},
        trial=replace(before.trial, share_ppm=0, devices=()),
        allow_downgrade=before.allow_downgrade,
    )
