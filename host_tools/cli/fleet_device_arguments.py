"""`edgewright fleet`, of devices: the arguments of groups, claims and devices."""

from __future__ import annotations

import argparse

from host_tools.cli.arguments import above_zero
from host_tools.cli.fleet_arguments import add_client, add_group, add_most, add_revoke


def add_groups(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``groups``."""
    actions = add_group(verbs, "groups", "groups: list, add, edit, remove")
    add_most(add_client(actions, "groups", "list", "show groups", "preparing"))
    add = add_client(actions, "groups", "add", "make a group", "preparing")
    edit = add_client(
        actions, "groups", "edit", "give a group another note or selector, or none", "preparing"
    )
    for action in (add, edit):
        action.add_argument("--note", help="for people")
        _add_selector(action)
    edit.add_argument(
        "--no-selector",
        action="store_true",
        help="take its selector away: its devices go back to where people put them",
    )
    remove = add_client(actions, "groups", "remove", "remove a group that never had anything", "preparing")
    gateway = add_client(
        actions, "groups", "gateway-token", "make the token with which every device of a group polls", "ddi"
    )
    add_revoke(gateway)
    for action in (add, edit, remove, gateway):
        action.add_argument("name", metavar="NAME", help="1 to 64 letters, digits, _ and -")


def _add_selector(parser: argparse.ArgumentParser) -> None:
    selector = parser.add_argument_group(
        "selector",
        "With one of these the group takes devices by itself, for as long as all that is given holds of them.",
    )
    for name, metavar, text in (
        ("tag", "TAG", "with this tag; repeated, with all of them"),
        ("group", "NAME", "that people put into this group; repeated, into one of them"),
        ("target", "PROFILE", "that can run artifacts of this capability profile; repeated, of one of them"),
        ("engine", "NAME", "with this engine, e.g. tflite; repeated, with one of them"),
        ("agent-version", "VERSION", "with this agent; repeated, with one of them"),
    ):
        selector.add_argument(
            f"--select-{name}", action="append", default=[], metavar=metavar, help=f"devices {text}"
        )
    selector.add_argument(
        "--select-memory-mib", type=above_zero, metavar="N", help="devices with at least so much memory"
    )
    selector.add_argument(
        "--rank", type=int, metavar="N", help="of groups that want a device the lowest has it (default: 100)"
    )


def add_claims(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``claims``."""
    actions = add_group(
        verbs, "claims", "claim tokens that `devices claim` made: list, revoke; no secret is shown"
    )
    listing = add_client(actions, "claims", "list", "show claim tokens", "preparing")
    listing.add_argument("--group", help="only of this group")
    listing.add_argument("--state", help="only good, waiting, used, refused, expired or revoked")
    add_most(listing)
    revoke = add_client(actions, "claims", "revoke", "let a claim token be good no more", "preparing")
    revoke.add_argument("id", metavar="ID", help="as `list` shows it")


def add_devices(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``devices``."""
    actions = add_group(verbs, "devices", "devices: list, look at, move, tag, pin, take out")
    _add_list_of_devices(actions)
    _add_one_device(actions)
    _add_claim(actions)
    bring = add_client(actions, "devices", "import", "bring a device list in: CSV with id,group,tags")
    bring.add_argument("file", metavar="FILE.csv", help="the list; -: standard input")
    add_client(actions, "devices", "export", "write the device list to standard output, as CSV")


def _add_list_of_devices(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    listing = add_client(actions, "devices", "list", "show devices")
    for name, text in (
        ("group", "of this group"),
        ("state", "pending, enrolled, revoked or decommissioned"),
        ("health", "up, degraded, draining, down or unknown"),
        ("search", "with this in their id"),
    ):
        listing.add_argument(f"--{name}", help=f"only {text}")
    listing.add_argument("--tag", action="append", default=[], help="only with this tag; repeatable")
    listing.add_argument("--silent-seconds", type=above_zero, metavar="N", help="only not heard for so long")
    add_most(listing)


def _add_one_device(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    show = add_client(actions, "devices", "show", "all about one device")
    edit = add_client(actions, "devices", "edit", "move a device to another group, or give it other tags")
    edit.add_argument("--group", help="the group")
    tags = edit.add_mutually_exclusive_group()
    tags.add_argument("--tag", action="append", help="its tags from now on; repeatable")
    tags.add_argument(
        "--no-tags", dest="tag", action="store_const", const=[], help="it has no tags from now on"
    )
    pin = add_client(
        actions,
        "devices",
        "pin",
        "give a device a desired state of its own: a release, whatever its group runs",
    )
    unpin = add_client(actions, "devices", "unpin", "let a device follow its group again")
    one = [show, edit, pin, unpin]
    for name, text in (
        ("approve", "let a device in that asks"),
        ("revoke", "take a device's certificates back; it may enrol again"),
        ("decommission", "take a device out for good"),
    ):
        action = add_client(actions, "devices", name, text)
        if name != "approve":
            action.add_argument("--reason", default="", help="kept in the audit, told with its jobs")
        one.append(action)
    target = add_client(
        actions,
        "devices",
        "target-token",
        "make the token with which a device polls over hawkBit's DDI",
        "ddi",
    )
    add_revoke(target)
    one.append(target)
    for action in one:
        action.add_argument("id", metavar="ID", help="device id")
    pin.add_argument("release", metavar="RELEASE", help="id of a release, as `releases list` shows it")
    pin.add_argument(
        "--allow-downgrade",
        action="store_true",
        help="the release may be older than what the device has kept",
    )


def _add_claim(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    claim = add_client(
        actions, "devices", "claim", "make a token with which one device enrols, once", "preparing"
    )
    claim.add_argument("--group", required=True, help="that it comes into")
    claim.add_argument("--device", default="", metavar="ID", help="the only one that may use it")
    claim.add_argument("--hours", type=_hours, default=24.0, metavar="N", help="validity (default: 24)")
    claim.add_argument("--needs-approval", action="store_true", help="it waits for `devices approve`")


def _hours(text: str) -> float:
    hours = above_zero(text)
    if not 60.0 <= 3_600.0 * hours <= 366 * 86_400.0:
        raise argparse.ArgumentTypeError(f"expected a minute (0.017) to 366 days (8784), got {text}")
    return hours
