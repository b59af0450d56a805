"""What `edgewright fleet devices | rollouts | audit list` do: ask the server, and show what it says."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from host_tools.cli.fleet_server import FleetServer
from host_tools.cli.moments import moment
from host_tools.cli.printing import print_list
from host_tools.errors import InputError
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

_MOST_LIST_BYTES: Final = 16 << 20
"""A server takes no more at once."""


def devices_list(options: argparse.Namespace) -> int:
    """Show devices."""
    query = {
        name: getattr(options, name)
        for name in ("group", "state", "health", "search", "tag", "silent_seconds")
    }
    devices = list(FleetServer(options).every("/devices", query=query, most=options.most))
    rows = [
        {
            "device": one["id"],
            "group": one["group"],
            "tags": " ".join(one["tags"]),
            "state": one["state"],
            "health": one["health"] or "not heard",
            "runs": _short(one["artifact"]),
            "last heard": moment(one["last_seen_seconds"]),
        }
        for one in devices
    ]
    return tell(options, devices, rows)


def devices_show(options: argparse.Namespace) -> int:
    """Show one device and its jobs."""
    server = FleetServer(options)
    device = server.ask("GET", f"/devices/{name_of(options.id)}")
    desired = server.ask("GET", f"/devices/{name_of(options.id)}/desired")
    jobs = server.ask("GET", f"/devices/{name_of(options.id)}/jobs")["items"]
    if options.json:
        return _print({**device, "desired": desired, "jobs": jobs})
    waits = {} if desired["unsigned"] is None else {"waits": desired["unsigned"]}
    for name, value in {**device, "shall run": _shall_run(desired), **waits}.items():
        shown = moment(value) if name.endswith("_seconds") else value
        _line(
            f"{name}: {json.dumps(shown, ensure_ascii=False) if isinstance(shown, (dict, list)) else shown}"
        )
    return tell(options, jobs, [_job_row(job, "rollout") for job in jobs])


def devices_edit(options: argparse.Namespace) -> int:
    """Move or tag a device."""
    body = {"group": options.group, "tags": options.tag}
    if options.group is None and options.tag is None:
        raise InputError("nothing to change: give --group, --tag or --no-tags.")
    device = FleetServer(options).ask("PATCH", f"/devices/{name_of(options.id)}", body)
    return done(
        options, device, f"{device['id']}: group {device['group']}, tags {' '.join(device['tags']) or 'none'}"
    )


def devices_pin(options: argparse.Namespace) -> int:
    """Give a device a desired state of its own."""
    body = {"release": options.release, "allow_downgrade": options.allow_downgrade}
    device = FleetServer(options).ask("POST", f"/devices/{name_of(options.id)}/pin", body)
    return done(
        options, device, f"{device['id']}: shall run {options.release}, whatever group {device['group']} runs"
    )


def devices_unpin(options: argparse.Namespace) -> int:
    """Let a device follow its group again."""
    device = FleetServer(options).ask("DELETE", f"/devices/{name_of(options.id)}/pin")
    return done(options, device, f"{device['id']}: follows group {device['group']}")


def devices_approve(options: argparse.Namespace) -> int:
    """Let a device in."""
    device = FleetServer(options).ask("POST", f"/devices/{name_of(options.id)}/approve")
    return done(options, device, f"{device['id']}: {device['state']}")


def devices_revoke(options: argparse.Namespace) -> int:
    """Take a device's certificates back, or take it out for good."""
    path = f"/devices/{name_of(options.id)}/{options.action}"
    device = FleetServer(options).ask("POST", path, {"reason": options.reason})
    return done(options, device, f"{device['id']}: {device['state']}")


devices_decommission = devices_revoke


