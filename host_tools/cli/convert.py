"""`edgewright convert`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from host_tools.cli.progress import ProgressBars
from host_tools.errors import InputError
from host_tools.pages.page import decibels, mebibytes, milliseconds, percent
from host_tools.pipeline import convert
from host_tools.plan.explain import explain
from host_tools.plan.plan_file import decode as decode_plan
from host_tools.recipe import Recipe
from host_tools.verify.verification_report import Budget

if TYPE_CHECKING:
    from host_tools.pipeline import Conversion
    from host_tools.verify.verification_report import TargetReport, VerificationReport

_METHODS = ("minmax", "percentile", "mse", "entropy", "moving_average")
_EPILOG = """\
data may be
  a folder of pictures     with preprocess.toml in it, beside it, or by --preprocess
  FILE.npy                 first axis: samples
  FILE.npz                 keys: input names; first axis: samples
  a folder of .npy files   one sample each
  module:function          returns an iterable of arrays or of dicts by input name

examples:
  edgewright convert model.onnx --data calibration/ --target cortex-a-tflite --out build/
  edgewright convert model.onnx --data calib.npz --shape images=1,3,224,224 --target x86_64-onnxruntime --out build/
  edgewright convert model.onnx --data calib/ --eval photos/ --labels labels.csv --method mse \\
      --target x86_64-openvino --target amd-vitis-dpu --out build/ --json
"""
_FAILED = 4


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "convert",
        help="convert a float ONNX model for one or more targets",
        description="Calibrate MODEL once and convert it for every target; run each result and report what it does.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL.onnx", help="the float model")
    parser.add_argument("--data", required=True, metavar="DATA", help="calibration data, see below")
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
    parser.add_argument(
        "--method", choices=_METHODS, help="how ranges are chosen (default: the plan chooses and says so)"
    )
    parser.add_argument("--recipe", metavar="FILE", help="a recipe as TOML or JSON; see docs/recipes.md")
    parser.add_argument(
        "--preprocess",
        metavar="FILE",
        help="how pictures become inputs (default: preprocess.toml in or beside the data)",
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=1,3,224,224",
        help="fix a dynamic input's shape; repeatable",
    )
    parser.add_argument(
        "--limit", type=_positive, metavar="N", help="use only the first N samples of the calibration data"
    )
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
        type=_share,
        metavar="SHARE",
        help="least share with float's top class (default: 0.9)",
    )
    parser.add_argument(
        "--max-quality-drop", type=float, metavar="DROP", help="greatest loss of quality (default: 0.03)"
    )
    parser.add_argument("--min-sqnr", type=float, metavar="DB", help="least output SQNR in dB (default: 8)")
    parser.add_argument("--no-latency", action="store_true", help="do not measure latency")
    parser.add_argument(
        "--threads",
        type=_positive,
        metavar="N",
        help="threads of one inference (default: all cores, at most 4)",
    )
    parser.add_argument(
        "--cache", metavar="DIR", help="folder of cached statistics (default: ~/.cache/edgewright)"
    )
    parser.add_argument(
        "--explain", action="store_true", help="print why every tensor and node became what it is"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON on standard output")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Convert, print the table, and return 4 when a target failed."""
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with ProgressBars(quiet=options.quiet) as progress:
        conversion = convert(
            options.model,
            data=options.data,
            targets=options.targets,
            out=options.out,
            name=options.name,
            version=options.model_version,
            recipe=_recipe(options),
            preprocess=options.preprocess,
            shapes=parse_shapes(options.shape),
            limit=options.limit,
            evaluation=options.evaluation,
            labels=options.labels,
            metric=options.metric,
            budget=_budget(options),
            latency=not options.no_latency,
            threads=options.threads,
            cache=options.cache,
            progress=progress,
        )
    if options.json:
        print(conversion.report_file.read_text(encoding="utf-8"), end="")
    else:
        _show(conversion, Path(options.out), explained=options.explain)
    return 0 if conversion.report.verdict in ("pass", "marginal") else _FAILED


