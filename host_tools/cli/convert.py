"""`edgewright convert`: its arguments. What it does is in `conversion`, which takes a second to import."""

from __future__ import annotations

import argparse

from host_tools.cli.arguments import add_tensorflow, at_least_zero, count, minutes, number, precision, share

_METHODS = ("minmax", "percentile", "mse", "entropy", "moving_average", "cosine", "search")
_EPILOG = """\
data may be
  a folder of pictures     with preprocess.toml in it, beside it, or by --preprocess
  a folder of .wav files   likewise; preprocess.toml then says [sound]
  a .txt, a folder of .txt a text a line or a file, likewise; preprocess.toml then says [text]
  FILE.npy                 first axis: samples
  FILE.npz                 keys: input names; first axis: samples
  a folder of .npy files   one sample each
  module:function          returns an iterable of arrays or of dicts by input name

examples:
  edgewright convert model.onnx --data calibration/ --target cortex-a-tflite --out build/
  edgewright convert model.onnx --data calib.npz --shape images=1,3,224,224 --target x86_64-onnxruntime --out build/
  edgewright convert vad.onnx --data frames.npz --shape state=2,1,128 --constant sr=16000 --target cortex-a-tflite --out build/
  edgewright convert model.onnx --data photos/ --fold-preprocessing --target cortex-a-tflite --out build/
  edgewright convert model.onnx --precision weights-int4:32 --target x86_64-onnxruntime --out build/
  edgewright convert model.onnx --precision weights-int4:32 --rounding gptq --data calib.npz --target x86_64-onnxruntime --out build/
  edgewright convert model.onnx --precision weights-int4 --scaling awq --data calib.npz --target cortex-a-tflite --out build/
  edgewright convert model.onnx --precision weights-float16 --target cortex-a-tflite --out build/
  edgewright convert model.onnx --precision weights-kmeans4 --target x86_64-onnxruntime --out build/
  edgewright convert quantized.tflite --target x86_64-openvino --out build/
  edgewright convert model.keras --data calib.npz --shape input_layer=1,96,96,3 --target cortex-m-tflm --out build/
  edgewright convert model.onnx --data calib/ --eval photos/ --labels labels.csv --method mse \\
      --target x86_64-openvino --target amd-vitis-dpu --out build/ --json
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "convert",
        help="convert a float model for one or more targets",
        description="Calibrate MODEL once and convert it for every target; run each result and report what it does.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="the model: .onnx, .tflite, .keras, .h5, or a SavedModel's folder; one that is quantized already keeps its scales and codes",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="calibration data, see below; needed for precision int8 of a float model only (else random inputs verify it without)",
    )
    _add_precision(parser)
    _add_outcome(parser)
    _add_methods(parser)
    _add_preparation(parser)
    _add_verification(parser)
    _add_running(parser)
    parser.set_defaults(run="host_tools.cli.conversion:run")


def _add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        type=precision,
        default=(None, None),
        metavar="PRECISION",
        help="int8: weights and activations, calibrated; int8-dynamic: activations quantized at run time; weights-int8[:GROUP] and "
        "weights-int4[:GROUP]: weights alone, GROUP of them on one scale, or all of a channel (:channel); "
        "weights-kmeans8 and weights-kmeans4: each "
        "weight as indices into a codebook of its own; weights-float16: weights stored as half floats; "
        "see docs/precisions.md (default: int8)",
    )
    parser.add_argument(
        "--float-weights",
        choices=("float32", "float16"),
        help="how weights that get no codes are stored, whatever the precision (default: float32)",
    )
    parser.add_argument(
        "--rounding",
        choices=("nearest", "gptq"),
        help="of weights alone: to the nearest code, or by what each matrix gives on --data (default: nearest)",
    )
    parser.add_argument(
        "--scaling",
        choices=("none", "awq"),
        help="of weights alone, before rounding: awq scales what matrices read by how large it is on --data; the scales fold into what "
        "stands before, or into a product with a constant where nothing takes them up and it pays (default: none)",
    )


def _add_outcome(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="ID",
        dest="targets",
        help="profile id or .toml file; repeat for several targets",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for payloads, artifacts and reports"
    )
    parser.add_argument("--name", help="name of the model (default: the file's stem)")
    parser.add_argument(
        "--model-version",
        default="0.1.0",
        metavar="VERSION",
        help="your version of the model (default: 0.1.0)",
    )


def _add_methods(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method",
        choices=("auto", *_METHODS),
        default="auto",
        help="auto: ranges, then equalization, then reconstruction, until the outputs are good; "
        "else how ranges are chosen, and nothing more (default: auto)",
    )
    parser.add_argument(
        "--mixed-precision",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="let the operators that cost most run on 16-bit activations or in float, where the target can "
        "(default: only when --min-sqnr or --min-agreement is given and nothing else reaches it)",
    )
    parser.add_argument(
        "--spare",
        choices=("latency", "size"),
        help="what mixed precision spends as little of as it can: time, or bytes of the file (default: latency)",
    )
    parser.add_argument(
        "--budget-minutes",
        type=minutes,
        metavar="MINUTES",
        help="how long equalization, reconstruction and mixed precision may take; what they came to by then is used (default: no limit)",
    )
    parser.add_argument("--recipe", metavar="FILE", help="a recipe as TOML or JSON; see docs/recipes.md")


def _add_preparation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preprocess",
        metavar="FILE",
        help="how pictures, recordings or texts become inputs (default: preprocess.toml in or beside the data)",
    )
    parser.add_argument(
        "--fold-preprocessing",
        action="store_true",
        help="mean and std of preprocess.toml go into the model: its input is then the pixels themselves, 0 to 255",
    )
    parser.add_argument(
        "--heat",
        metavar="FILE",
        help="what devices do when they get hot, as TOML (slow_celsius, slow_rate_hz, pause_celsius); see docs/agent.md",
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=1,3,224,224",
        help="fix a dynamic input's shape; repeatable",
    )
    parser.add_argument(
        "--constant",
        action="append",
        default=[],
        metavar="NAME=16000",
        help="make an input a constant, so that branches on it are decided: one number, or one for each element; repeatable",
    )
    parser.add_argument(
        "--limit", type=count, metavar="N", help="use only the first N samples of the calibration data"
    )


def _add_verification(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--eval",
        metavar="DATA",
        dest="evaluation",
        help="samples to verify on (default: some of the calibration data)",
    )
    parser.add_argument(
        "--labels", metavar="FILE", help="labels of the evaluation samples: CSV `file,label`, or one a line"
    )
    parser.add_argument(
        "--metric", metavar="module:function", help="quality of one sample (default: top-1 and top-5)"
    )
    parser.add_argument(
        "--min-agreement",
        type=share,
        metavar="SHARE",
        help="least share with float's top class (default: 0.9)",
    )
    parser.add_argument(
        "--max-quality-drop",
        type=at_least_zero,
        metavar="DROP",
        help="greatest loss of quality (default: 0.03)",
    )
    parser.add_argument("--min-sqnr", type=number, metavar="DB", help="least output SQNR in dB (default: 8)")
    parser.add_argument("--no-latency", action="store_true", help="do not measure latency")
    parser.add_argument(
        "--diagnose",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="find out which layers cost most (default: yes)",
    )
    parser.add_argument(
        "--threads",
        type=count,
        metavar="N",
        help="threads of one inference (default: all cores, at most 4)",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="folder of cached statistics and converted models (default: ~/.cache/edgewright)",
    )
    add_tensorflow(parser)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--explain", action="store_true", help="print why every tensor and node became what it is"
    )
    shown.add_argument("--json", action="store_true", help="print the report as JSON on standard output")
    parser.add_argument("--quiet", action="store_true", help="no progress")
