"""`edgewright inspect`: its arguments. What it does is in `inspecting`, which takes a second to import for a model."""

from __future__ import annotations

import argparse

from host_tools.cli.arguments import add_tensorflow

_EPILOG = """\
FILE may be
  .onnx, .tflite, .keras, .h5, a SavedModel's folder: a float model: operators, MACs, weights, memory, and what each target
                    does with it, before calibrating
  a .tflite or .onnx that is quantized already: how it is coded, and which targets can have its codes
  FILE.ewa          an artifact: every digest in it is checked
  an .xml           what the file says of itself

examples:
  edgewright inspect model.onnx
  edgewright inspect model.onnx --target cortex-m-tflm --target ethos-u55
  edgewright inspect model.onnx --target all --shape images=1,3,224,224 --json
  edgewright inspect quantized.tflite --target x86_64-openvino
  edgewright inspect build/model-1.0.0-cortex-a-tflite.ewa

exit status: 0 readable, and every target that was asked for takes it; 3 a target refuses; 2 the file cannot be read or converted;
5 an artifact whose bytes are not those of its manifest
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "inspect",
        help="what a model needs on each target, before calibrating; or what an artifact is",
        description="Say what a file is: of a float model what it costs and what each target does with it, of an artifact what it needs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        help=".onnx, .keras, .h5, a SavedModel's folder, .ewa, .tflite, or OpenVINO's .xml beside its .bin",
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="ID",
        dest="targets",
        help="of a model: ask this target, its lowering too; repeatable; `all` asks every one (default: every one, but the plan alone)",
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=1,3,224,224",
        help="of a model: fix a dynamic input's shape; repeatable",
    )
    parser.add_argument(
        "--constant",
        action="append",
        default=[],
        metavar="NAME=16000",
        help="of a model: make an input a constant, so that branches on it are decided; repeatable",
    )
    add_tensorflow(parser)
    parser.add_argument(
        "--digest", metavar="sha256:…", help="of an artifact: refuse it unless it has this digest"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run="host_tools.cli.inspecting:run")
