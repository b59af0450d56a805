"""`Methods`: what each stage does to a plan; whether it is wanted and whether it helped is the ladder's business."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from host_tools.equalize import equalize
from host_tools.equalize.splitting import split
from host_tools.mixed_precision import Goal, mix
from host_tools.model.topology import constant, is_constant, network_of
from host_tools.observe.cache import statistics_of
from host_tools.plan.planner import needs_histograms, plan
from host_tools.reconstruct import reconstruct
from host_tools.reconstruct.checkpoint import Checkpoint, key_of
from host_tools.stages.ladder import GOOD_DECIBELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from host_tools.equalize.factors import Clips
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.cache import StatisticsCache
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from host_tools.recipe import Recipe
    from host_tools.stages.ladder import State
    from host_tools.stages.yardstick import Worth
    from targets.profile import CapabilityProfile


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Methods:
    """The methods of one target; each returns the state that it leads to, or the very same where there is nothing to do, and a note.

    Attributes:
        model: The float model that the user gave.
        profile: The target.
        recipe: What the user asks.
        data: The calibration set.
        fitting: The part of it that may be fitted to.
        threads: Threads of one inference.
        cache: Where statistics of equalized models and checkpoints are kept.
        progress: Told how far it is.
        deadline: Time (`time.monotonic`) at which reconstruction and mixed precision stop where they are; None: no limit.
    """

    model: FloatModel
    profile: CapabilityProfile
    recipe: Recipe
    data: CalibrationSet
    fitting: CalibrationSet
    threads: int
    cache: StatisticsCache
    progress: Progress
    deadline: float | None

    def equalized(self, now: State) -> tuple[State, str]:
        """Scale channels against one another."""
        found = equalize(now.model, now.statistics, self.profile, clips=_clips(now.model, self.recipe))
        if found.model is now.model:
            return now, found.note
        return self._planned(now, found.model, found.note)

    def split(self, now: State) -> tuple[State, str]:
        """Make two of every outlier channel, and scale all against one another anew."""
        share = self.recipe.channel_splitting
        made = None if share is None else split(now.model, now.statistics, share=share)
        if made is None:
            return (
                now,
                "no channel can be split: nothing but what ties channels to others stands between weights",
            )
        note = f"{made.channels} channels were split in two, which adds {made.weights} weights ({made.growth:.1%})"
        if self.recipe.equalization is not False:
            clips = _clips(now.model, self.recipe)
            found = equalize(made.model, made.statistics, self.profile, clips=clips)
            return self._planned(now, found.model, f"{note}; then: {found.note}")
        return self._planned(now, made.model, note)

    def _planned(self, now: State, model: FloatModel, note: str) -> tuple[State, str]:
        """Observe and plan a changed model, unless the recipe gives ranges that its tensors would leave."""
        gathered = statistics_of(
            model,
            self.data,
            histograms=needs_histograms(self.recipe),
            threads=self.threads,
            cache=self.cache,
            progress=self.progress,
        )
        changed = _changed_overrides(self.recipe, now, model, gathered)
        if changed:
            return (
                now,
                f"the recipe gives a range for {', '.join(changed)}, which scaled channels would leave",
            )
        planned = plan(model, gathered, self.profile, self.recipe)
        return replace(now, model=model, statistics=gathered, plan=planned), note

    def reconstructed(self, now: State) -> tuple[State, str]:
        """Round weights and set biases operator by operator."""
        planned = self._rebuilt(now, now.plan)
        stopped = planned.warnings[len(now.plan.warnings) :]
        if not _has_codes(planned):
            return now, " ".join(stopped) or "no weights to round"
        after = replace(now, plan=planned, before_reconstruction=now.plan)
        return after, "; ".join(("weights rounded and biases set operator by operator", *stopped))

    def mixed(
        self, now: State, *, goal: Goal | None, measured: Callable[[State], Worth]
    ) -> tuple[State, str]:
        """Let what costs most run in float."""
        found = mix(
            self.model,
            now.model,
            now.statistics,
            now.before_reconstruction or now.plan,
            self.profile,
            self.recipe,
            goal=goal or Goal(min_sqnr_db=GOOD_DECIBELS),
            worth=now.worth or measured(now),
            measure=lambda planned: measured(replace(now, plan=planned)),
            finish=None if now.before_reconstruction is None else partial(self._rebuilt, now),
            data=self.fitting,
            threads=self.threads,
            progress=self.progress,
            deadline=self.deadline,
        )
        return (now if found.plan is None else replace(now, plan=found.plan)), found.note

    def _rebuilt(self, now: State, planned: QuantizationPlan) -> QuantizationPlan:
        return reconstruct(
            now.model,
            planned,
            self.profile,
            self.fitting,
            threads=self.threads,
            progress=self.progress,
            checkpoint=Checkpoint(self.cache.folder, key_of(planned, self.fitting)),
            deadline=self.deadline,
        )


def _has_codes(planned: QuantizationPlan) -> bool:
    return any(tensor.codes is not None for tensor in planned.tensors.values())


def _clips(model: FloatModel, recipe: Recipe) -> Clips | None:
    """Return what may become of Clip: nothing where the recipe keeps one in float, so that what it names is still there."""
    keep = recipe.keep_float
    is_kept = any(
        node.op_type == "Clip" and (node.op_type in keep.ops or name in keep.nodes)
        for name, node in network_of(model.graph).nodes.items()
    )
    return "saturating" if is_kept else None


def _changed_overrides(
    recipe: Recipe, before: State, model: FloatModel, statistics: Statistics
) -> tuple[str, ...]:
    """Return the tensors that the recipe gives a range for and that are not in an equalized model what they were."""
    old, new = network_of(before.model.graph).values, network_of(model.graph).values

    def is_same(name: str) -> bool:
        if name not in new or name not in old:
            return False
        if is_constant(old[name]):
            return np.array_equal(constant(old[name]), constant(new[name]))
        one, other = before.statistics.tensors[name], statistics.tensors[name]
        return bool(np.allclose([one.minimum, one.maximum], [other.minimum, other.maximum], rtol=1e-3))

    ranges = (name for name, override in recipe.tensors.items() if override.range is not None)
    return tuple(name for name in ranges if not is_same(name))
