"""`edgewright explain`: where a conversion loses accuracy, from the files that it left. What it does is in `explaining`."""

from __future__ import annotations

import argparse

_EPILOG = """\
examples:
  edgewright explain build/
  edgewright explain build/ --target nxp-neutron
  edgewright explain build/ --target nxp-neutron --layer stem/conv
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "explain",
        help="show which layers cost most, why, and what to do",
        description="Show where a conversion loses accuracy: the costliest layers, why, what to do next; or all about one layer.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source", metavar="OUT", help="the folder that convert wrote, or the report.json in it"
    )
    parser.add_argument("--target", metavar="ID", help="only this target (default: all)")
    parser.add_argument(
        "--layer", metavar="NAME", help="all about one layer: its name, tensor, or a part of it"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run="host_tools.cli.explaining:run")
