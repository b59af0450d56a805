"""``python -m benchmarks.models.lowering``: resident memory that writing a file takes, over the weights of the float model.

The model is the text encoder, whose weights are large beside everything else. Each file is written in a process of its own, from a plan that
was made there; counted is the largest resident memory while it is written, less that just before. Linux only: it resets the kernel's mark.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.models.packages import Places
from benchmarks.models.zoo import by_id
from host_tools.lower.lowering import lower
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.plan.planner import plan
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from host_tools.target_profiles import load_profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile, PlanPrecision

TARGETS: Final = ("x86_64-onnxruntime", "x86_64-openvino", "cortex-a-tflite")
PRECISIONS: Final[tuple[PlanPrecision, ...]] = (
    "int8",
    "int8-dynamic",
    "weights-int8",
    "weights-int4",
    "weights-float16",
)
_SAMPLES: Final = 4
"""What calibrates does not change what writing takes."""
_RESET_PEAK: Final = "5"
"""Source: Linux, Documentation/filesystems/proc.rst, clear_refs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.models.lowering",
        description=__doc__,
        epilog="example: python -m benchmarks.models.lowering --models models/",
    )
    parser.add_argument(
        "--models", type=Path, required=True, metavar="DIR", help="folder of downloaded packages"
    )
    parser.add_argument(
        "--model",
        default="minilm",
        metavar="ID",
        help="as in python -m benchmarks.models (default: %(default)s)",
    )
    parser.add_argument("--targets", nargs="+", default=TARGETS, metavar="ID")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    chosen = parser.parse_args(arguments)
    print("| target | precision | weights MiB | file MiB | memory MiB | times |\n|---|---|---|---|---|---|")
    for target in chosen.targets:
        for precision in chosen.precisions:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                weights, size, taken = (
                    one / 2**20
                    for one in alone.submit(
                        measure, chosen.models.resolve(), chosen.model, target, precision
                    ).result()
                )
            print(
                f"| {target} | {precision} | {weights:.1f} | {size:.1f} | {taken:.1f} | {taken / weights:.2f} |",
                flush=True,
            )
    return 0


def measure(packages: Path, name: str, target: str, precision: PlanPrecision) -> tuple[int, int, int]:
    """Return the bytes of the float model's weights, of the payload, and of what writing it took, in this process."""
    entry, places = by_id(name), Places(packages=packages, data=Path())
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        entry.file_in(folder).write_bytes(entry.model(places, entry))
        model, profile = entry.load(folder), load_profile(target)
        np.savez(folder / "samples.npz", **entry.samples(places, "calib", _SAMPLES))  # type: ignore[arg-type]  # its stub takes every keyword for its own flag
        planned = _planned(model, profile, precision, folder / "samples.npz")
        weights = sum(
            one.const_value.nbytes
            for one in model.graph.graph.initializers.values()
            if one.const_value is not None
        )
        gc.collect()
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
        before = _status("VmRSS")
        payload = lower(model, planned, profile)
        return weights, sum(map(len, payload.files.values())), _status("VmHWM") - before


def _planned(
    model: FloatModel, profile: CapabilityProfile, precision: PlanPrecision, samples: Path
) -> QuantizationPlan:
    if precision != "int8":
        return plan_uncalibrated(model, profile, Recipe(precision=precision))
    data = open_data(samples, inputs=model.inputs)
    statistics = observe(model, data, histograms=False, threads=1, progress=Silent())
    return plan(model, statistics, profile, Recipe(method="minmax"))


def _status(field: str) -> int:
    """Return a line of the kernel's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


if __name__ == "__main__":
    sys.exit(main())
