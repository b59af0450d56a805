"""What people do with devices, each within a transaction: what follows from it for jobs and certificates is stored with it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from host_tools.errors import ConflictError
from host_tools.fleet.records.devices import Device, Group
from host_tools.fleet.rollout.jobs import canceled
from host_tools.fleet.store.devices import DeviceFilter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.fleet.outside import Enrolled
    from host_tools.fleet.store.fleet_store import FleetBook

Retirement = Literal["revoked", "decommissioned"]
MOST_DEVICES: Final = 200_000
"""So many devices a server keeps, those that are decommissioned with them."""
_ACTIONS: Final = {"revoked": "device.revoke", "decommissioned": "device.decommission"}


def add_devices(book: FleetBook, devices: Sequence[Device], *, actor: str) -> None:
    """Make devices known before they are heard.

    Raises:
        NotFoundError: A group is not there.
        ConflictError: One is known already, or a group takes its devices by itself.
    """
    for group in sorted({device.group for device in devices}):
        book.groups.get_home(group)
    book.devices.add(devices)
    for device in devices:
        book.note(actor, "device.add", f"device/{device.id}", {"group": device.group})
    _tell(book, len(devices))


def edit_device(
    book: FleetBook, device: Device, *, group: str | None, tags: frozenset[str] | None, actor: str
) -> Device:
    """Put a device into another group, whose desired state it follows from then on, or give it other tags; None: as it is.

    While a group takes it by a selector it stays there; `placing` looks anew whether it does.

    Raises:
        NotFoundError: The group is not there.
        ConflictError: The device takes no part any more, or the group takes its devices by itself.
    """
    if device.state in ("revoked", "decommissioned"):
        raise ConflictError(f"device {device.id}: it is {device.state}.")
    home = device.home if group is None else group
    edited = replace(
        device,
        group=home if device.group == device.home else device.group,
        home=home,
        tags=device.tags if tags is None else tags,
    )
    if edited == device:
        return device
    if home != device.home:
        book.groups.get_home(home)
    if edited.group != device.group:
        regroup(book, device, edited, reason=f"the device was moved to group {edited.group}.")
    else:
        book.devices.put(edited, now_seconds=book.now_seconds)
    book.note(
        actor,
        "device.edit",
        f"device/{device.id}",
        {"group": edited.home, "tags": " ".join(sorted(edited.tags))},
    )
    _tell(book, 1)
    return edited


def regroup(book: FleetBook, before: Device, after: Device, *, reason: str) -> None:
    """Let a device be in another group: its open jobs end for this reason, and it follows the group from then on."""
    book.devices.put(after, now_seconds=book.now_seconds)
    cancel_jobs(book, after.id, reason)
    want_move(book, after, before=before.group)


def approve_device(book: FleetBook, device: Device, *, actor: str) -> Device:
    """Let a device take part that has asked for it.

    Raises:
        ConflictError: It does not wait for that.
    """
    if device.state != "pending":
        raise ConflictError(
            f"device {device.id}: expected one that waits for approval, it is {device.state}."
        )
    approved = replace(device, state="enrolled")
    book.devices.put(approved, now_seconds=book.now_seconds)
    book.effects.want("approve", device.id, json.dumps({"by": actor}), now_seconds=book.now_seconds)
    book.note(actor, "device.approve", f"device/{device.id}")
    _tell(book, 1)
    return approved


def retire_device(book: FleetBook, device: Device, state: Retirement, *, reason: str, actor: str) -> Device:
    """Take a device out: its open jobs end, and its certificates are taken back.

    Args:
        book: The transaction.
        device: Which.
        state: ``revoked``: it may enrol again; ``decommissioned``: it is gone for good.
        reason: Told with its jobs and certificates.
        actor: Who does it.

    Raises:
        ConflictError: It is so already, or gone for good.
    """
    if device.state in (state, "decommissioned"):
        raise ConflictError(f"device {device.id}: it is {device.state} already.")
    retired = replace(device, state=state)
    book.devices.put(retired, now_seconds=book.now_seconds)
    book.ddi_tokens.remove("target", device.id)
    cancel_jobs(book, device.id, f"the device was {state}.")
    _want_revocation(book, device.id, reason=reason, for_good=state == "decommissioned")
    if state == "decommissioned" and is_pinned(book, device.id):
        want_pin(book, retired, release=None)
    book.note(actor, _ACTIONS[state], f"device/{device.id}", {"reason": reason})
    _tell(book, 1)
    return retired


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of taking what the authority knows.

    Attributes:
        new: How many devices are known now that were not.
        left_out: Ids of those for which there was no room.
        elsewhere: Devices whose claim token was for another group than the one in which the fleet had them, with what is said of that.
    """

    new: int
    left_out: tuple[str, ...]
    elsewhere: Mapping[str, str]


