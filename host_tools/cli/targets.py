"""`edgewright targets list | show | new | check`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from host_tools.errors import InputError, OutputError, TargetError
from host_tools.target_profiles import load_profile
from targets import show
from targets.errors import ProfileError

_EPILOG = """\
examples:
  edgewright targets list
  edgewright targets show cortex-a-tflite
  edgewright targets new my-npu --based-on nxp-neutron      writes my-npu.toml
  edgewright targets check model.tflite --target nxp-neutron
"""
_CHECK_EPILOG = """\
example: edgewright targets check model.onnx --target amd-vitis-dpu

exit status: 0 no errors, 1 errors (with --strict: warnings too), 2 the file cannot be read, or no such target,
5 an artifact whose bytes are not those of its manifest
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
    checking = parts.add_parser(
        "check",
        help="hold any file against what a target can do",
        description="Read a file, whoever made it, and name everything in it that the target does not take, with the fact and its source.",
        epilog=_CHECK_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    checking.add_argument(
        "file", metavar="FILE", help=".ewa, .tflite, .onnx with Q and DQ, or OpenVINO's .xml beside its .bin"
    )
    checking.add_argument("--target", required=True, metavar="ID", help="profile id, or the path of a .toml")
    checking.add_argument("--strict", action="store_true", help="warnings count as errors in the exit status")
    checking.add_argument(
        "--xnnpack",
        action="store_true",
        help="of a .tflite: say too which operators LiteRT's XNNPACK leaves to slower kernels, and why",
    )
    checking.add_argument("--json", action="store_true", help="as JSON")
    checking.set_defaults(run="host_tools.cli.targets:run_check")


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


def run_check(options: argparse.Namespace) -> int:
    """Print what a file has that a target does not take; 1 when there is any."""
    from host_tools.lint import report, rules, xnnpack  # noqa: PLC0415 - the engines' libraries are for this command only
    from host_tools.lint.reading import read  # noqa: PLC0415

    profile = load_profile(options.target)
    file = read(Path(options.file))
    if options.xnnpack and file.format != "tflite":
        raise InputError(f"{options.file}: --xnnpack is about TFLite files, this one is {file.format}.")
    findings, counted = rules.check(file, profile), rules.precisions(file, profile)
    left = xnnpack.left_to_built_in(file) if options.xnnpack else None
    if options.json:
        document = report.data(findings, counted, path=options.file, target=profile.id)
        if left is not None:
            document["left_by_xnnpack"] = report.left_data(file, left)
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        print(report.render(findings, counted, path=options.file, target=profile.id), end="")
        if left is not None:
            print(f"\n{report.render_left(file, left)}", end="")
    return int(any(one.severity == "error" or options.strict for one in findings))
