"""What `edgewright fleet groups | releases | claims | devices claim` do: what has to be there before a rollout can be planned."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from host_tools.cli.fleet_asking import done, name_of, tell
from host_tools.cli.fleet_server import FleetServer
from host_tools.cli.moments import moment
from host_tools.errors import InputError
from host_tools.fleet.records.devices import Selector
from host_tools.fleet.rollout.members import in_words

if TYPE_CHECKING:
    import argparse


def groups_list(options: argparse.Namespace) -> int:
    """Show groups, and how many profiles each has something for."""
    groups = list(FleetServer(options).every("/groups", query={}, most=options.most))
    rows = [
        {
            "group": one["name"],
            "runs": ", ".join(
                sorted({artifact["path"].split("/")[-1] for artifact in one["artifacts"].values()})
            ),
            "takes": "" if one["selector"] is None else _takes(one["selector"]),
            "note": one["note"],
        }
        for one in groups
    ]
    return tell(options, groups, rows)


def groups_add(options: argparse.Namespace) -> int:
    """Make a group."""
    body = {"name": options.name, "note": options.note or "", "selector": _selector(options)}
    group = FleetServer(options).ask("POST", "/groups", body)
    return done(options, group, f"group {group['name']}: made")


def groups_edit(options: argparse.Namespace) -> int:
    """Give a group another note or selector, or take its selector away."""
    selector = _selector(options)
    if options.no_selector and selector is not None:
        raise InputError("--no-selector: expected alone, got --select-… or --rank beside it.")
    if options.note is None and selector is None and not options.no_selector:
        raise InputError("nothing to change: give --note, --select-… or --no-selector.")
    body: dict[str, object] = {}
    if options.note is not None:
        body["note"] = options.note
    if selector is not None or options.no_selector:
        body["selector"] = selector
    group = FleetServer(options).ask("PATCH", f"/groups/{name_of(options.name)}", body)
    return done(options, group, f"group {group['name']}: changed")


def _selector(options: argparse.Namespace) -> dict[str, object] | None:
    given: dict[str, object] = {
        key: getattr(options, f"select_{option}")
        for key, option in (
            ("tags", "tag"),
            ("groups", "group"),
            ("targets", "target"),
            ("engines", "engine"),
            ("agent_versions", "agent_version"),
        )
        if getattr(options, f"select_{option}")
    }
    if options.select_memory_mib is not None:
        given["least_memory_bytes"] = round(options.select_memory_mib * 2**20)
    if options.rank is not None:
        given["rank"] = options.rank
    return given or None


def _takes(selector: dict[str, Any]) -> str:
    asked = {
        **{
            key: frozenset(selector[key])
            for key in ("groups", "tags", "targets", "engines", "agent_versions")
        },
        "least_memory_bytes": selector["least_memory_bytes"],
    }
    return in_words(Selector(**asked))


def groups_remove(options: argparse.Namespace) -> int:
    """Remove a group that never had devices or rollouts."""
    FleetServer(options).ask("DELETE", f"/groups/{name_of(options.name)}")
    return done(options, {"removed": options.name}, f"group {options.name}: removed")


def releases_list(options: argparse.Namespace) -> int:
    """Show the releases that rollouts may bring."""
    releases = list(
        FleetServer(options).every("/releases", query={"model": options.model}, most=options.most)
    )
    rows = [
        {
            "release": one["id"],
            "counter": one["counter"],
            "targets": " ".join(one["artifacts"]),
            "added": moment(one["created_seconds"]),
            "by": one["created_by"],
        }
        for one in releases
    ]
    return tell(options, releases, rows)


def releases_add(options: argparse.Namespace) -> int:
    """Tell the server of a release that `edgewright release create` signed."""
    from host_tools.fleet.field.releases import encode_for_server, read_release  # noqa: PLC0415 - host packages

    made = read_release(Path(options.file)).release
    release = FleetServer(options).ask("POST", "/releases", encode_for_server(made))
    return done(options, release, f"release {release['id']}: rollouts may bring it")


def devices_claim(options: argparse.Namespace) -> int:
    """Make a claim token; it alone goes to standard output."""
    body = {
        "group": options.group,
        "device": options.device,
        "lifetime_seconds": options.hours * 3_600.0,
        "needs_approval": options.needs_approval,
    }
    made = FleetServer(options).ask("POST", "/claims", body)
    if not options.json:
        print(f"claim {made['id']}: good for one device, once", file=sys.stderr)
    return done(options, made, str(made["claim"]))


def claims_list(options: argparse.Namespace) -> int:
    """Show claim tokens; no secret is among them."""
    query = {"group": options.group, "state": options.state}
    claims = list(FleetServer(options).every("/claims", query=query, most=options.most))
    rows = [
        {
            "claim": one["id"],
            "group": one["group"],
            "for": one["device"] or "any device",
            "state": one["state"],
            "device": one["used_by"],
            "good until": moment(one["expires_seconds"]),
            "approval": "needed" if one["needs_approval"] else "",
        }
        for one in claims
    ]
    return tell(options, claims, rows)


def claims_revoke(options: argparse.Namespace) -> int:
    """Let a claim token be good no more."""
    claim = FleetServer(options).ask("DELETE", f"/claims/{name_of(options.id)}")
    return done(options, claim, f"claim {claim['id']} of group {claim['group']}: revoked")
