"""Hard targets: what a default conversion comes to where scales are few, beside the peers that can be held to the same constraint.

Layout:
    rows.py           targets, their limits, and the peers of each
    conversions.py    each conversion in a fresh process: time, peak memory, the stages that were needed
    evaluation.py     the deployable files on the evaluation pictures
    simulation.py     a plan in the simulator, as if it were an engine
    minimums.py       what Min operators cost: the same file with and without them
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.findings import Chapter

if TYPE_CHECKING:
    from benchmarks.material import Material
    from benchmarks.options import Options
    from host_tools.progress import Progress


def measure(options: Options, material: Material, progress: Progress) -> Chapter:
    """Convert for hard targets, with everyone, and run what came of it; a chapter is for one target."""
    from benchmarks.hard import conversions, evaluation, minimums  # noqa: PLC0415 - they import this package
    from benchmarks.hard.rows import ROWS  # noqa: PLC0415

    rows = [row for row in ROWS if row.target in options.hard_targets]
    made = conversions.measure(rows, options, material, progress)
    targets = options.hard_targets
    return Chapter(
        name="-".join(("hard", *targets)),
        title=f"Hard target {', '.join(targets)}, from {options.calibration_images} calibration pictures",
        findings=(
            *evaluation.measure(rows, made, options, material, progress),
            *made.findings,
            *minimums.measure(rows, made, options, material, progress),
        ),
        notes=(*evaluation.notes_of(rows), *conversions.NOTES, *minimums.NOTES),
    )
