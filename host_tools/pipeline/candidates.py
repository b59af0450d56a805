"""Observe, plan, lower: what each target is to run."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from host_tools.errors import CapabilityError, LoweringError
from host_tools.lower.lowering import lower
from host_tools.observe.cache import StatisticsCache, statistics_of
from host_tools.observe.ranges import choose_range
from host_tools.observe.statistics_file import encode as encode_statistics
from host_tools.plan.check import check
from host_tools.plan.pixel_codes import require_pixel_codes
from host_tools.plan.planner import needs_histograms
from host_tools.stages import Yardstick, prepare, prepare_imported, prepare_uncalibrated
from host_tools.verify.candidate import Candidate
from host_tools.verify.verification_report import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from host_tools.mixed_precision import Goal
    from host_tools.observe.statistics import Statistics
    from host_tools.output_folder import OutputFolder
    from host_tools.pipeline.material import Material
    from host_tools.progress import Progress
    from host_tools.stages import Prepared
    from targets.profile import CapabilityProfile


def preparation(
    material: Material,
    folder: OutputFolder,
    *,
    goal: Goal | None,
    budget_minutes: float | None,
    threads: int,
    cache: str | Path | None,
    progress: Progress,
) -> Callable[..., Prepared]:
    """Observe the model, once for all targets, where its plan needs that; return what makes the plan for one target.

    The statistics are written into the folder; those of an earlier run go.
    """
    if not material.is_calibrated:
        folder.remove("statistics.json")
        if material.is_imported:
            return partial(prepare_imported, material.model, recipe=material.recipe)
        return partial(
            prepare_uncalibrated,
            material.model,
            recipe=material.recipe,
            data=material.calibration,
            threads=threads,
            progress=progress,
        )
    kept = StatisticsCache(cache)
    statistics = statistics_of(
        material.model,
        material.calibration,
        histograms=needs_histograms(material.recipe),
        threads=threads,
        cache=kept,
        progress=progress,
    )
    folder.write("statistics.json", encode_statistics(statistics))
    return partial(
        prepare,
        material.model,
        statistics,
        recipe=material.recipe,
        data=material.calibration,
        yardstick=Yardstick(material.model, material.calibration, threads=threads),
        threads=threads,
        cache=kept,
        progress=progress,
        deadline=None if budget_minutes is None else time.monotonic() + 60.0 * budget_minutes,
        goal=goal,
    )


def candidates_of(
    prepared: Callable[..., Prepared],
    profiles: Sequence[CapabilityProfile],
    *,
    takes_pixels: bool,
    progress: Progress,
) -> tuple[list[Candidate], dict[str, Statistics | None], tuple[Refusal, ...]]:
    """Plan and lower for every target; what one of them cannot do is no loss to the others.

    Returns:
        The candidates; by target, the statistics that a plan was made from, if it was; and the targets that refused.

    Raises:
        CapabilityError: No target can do what the model needs.
        LoweringError: The same, said by the lowering.
    """
    candidates: list[Candidate] = []
    statistics: dict[str, Statistics | None] = {}
    refused: list[Refusal] = []
    for profile in profiles:
        progress.stage(f"Planning for {profile.id}", None)  # its stages count for themselves
        try:
            if takes_pixels:
                require_pixel_codes(profile)
            found = prepared(profile=profile)
            check(found.plan, found.model, profile)
            candidate = Candidate(
                profile=profile,
                model=found.model,
                plan=found.plan,
                payload=lower(found.model, found.plan, profile),
                stages=found.stages,
            )
            candidates.append(candidate)
            statistics[profile.id] = found.statistics
        except (CapabilityError, LoweringError) as error:
            if len(profiles) == 1:
                raise
            refused.append(Refusal(target=profile.id, reason=str(error)))
    choose_range.cache_clear()  # it holds on to what it was asked of
    if not candidates:
        raise CapabilityError(
            "none of the targets can do what the model needs:"
            + "".join(f"\n  {refusal.target}: {refusal.reason}" for refusal in refused)
        )
    return candidates, statistics, tuple(refused)