def devices_import(options: argparse.Namespace) -> int:
    """Bring a device list in."""
    try:
        with (
            nullcontext(sys.stdin.buffer) if options.file == "-" else Path(options.file).open("rb") as stream
        ):
            data = stream.read(_MOST_LIST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{options.file}: {error.strerror}.") from error
    if len(data) > _MOST_LIST_BYTES:
        raise InputError(
            f"{options.file}: expected a device list of at most {_MOST_LIST_BYTES} bytes, got more.",
            hint="Bring it in in parts.",
        )
    answer = json.loads(FleetServer(options).send("POST", "/devices.csv", data, content_type="text/csv"))
    return done(
        options,
        answer,
        f"{answer['added']} added, {answer['changed']} changed, {answer['same']} as they were",
    )


def devices_export(options: argparse.Namespace) -> int:
    """Write the device list."""
    sys.stdout.write(FleetServer(options).send("GET", "/devices.csv", content_type="text/csv").decode())
    return 0


def rollouts_list(options: argparse.Namespace) -> int:
    """Show rollouts."""
    query = {"group": options.group, "state": options.state}
    rollouts = list(FleetServer(options).every("/rollouts", query=query, most=options.most))
    rows = [
        {
            "rollout": one["id"],
            "release": one["plan"]["release"],
            "group": one["plan"]["group"],
            "state": one["state"],
            "stages passed": f"{sum(stage['state'] == 'passed' for stage in one['stages'])} of {len(one['stages'])}",
            "why": one["reason"],
        }
        for one in rollouts
    ]
    return tell(options, rollouts, rows)


def rollouts_create(options: argparse.Namespace) -> int:
    """Plan a rollout from a file."""
    from host_tools.fleet.rollout.plan_file import read_plan_file  # noqa: PLC0415 - `list` need not wait for it
    from host_tools.fleet.serve.answers.rollouts import PlanAnswer  # noqa: PLC0415 - pydantic

    plan = PlanAnswer.model_validate(read_plan_file(Path(options.file))).model_dump(mode="json")
    rollout = FleetServer(options).ask("POST", "/rollouts", plan)
    return done(
        options,
        rollout,
        f"{rollout['id']}: {rollout['state']}. `edgewright fleet rollouts submit {rollout['id']}` lets it run.",
    )


def rollouts_explain(options: argparse.Namespace) -> int:
    """Say why a rollout is where it is."""
    explained = FleetServer(options).ask("GET", f"/rollouts/{name_of(options.id)}/explain")
    if options.json:
        return _print(explained)
    for line in explained["words"].splitlines():
        _line(line)
    return 0


def rollouts_jobs(options: argparse.Namespace) -> int:
    """Show the jobs of a rollout."""
    query = {"state": options.state, "result": options.result}
    path = f"/rollouts/{name_of(options.id)}/jobs"
    jobs = list(FleetServer(options).every(path, query=query, most=options.most))
    return tell(options, jobs, [_job_row(job, "device") for job in jobs])


def rollouts_submit(options: argparse.Namespace) -> int:
    """Give an order to a rollout: the action's name is its name."""
    rollout = FleetServer(options).ask("POST", f"/rollouts/{name_of(options.id)}/{options.action}", {})
    return done(options, rollout, f"{rollout['id']}: {rollout['state']}: {rollout['reason']}")


rollouts_approve = rollouts_pause = rollouts_resume = rollouts_submit
rollouts_abort = rollouts_rollback = rollouts_submit


def rollouts_retry(options: argparse.Namespace) -> int:
    """Let jobs that failed or were canceled try once more."""
    rollout = FleetServer(options).ask("POST", f"/rollouts/{name_of(options.id)}/retry", {})
    return done(options, rollout, f"{rollout['id']}: jobs that failed or were canceled are tried again")


def rollouts_approve_stage(options: argparse.Namespace) -> int:
    """Approve the stage that waits for it."""
    server = FleetServer(options)
    path = f"/rollouts/{name_of(options.id)}"
    seen = server.ask("GET", path)
    asks = [place for place, one in enumerate(seen["stages"]) if one["state"] == "awaiting_approval"]
    if not asks:
        raise InputError(
            f"rollout {options.id}: no stage awaits approval.",
            hint=f"`edgewright fleet rollouts explain {options.id}` says what it waits for.",
        )
    rollout = server.ask("POST", f"{path}/stages/{asks[0]}/approve", {"revision": seen["revision"]})
    return done(
        options, rollout, f"{rollout['id']}: stage {rollout['plan']['stages'][asks[0]]['name']} approved"
    )


def audit_list(options: argparse.Namespace) -> int:
    """Show the audit."""
    query = {
        "actor": options.actor_is,
        "action": options.action_is,
        "subject": options.subject_is,
        "order": "newest_first" if options.newest else None,
    }
    entries = list(FleetServer(options).every("/audit", query=query, most=options.most))
    rows = [
        {
            "number": one["number"],
            "time": moment(one["seconds"]),
            "actor": one["actor"],
            "action": one["action"],
            "subject": one["subject"],
            "details": ", ".join(f"{name} {value}" for name, value in one["details"].items()),
        }
        for one in entries
    ]
    return tell(options, entries, rows)


# --- showing ---


def tell(options: argparse.Namespace, answer: object, rows: Sequence[Mapping[str, Any]]) -> int:
    """Show a list as a table, or as JSON."""
    if options.json:
        return _print(answer)
    if not rows:
        print("none")
        return 0
    print_list(tuple(rows[0]), [tuple(row.values()) for row in rows])
    return 0


def done(options: argparse.Namespace, answer: object, line: str) -> int:
    """Show in one line what was done, or the answer as JSON."""
    if options.json:
        return _print(answer)
    _line(line)
    return 0


def _line(text: str) -> None:
    print(harmless(text))


def _print(answer: object) -> int:
    print(json.dumps(answer, indent=1, ensure_ascii=True))
    return 0


def _job_row(job: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {
        key: job[key],
        "stage": job["stage"] + 1,
        "state": job["state"],
        "result": job["result"],
        "attempts": job["attempts"],
        "changed": moment(job["changed_seconds"]),
        "why": job["reason"],
    }


def name_of(text: str) -> str:
    """Return an id as a part of an address.

    Raises:
        InputError: It is none.
    """
    if not text or not all(letter.isascii() and (letter.isalnum() or letter in "_-") for letter in text):
        raise InputError(f"expected an id of letters, digits, _ and -, got {text[:80]!a}.")
    return text


def _shall_run(desired: Mapping[str, Any]) -> str:
    what = _short(desired["desired"]) or "nothing for what it can run"
    if desired["own_serial"] is not None:
        return f"{what}, by a desired state of its own, serial {desired['own_serial']}"
    return what if desired["rollout"] is None else f"{what}, by rollout {desired['rollout']}"


def _short(digest: str | None) -> str:
    return "" if digest is None else digest.removeprefix("sha256:")[:12]
