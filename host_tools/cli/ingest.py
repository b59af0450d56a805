"""`edgewright ingest`: its arguments. What it does is in `ingesting`."""

from __future__ import annotations

import argparse

from device_agent.contract.topics import DEFAULT_ROOT
from host_tools.cli.arguments import above_zero, at_least_zero, count, token
from host_tools.cli.telemetry import BROKER_HELP, add_tls

_EPILOG = """\
examples:
  edgewright ingest --broker mqtt://localhost --store telemetry.duckdb
  edgewright ingest --broker mqtts://me:p%40ss@broker --ca our-ca.pem --store telemetry.duckdb --workers 4
  edgewright ingest --broker mqtt://localhost --store telemetry.duckdb --json --metrics 9105
  edgewright ingest --broker mqtt://localhost --store telemetry.duckdb --page 8420
  edgewright ingest --broker mqtt://localhost --store telemetry.duckdb --limit devices=250000 --limit holes=5000
  edgewright ingest --broker mqtt://localhost --store telemetry.duckdb --keep messages=7 --keep seconds-10=7 --keep day=forever
  edgewright ingest --broker mqtt://localhost --store telemetry.duckdb --backup /backups/telemetry --backup-every 6

Nothing is acknowledged to the broker before it is in the store; SIGTERM or Ctrl-C ends it after what it has is written.
A server's address as the store, and what holds when a process, the broker or the disk fails: docs/ingest.md.
"""
_MOST_WORKERS = 64
_LEAST_MEMORY_MIB = 128
_MOST_UNACKNOWLEDGED = 65535
LIMITS = (
    "devices",
    "artifacts",
    "outputs",
    "sensors",
    "cohorts",
    "characters",
    "of-one-device",
    "dead-letters",
    "dead-letter-bytes",
    "holes",
)
"""Of `Limits`, which is too large to import for `--help`."""
KEPT = ("messages", "seconds-10", "minute", "hour", "day", "events", "dead-letters")
"""Of `Retention`, likewise."""
_FOREVER = "forever"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ingest",
        help="write the telemetry of a fleet to a store, without loss",
        description="Take what every device says from an MQTT 5 broker into a store, until it is ended.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--broker", required=True, metavar="BROKER", help=BROKER_HELP)
    parser.add_argument(
        "--store", required=True, metavar="STORE", help="a DuckDB file, or a server's address"
    )
    add_tls(parser)
    parser.add_argument("--root", default=DEFAULT_ROOT, help=f"topic root (default: {DEFAULT_ROOT})")
    _add_work(parser)
    _add_keeping(parser)
    _add_run(parser)
    _add_page(parser)
    _add_backup(parser)
    parser.add_argument("--json", action="store_true", help="a line of JSON a second instead of a live line")
    parser.set_defaults(run="host_tools.cli.ingesting:run_ingest")


def _add_work(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="N",
        help="processes that receive and decode (default: 1)",
    )
    parser.add_argument(
        "--name",
        type=_name,
        default="ingest",
        help="tells several ingests of one broker apart (default: ingest)",
    )
    parser.add_argument(
        "--unacknowledged",
        type=_unacknowledged,
        default=8192,
        metavar="N",
        help="messages that a worker may hold (default: 8192)",
    )
    parser.add_argument(
        "--store-memory",
        type=_store_memory,
        default=2048,
        metavar="MIB",
        help="what DuckDB may take, in MiB (default: 2048)",
    )
    parser.add_argument(
        "--roll-up-every",
        type=above_zero,
        default=10.0,
        metavar="S",
        help="seconds between two roll-ups (default: 10)",
    )


def _add_keeping(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit",
        type=_limit,
        action="append",
        default=[],
        metavar="WHAT=N",
        help=f"how much the store takes of what devices name and number: {', '.join(LIMITS)}; what comes beyond it is a "
        "dead letter or as docs/ingest.md has it; may be given several times",
    )
    parser.add_argument(
        "--keep",
        type=_kept,
        action="append",
        default=[],
        metavar="WHAT=DAYS",
        help=f"how long the store keeps what: {', '.join(KEPT)}; days, or {_FOREVER}; the store remembers it, and what is older "
        "goes, every hour; may be given several times",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=at_least_zero, metavar="N", help="end after so long")
    parser.add_argument(
        "--metrics",
        type=_port,
        metavar="PORT",
        help="figures of its own for Prometheus, on this port of loopback",
    )


def _add_page(parser: argparse.ArgumentParser) -> None:
    page = parser.add_argument_group("page of the fleet, as `edgewright review serve` has it")
    page.add_argument("--page", type=_port, metavar="PORT", help="serve it while writing")
    page.add_argument(
        "--page-host", default="127.0.0.1", metavar="HOST", help="(default: 127.0.0.1, this machine only)"
    )
    page.add_argument("--page-token", type=token, metavar="TOKEN", help="what a reader must show")


def _add_backup(parser: argparse.ArgumentParser) -> None:
    backup = parser.add_argument_group("backups, which open as stores (DuckDB alone)")
    backup.add_argument("--backup", metavar="FOLDER", help="copy the store into this folder now and then")
    backup.add_argument(
        "--backup-every", type=above_zero, default=24.0, metavar="H", help="hours (default: 24)"
    )
    backup.add_argument(
        "--backups-kept", type=count, default=2, metavar="N", help="the oldest go (default: 2)"
    )


def _workers(text: str) -> int:
    return _at_most(count(text), _MOST_WORKERS)


def _unacknowledged(text: str) -> int:
    return _at_most(count(text), _MOST_UNACKNOWLEDGED)


def _store_memory(text: str) -> int:
    mebibytes = _at_most(count(text), 1 << 20)
    if mebibytes < _LEAST_MEMORY_MIB:
        raise argparse.ArgumentTypeError(f"expected at least {_LEAST_MEMORY_MIB}, got {mebibytes}")
    return mebibytes


def _limit(text: str) -> tuple[str, int]:
    what, _, number = text.partition("=")
    if what not in LIMITS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(LIMITS)} and =N, got {text[:60]!r}")
    return what.replace("-", "_"), count(number)


def _kept(text: str) -> tuple[str, float | None]:
    what, _, days = text.partition("=")
    if what not in KEPT:
        raise argparse.ArgumentTypeError(
            f"expected one of {', '.join(KEPT)} and =DAYS or ={_FOREVER}, got {text[:60]!r}"
        )
    return f"{what.replace('-', '_')}_days", None if days == _FOREVER else above_zero(days)


def _port(text: str) -> int:
    return _at_most(count(text), 65535)


def _at_most(value: int, most: int) -> int:
    if value > most:
        raise argparse.ArgumentTypeError(f"expected at most {most}, got {value}")
    return value


def _name(text: str) -> str:
    if not (0 < len(text) <= 40 and text.isascii() and text.replace("-", "").isalnum()):
        raise argparse.ArgumentTypeError(f"expected 1 to 40 letters, digits and '-', got {text[:60]!r}")
    return text
