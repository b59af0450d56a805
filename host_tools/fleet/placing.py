"""Where devices are: a group with a selector takes those that are as it asks, for as long as they are so; all others are where people put them.

A device is in one group, so it is in one share of one rollout and has one desired artifact, however many selectors want it.
And what it follows is what the fleet says: where its own configuration names another group, that is signed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from host_tools.errors import InputError
from host_tools.fleet.inventory import regroup, want_move

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    from host_tools.fleet.records.devices import Device, Group, Selector
    from host_tools.fleet.store.fleet_store import FleetBook

BATCH: Final = 500
"""Devices that are placed in one transaction."""
_GONE: Final = ("revoked", "decommissioned")


def takes(selector: Selector, device: Device) -> bool:
    """Say whether a selector wants a device, by what people and the device last said."""
    provides = device.provides
    return (
        (not selector.groups or device.home in selector.groups)
        and selector.tags <= device.tags
        and (not selector.targets or not selector.targets.isdisjoint(provides.targets))
        and (not selector.engines or provides.engine.partition(" ")[0] in selector.engines)
        and (not selector.agent_versions or provides.agent_version in selector.agent_versions)
        and (
            selector.least_memory_bytes is None
            or (provides.memory_bytes is not None and provides.memory_bytes >= selector.least_memory_bytes)
        )
    )


def place_of(device: Device, selecting: Sequence[Group]) -> str:
    """Return the group that a device is in.

    Args:
        device: Which.
        selecting: Groups with a selector, the one that comes first at the front.
    """
    return next(
        (one.name for one in selecting if one.selector is not None and takes(one.selector, device)),
        device.home,
    )


def check_selector(book: FleetBook, group: str, selector: Selector) -> None:
    """Refuse a selector that asks for nothing, or for a group that is none or has no devices of its own.

    Raises:
        InputError: It is so.
        NotFoundError: There is no such group.
        ConflictError: A group of it takes its devices by itself, or this one has devices of its own.
    """
    asked = (selector.groups, selector.tags, selector.targets, selector.engines, selector.agent_versions)
    if not any(asked) and selector.least_memory_bytes is None:
        raise InputError(
            f"group {group}: selector: expected at least one of groups, tags, targets, engines, agent_versions, "
            "least_memory_bytes, got none: it would take every device."
        )
    for name in sorted(selector.groups):
        book.groups.get_home(name)
    book.groups.require_no_home(group)


def place_devices(
    book: FleetBook,
    devices: Sequence[Device],
    selecting: Sequence[Group],
    followed: Mapping[str, str],
    told: MutableMapping[str, tuple[str, str]],
) -> int:
    """Put devices where they belong, and let be signed what they must be told; return how many were moved.

    Args:
        book: The transaction in which the devices were read.
        devices: Which.
        selecting: As for `place_of`.
        followed: Devices of which it is signed which group they follow, with that group.
        told: Of each device the group and the configuration for which it was asked to be signed last: once is enough, also where it cannot
            be, as without a repository.
    """
    pinned = book.pins.devices()
    moved = 0
    for device in devices:
        if device.state in _GONE:
            if device.state == "decommissioned" and device.id in followed:
                want_move(book, device, before=device.group)
            continue
        group = place_of(device, selecting)
        if group != device.group:
            _place(book, device, group, selecting)
            moved += 1
        elif (
            device.id not in pinned  # it follows no group; what ends that signs which one it follows then
            and _must_be_told(device, followed)
            and told.get(device.id) != (group, device.configured)
        ):
            told[device.id] = (group, device.configured)
            _redirect(book, device, followed.get(device.id, device.configured))
    if moved:
        book.changes.tell(book.now_seconds, "devices", "devices", {"changed": moved})
    return moved


def _place(book: FleetBook, device: Device, group: str, selecting: Sequence[Group]) -> None:
    if group != device.home:
        why = f"group {group} takes it by its selector"
    elif any(one.name == device.group for one in selecting):
        why = f"the selector of group {device.group} wants it no more"
    else:
        why = f"group {device.group} has no selector any more"
    regroup(book, device, replace(device, group=group), reason=f"the device is in group {group} now: {why}.")
    details = {"group": group, "was": device.group, "reason": why}
    book.note("server", "device.place", f"device/{device.id}", details)


def _must_be_told(device: Device, followed: Mapping[str, str]) -> bool:
    """Say whether what is signed of a device is not as it must be, by the configuration that it reports."""
    if device.desired_serial is None:
        return False  # it has not said, or takes no updates of a repository
    if device.configured == device.group:
        return device.id in followed
    return followed.get(device.id) != device.group


def _redirect(book: FleetBook, device: Device, before: str) -> None:
    pending = book.effects.find("move", device.id)
    want_move(book, device, before=before or device.group)
    if pending is None and device.configured != device.group:
        details = {"group": device.group, "configured": device.configured}
        book.note("server", "device.redirect", f"device/{device.id}", details)
