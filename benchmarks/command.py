"""``python -m benchmarks``: measure, show, write.

Exit status: 0 measured, 1 a limit is not met (only with --strict), 2 a wrong command line or data, 3 something could not be measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from benchmarks import machine, material
from benchmarks.document import write_results
from benchmarks.findings import Chapter, Finding, Report, decode_chapter, encode
from benchmarks.options import (
    BENCHMARKS,
    CALIBRATION_IMAGES,
    EVALUATION_IMAGES,
    HARD_TARGETS,
    PEER_MINUTES,
    SIMULATED_IMAGES,
    Options,
    some_of,
)
from benchmarks.show import show_chapter, show_verdict
from benchmarks.work_folder import open_work_folder
from device_agent.contract.errors import EdgewrightError
from host_tools.cli.arguments import count
from host_tools.cli.progress import ProgressBars

if TYPE_CHECKING:
    from collections.abc import Sequence

PEERS_PYTHON: Final = Path(".venv-bench/bin/python")
PAGE: Final = Path("docs/benchmarks.md")
MIN_ROUNDS: Final = 7
MIN_REPEATS: Final = 3
_FILE_WIDTH: Final = 180  # columns of a table that goes into a file
_OPTIONS: Final = "options.json"
UNMET, FAILED, UNMEASURED, INTERRUPTED = 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser().parse_args(given)
    python = _python(parsed.python)
    if python is not None:
        command = [str(python), "-m", "benchmarks", *given, "--python", "this"]
        os.execv(command[0], command)
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH)
    errors = Console(stderr=True, soft_wrap=True)
    try:
        report = _run(parsed, given, console)
        if parsed.json is not None:
            parsed.json.parent.mkdir(parents=True, exist_ok=True)
            parsed.json.write_text(encode(report), encoding="utf-8")
        if parsed.write_docs:
            write_results(PAGE, report)
    except KeyboardInterrupt:
        errors.print("benchmarks: interrupted; nothing was written", style="red")
        return INTERRUPTED
    except (EdgewrightError, OSError) as error:
        errors.print(f"benchmarks: {error}", style="red", markup=False)
        return FAILED
    show_verdict(console, report)
    return exit_status(report, strict=parsed.strict)


def exit_status(report: Report, *, strict: bool) -> int:
    """Return the exit status for a run."""
    if any(finding.missing for finding in report.findings):
        return UNMEASURED
    return UNMET if strict and any(finding.is_met is False for finding in report.findings) else 0


def notes_of(options: Options, only: Sequence[str]) -> tuple[str, ...]:
    """Return what makes a run too small to count, one sentence each."""
    notes = []
    if options.calibration_images < CALIBRATION_IMAGES or options.evaluation_images < EVALUATION_IMAGES:
        notes.append(
            f"Too few pictures to count ({options.calibration_images} calibration, {options.evaluation_images} evaluation): "
            "only a check that the benchmarks run."
        )
    if options.rounds < MIN_ROUNDS and {"latency", "agent", "hard"} & set(only):
        notes.append(f"Too few rounds to count ({options.rounds}; {MIN_ROUNDS} are needed).")
    if options.repeats < MIN_REPEATS and {"conversion", "memory", "agent"} & set(only):
        notes.append(f"Too few repeats to count ({options.repeats}; {MIN_REPEATS} are needed).")
    left_out = [target for target in HARD_TARGETS if target not in options.hard_targets]
    if left_out and "hard" in only:
        notes.append(f"Not all hard targets: without {', '.join(left_out)}.")
    return tuple(notes)


def _run(parsed: argparse.Namespace, given: Sequence[str], console: Console) -> Report:
    options = _options(parsed)
    facts, date = machine.facts(), machine.now()
    _prepare(options)
    chapters = []
    for name in parsed.only:
        for part in parts_of(name, options):
            console.rule(name)
            chapters.append(_chapter(name, part))
            show_chapter(console, chapters[-1])
    return Report(
        command=shlex.join(["python", "-m", "benchmarks", *_without_python(given)]),
        date=date,
        machine=facts,
        versions=machine.versions(),
        chapters=tuple(chapters),
        notes=notes_of(options, parsed.only),
    )


def parts_of(name: str, options: Options) -> tuple[Options, ...]:
    """Return the options of each chapter of a benchmark: one, but for ``hard``, which has one a target."""
    if name != "hard":
        return (options,)
    return tuple(dataclasses.replace(options, hard_targets=(target,)) for target in options.hard_targets)


def _prepare(options: Options) -> None:
    """Make the material, unless a run that this one goes on with has made it."""
    kept = options.work / _OPTIONS
    if kept.is_file():
        return
    with ProgressBars(quiet=False) as progress:
        material.prepare(options, progress)
    kept.write_text(options.to_json(), encoding="utf-8")


def _chapter(name: str, options: Options) -> Chapter:
    """Measure one chapter in a process of its own, unless a run that this one goes on with has; its failure is a finding."""
    chapter = "-".join((name, *options.hard_targets)) if name == "hard" else name
    answer = options.work / f"{chapter}.json"
    if answer.is_file():
        return decode_chapter(answer)
    asked = options.work / f"{chapter}.options.json"
    asked.write_text(options.to_json(), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.chapter", name, str(asked), str(answer)]
    done = subprocess.run(command, check=False)
    if done.returncode == 0 and answer.is_file():
        return decode_chapter(answer)
    reason = f"its process ended with status {done.returncode}; what went wrong stands above"
    finding = Finding(subject=chapter, figure="everything", unit="count", missing=reason)
    return Chapter(name=chapter, title=chapter, findings=(finding,), notes=())


def _options(parsed: argparse.Namespace) -> Options:
    work = parsed.work.resolve()
    is_ours = open_work_folder(work, resume=parsed.resume)
    options = Options(
        data=parsed.data.resolve(),
        work=work,
        images=parsed.images,
        rounds=parsed.rounds,
        repeats=parsed.repeats,
        agent_seconds=parsed.agent_seconds,
        slow_peers=parsed.slow_peers,
        hard_targets=parsed.hard_targets,
        peer_minutes=parsed.peer_minutes,
        simulated=parsed.simulated,
    )
    kept = work / _OPTIONS
    if kept.is_file() and same_material(Options.from_json(kept.read_text(encoding="utf-8")), options):
        return options
    if parsed.resume and is_ours:
        raise FileExistsError(
            f"--resume: {work} holds no run with these --data and --images to go on with; leave --resume out, which begins anew"
        )
    return options


def same_material(first: Options, second: Options) -> bool:
    """Tell whether two runs convert from the same pictures and are measured on the same."""
    return (first.data, first.work, first.images) == (second.data, second.work, second.images)


def _python(chosen: str) -> Path | None:
    """Return the interpreter to go on in, None when it is this one: the peers live in an environment of their own."""
    if chosen != "auto":
        return None if chosen == "this" else Path(chosen)
    path = PEERS_PYTHON.absolute()
    return None if not path.is_file() or Path(sys.prefix) == path.parent.parent else path


def _without_python(given: Sequence[str]) -> list[str]:
    """Return the command line as the user gave it."""
    return list(given[:-2]) if list(given[-2:]) == ["--python", "this"] else list(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Edgewright beside its peers, in one run. See docs/benchmarks.md.",
        epilog="exit status: 0 measured; 1 a limit is not met (with --strict); 2 a wrong command line or data; 3 something could not be measured",
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with images and labels.csv (file,index,split)",
    )
    parser.add_argument(
        "--only",
        type=partial(some_of, known=BENCHMARKS),
        default=BENCHMARKS,
        metavar="NAME,…",
        help=f"some of {','.join(BENCHMARKS)}",
    )
    parser.add_argument(
        "--images",
        type=count,
        metavar="N",
        help="use only N pictures of each split: to try, not to report",
    )
    parser.add_argument(
        "--rounds",
        type=count,
        default=MIN_ROUNDS,
        metavar="N",
        help="rounds of latency and agent overhead (default: %(default)s)",
    )
    parser.add_argument(
        "--repeats",
        type=count,
        default=MIN_REPEATS,
        metavar="N",
        help="fresh processes a figure of conversion, memory, start (default: %(default)s)",
    )
    parser.add_argument(
        "--agent-seconds",
        type=_seconds,
        default=60.0,
        metavar="S",
        help="window of the agent's memory (default: %(default)s)",
    )
    parser.add_argument(
        "--slow-peers",
        action="store_true",
        help="also time ONNX Runtime's percentile calibration (minutes, 13 GB of memory), and hold our statistics for every method against it",
    )
    parser.add_argument(
        "--hard-targets",
        type=partial(some_of, known=HARD_TARGETS),
        default=HARD_TARGETS,
        metavar="ID,…",
        help="only some targets of the benchmark hard (default: all seven)",
    )
    parser.add_argument(
        "--peer-minutes",
        type=count,
        default=PEER_MINUTES,
        metavar="N",
        help="how long a peer of the benchmark hard may take, simulating its own file included (default: %(default)s, twice what Edgewright may)",
    )
    parser.add_argument(
        "--simulated",
        type=count,
        default=SIMULATED_IMAGES,
        metavar="N",
        help="evaluation pictures for the simulator, which takes half a second for each (default: %(default)s)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("out/bench"),
        metavar="DIR",
        help="folder for everything made (default: %(default)s)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with a run that was cut off: what it has converted and measured stays as it is",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--write-docs", action="store_true", help=f"write the results into {PAGE}")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a limit is not met")
    parser.add_argument(
        "--python",
        default="auto",
        metavar="FILE",
        help=f"interpreter that has the peers (default: {PEERS_PYTHON} if it is there, else this one)",
    )
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1.0 <= value <= 86_400.0:
        raise argparse.ArgumentTypeError(f"expected seconds from 1 to 86400, got {text!r}")
    return value
