"""What the service needs of the world: signed desired states, certificates, gates. `field` and `rollout.gates` have them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from device_agent.contract.desired import DesiredArtifact
    from host_tools.fleet.records.access import IssuedClaim
    from host_tools.fleet.records.devices import DeviceState, Pin
    from host_tools.fleet.records.gates import GateFinding
    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.records.rollouts import Rollout
    from host_tools.fleet.rollout.wanted import Wanted
    from host_tools.repository.desires import Move


_LOG: Final = logging.getLogger("edgewright.fleet")


def always() -> bool:
    """Return True: what is wanted is wanted still."""
    return True


class Field(Protocol):
    """Desired states. Everything may be asked twice, and costs nothing the second time."""

    def publish(
        self, group: str, wanted: Wanted, *, ask_anew: bool, is_current: Callable[[], bool] = always
    ) -> None:
        """Sign what a group shall run, unless the newest desired state says so already.

        Args:
            group: Its name.
            wanted: All of it.
            ask_anew: Devices on which it failed shall try it again.
            is_current: Asked when nobody else can sign any more; where it is no more wanted, nothing is signed.

        Raises:
            EdgewrightError: It cannot be done now.
        """

    def move(self, moves: Sequence[Move], *, is_current: Callable[[], bool] = always) -> None:
        """Let devices follow the group that they were moved to, whatever their configuration says.

        Args:
            moves: Each device once.
            is_current: As for `publish`.

        Raises:
            EdgewrightError: It cannot be done now.
        """

    def pin(
        self,
        device: str,
        artifacts: Mapping[str, DesiredArtifact],
        *,
        allow_downgrade: bool,
        is_current: Callable[[], bool] = always,
    ) -> None:
        """Sign what one device shall run in place of what its group does; a `Move` that unpins it takes that away.

        Args:
            device: Its id.
            artifacts: By capability profile.
            allow_downgrade: Whether it may go below what it has kept.
            is_current: As for `publish`.

        Raises:
            EdgewrightError: It cannot be done now.
        """

    def pins(self) -> Sequence[Pin] | None:
        """Return every desired state of one device's own, by the devices' ids; the same object while none has changed; None: it is not known.

        Raises:
            EdgewrightError: They cannot be read now.
        """

    def followed(self) -> Mapping[str, str]:
        """Return the devices of which it is signed which group they follow, with that group.

        Raises:
            EdgewrightError: It cannot be told now.
        """

    def keep_fresh(self) -> None:
        """Sign anew what would expire; called every few minutes.

        Raises:
            EdgewrightError: It cannot be done now.
        """

    def require_signed(self, release: Release) -> None:
        """Refuse a release that is not signed as it says: no device could ever be brought to run it.

        Raises:
            ConflictError: An artifact is not signed, or otherwise.
            EdgewrightError: It cannot be looked at now.
        """


class NoField:
    """Where a server has no repository: everything else works, and what shall be published waits."""

    def publish(
        self, group: str, wanted: Wanted, *, ask_anew: bool, is_current: Callable[[], bool] = always
    ) -> None:
        """Refuse.

        Raises:
            InputError: Always.
        """
        del wanted, ask_anew, is_current
        raise _no_repository(f"group {group}")

    def move(self, moves: Sequence[Move], *, is_current: Callable[[], bool] = always) -> None:
        """Say that devices are to be told by hand: what they follow is signed elsewhere, if anywhere.

        Raises:
            InputError: A desired state of a device's own is to end, which is signed elsewhere.
        """
        del is_current
        for move in moves:
            if move.unpins:
                raise _no_repository(f"device {move.device}")
            if move.group and move.group != move.configured:
                _LOG.warning(
                    "device %s: it is in group %s, and follows %s: this server has no repository to sign that in. "
                    "Name the group in its agent.toml ([update] group), or start the server with --repository and --keys.",
                    move.device,
                    move.group,
                    f"group {move.configured or move.before}",
                )

    def pin(
        self,
        device: str,
        artifacts: Mapping[str, DesiredArtifact],
        *,
        allow_downgrade: bool,
        is_current: Callable[[], bool] = always,
    ) -> None:
        """Refuse.

        Raises:
            InputError: Always.
        """
        del artifacts, allow_downgrade, is_current
        raise _no_repository(f"device {device}")

    def pins(self) -> None:
        """Nobody can say: what was known stays."""

    def followed(self) -> Mapping[str, str]:
        """Return nobody."""
        return {}

    def keep_fresh(self) -> None:
        """There is nothing that expires."""

    def require_signed(self, release: Release) -> None:
        """Nobody can say: every release is taken."""


def _no_repository(subject: str) -> InputError:
    return InputError(
        f"{subject}: this server has no repository to publish in.",
        hint="Start it with --repository and --keys.",
    )


class Enrolled(Protocol):
    """A device as the authority knows it."""

    @property
    def device(self) -> str:
        """Its id."""

    @property
    def group(self) -> str:
        """The group that it came into; empty: none."""

    @property
    def state(self) -> DeviceState:
        """`pending`, `enrolled` or `revoked`."""


class Enrolment(Protocol):
    """Certificates. Decisions may be handed over twice, and cost nothing the second time."""

    def token(self, *, group: str, lifetime: timedelta, device: str, needs_approval: bool) -> str:
        """Make a claim token, for one device, once.

        Raises:
            EdgewrightError: It cannot be done.
        """

    def claim_id(self, token: str) -> str:
        """Return the id under which a claim token is listed.

        Raises:
            EdgewrightError: It is none.
        """

    def claims(self) -> Sequence[IssuedClaim]:
        """Return the claim tokens of groups, the one that expires last in front.

        Raises:
            EdgewrightError: They cannot be read.
        """

    def revoke_claim(self, claim: str) -> IssuedClaim:
        """Let a claim token be good no more, and return it.

        Raises:
            NotFoundError: There is none with this id.
            ConflictError: A device has used it, or waits with it.
            EdgewrightError: It cannot be done now.
        """

    def members(self) -> Sequence[Enrolled]:
        """Return every device that has, had or asks for a certificate.

        Raises:
            EdgewrightError: They cannot be read.
        """

    def approve(self, device: str, *, by: str) -> None:
        """Let a device in that asks.

        Raises:
            EdgewrightError: It cannot be done now.
        """

    def revoke(self, device: str, *, reason: str, for_good: bool) -> None:
        """Take a device's certificates back.

        Args:
            device: Its id.
            reason: Kept with them.
            for_good: It gets none any more.

        Raises:
            EdgewrightError: It cannot be done now.
        """


class Findings(Protocol):
    """What the gates of a rollout find now."""

    def __call__(self, rollout: Rollout, release: Release, now_seconds: float) -> Sequence[GateFinding]:
        """Return a finding for each gate that could be looked at."""


def nothing_measured(rollout: Rollout, release: Release, now_seconds: float) -> Sequence[GateFinding]:
    """Return no finding: every gate stays not measured."""
    del rollout, release, now_seconds
    return ()