def take_enrolled(book: FleetBook, members: Sequence[Enrolled], *, most: int = MOST_DEVICES) -> Taken:
    """Make known what the authority knows: devices that came with a claim token, that come back, or that ask to be let in.

    What somebody decided here and the authority has not heard of yet stays; a decommissioned device stays out.

    Args:
        book: The transaction.
        members: All that the authority knows.
        most: So many devices there may be; who would be one more is left out, and taken once there is room.
    """
    fresh: list[Device] = []
    left_out: list[str] = []
    elsewhere: dict[str, str] = {}
    changed = 0
    room = most - book.devices.count(DeviceFilter())
    for member in members:
        known = book.devices.find(member.device)
        if known is None and member.state != "revoked" and member.group:
            if len(fresh) >= room:
                left_out.append(member.device)
                continue
            if book.groups.find(member.group) is None:
                book.groups.add(Group(name=member.group, created_seconds=book.now_seconds))
                book.note(
                    "server", "group.add", f"group/{member.group}", {"reason": "a claim token named it"}
                )
            fresh.append(
                Device(
                    id=member.device,
                    group=member.group,
                    state=member.state,
                    added_seconds=book.now_seconds,
                )
            )
            book.note(
                f"device {member.device}", "device.enrol", f"device/{member.device}", {"group": member.group}
            )
        elif known is not None and _comes_back(book, known, member):
            book.devices.put(replace(known, state=member.state), now_seconds=book.now_seconds)
            book.note(f"device {known.id}", "device.enrol", f"device/{known.id}", {"was": known.state})
            changed += 1
        elif known is not None and _is_back_unwanted(book, known, member):
            reason = "it was decommissioned, and the authority has let it in or is asked to."
            _want_revocation(book, known.id, reason=reason, for_good=True)
            book.note("server", "device.revoke", f"device/{known.id}", {"reason": reason})
        if known is not None and member.group and member.group != known.home:
            elsewhere[known.id] = (
                f"it enrolled for group {member.group}, and is in {known.home}, where people put it, and follows {known.group}. "
                f"To move it: edgewright fleet devices edit {known.id} --group {member.group}."
            )
    book.devices.add(fresh)
    if fresh or changed:
        _tell(book, len(fresh) + changed)
    return Taken(new=len(fresh), left_out=tuple(left_out), elsewhere=elsewhere)


def _comes_back(book: FleetBook, known: Device, member: Enrolled) -> bool:
    if member.state not in ("pending", "enrolled") or known.state not in ("pending", "revoked"):
        return False
    decided = any(book.effects.find(kind, known.id) is not None for kind in ("approve", "revoke"))
    return known.state != member.state and not decided


def _is_back_unwanted(book: FleetBook, known: Device, member: Enrolled) -> bool:
    """Say whether a decommissioned device has a certificate, or asks for one: an authority of an earlier version kept none out."""
    if known.state != "decommissioned" or member.state == "revoked":
        return False
    return book.effects.find("revoke", known.id) is None


def want_move(book: FleetBook, device: Device, *, before: str) -> None:
    """Want a device to follow the group that it is in; until that is signed it follows the one that it was in before it was moved first."""
    pending = book.effects.find("move", device.id)
    if pending is not None:
        before = str(json.loads(pending.document)["before"])
    group = "" if device.state == "decommissioned" else device.group
    document = json.dumps({"group": group, "before": before, "configured": device.configured})
    if pending is None or pending.document != document:
        book.effects.want("move", device.id, document, now_seconds=book.now_seconds)


def is_pinned(book: FleetBook, device: str) -> bool:
    """Say whether a device has a desired state of its own, or is to get one, or to lose it."""
    return book.pins.find(device) is not None or book.effects.find("pin", device) is not None


def want_pin(book: FleetBook, device: Device, *, release: str | None, allow_downgrade: bool = False) -> bool:
    """Want a device to run a release, or, with None, to follow its group again; return whether that was not wanted already."""
    document = json.dumps({"release": release, "allow_downgrade": allow_downgrade})
    pending = book.effects.find("pin", device.id)
    is_new = pending is None or pending.document != document
    if is_new:
        book.effects.want("pin", device.id, document, now_seconds=book.now_seconds)
    return is_new


def cancel_jobs(book: FleetBook, device: str, reason: str) -> None:
    """Let a device's open jobs end without a result."""
    book.jobs.put([canceled(job, reason, book.now_seconds) for job in book.jobs.open_of([device])])


def _want_revocation(book: FleetBook, device: str, *, reason: str, for_good: bool) -> None:
    document = json.dumps({"reason": reason, "for_good": for_good})
    book.effects.want("revoke", device, document, now_seconds=book.now_seconds)


def _tell(book: FleetBook, count: int) -> None:
    book.changes.tell(book.now_seconds, "devices", "devices", {"changed": count})
