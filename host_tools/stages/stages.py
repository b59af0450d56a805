"""`prepare`: the plan of one target, by as many stages as it takes.

1. *ranges*: the plan from the statistics alone, with biases corrected for what rounding the weights does.
2. *equalization*: channels scaled against one another, so that one scale serves them all; the statistics are gathered anew.
3. *reconstruction*: weights rounded and biases set operator by operator, on quantized inputs.
4. *mixed precision*: the operators that still cost most run in float. An accelerator runs floats slowly or not at all, so this is done only
   where the recipe asks for it, or where the user named a goal that all the others miss.

After each the plan's own arithmetic is run on samples that nothing is fitted to. A stage that does not help is undone; when the outputs are
good enough the rest is not done. A recipe that names a method, or says yes or no to a stage, is obeyed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.equalize import equalize
from host_tools.errors import CapabilityError, LoweringError
from host_tools.mixed_precision import Goal, mix
from host_tools.observe.cache import statistics_of
from host_tools.plan.check import check
from host_tools.plan.planner import needs_histograms, plan
from host_tools.plan.topology import constant, is_constant, network_of
from host_tools.reconstruct import reconstruct
from host_tools.reconstruct.checkpoint import Checkpoint, key_of
from host_tools.verify.verification_report import Stage

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
    from host_tools.stages.yardstick import Worth, Yardstick
    from targets.profile import CapabilityProfile

GOOD_DECIBELS: Final = 21.0
"""Signal-to-noise ratio of the outputs from which on no further stage is tried: classifiers then keep 99 in 100 answers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """What the stages came to.

    Attributes:
        model: The float model that the plan is for: the one given, or an equalized one that computes the same.
        statistics: Of that model.
        plan: The plan.
        stages: What each stage did, in order; one entry at least.
    """

    model: FloatModel
    statistics: Statistics
    plan: QuantizationPlan
    stages: tuple[Stage, ...]


