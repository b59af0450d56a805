"""`edgewright fleet`: the arguments; what the commands do is in `fleet_serving`, `fleet_preparing`, `fleet_asking` and `fleet_sample`."""

from __future__ import annotations

import argparse

from host_tools.cli.arguments import above_zero, count, examples_of
from host_tools.cli.telemetry import BROKER_HELP, add_tls

_EPILOG = """\
examples:
  edgewright fleet sample sample-fleet/
  edgewright fleet serve --database fleet.db
  edgewright fleet serve --database postgresql://fleet@db/fleet --host 0.0.0.0 --tls-cert server.crt --tls-key server.key
  edgewright fleet serve --database fleet.db --repository fleet/ --keys keys/ --broker mqtt://localhost
  edgewright fleet serve --database fleet.db --repository fleet/ --keys keys/ --ddi
  edgewright fleet token create --database fleet.db --name ada --role admin > ada.token
  edgewright fleet token list --database fleet.db
  edgewright fleet token revoke --database fleet.db 4f2a90c1d3e7
  edgewright fleet groups add lab --token-file ada.token
  edgewright fleet groups add outdoor --select-tag outdoor --select-target cortex-a-tflite --token-file ada.token
  edgewright fleet groups edit outdoor --select-tag outdoor --select-tag north --token-file ada.token
  edgewright fleet releases add fleet/releases/model-1.1.0.json --token-file ada.token
  edgewright fleet devices claim --group lab --token-file ada.token > gate-7.token
  edgewright fleet claims list --group lab --token-file ada.token
  edgewright fleet claims revoke 4f2a90c1d3e7 --token-file ada.token
  edgewright fleet devices list --token-file ada.token --group lab --json
  edgewright fleet devices import devices.csv --token-file ada.token
  edgewright fleet devices edit gate-7 --group shop --tag indoor --token-file ada.token
  edgewright fleet devices pin gate-7 model-1.0.2 --token-file ada.token
  edgewright fleet devices unpin gate-7 --token-file ada.token
  edgewright fleet devices target-token gate-8 --token-file ada.token > gate-8.token
  edgewright fleet groups gateway-token shop --token-file ada.token > shop.token
  edgewright fleet rollouts create plan.toml --token-file ada.token
  edgewright fleet rollouts submit r1 --token-file ada.token
  edgewright fleet rollouts explain r1 --token-file ada.token
  edgewright fleet audit verify --database fleet.db
  edgewright fleet audit export --database fleet.db > audit.jsonl
  edgewright fleet audit verify audit.jsonl --expect sha256:41d7…

The server's address comes from --server or EDGEWRIGHT_FLEET, the token from --token-file or EDGEWRIGHT_FLEET_TOKEN. docs/fleet.md
"""
DEFAULT_PORT = 8430
_ROLES = ("viewer", "operator", "approver", "admin")
_DATABASE_HELP = "a file for SQLite, or postgresql://USER:PASSWORD@HOST/DATABASE"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    parser = commands.add_parser(
        "fleet",
        help="provision devices and bring releases to them in stages",
        description="Provision devices and bring releases to them in stages.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_sample(verbs)
    _add_serve(verbs)
    _add_token(verbs)
    _add_groups(verbs)
    _add_claims(verbs)
    _add_releases(verbs)
    _add_devices(verbs)
    _add_rollouts(verbs)
    _add_audit(verbs)


def _add_sample(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sample = _verb(
        verbs, "sample", "a whole fleet to play with, on this machine: broker, server, real agents"
    )
    sample.set_defaults(run="host_tools.cli.fleet_sample:run_sample")
    sample.add_argument(
        "folder", metavar="DIR", help="gets everything: an empty folder, or that of an earlier sample"
    )
    sample.add_argument(
        "--devices", type=_devices, metavar="N", help="agents, 5 to 50 (default: 6, or as many as there are)"
    )
    sample.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help=f"of the server (default: {DEFAULT_PORT}; 0: any)"
    )
    sample.add_argument(
        "--check-every",
        type=_check_seconds,
        default=15.0,
        metavar="S",
        help="seconds between a device's looks for updates (default: 15)",
    )


def _add_serve(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = _verb(verbs, "serve", "the fleet's server: REST interface, rollouts")
    serve.set_defaults(run="host_tools.cli.fleet_serving:run_serve")
    _add_database(serve)
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine only)"
    )
    serve.add_argument("--port", type=_port, default=DEFAULT_PORT, help=f"(default: {DEFAULT_PORT}; 0: any)")
    tls = serve.add_argument_group("TLS of the interface (needed where others than this machine reach it)")
    tls.add_argument("--tls-cert", metavar="FILE", help="the server's certificate, PEM")
    tls.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    field = serve.add_argument_group("what touches devices")
    field.add_argument("--repository", metavar="DIR", help="signed repository to publish in")
    field.add_argument("--keys", metavar="DIR", help="its private keys")
    field.add_argument("--authority", metavar="DIR", help="folder of `edgewright ca init`, for enrolment")
    field.add_argument("--authority-url", metavar="URL", help="where devices find `edgewright ca serve`")
    field.add_argument("--broker", metavar="URL", help=f"whom devices talk to: {BROKER_HELP}")
    field.add_argument(
        "--telemetry",
        metavar="STORE|URL",
        help="for the gates: where `edgewright ingest --page` or `review serve` answers; or a store that nobody writes meanwhile",
    )
    field.add_argument("--telemetry-token-file", metavar="FILE", help="what that page asks for")
    field.add_argument(
        "--gates-every",
        type=above_zero,
        default=20.0,
        metavar="S",
        help="seconds between two looks at the gates of a rollout (default: 20)",
    )
    field.add_argument("--name", default="fleet", help="tells several servers at one broker apart")
    ddi = serve.add_argument_group("devices that poll over hawkBit's DDI: SWUpdate, rauc-hawkbit-updater")
    ddi.add_argument("--ddi", action="store_true", help="serve them, with the files of --repository")
    ddi.add_argument("--ddi-tenant", default="DEFAULT", metavar="NAME", help="tenant id (default: DEFAULT)")
    ddi.add_argument(
        "--ddi-poll",
        type=_poll_seconds,
        default=300.0,
        metavar="S",
        help="seconds between two polls of a device (default: 300)",
    )
    add_tls(serve)


