"""`edgewright hil`: the arguments; what the commands do is in the package `hil`, which the host's tools name and do not import (ADR 0023)."""

from __future__ import annotations

import argparse

from host_tools.cli.arguments import above_zero, count, moment, seed

_EPILOG = """\
examples:
  edgewright hil boards
  sudo edgewright hil board build x86_64
  edgewright hil scenario show hot.toml --seed 7
  edgewright hil scenario run hot.toml --rig local
  edgewright hil scenario run hot.toml --rig bench/pi.toml --rig-artifact model.ewa --json
  edgewright hil scenario run field.toml --rig local --hurry 60
  edgewright hil scenario from-field --store telemetry.duckdb --device lab-7 --from 2026-11-26T13:00 --to 2026-11-26T15:00 --out field.toml
  edgewright hil key --keys keys/
  edgewright hil gate build/*.ewa --rig local --rig bench/pi.toml --keys keys/ --out gate/
  edgewright hil gate model-1.1.0 --repository fleet/ --rig local --keys keys/ --out gate/

The suites are pytest's: pytest --pyargs hil.suites --rig local. docs/hil.md has boards, suites and scenarios.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    parser = commands.add_parser(
        "hil",
        help="hardware in the loop: boards, scenarios played on them, a gate for releases",
        description="Hardware in the loop: which boards there are, scenarios played on them, and a gate for releases.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    boards = _verb(verbs, "boards", "list the boards and kinds of rig that ship")
    boards.add_argument("--json", action="store_true", help="print JSON")
    board = verbs.add_parser(
        "board", help="make virtual boards", description="Make virtual boards, for the rig qemu."
    )
    making = board.add_subparsers(title="commands", metavar="COMMAND", required=True)
    build = _verb(making, "build", "build a virtual board's image, once: from Debian's packages, as root")
    build.add_argument("name", metavar="NAME|FILE", help="x86_64, aarch64, or a recipe of your own")
    build.add_argument(
        "--images", default=None, metavar="FOLDER", help="where images are kept (default: the user's cache)"
    )
    build.add_argument("--fresh", action="store_true", help="build it anew although it is there")
    scenario = verbs.add_parser(
        "scenario",
        help="play a schedule of faults, temperatures, network and load, or show it",
        description="Play a schedule of faults, temperatures, network and load, or show it.",
    )
    actions = scenario.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, text in (("run", "play a scenario on a rig"), ("show", "print what would be done when")):
        action = _verb(actions, name, text)
        action.add_argument("file", metavar="FILE", help="the scenario, TOML")
        action.add_argument(
            "--seed", type=seed, default=None, metavar="N", help="draw from this seed instead of the file's"
        )
        action.add_argument("--json", action="store_true", help="print JSON")
        if name == "run":
            action.add_argument(
                "--rig", default="local", metavar="NAME|FILE", help="the board (default: local)"
            )
            action.add_argument(
                "--rig-artifact",
                default=None,
                metavar="FILE",
                help="the .ewa that runs (default: a small network, converted for the board)",
            )
            action.add_argument(
                "--hurry",
                type=above_zero,
                default=1.0,
                metavar="RATE",
                help="play so many of its seconds in a true one, by the agent's clocks too: 1 to 1000 (1)",
            )
    _add_from_field(actions)
    _add_gate(verbs)


def _add_from_field(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    field = _verb(
        actions,
        "from-field",
        "make a scenario of what a device in the field went through",
        module="hil.field.command",
    )
    field.add_argument(
        "--store",
        required=True,
        metavar="STORE",
        help="the store's DuckDB file, or clickhouse://host/database",
    )
    field.add_argument("--device", required=True, metavar="ID", help="the device")
    field.add_argument(
        "--from",
        required=True,
        type=moment,
        dest="begin",
        metavar="TIME",
        help="ISO 8601, UTC where it says no zone, or Unix seconds",
    )
    field.add_argument("--to", required=True, type=moment, dest="end", metavar="TIME", help="likewise")
    field.add_argument(
        "--cores", type=count, default=None, metavar="N", help="the device's processors, for the load"
    )
    field.add_argument("--out", default=None, metavar="FILE", help="the scenario (default: standard output)")


def _add_gate(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    gate = _verb(
        verbs,
        "gate",
        "test a release's artifacts on rigs, and sign what came of it",
        module="hil.gate.command",
    )
    gate.add_argument(
        "release", nargs="+", metavar="RELEASE", help="its .ewa files; or NAME-VERSION, with --repository"
    )
    gate.add_argument("--repository", default=None, metavar="DIR", help="where NAME-VERSION was released")
    gate.add_argument(
        "--rig",
        action="append",
        required=True,
        dest="rigs",
        metavar="NAME|FILE",
        help="a board; as often as there are boards: each gets every artifact for its targets",
    )
    gate.add_argument(
        "--suite",
        action="append",
        default=[],
        dest="suites",
        metavar="NAME",
        help="a suite that is run (default: all that ship)",
    )
    gate.add_argument(
        "--out", default="gate", metavar="DIR", help="gets attestations, results and pages (gate)"
    )
    gate.add_argument(
        "--rig-soak", type=above_zero, default=4.0, metavar="SECONDS", help="length of the soak (4)"
    )
    gate.add_argument("--rig-cuts", type=count, default=4, metavar="N", help="power cuts of power_cuts (4)")
    gate.add_argument(
        "--rig-heat", type=above_zero, default=60.0, metavar="SECONDS", help="length of sustained_heat (60)"
    )
    gate.add_argument(
        "--rig-offline-windows",
        type=count,
        default=180,
        metavar="N",
        help="windows without a broker of offline (180; 8640 are a day)",
    )
    gate.add_argument("--json", action="store_true", help="print JSON")
    key = _verb(
        verbs, "key", "make the key that attestations are signed with, once", module="hil.gate.command"
    )
    for command in (gate, key):
        command.add_argument("--keys", required=True, metavar="DIR", help="folder of private keys")
        command.add_argument("--key", default="hil", metavar="NAME", help="name of the key (hil)")


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    *,
    module: str = "hil.command",
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog="\n".join(["examples:", *(line for line in _EPILOG.splitlines() if name in line.split())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=f"{module}:run_{name.replace('-', '_')}")
    return parser
