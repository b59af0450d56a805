"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.fleet.protocol.chaos import Chaos, restarts_by
from benchmarks.fleet.protocol.figures import ProtocolFigures, to_json, to_markdown, write_into_docs
from benchmarks.fleet.protocol.rollouts import roll_out, settle_delivered
from benchmarks.fleet.protocol.stand import StandSettings, stand
from device_agent.contract.errors import EdgewrightError
from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Roll out twice, the second time with the server killed in the middle, and with `--chaos` once more; print the tables."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    command = shlex.join(["python", "-m", "benchmarks.fleet.protocol", *given])
    if options.database:  # an address may bear a password
        command = command.replace(options.database, "URL")
    try:
        with tempfile.TemporaryDirectory(prefix="edgewright-protocol-", dir=options.folder) as folder:
            _write(run(Path(folder), options, command=command), options)
    except EdgewrightError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


def run(folder: Path, options: argparse.Namespace, *, command: str) -> ProtocolFigures:
    """Bring everything up, measure, end it.

    Raises:
        EdgewrightError: Something does not start or ends, a rollout does not finish, or a job was lost or done twice.
    """
    settings = StandSettings(
        devices=options.devices,
        processes=options.processes,
        check_seconds=options.check_every,
        window_seconds=options.window,
        rate_hz=options.rate,
        probation_seconds=options.probation,
        artifact_bytes=options.artifact_kib << 10,
        start_seconds=options.start,
        gates_seconds=20.0,
        database=options.database,
    )
    chaos = _chaos(options)
    facts, began = machine.facts(), time.monotonic()
    with stand(folder, settings) as up:
        up_seconds = _said("all devices are heard", began)
        settle_delivered(up)
        up.wait_for_history()
        _said("what they were delivered with is the group's own, and telemetry has it", began)
        up.costs.begin()
        time.sleep(options.quiet)
        quiet = up.costs.taken()
        rollouts = []
        for name, version, kill in (("plain", "2.0", False), ("killed", "3.0", True)):
            rollouts.append(roll_out(up, name, version, soak_seconds=options.soak, kill=kill))
            _said(f"rollout {name} has finished", began)
        if chaos is not None:
            rollouts.append(roll_out(up, "chaos", "4.0", soak_seconds=options.soak, chaos=chaos))
            _said("rollout chaos has finished", began)
    facts["load average after"] = machine.facts()["load average before"]
    return ProtocolFigures(
        command=command,
        settings=settings,
        soak_seconds=options.soak,
        machine=facts,
        versions=machine.versions(),
        up_seconds=up_seconds,
        quiet_seconds=options.quiet,
        quiet=quiet,
        rollouts=tuple(rollouts),
    )


def _chaos(options: argparse.Namespace) -> Chaos | None:
    command = options.restart_database
    if not options.chaos:
        if command is not None:
            raise InputError("--restart-database: belongs to --chaos, which is missing.")
        return None
    return Chaos(
        seed=options.chaos_seed,
        kills=options.chaos,
        pause_seconds=options.chaos_pause,
        restart_database=None if command is None else restarts_by(command),
    )


def _write(figures: ProtocolFigures, options: argparse.Namespace) -> None:
    print(to_markdown(figures), end="", flush=True)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(to_json(figures), encoding="utf-8")
    if options.write_docs:
        write_into_docs(figures)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet.protocol",
        description="A staged rollout to many devices over a real broker: how long it takes, and what it costs.",
    )
    parser.add_argument("--devices", type=int, default=1_000, help="(default: 1000)")
    parser.add_argument("--processes", type=int, default=4, help="that hold the devices (default: 4)")
    parser.add_argument(
        "--check-every",
        type=float,
        default=30.0,
        metavar="S",
        help="between a device's looks for updates (default: 30)",
    )
    parser.add_argument("--window", type=float, default=20.0, metavar="S", help="of telemetry (default: 20)")
    parser.add_argument("--rate", type=float, default=10.0, metavar="HZ", help="of inferences (default: 10)")
    parser.add_argument(
        "--probation", type=float, default=20.0, metavar="S", help="of a new release (default: 20)"
    )
    parser.add_argument("--soak", type=float, default=60.0, metavar="S", help="of each stage (default: 60)")
    parser.add_argument(
        "--quiet", type=float, default=60.0, metavar="S", help="measured without a rollout (default: 60)"
    )
    parser.add_argument(
        "--start", type=float, default=30.0, metavar="S", help="in which devices begin (default: 30)"
    )
    parser.add_argument("--artifact-kib", type=int, default=256, metavar="KIB", help="(default: 256)")
    parser.add_argument(
        "--postgresql",
        dest="database",
        default="",
        metavar="URL",
        help="database of the fleet server, empty (default: SQLite)",
    )
    chaos = parser.add_argument_group(
        "chaos",
        "A third rollout, while server, broker, ingest and a worker of ingest are killed at random moments and started again.",
    )
    chaos.add_argument("--chaos", type=int, default=0, metavar="N", help="do it, with so many kills")
    chaos.add_argument(
        "--chaos-seed", type=int, default=1, metavar="SEED", help="of what is drawn (default: 1)"
    )
    chaos.add_argument(
        "--chaos-pause",
        type=float,
        default=20.0,
        metavar="S",
        help="before each kill, on average (default: 20)",
    )
    chaos.add_argument(
        "--restart-database",
        metavar="COMMAND",
        help="kill the database too, with one like 'pg_ctl -D DATA -m immediate restart'",
    )
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/rollouts.md")
    return parser


def _said(what: str, began: float) -> float:
    seconds = time.monotonic() - began
    print(f"{seconds:6.0f} s: {what}", file=sys.stderr, flush=True)
    return seconds