def _add_token(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = _group(
        verbs, "token", "tokens, made where the database is; later ones come from the server too"
    )
    create = _action(
        actions, "token", "create", "make a token; it alone is printed, and kept nowhere", "serving"
    )
    create.add_argument("--name", required=True, help="whose it is, as the audit shows it")
    create.add_argument("--role", required=True, choices=_ROLES, help="what it may do")
    create.add_argument("--days", type=above_zero, default=90.0, metavar="N", help="validity (default: 90)")
    listing = _action(actions, "token", "list", "show tokens, without their secrets", "serving")
    listing.add_argument("--json", action="store_true", help="print JSON")
    revoke = _action(actions, "token", "revoke", "end a token now", "serving")
    revoke.add_argument("id", metavar="ID", help="as `list` shows it")
    for action in (create, listing, revoke):
        _add_database(action)


def _add_groups(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = _group(verbs, "groups", "groups: list, add, edit, remove")
    _most(_client(actions, "groups", "list", "show groups", "preparing"))
    add = _client(actions, "groups", "add", "make a group", "preparing")
    edit = _client(actions, "groups", "edit", "give a group another note or selector, or none", "preparing")
    for action in (add, edit):
        action.add_argument("--note", help="for people")
        _add_selector(action)
    edit.add_argument(
        "--no-selector",
        action="store_true",
        help="take its selector away: its devices go back to where people put them",
    )
    remove = _client(actions, "groups", "remove", "remove a group that never had anything", "preparing")
    gateway = _client(
        actions, "groups", "gateway-token", "make the token with which every device of a group polls", "ddi"
    )
    _add_revoke(gateway)
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


def _add_claims(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = _group(
        verbs, "claims", "claim tokens that `devices claim` made: list, revoke; no secret is shown"
    )
    listing = _client(actions, "claims", "list", "show claim tokens", "preparing")
    listing.add_argument("--group", help="only of this group")
    listing.add_argument("--state", help="only good, waiting, used, refused, expired or revoked")
    _most(listing)
    revoke = _client(actions, "claims", "revoke", "let a claim token be good no more", "preparing")
    revoke.add_argument("id", metavar="ID", help="as `list` shows it")


def _add_releases(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = _group(verbs, "releases", "releases that rollouts may bring: list, add")
    listing = _client(actions, "releases", "list", "show releases", "preparing")
    listing.add_argument("--model", help="only of this model")
    _most(listing)
    add = _client(
        actions, "releases", "add", "tell the server of what `edgewright release create` signed", "preparing"
    )
    add.add_argument("file", metavar="FILE.json", help="the repository's releases/NAME-VERSION.json")


def _add_devices(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = _group(verbs, "devices", "devices: list, look at, move, tag, pin, take out")
    listing = _client(actions, "devices", "list", "show devices")
    for name, text in (
        ("group", "of this group"),
        ("state", "pending, enrolled, revoked or decommissioned"),
        ("health", "up, degraded, draining, down or unknown"),
        ("search", "with this in their id"),
    ):
        listing.add_argument(f"--{name}", help=f"only {text}")
    listing.add_argument("--tag", action="append", default=[], help="only with this tag; repeatable")
    listing.add_argument("--silent-seconds", type=above_zero, metavar="N", help="only not heard for so long")
    _most(listing)
    show = _client(actions, "devices", "show", "all about one device")
    edit = _client(actions, "devices", "edit", "move a device to another group, or give it other tags")
    edit.add_argument("--group", help="the group")
    tags = edit.add_mutually_exclusive_group()
    tags.add_argument("--tag", action="append", help="its tags from now on; repeatable")
    tags.add_argument(
        "--no-tags", dest="tag", action="store_const", const=[], help="it has no tags from now on"
    )
    pin = _client(
        actions,
        "devices",
        "pin",
        "give a device a desired state of its own: a release, whatever its group runs",
    )
    unpin = _client(actions, "devices", "unpin", "let a device follow its group again")
    one = [show, edit, pin, unpin]
    for name, text in (
        ("approve", "let a device in that asks"),
        ("revoke", "take a device's certificates back; it may enrol again"),
        ("decommission", "take a device out for good"),
    ):
        action = _client(actions, "devices", name, text)
        if name != "approve":
            action.add_argument("--reason", default="", help="kept in the audit, told with its jobs")
        one.append(action)
    target = _client(
        actions,
        "devices",
        "target-token",
        "make the token with which a device polls over hawkBit's DDI",
        "ddi",
    )
    _add_revoke(target)
    one.append(target)
    for action in one:
        action.add_argument("id", metavar="ID", help="device id")
    pin.add_argument("release", metavar="RELEASE", help="id of a release, as `releases list` shows it")
    pin.add_argument(
        "--allow-downgrade",
        action="store_true",
        help="the release may be older than what the device has kept",
    )
    claim = _client(
        actions, "devices", "claim", "make a token with which one device enrols, once", "preparing"
    )
    claim.add_argument("--group", required=True, help="that it comes into")
    claim.add_argument("--device", default="", metavar="ID", help="the only one that may use it")
    claim.add_argument("--hours", type=_hours, default=24.0, metavar="N", help="validity (default: 24)")
    claim.add_argument("--needs-approval", action="store_true", help="it waits for `devices approve`")
    bring = _client(actions, "devices", "import", "bring a device list in: CSV with id,group,tags")
    bring.add_argument("file", metavar="FILE.csv", help="the list; -: standard input")
    _client(actions, "devices", "export", "write the device list to standard output, as CSV")


def _add_rollouts(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = _group(verbs, "rollouts", "rollouts: plan, order, look at, explain")
    listing = _client(actions, "rollouts", "list", "show rollouts")
    listing.add_argument("--group", help="only of this group")
    listing.add_argument("--state", help="only in this state")
    _most(listing)
    create = _client(actions, "rollouts", "create", "plan a rollout")
    create.add_argument("file", metavar="PLAN.toml", help="the plan; docs/rollouts.md shows one")
    for name, text in (
        ("explain", "why each stage advanced, waits or stopped, with the figures"),
        ("jobs", "what each device owes it"),
        ("submit", "let a draft run, or ask its approver"),
        ("approve", "let it run"),
        ("approve-stage", "let the stage begin, or pass, that waits for it"),
        ("pause", "let no stage begin or pass"),
        ("resume", "let it go on"),
        ("abort", "end it; who has the release keeps it"),
        ("rollback", "take the release back from all who have it"),
        ("retry", "let devices whose jobs failed try again"),
    ):
        action = _client(actions, "rollouts", name, text)
        action.add_argument("id", metavar="ID", help="the rollout")
        if name == "jobs":
            action.add_argument("--state", help="only in this state")
            action.add_argument("--result", choices=("none", "success", "failure"), help="only so ended")
            action.add_argument("--most", type=count, default=1_000, metavar="N", help="(default: 1000)")


def _add_audit(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = _group(verbs, "audit", "who did what: list, export, verify")
    listing = _client(actions, "audit", "list", "show entries, the oldest first, or the newest")
    for name, text in (
        ("actor", "this one's"),
        ("action", "this one; ending with a dot: all that begin so"),
        ("subject", "of this"),
    ):
        listing.add_argument(f"--{name}", dest=f"{name}_is", help=f"only {text}")
    listing.add_argument("--newest", action="store_true", help="the newest first")
    _most(listing)
    export = _action(
        actions, "audit", "export", "write every entry to standard output, as JSON lines", "serving"
    )
    verify = _action(
        actions,
        "audit",
        "verify",
        "see whether any entry was changed, removed or put between: exit status 0 or 4",
        "serving",
    )
    verify.add_argument("file", nargs="?", metavar="FILE.jsonl", help="an export; without: the database")
    verify.add_argument(
        "--expect", metavar="DIGEST", help="a digest that was noted before: no entry up to it was cut off"
    )
    verify.add_argument("--json", action="store_true", help="print JSON")
    _add_database(export)
    _add_database(verify, required=False)


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    return verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=examples_of(_EPILOG, name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _group(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    return _verb(verbs, name, text).add_subparsers(title="actions", metavar="ACTION", required=True)


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    group: str,
    name: str,
    text: str,
    module: str,
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=examples_of(_EPILOG, group),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    function = f"{group}_{name}".replace("-", "_")
    parser.set_defaults(run=f"host_tools.cli.fleet_{module}:{function}", action=name)
    return parser


def _most(listing: argparse.ArgumentParser) -> None:
    listing.add_argument("--most", type=count, default=1_000, metavar="N", help="at most (default: 1000)")


def _client(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    group: str,
    name: str,
    text: str,
    module: str = "asking",
) -> argparse.ArgumentParser:
    parser = _action(actions, group, name, text, module)
    server = parser.add_argument_group("server")
    server.add_argument("--server", metavar="URL", help=f"(default: http://127.0.0.1:{DEFAULT_PORT})")
    server.add_argument("--token-file", metavar="FILE", help="has the token")
    server.add_argument("--ca", metavar="FILE", help="certificate of the server's authority, PEM")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _add_revoke(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--revoke", action="store_true", help="take it back; nothing is made")


def _add_database(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument("--database", required=required, metavar="DATABASE", help=_DATABASE_HELP)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port, 0 to 65535, got {text!r}")
    return int(text)


def _devices(text: str) -> int:
    number = count(text)
    if not 5 <= number <= 50:
        raise argparse.ArgumentTypeError(f"expected 5 to 50, got {text}")
    return number


def _poll_seconds(text: str) -> float:
    seconds = above_zero(text)
    if not 1.0 <= seconds <= 86_399.0:
        raise argparse.ArgumentTypeError(f"expected 1 to 86399, got {text}")
    return seconds


def _hours(text: str) -> float:
    hours = above_zero(text)
    if not 60.0 <= 3_600.0 * hours <= 366 * 86_400.0:
        raise argparse.ArgumentTypeError(f"expected a minute (0.017) to 366 days (8784), got {text}")
    return hours


def _check_seconds(text: str) -> float:
    seconds = above_zero(text)
    if seconds < 0.5:
        raise argparse.ArgumentTypeError(f"expected at least 0.5, got {text}")
    return seconds
