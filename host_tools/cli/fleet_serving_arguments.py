"""`edgewright fleet`, where the server or its database is: the arguments of sample, serve, token and audit."""

from __future__ import annotations

import argparse

from host_tools.cli.arguments import above_zero, count, port
from host_tools.cli.fleet_arguments import (
    DEFAULT_PORT,
    add_action,
    add_client,
    add_database,
    add_group,
    add_most,
    add_verb,
)
from host_tools.cli.telemetry import BROKER_HELP, add_tls

_ROLES = ("viewer", "operator", "approver", "admin")


def add_sample(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``sample``."""
    sample = add_verb(
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
        "--port", type=port, default=DEFAULT_PORT, help=f"of the server (default: {DEFAULT_PORT}; 0: any)"
    )
    sample.add_argument(
        "--check-every",
        type=_check_seconds,
        default=15.0,
        metavar="S",
        help="seconds between a device's looks for updates (default: 15)",
    )


def add_serve(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``serve``."""
    serve = add_verb(verbs, "serve", "the fleet's server: REST interface, rollouts")
    serve.set_defaults(run="host_tools.cli.fleet_serving:run_serve")
    add_database(serve)
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine only)"
    )
    serve.add_argument("--port", type=port, default=DEFAULT_PORT, help=f"(default: {DEFAULT_PORT}; 0: any)")
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


def add_token(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``token``."""
    actions = add_group(
        verbs, "token", "tokens, made where the database is; later ones come from the server too"
    )
    create = add_action(
        actions, "token", "create", "make a token; it alone is printed, and kept nowhere", "tokens"
    )
    create.add_argument("--name", required=True, help="whose it is, as the audit shows it")
    create.add_argument("--role", required=True, choices=_ROLES, help="what it may do")
    create.add_argument("--days", type=above_zero, default=90.0, metavar="N", help="validity (default: 90)")
    listing = add_action(actions, "token", "list", "show tokens, without their secrets", "tokens")
    listing.add_argument("--json", action="store_true", help="print JSON")
    revoke = add_action(actions, "token", "revoke", "end a token now", "tokens")
    revoke.add_argument("id", metavar="ID", help="as `list` shows it")
    for action in (create, listing, revoke):
        add_database(action)


def add_audit(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``audit``."""
    actions = add_group(verbs, "audit", "who did what: list, export, verify")
    listing = add_client(actions, "audit", "list", "show entries, the oldest first, or the newest")
    for name, text in (
        ("actor", "this one's"),
        ("action", "this one; ending with a dot: all that begin so"),
        ("subject", "of this"),
    ):
        listing.add_argument(f"--{name}", dest=f"{name}_is", help=f"only {text}")
    listing.add_argument("--newest", action="store_true", help="the newest first")
    add_most(listing)
    export = add_action(
        actions, "audit", "export", "write every entry to standard output, as JSON lines", "audit"
    )
    verify = add_action(
        actions,
        "audit",
        "verify",
        "see whether any entry was changed, removed or put between: exit status 0 or 4",
        "audit",
    )
    verify.add_argument("file", nargs="?", metavar="FILE.jsonl", help="an export; without: the database")
    verify.add_argument(
        "--expect", metavar="DIGEST", help="a digest that was noted before: no entry up to it was cut off"
    )
    verify.add_argument("--json", action="store_true", help="print JSON")
    add_database(export)
    add_database(verify, required=False)


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


def _check_seconds(text: str) -> float:
    seconds = above_zero(text)
    if seconds < 0.5:
        raise argparse.ArgumentTypeError(f"expected at least 0.5, got {text}")
    return seconds
