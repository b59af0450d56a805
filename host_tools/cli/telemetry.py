"""`edgewright watch` and `edgewright report`: their arguments. What they do is in `listening`."""

from __future__ import annotations

import argparse

from device_agent.contract.topics import DEFAULT_ROOT
from host_tools.cli.arguments import at_least_zero

_WATCH_EPILOG = """\
examples:
  edgewright watch mqtt://localhost:1883
  edgewright watch mqtt://broker --record today.jsonl --seconds 3600
  edgewright watch mqtts://me:p%40ss@broker --ca our-ca.pem --cert me.pem --key me.key
"""
_REPORT_EPILOG = """\
examples:
  edgewright report --from today.jsonl
  edgewright report --from mqtt://localhost --seconds 120 --out fleet.html
"""
BROKER_HELP = "mqtt://[user:password@]host[:port], or mqtts://…; percent-encode @ : / in a password"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    watch = commands.add_parser(
        "watch",
        help="show telemetry live in the terminal",
        description="Show what every device says, live. Ctrl-C ends it.",
        epilog=_WATCH_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    watch.add_argument("broker", metavar="BROKER", help=BROKER_HELP)
    add_tls(watch)
    watch.add_argument("--root", default=DEFAULT_ROOT, help=f"topic root (default: {DEFAULT_ROOT})")
    watch.add_argument("--seconds", type=at_least_zero, metavar="N", help="end after so long")
    watch.add_argument(
        "--record", metavar="FILE", help="append every message to FILE, for `edgewright report --from FILE`"
    )
    watch.add_argument(
        "--json", action="store_true", help="print every message as a JSON line instead of a table"
    )
    watch.set_defaults(run="host_tools.cli.listening:run_watch")
    report = commands.add_parser(
        "report",
        help="write a page of latency, throughput, temperature and power over time",
        description="Write a self-contained page from a recording, or from listening to a broker.",
        epilog=_REPORT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument(
        "--from", required=True, dest="origin", metavar="FILE|BROKER", help=f"a recording, or {BROKER_HELP}"
    )
    add_tls(report)
    report.add_argument(
        "--seconds",
        type=at_least_zero,
        default=60.0,
        metavar="N",
        help="how long to listen to a broker (default: 60)",
    )
    report.add_argument(
        "--out", default="telemetry.html", metavar="FILE", help="the page (default: telemetry.html)"
    )
    report.add_argument("--root", default=DEFAULT_ROOT, help=f"topic root (default: {DEFAULT_ROOT})")
    report.add_argument("--quiet", action="store_true", help="no progress")
    report.add_argument("--json", action="store_true", help="print counts as JSON")
    report.set_defaults(run="host_tools.cli.listening:run_report")


def add_tls(parser: argparse.ArgumentParser) -> None:
    """Add the files of TLS."""
    tls = parser.add_argument_group("TLS, for mqtts://")
    tls.add_argument(
        "--ca", metavar="FILE", help="the broker's own authority, PEM (default: those the system trusts)"
    )
    tls.add_argument("--cert", metavar="FILE", help="certificate of yours, for a broker that asks for one")
    tls.add_argument("--key", metavar="FILE", help="its private key, if not in the same file")
