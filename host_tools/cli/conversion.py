"""What `edgewright convert` does: convert, show the table, say where everything is."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from host_tools.cli.progress import ProgressBars
from host_tools.cli.shapes import parse_constants, parse_shapes
from host_tools.errors import InputError
from host_tools.mixed_precision import Goal
from host_tools.pipeline import convert
from host_tools.plan.explain import explain
from host_tools.plan.plan_file import decode as decode_plan
from host_tools.recipe import Recipe
from host_tools.recipe_agreement import require_agreement
from host_tools.recipe_file import read_recipe
from host_tools.verify.figure_text import NOTHING, number_text, quality_text
from host_tools.verify.verification_report import Budget

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from host_tools.pipeline import Conversion
    from host_tools.verify.verification_report import Stage, TargetReport, VerificationReport

_REFUSED = 3
_FAILED = 4
_PIPE_COLUMNS = 120


def run(options: argparse.Namespace) -> int:
    """Convert, print the table, and return 3 when a target cannot do it, 4 when one failed."""
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
            fold_preprocessing=options.fold_preprocessing,
            heat=options.heat,
            shapes=parse_shapes(options.shape),
            constants=parse_constants(options.constant),
            limit=options.limit,
            evaluation=options.evaluation,
            labels=options.labels,
            metric=options.metric,
            budget=_budget(options),
            goal=_goal(options),
            latency=not options.no_latency,
            diagnosis=options.diagnose,
            budget_minutes=options.budget_minutes,
            threads=options.threads,
            cache=options.cache,
            signature=options.signature,
            tensorflow_python=options.tensorflow_python,
            progress=progress,
        )
    if options.json:
        print(conversion.report_file.read_text(encoding="utf-8"), end="")
    else:
        _show(conversion, Path(options.out), explained=options.explain)
    if conversion.report.refused:
        return _REFUSED
    return 0 if conversion.report.verdict in ("pass", "marginal") else _FAILED


def _recipe(options: argparse.Namespace) -> Recipe:
    method, mixed = None if options.method == "auto" else options.method, options.mixed_precision
    precision, group = options.precision
    if options.recipe is None:
        recipe = Recipe(
            precision=precision or "int8",
            group=group,
            rounding=options.rounding or "nearest",
            scaling=options.scaling or "none",
            float_weights=options.float_weights or "float32",
            method=method,
            mixed_precision=mixed,
            spared=options.spare or "latency",
        )
        require_agreement(recipe, where="options")
        return recipe
    if method is not None:
        raise InputError(
            "--method and --recipe exclude each other.", hint="Write the method into the recipe."
        )
    recipe = read_recipe(Path(options.recipe))
    given = {
        "precision": precision,
        "group": group,
        "rounding": options.rounding,
        "scaling": options.scaling,
        "float_weights": options.float_weights,
        "mixed_precision": mixed,
        "spared": options.spare,
    }
    recipe = dataclasses.replace(
        recipe, **{name: value for name, value in given.items() if value is not None}
    )
    require_agreement(recipe, where=options.recipe)
    return recipe


def _budget(options: argparse.Namespace) -> Budget | None:
    """Return the limits that the user named; None where all are left to us."""
    given = {
        "min_agreement": options.min_agreement,
        "max_quality_drop": options.max_quality_drop,
        "min_sqnr_db": options.min_sqnr,
    }
    named = {name: value for name, value in given.items() if value is not None}
    return Budget(**named) if named else None


def _goal(options: argparse.Namespace) -> Goal | None:
    """Return the limits that the user named; None where all are left to us: floats would then come by surprise."""
    if options.min_sqnr is None and options.min_agreement is None:
        return None
    return Goal(min_sqnr_db=options.min_sqnr, min_agreement=options.min_agreement)


def _show(conversion: Conversion, out: Path, *, explained: bool) -> None:
    console = wide_console()
    console.print(report_table(conversion.report))
    if any(target.execution.stand_in for target in conversion.report.targets):
        console.print(
            "  * ms and int/float are those of this host's engine, which stands in for the hardware",
            markup=False,
        )
    for target in conversion.report.targets:
        _show_target(console, target)
    for refusal in conversion.report.refused:
        console.print(f"  {refusal.target}: refused: {refusal.reason}", markup=False)
    for path in conversion.artifacts.values():
        console.print(f"artifact  {path}", markup=False)
    console.print(f"report    {conversion.report_page}", markup=False)
    if explained:
        for target in conversion.report.targets:
            path = out / target.target / "plan.json"
            console.print(explain(decode_plan(path.read_bytes(), where=str(path))), markup=False)


def _show_target(console: Console, target: TargetReport) -> None:
    for stage in target.stages if len(target.stages) > 1 else ():
        for line in _stage_lines(stage):
            console.print(f"  {target.target}: {line}", markup=False)
    if target.original is not None:
        console.print(
            f"  {target.target}: beside the file itself in {target.original.engine}, on {target.original.sample_count} samples: "
            f"{target.original.equal_share:.1%} of the output codes equal, {target.original.within_one_share:.1%} within one, "
            f"at most {target.original.max_lsb} apart",
            markup=False,
        )
    if target.simulation is not None and target.simulation.sqnr_db is not None:
        console.print(
            f"  {target.target}: simulated with its own rounding on {target.simulation.sample_count} samples: "
            f"{target.simulation.sqnr_db:.1f} dB",
            markup=False,
        )
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


def _stage_lines(stage: Stage) -> Iterator[str]:
    """Say what a stage came to, of one that was left out why, and of mixed precision what was tried and what is missing."""
    if stage.sqnr_db is None and not stage.is_kept:
        yield f"{stage.name}: left out, {stage.note}"
        return
    worth = "exact" if stage.sqnr_db is None else f"{stage.sqnr_db:.1f} dB"
    reached = f"{stage.name}: {worth} in {stage.seconds:.0f} s"
    if stage.name == "mixed precision":
        yield reached if stage.is_kept else f"{reached}, not kept"
        yield from (f"  {part}" for part in stage.note.split("; "))
    else:
        yield reached if stage.is_kept else f"{reached}, not kept: {stage.note}"


def wide_console() -> Console:
    """Return a console that does not squeeze tables where the output is no terminal."""
    console = Console(soft_wrap=True)
    return console if console.is_terminal else Console(soft_wrap=True, width=_PIPE_COLUMNS)


def report_table(report: VerificationReport) -> Table:
    """Return the summary of a report as a table for the terminal: float first, then one row a target; units stand in the headings."""
    metrics = list(dict.fromkeys(quality.metric for target in report.targets for quality in target.quality))
    table = summary_table(f"{report.model}, {report.calibration}")
    for heading in ("Target", "Verdict"):
        table.add_column(heading, no_wrap=True)
    shares = [f"{name} %" if name.startswith("top-") else name for name in metrics]
    for heading in (*shares, "Same %", "SQNR dB", "ms", "MiB", "int/float", "LSB"):
        table.add_column(heading, justify="right", no_wrap=True)
    baseline = report.float_latency.median_seconds if report.float_latency else None
    floats = {quality.metric: quality.float_value for target in report.targets for quality in target.quality}
    size = _mebibytes(report.targets[0].float_bytes) if report.targets else NOTHING
    qualities = (quality_text(name, floats.get(name)) for name in metrics)
    table.add_row("float (onnx)", "", *qualities, "", "", number_text(baseline, 1e3, 2), size, "", "")
    for target in report.targets:
        table.add_row(*_target_row(target, metrics))
    return table


def summary_table(title: str) -> Table:
    """Return an empty table that fits a terminal of 80 columns as long as its cells do."""
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _target_row(target: TargetReport, metrics: list[str]) -> list[str]:
    values = {quality.metric: quality.payload_value for quality in target.quality}
    sqnr, parity = target.agreement.sqnr_db, target.parity
    return [
        f"{target.target} *" if target.execution.stand_in else target.target,
        target.verdict,
        *(quality_text(name, values.get(name)) for name in metrics),
        number_text(target.agreement.same_top_class, 100.0, 1),
        "exact" if sqnr is None else f"{sqnr:.1f}",
        number_text(target.latency.median_seconds if target.latency else None, 1e3, 2),
        _mebibytes(target.payload_bytes),
        f"{target.execution.integer_ops}/{target.execution.float_ops}",
        NOTHING if parity is None or parity.max_lsb is None else f"≤ {parity.max_lsb}",
    ]


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.2f}"
