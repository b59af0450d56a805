"""Which action a device has now. An action is one offer of one artifact; what a device shall run decides whether it stands.

A job that is open says what its device shall run; without one the group's desired state does, so that a device that was away for weeks,
or shall go back after a rollout was stopped, is offered that too; that of a pinned device's own where a release has the artifact. What an
action has brought, or has failed to, is not offered again before a job asks for it anew or something else was wanted in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.fleet.records.devices import Device
    from host_tools.fleet.records.jobs import Job
    from host_tools.fleet.records.releases import Release, ReleasedArtifact
    from host_tools.fleet.store.ddi import DdiAction
    from host_tools.fleet.store.fleet_store import FleetBook, FleetStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a device is asked to do with an action."""

    kind: Literal["deploy", "cancel"]
    action: DdiAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a device shall run, and for which rollout; and since when a job asks for it, None: none does."""

    digest: str
    rollout: str | None
    asked_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a poll finds, read in one transaction.

    Attributes:
        now_seconds: Unix time of the transaction.
        wanted: What the device shall run that it does not run yet; None: nothing.
        newest: Its newest action; None: it never had one.
        is_awaited: A job of it has not been heard of yet.
    """

    now_seconds: float
    wanted: Wanted | None
    newest: DdiAction | None
    is_awaited: bool


def look_at(book: FleetBook, device: Device) -> Look:
    """Read all that the answer to a poll needs; nothing of it grows with the fleet."""
    jobs = book.jobs.open_of([device.id])
    return Look(
        now_seconds=book.now_seconds,
        wanted=_wanted(book, device, jobs),
        newest=book.ddi_actions.newest(device.id),
        is_awaited=any(job.heard_seconds is None for job in jobs),
    )


def offer_to(store: FleetStore, device: Device, seen: Look) -> Offer | None:
    """Return what a device has to do, and make the action for it where there is none yet; None: nothing.

    Raises:
        StoreError: It cannot be read or written.
    """
    offered = standing(seen.wanted, seen.newest)
    if offered is not None or not is_fresh(seen.wanted, seen.newest):
        return offered
    with store.writing() as book:  # looked at again: another request may have made it
        seen = look_at(book, device)
        wanted, newest = seen.wanted, seen.newest
        if wanted is None or not is_fresh(wanted, newest):
            return standing(wanted, newest)
        found = _artifact(book, wanted)
        if found is None:
            return None
        release, artifact = found
        action = book.ddi_actions.add(
            device.id, artifact, name=release.model, version=release.version, now_seconds=book.now_seconds
        )
    return Offer(kind="deploy", action=action)


def standing(wanted: Wanted | None, newest: DdiAction | None) -> Offer | None:
    """Return what is asked of a device that has an action: to go on with it, or to stop. Pure."""
    if newest is None or newest.ended_seconds is not None:
        return None
    is_wanted = wanted is not None and wanted.digest == newest.digest
    return Offer(kind="deploy" if is_wanted or newest.is_kept else "cancel", action=newest)


def is_fresh(wanted: Wanted | None, newest: DdiAction | None) -> bool:
    """Return whether a device that has no action needs one. Pure."""
    if wanted is None:
        return False
    if newest is None:
        return True
    if newest.ended_seconds is None:
        return False
    return newest.digest != wanted.digest or (
        wanted.asked_seconds is not None and wanted.asked_seconds >= newest.ended_seconds
    )


def _wanted(book: FleetBook, device: Device, jobs: Sequence[Job]) -> Wanted | None:
    """Return what a device shall run that it does not run yet."""
    if jobs:
        job = max(jobs, key=lambda one: one.created_seconds)
        return Wanted(digest=job.wanted, rollout=job.rollout, asked_seconds=job.created_seconds)
    desired = book.drift.of_device(device.id, device.group)
    if desired.desired is None or desired.desired == device.artifact:
        return None
    return Wanted(digest=desired.desired, rollout=desired.rollout, asked_seconds=None)


def _artifact(book: FleetBook, wanted: Wanted) -> tuple[Release, ReleasedArtifact] | None:
    """Return the artifact and the release that brings it; None: no release has it, so nobody here knows how long its file is."""
    if wanted.rollout is None:
        return book.releases.with_artifact(wanted.digest)
    release = book.releases.get(book.rollouts.get(wanted.rollout).plan.release)
    return next(
        ((release, one) for one in release.artifacts.values() if one.digest == wanted.digest),
        None,
    )
