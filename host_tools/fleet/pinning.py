"""Devices with a desired state of their own, by the field's word: pinned. People ask for it here; what is signed counts, whoever signed it.

A pinned device follows no group, so no rollout wants anything of it, and its drift is told against what it alone shall run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from host_tools.errors import ConflictError
from host_tools.fleet.inventory import cancel_jobs, is_pinned, want_pin
from host_tools.repository.desires import Move

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_agent.contract.telemetry.message import Scalar
    from host_tools.fleet.records.devices import Device, Pin
    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.store.fleet_store import FleetBook

MOST_PINNED: Final = 2_000
"""Devices that people may pin: every device reads the records of all. Many that shall run the same are a group."""


def pin_device(
    book: FleetBook, device: Device, release: Release, *, allow_downgrade: bool, actor: str
) -> Device:
    """Want a device to run a release, whatever its group runs; it is signed in the next round.

    Args:
        book: The transaction.
        device: Which.
        release: What it shall run.
        allow_downgrade: Whether it may go below what it has kept; else it refuses that.
        actor: Who wants it.

    Raises:
        ConflictError: The device takes no part any more, or cannot run any artifact of the release as far as it has said.
    """
    if device.state in ("revoked", "decommissioned"):
        raise ConflictError(f"device {device.id}: it is {device.state}.")
    if release.artifacts.keys().isdisjoint(device.provides.targets):
        raise ConflictError(
            f"device {device.id}: expected one that can run {' or '.join(sorted(release.artifacts))}, of which release "
            f"{release.id} has artifacts, got {' and '.join(device.provides.targets) or 'one that has not said what it can run'}.",
            hint="Choose a release with an artifact for it: edgewright fleet releases list.",
        )
    if want_pin(book, device, release=release.id, allow_downgrade=allow_downgrade):
        book.note(
            actor,
            "device.pin",
            f"device/{device.id}",
            {"release": release.id, "allow_downgrade": allow_downgrade},
        )
    return device


def unpin_device(book: FleetBook, device: Device, *, actor: str) -> Device:
    """Want a device to follow its group again; nothing is to be done where it does."""
    if is_pinned(book, device.id) and want_pin(book, device, release=None):
        book.note(actor, "device.unpin", f"device/{device.id}", {"group": device.group})
    return device


def unsigned_order(book: FleetBook, device: str) -> str | None:
    """Say what people ordered of a device's own desired state that is not signed yet, and why not; None: nothing."""
    effect = book.effects.find("pin", device)
    if effect is None:
        return None
    release = json.loads(effect.document)["release"]
    wanted = "let it follow its group again" if release is None else f"pin it to {release}"
    why = f", and is tried again: {effect.failure}" if effect.failure else " yet."
    return f"The order to {wanted} is not signed{why}"


def require_not_pinned(book: FleetBook, device: str, *, what: str) -> None:
    """Refuse a device that no rollout reaches.

    Args:
        book: The transaction.
        device: Its id.
        what: What names it.

    Raises:
        ConflictError: It has a desired state of its own.
    """
    pin = book.pins.find(device)
    if pin is not None:
        raise ConflictError(
            f"{what}: expected devices that follow their group, got {device!r}, which has a desired state of its own, serial {pin.serial}.",
            hint=f"Take it out of the plan, or let it follow its group: edgewright fleet devices unpin {device}.",
        )


def unpinning(device: Device) -> Move:
    """Return what lets a device follow its group again; of one that is gone for good nothing stays signed."""
    return Move(
        device=device.id,
        group="" if device.state == "decommissioned" else device.group,
        before=device.group,
        configured=device.configured,
        unpins=True,
    )


def take_pins(book: FleetBook, pins: Sequence[Pin]) -> int:
    """Bring the store up to date with what is signed; return how many devices were pinned, pinned otherwise or unpinned.

    The open jobs of a pinned device end; one that is unpinned is looked at anew, as if it came into its group.

    Args:
        book: The transaction.
        pins: All that are signed.
    """
    before = {one.device: one for one in book.pins.all()}
    fresh = [one for one in pins if before.get(one.device) != one]
    gone = sorted(before.keys() - {one.device for one in pins})
    book.pins.put(fresh)
    book.pins.remove(gone)
    releases = _releases_of(book, fresh)
    for pin in fresh:
        cancel_jobs(book, pin.device, f"it has a desired state of its own, serial {pin.serial}.")
        if book.devices.find(pin.device) is not None:
            known = {releases[one.digest] for one in pin.artifacts.values() if one.digest in releases}
            details: dict[str, Scalar] = {"serial": pin.serial, "release": " ".join(sorted(known)) or None}
            book.note("server", "device.pinned", f"device/{pin.device}", details)
    for name in gone:
        device = book.devices.find(name)
        if device is not None:
            book.devices.put(device, now_seconds=book.now_seconds)
            book.note("server", "device.unpinned", f"device/{name}", {"group": device.group})
    if fresh or gone:
        book.changes.tell(book.now_seconds, "devices", "devices", {"changed": len(fresh) + len(gone)})
    return len(fresh) + len(gone)


def _releases_of(book: FleetBook, pins: Sequence[Pin]) -> dict[str, str]:
    """Return the artifacts that releases have, by their digests, each with its release; each is looked for once."""
    digests = {artifact.digest for pin in pins for artifact in pin.artifacts.values()}
    found = ((digest, book.releases.with_artifact(digest)) for digest in digests)
    return {digest: one[0].id for digest, one in found if one is not None}