def parse_shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Read ``NAME=1,3,224,224`` texts.

    Raises:
        InputError: One has another form.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, extents = text.rpartition("=")
        try:
            shape = tuple(int(extent) for extent in extents.split(","))
        except ValueError:
            shape = ()
        if not name or not shape or min(shape) < 1:
            raise InputError(f"--shape: expected NAME=1,3,224,224 with positive whole numbers, got {text!r}.")
        shapes[name] = shape
    return shapes


def _recipe(options: argparse.Namespace) -> Recipe:
    if options.recipe is None:
        return Recipe(method=options.method)
    if options.method is not None:
        raise InputError(
            "--method and --recipe exclude each other.", hint="Write the method into the recipe."
        )
    return Recipe.read(Path(options.recipe))


def _budget(options: argparse.Namespace) -> Budget:
    given = {
        "min_agreement": options.min_agreement,
        "max_quality_drop": options.max_quality_drop,
        "min_sqnr_db": options.min_sqnr,
    }
    return Budget(**{name: value for name, value in given.items() if value is not None})


def _show(conversion: Conversion, out: Path, *, explained: bool) -> None:
    console = Console(soft_wrap=True)
    console.print(report_table(conversion.report))
    for target in conversion.report.targets:
        for reason in target.reasons:
            console.print(f"  {target.target}: {reason}", markup=False)
        shown = target.warnings[:3]
        for warning in shown:
            console.print(f"  {target.target}: note: {warning}", markup=False)
        if len(target.warnings) > len(shown):
            console.print(
                f"  {target.target}: {len(target.warnings) - len(shown)} more notes in the report",
                markup=False,
            )
    for path in conversion.artifacts.values():
        console.print(f"artifact  {path}", markup=False)
    console.print(f"report    {conversion.report_page}", markup=False)
    if explained:
        for target in conversion.report.targets:
            path = out / target.target / "plan.json"
            console.print(explain(decode_plan(path.read_bytes(), where=str(path))), markup=False)


def report_table(report: VerificationReport) -> Table:
    """Return the summary of a report as a table for the terminal: float first, then one row a target."""
    metrics = list(dict.fromkeys(quality.metric for target in report.targets for quality in target.quality))
    table = Table(
        title=f"{report.model}, calibrated on {report.calibration_samples} samples", title_justify="left"
    )
    for heading in (
        "Target",
        "Verdict",
        *metrics,
        "Same class",
        "SQNR",
        "Latency",
        "Size",
        "Ops int/float",
        "Parity",
    ):
        table.add_column(heading, justify="left" if heading in ("Target", "Verdict") else "right")
    baseline = report.float_latency.median_seconds if report.float_latency else None
    floats = {quality.metric: quality.float_value for target in report.targets for quality in target.quality}
    size = mebibytes(report.targets[0].float_bytes) if report.targets else "–"
    table.add_row(
        "float (onnx)",
        "",
        *(_quality(name, floats.get(name)) for name in metrics),
        "",
        "",
        milliseconds(baseline),
        size,
        "",
        "",
    )
    for target in report.targets:
        table.add_row(*_target_row(target, metrics))
    return table


def _target_row(target: TargetReport, metrics: list[str]) -> list[str]:
    values = {quality.metric: quality.payload_value for quality in target.quality}
    parity = target.parity
    return [
        target.target,
        target.verdict,
        *(_quality(name, values.get(name)) for name in metrics),
        percent(target.agreement.same_top_class),
        decibels(target.agreement.sqnr_db),
        milliseconds(target.latency.median_seconds if target.latency else None),
        mebibytes(target.payload_bytes),
        f"{target.execution.integer_ops}/{target.execution.float_ops}",
        "–" if parity is None else f"≤{parity.max_lsb} LSB",
    ]


def _quality(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return percent(value) if name.startswith("top-") else f"{value:.4g}"


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got {text!r}")
    return value
