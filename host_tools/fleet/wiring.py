"""`field` as the service needs it: a signed repository, an authority, and what devices said. Nothing is decided here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from host_tools.errors import InputError
from host_tools.fleet.field.observations import Born, HealthTold, StateTold, UpdateTold
from host_tools.fleet.field.publisher import Publisher
from host_tools.fleet.rollout.jobs import Observation
from host_tools.fleet.service import Heard
from host_tools.fleet.store.devices import DeviceReport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from host_tools.fleet.field.enrolment import Enrolment, Member
    from host_tools.fleet.field.observations import Said
    from host_tools.fleet.rollout.wanted import Wanted
    from host_tools.repository.repository import Repository

_ON_THE_WAY: Final[Mapping[str, str]] = {
    "download": "update_started",
    "downloaded": "update_tried",
    "proceeding": "update_activated",
    "rejected": "update_rejected",
}


class SigningField:
    """Signs into a repository.

    Args:
        repository: With the keys of ``fleet``, ``snapshot`` and ``timestamp``.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._publisher = Publisher(repository)

    def publish(self, group: str, wanted: Wanted, *, ask_anew: bool) -> None:
        """Sign what a group shall run, unless the newest desired state says so already.

        Raises:
            InputError: An artifact is not signed so.
            OutputError: The repository cannot be written.
        """
        subject, trial = f"group/{group}", wanted.trial
        if not wanted.artifacts and trial is None:
            # A group that had nothing before: what is left to say is that nobody is in the trial any more.
            before = self._repository.desired_of(subject)
            if before is None or before.trial is None:
                return
            trial = replace(before.trial, share_ppm=0, devices=())
        self._repository.ensure(
            subject,
            wanted.artifacts,
            trial=trial,
            allow_downgrade=True if wanted.allow_downgrade else None,
            ask_anew=ask_anew,
        )

    def keep_fresh(self) -> None:
        """Sign the timestamp anew before it expires.

        Raises:
            InputError: There is no repository, or a key is missing.
            OutputError: It cannot be written.
        """
        self._publisher.keep_fresh()


class NoRepository:
    """Where a server was started without one: everything else works, and what shall be published waits."""

    def publish(self, group: str, wanted: Wanted, *, ask_anew: bool) -> None:
        """Refuse.

        Raises:
            InputError: Always.
        """
        del wanted, ask_anew
        raise InputError(
            f"group {group}: this server has no repository to publish in.",
            hint="Start it with --repository and --keys.",
        )

    def keep_fresh(self) -> None:
        """There is nothing that expires."""


class AuthorityEnrolment:
    """Certificates by the authority; a decision that it knows already is no error.

    Args:
        enrolment: On the authority's folder.
    """

    def __init__(self, enrolment: Enrolment) -> None:
        self._enrolment = enrolment

    def token(self, *, group: str, lifetime: timedelta, device: str, needs_approval: bool) -> str:
        """Make a claim token.

        Raises:
            InputError: Group, device or the authority's address are none.
        """
        return self._enrolment.token(
            group=group, lifetime=lifetime, device=device, needs_approval=needs_approval
        )

    def members(self) -> Sequence[Member]:
        """Return every device that has, had or asks for a certificate."""
        return self._enrolment.members()

    def approve(self, device: str, *, by: str) -> None:
        """Let a device in that asks."""
        if any(one.device == device for one in self._enrolment.pending()):
            self._enrolment.approve(device, by=by)

    def revoke(self, device: str, *, reason: str) -> None:
        """Take a device's certificates back, and keep it out where it asks."""
        if any(one.device == device for one in self._enrolment.pending()):
            self._enrolment.refuse(device, by=reason or "operator")
        if any(one.device == device and one.state == "enrolled" for one in self._enrolment.members()):
            self._enrolment.revoke(device, reason=reason)


def heard_of(said: Said) -> Heard:
    """Return what a device said as the service takes it."""
    report = DeviceReport(device=said.device, seconds=said.seen_seconds)
    seen = Observation(seconds=said.seen_seconds)
    if isinstance(said, Born):
        report = replace(
            report,
            artifact=said.artifact or "",
            engine=said.engine,
            agent_version=said.agent_version,
            memory_bytes=said.memory_bytes,
        )
        seen = replace(seen, running=said.artifact)
    elif isinstance(said, HealthTold):
        report = replace(report, health=said.health)
    elif isinstance(said, StateTold):
        report = replace(
            report, artifact=said.artifact or "", targets=said.targets, desired_serial=said.desired_serial
        )
        seen = replace(seen, running=said.artifact, committed=not said.on_probation)
    elif isinstance(said, UpdateTold):
        seen = replace(seen, event=_event(said), about=said.digest, running=said.artifact, reason=said.reason)
    return Heard(report=report, seen=seen)


def _event(said: UpdateTold) -> str:
    if said.state == "closed":
        return "update_committed" if said.result == "success" else "update_rolled_back"
    return _ON_THE_WAY[said.state]
