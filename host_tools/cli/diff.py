"""`edgewright diff`: its arguments. What it does is in `diffing`."""

from __future__ import annotations

import argparse

from host_tools.cli.arguments import count

_EPILOG = """\
A and B are two artifacts (.ewa), or two files of one format: .tflite, .onnx, or OpenVINO's .xml beside its .bin.

examples:
  edgewright diff build/model-1.0.0-cortex-a-tflite.ewa build/model-1.1.0-cortex-a-tflite.ewa
  edgewright diff old.ewa new.ewa --run 16
  edgewright diff ours.tflite theirs.tflite --json

exit status: 0 the same, 1 they differ, 2 a file cannot be read or the two cannot be compared,
5 an artifact whose bytes are not those of its manifest, 7 a file that cannot be opened, or an engine that fails
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "diff",
        help="what differs between two artifacts, or two files of one format",
        description="Compare manifests, operators, constants, scales, sizes and precision; with --run the outputs on the engines, too.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", metavar="A", help="the first: ratios and steps are against this one")
    parser.add_argument("b", metavar="B", help="the second")
    parser.add_argument(
        "--run",
        type=count,
        default=0,
        metavar="N",
        dest="inputs",
        help="run both on N inputs: A's golden ones, then random ones within the inputs' range",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run="host_tools.cli.diffing:run")