def prepare(
    model: FloatModel,
    statistics: Statistics,
    profile: CapabilityProfile,
    recipe: Recipe,
    data: CalibrationSet,
    yardstick: Yardstick,
    *,
    threads: int,
    cache: StatisticsCache,
    progress: Progress,
    deadline: float | None = None,
    goal: Goal | None = None,
) -> Prepared:
    """Plan a model for a target.

    Args:
        model: The canonical float model.
        statistics: Of its activations.
        profile: The target.
        recipe: What the user asks; ``Recipe()`` leaves every choice to the stages.
        data: The calibration set.
        yardstick: Measures a plan.
        threads: Threads of one inference.
        cache: Where statistics of equalized models and checkpoints are kept.
        progress: Told how far it is.
        deadline: Time (`time.monotonic`) after which no stage is begun and reconstruction and mixed precision stop where they are; None: no
            limit.
        goal: What the user wants the outputs to reach. Where it is more than the stages are content with they go on; where it is missed in
            the end, operators move to float. None: the user named nothing.

    Raises:
        CapabilityError: The target cannot do what the model needs.
        EdgewrightError: See `host_tools.observe.observer.observe`, `host_tools.plan.planner.plan` and `reconstruct`.
    """
    ladder = _Ladder(
        profile=profile, recipe=recipe, yardstick=yardstick, progress=progress, deadline=deadline, goal=goal
    )
    ladder.begin(model, statistics)
    if ladder.wants("equalization", recipe.equalization):

        def equalized(now: _State) -> tuple[_State, str]:
            found = equalize(now.model, now.statistics, profile, clips=_clips(now.model, recipe))
            if found.model is now.model:
                return now, "there is nothing to gain by scaling channels"
            gathered = statistics_of(
                found.model,
                data,
                histograms=needs_histograms(recipe),
                threads=threads,
                cache=cache,
                progress=progress,
            )
            changed = _changed_overrides(recipe, now, found.model, gathered)
            if changed:
                return (
                    now,
                    f"the recipe gives a range for {', '.join(changed)}, which scaled channels would leave",
                )
            planned = plan(found.model, gathered, profile, recipe)
            return replace(now, model=found.model, statistics=gathered, plan=planned), found.note

        ladder.climb("equalization", equalized, is_asked=recipe.equalization is True)

    def rebuilt(now: _State, planned: QuantizationPlan) -> QuantizationPlan:
        return reconstruct(
            now.model,
            planned,
            profile,
            yardstick.fitting,
            threads=threads,
            progress=progress,
            checkpoint=Checkpoint(cache.folder, key_of(planned, yardstick.fitting)),
            deadline=deadline,
        )

    if ladder.wants("reconstruction", recipe.reconstruction):

        def reconstructed(now: _State) -> tuple[_State, str]:
            planned = rebuilt(now, now.plan)
            stopped = planned.warnings[len(now.plan.warnings) :]
            if not _has_codes(planned):
                return now, " ".join(stopped) or "no weights to round"
            after = replace(now, plan=planned, before_reconstruction=now.plan)
            return after, "; ".join(("weights rounded and biases set operator by operator", *stopped))

        ladder.climb("reconstruction", reconstructed, is_asked=recipe.reconstruction is True)
    if ladder.wants_floats():

        def mixed(now: _State) -> tuple[_State, str]:
            found = mix(
                model,
                now.model,
                now.statistics,
                now.before_reconstruction or now.plan,
                profile,
                recipe,
                goal=goal or Goal(min_sqnr_db=GOOD_DECIBELS),
                worth=now.worth or ladder.measured(now),
                measure=lambda planned: ladder.measured(replace(now, plan=planned)),
                finish=None if now.before_reconstruction is None else partial(rebuilt, now),
                data=yardstick.fitting,
                threads=threads,
                progress=progress,
                deadline=deadline,
            )
            return (now if found.plan is None else replace(now, plan=found.plan)), found.note

        ladder.climb("mixed precision", mixed, is_asked=True)  # it gives nothing that is no better
    state = ladder.state
    return Prepared(
        model=state.model, statistics=state.statistics, plan=state.plan, stages=tuple(ladder.stages)
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
    recipe: Recipe, before: _State, model: FloatModel, statistics: Statistics
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    """Where the ladder stands; ``worth`` is None until it had to be known, ``before_reconstruction`` where there was none."""

    model: FloatModel
    statistics: Statistics
    plan: QuantizationPlan
    before_reconstruction: QuantizationPlan | None = None
    worth: Worth | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class _Ladder:
    """Climbs from stage to stage and remembers what each did."""

    profile: CapabilityProfile
    recipe: Recipe
    yardstick: Yardstick
    progress: Progress
    deadline: float | None
    goal: Goal | None
    stages: list[Stage] = field(default_factory=list)
    _state: _State | None = None

    @property
    def state(self) -> _State:
        """Where the ladder stands.

        Raises:
            ValueError: It was not begun.
        """
        if self._state is None:
            raise ValueError("the ladder was not begun")
        return self._state

    def begin(self, model: FloatModel, statistics: Statistics) -> None:
        """Plan from the statistics alone."""
        started = time.monotonic()
        planned = plan(model, statistics, self.profile, self.recipe)
        self._state = _State(model=model, statistics=statistics, plan=planned)
        note = planned.method_reason
        if self._may_climb():
            self._state = replace(self._state, worth=self.measured(self._state))
            note += self.yardstick.caution
        self._record("ranges", started, note, self._state.worth, is_kept=True)

    def wants(self, name: str, asked: bool | None) -> bool:  # noqa: FBT001 - a recipe's answer: yes, no, or as you like
        """Tell whether a stage is to be tried."""
        worth = self.state.worth
        if asked is None and (self.recipe.method is not None or worth is None or self._is_enough(worth)):
            return False
        if asked is False:
            return False
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.stages.append(
                Stage(
                    name=name,
                    seconds=0.0,
                    sqnr_db=None,
                    same_top_class=None,
                    is_kept=False,
                    note="the time was up",
                )
            )
            return False
        return True

    def wants_floats(self) -> bool:
        """Tell whether mixed precision is to be tried: where the recipe says so, or a goal that the user named is missed."""
        asked, worth = self.recipe.mixed_precision, self.state.worth
        if asked is None and (self.goal is None or worth is None or self.goal.is_reached(worth)):
            return False
        return self.wants("mixed precision", asked)

    def measured(self, state: _State) -> Worth:
        """Return what a state's plan is worth."""
        check(state.plan, state.model, self.profile)
        return self.yardstick.measure(state.model, state.plan, self.profile)

    def climb(self, name: str, stage: Callable[[_State], tuple[_State, str]], *, is_asked: bool) -> None:
        """Do a stage, and keep what it gives if it is asked for or better than what was there."""
        started = time.monotonic()
        before = self.state
        try:
            after, note = stage(before)
            worth = None if after is before else self.measured(after)
        except (CapabilityError, LoweringError) as error:  # what there was before is still good
            after, note, worth = before, f"the target cannot do it: {error}", None
        if worth is None:
            self._record(name, started, note, before.worth, is_kept=False)
            return
        is_kept = is_asked or before.worth is None or worth.is_better_than(before.worth)
        if is_kept:
            self._state = replace(after, worth=worth)
        self._record(
            name, started, note if is_kept else f"undone, it did not help: {note}", worth, is_kept=is_kept
        )

    def _may_climb(self) -> bool:
        recipe = self.recipe
        if recipe.equalization or recipe.reconstruction or recipe.mixed_precision:
            return True
        may_mix = self.goal is not None and recipe.mixed_precision is None
        is_left = may_mix or (recipe.equalization, recipe.reconstruction) != (False, False)
        return recipe.method is None and is_left

    def _is_enough(self, worth: Worth) -> bool:
        return worth.reaches(GOOD_DECIBELS) and (self.goal is None or self.goal.is_reached(worth))

    def _record(self, name: str, started: float, note: str, worth: Worth | None, *, is_kept: bool) -> None:
        self.stages.append(
            Stage(
                name=name,
                seconds=round(time.monotonic() - started, 3),
                sqnr_db=worth.sqnr_db if worth is not None else None,
                same_top_class=worth.same_top_class if worth is not None else None,
                is_kept=is_kept,
                note=note,
            )
        )
