"""`edgewright targets list | show | new`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from host_tools.errors import OutputError, TargetError
from host_tools.target_profiles import load_profile
from targets import show
from targets.errors import ProfileError

_EPILOG = """\
examples:
  edgewright targets list
  edgewright targets show cortex-a-tflite
  edgewright targets new my-npu --based-on nxp-neutron      writes my-npu.toml
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its three parts."""
    parser = commands.add_parser(
        "targets",
        help="list, show or start capability profiles",
        description="What each target can do, with the source of every fact.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listing = parts.add_parser("list", help="one line a target")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(run="host_tools.cli.targets:run_list")
    showing = parts.add_parser("show", help="every fact of one target, with its source")
    showing.add_argument("target", metavar="ID", help="profile id, or the path of a .toml")
    showing.add_argument("--json", action="store_true", help="as JSON")
    showing.set_defaults(run="host_tools.cli.targets:run_show")
    starting = parts.add_parser("new", help="write the beginning of a profile of your own")
    starting.add_argument("id", metavar="ID", help="its name: lower case, digits, hyphens")
    starting.add_argument(
        "--based-on",
        default="cortex-a-tflite",
        metavar="ID",
        help="profile to copy from (default: cortex-a-tflite)",
    )
    starting.add_argument("--out", metavar="FILE", help="where to write it (default: ID.toml)")
    starting.set_defaults(run="host_tools.cli.targets:run_new")


def run_list(options: argparse.Namespace) -> int:
    """Print the catalogue."""
    print(
        json.dumps(show.list_data(), indent=1, ensure_ascii=False)
        if options.json
        else show.render_list().rstrip()
    )
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Print one profile."""
    profile = load_profile(options.target)
    print(
        json.dumps(show.data(profile), indent=1, ensure_ascii=False) if options.json else show.render(profile)
    )
    return 0


def run_new(options: argparse.Namespace) -> int:
    """Write a profile that loads as it is; an existing file is left alone."""
    try:
        text = show.template(options.id, options.based_on)
    except ProfileError as error:
        raise TargetError(str(error.args[0]), hint=error.hint) from error
    path = Path(options.out or f"{options.id}.toml")
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise OutputError(f"{path}: exists already.", hint="Choose another --out.") from error
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}.", hint="Choose another --out.") from error
    print(f"{path}: based on {options.based_on}. Check it with: edgewright targets show {path}")
    return 0
