"""`edgewright review`: the arguments; what the commands do is in `reviewing`."""

from __future__ import annotations

import argparse

from host_tools.cli.arguments import above_zero, examples_of, port, token

_EPILOG = """\
examples:
  edgewright review serve --store fleet.duckdb
  edgewright review serve --store fleet.duckdb --host 0.0.0.0 --token "$TOKEN"
  edgewright review compare 3f9a01 c41d77 --store fleet.duckdb --days 14
  edgewright review compare 3f9a01 c41d77 --store fleet.duckdb --html report.html --json
  edgewright review device gate-7 --store fleet.duckdb
  edgewright review weekly --store fleet.duckdb --html week.html
  edgewright review export --store fleet.duckdb --days 7 --timeline week.parquet
  edgewright review export --store fleet.duckdb --otlp http://collector:4318
  edgewright review export --grafana fleet-dashboard.json
  edgewright review export --store fleet.duckdb --all fleet-parquet
  edgewright review import fleet-parquet --store clickhouse://localhost/fleet
  edgewright review backup copy.duckdb --store fleet.duckdb

exit status, for scripts (docs/review.md):
  0  no worse     1  worse, or a finding that needs somebody now     3  too little is known to say
  2  wrong arguments   6  collector away   7  store or disk failed   70  a fault of Edgewright: report it

A DuckDB file that `edgewright ingest` writes is read by that process only: its --page serves this page, and its --backup makes
copies that all of this reads. docs/review.md
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    parser = commands.add_parser(
        "review",
        help="look at what a fleet said: page, comparisons, reports, exports",
        description="Look at what a fleet said. Nothing here changes the store that it looks at.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(verbs)
    compare = _verb(verbs, "compare", "one artifact against another, on the devices that ran both")
    compare.add_argument(
        "artifact_a", metavar="A", help="digest, or the first characters of it, that B is held against"
    )
    compare.add_argument("artifact_b", metavar="B", help="digest, or the first characters of it")
    compare.add_argument(
        "--margin",
        action="append",
        default=[],
        metavar="MEASURE=NUMBER",
        help="what does not matter, e.g. latency_p95_seconds=0.05 (5 %%); repeatable; names as in --json",
    )
    _add_time(compare, days=14.0)
    _add_output(compare)
    device = _verb(verbs, "device", "all that is found of one device, alone and beside others like it")
    device.add_argument("device", metavar="ID", help="device id")
    _add_time(device, days=7.0)
    _add_output(device)
    weekly = _verb(verbs, "weekly", "the last seven days beside the seven before")
    weekly.add_argument(
        "--until", metavar="TIME", help="where the week ends (default: with the newest message)"
    )
    weekly.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only devices with this label; repeatable",
    )
    _add_output(weekly)
    _add_export(verbs)
    taken = _verb(verbs, "import", "an export of every table, into a store that is not there yet or is empty")
    taken.add_argument("folder", metavar="FOLDER", help="that `review export --all` wrote")
    backup = _verb(verbs, "backup", "a copy of a store, which opens as one")
    backup.add_argument("file", metavar="FILE", help="that is not there yet; of a server, a folder")


def _add_serve(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = _verb(verbs, "serve", "the page of the whole fleet, in your browser")
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine only)"
    )
    serve.add_argument("--port", type=port, default=8420, help="(default: 8420; 0: any that is free)")
    serve.add_argument(
        "--token",
        type=token,
        help="what a reader must show; without one, whoever reaches the address may read all",
    )


def _add_export(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    export = _verb(verbs, "export", "what a fleet said, for other programs", needs_store=False)
    what = export.add_mutually_exclusive_group(required=True)
    what.add_argument("--timeline", metavar="FILE", help="one row a window and artifact: .csv or .parquet")
    what.add_argument("--devices", metavar="FILE", help="one row a device: .csv or .parquet")
    what.add_argument(
        "--all", metavar="FOLDER", help="every table as Parquet, for `review import` and other programs"
    )
    what.add_argument(
        "--otlp", metavar="URL", help="send OpenTelemetry metrics to a collector (OTLP over HTTP)"
    )
    what.add_argument(
        "--grafana", metavar="FILE", help="write a dashboard that asks for what /metrics offers"
    )
    export.add_argument(
        "--artifact",
        action="append",
        default=[],
        metavar="DIGEST",
        help="only this one, or the first characters of it; repeatable",
    )
    export.add_argument(
        "--level",
        choices=["10", "60", "3600", "86400"],
        help="seconds of a window (default: what suits the time)",
    )
    export.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="sent along with --otlp; repeatable",
    )
    _add_time(export, days=1.0)


def _add_time(parser: argparse.ArgumentParser, *, days: float) -> None:
    time = parser.add_argument_group("time (default: ends with the newest message)")
    time.add_argument("--days", type=above_zero, metavar="N", help=f"how long (default: {days:g})")
    time.add_argument("--since", metavar="TIME", help="ISO 8601, UTC where it says no zone, or Unix seconds")
    time.add_argument("--until", metavar="TIME", help="likewise")
    time.set_defaults(usual_days=days)
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only devices with this label; repeatable",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--html", metavar="FILE", help="also write it as a page that needs nothing else")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    *,
    needs_store: bool = True,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=examples_of(_EPILOG, name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--store",
        required=needs_store,
        metavar="STORE",
        help="the store's DuckDB file, or clickhouse://host/database",
    )
    parser.set_defaults(run=f"host_tools.cli.reviewing:run_{name}")
    return parser
