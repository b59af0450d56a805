"""`Ladder`: climbs from stage to stage, measures where it stands, and remembers what each stage did."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from host_tools.errors import CapabilityError, LoweringError
from host_tools.plan.check import check
from host_tools.plan.planner import plan
from host_tools.verify.verification_report import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from host_tools.mixed_precision import Goal
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from host_tools.recipe import Recipe
    from host_tools.stages.yardstick import Worth, Yardstick
    from targets.profile import CapabilityProfile

GOOD_DECIBELS: Final = 22.0
"""Signal-to-noise ratio of the outputs from which on no further stage is tried: classifiers then keep 99 in 100 answers.

It counts as reached where it is by one standard error over the samples: stopping at 22.2 dB on 24 of them left 21.1 dB on 800 others.
"""

EXCELLENT_DECIBELS: Final = 40.0
"""The same for models so small that trying all stages takes seconds."""

_WORTH_WHILE_DECIBELS: Final = 1.0
"""What a stage must gain to be kept where the outputs were good without it, or where it adds operators.

33 Min operators of equalization took EfficientNet-Lite0 from 5.1 to 7.1 ms in ONNX Runtime on x86 without VNNI, for 0.4 dB.
"""

_MOST_LOSS_DECIBELS: Final = 0.5
"""A stage that was not fitted may show such a loss on few samples by chance, and no more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """Where the ladder stands; ``worth`` is None until it had to be known, ``before_reconstruction`` where there was none."""

    model: FloatModel
    statistics: Statistics
    plan: QuantizationPlan
    before_reconstruction: QuantizationPlan | None = None
    worth: Worth | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Ladder:
    """Climbs from stage to stage and remembers what each did."""

    profile: CapabilityProfile
    recipe: Recipe
    yardstick: Yardstick
    progress: Progress
    deadline: float | None
    goal: Goal | None
    stages: list[Stage] = field(default_factory=list)
    _state: State | None = None

    @property
    def state(self) -> State:
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
        self._state = State(model=model, statistics=statistics, plan=planned)
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

    def measured(self, state: State) -> Worth:
        """Return what a state's plan is worth."""
        check(state.plan, state.model, self.profile)
        return self.yardstick.measure(state.model, state.plan, self.profile)

    def climb(
        self,
        name: str,
        stage: Callable[[State], tuple[State, str]],
        *,
        is_asked: bool,
        is_fitted: bool = True,
    ) -> None:
        """Do a stage, and keep what it gives if it is asked for or better than what was there.

        Args:
            name: Of the stage.
            stage: Returns the state that it leads to, and a note.
            is_asked: It is kept whatever it is worth.
            is_fitted: It was fitted to samples. One that was not has its own reason to expect a gain, and is only undone if it is found to be
                worse.
        """
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
        must_pay = after.model.graph.graph.num_nodes() > before.model.graph.graph.num_nodes()
        is_kept = (
            is_asked
            or before.worth is None
            or self._is_kept(worth, before.worth, is_fitted=is_fitted, must_pay=must_pay)
        )
        if is_kept:
            self._state = replace(after, worth=worth)
        self._record(
            name, started, note if is_kept else f"undone, it did not help: {note}", worth, is_kept=is_kept
        )

    def _is_kept(self, worth: Worth, before: Worth, *, is_fitted: bool, must_pay: bool) -> bool:
        if must_pay or self._is_good(before):
            return worth.gains(_WORTH_WHILE_DECIBELS, over=before)
        if worth.is_better_than(before):
            return True
        is_by_chance = worth.gains(-_MOST_LOSS_DECIBELS, over=before) and not worth.is_worse_than(before)
        return is_by_chance and not is_fitted

    def _may_climb(self) -> bool:
        recipe = self.recipe
        if recipe.equalization or recipe.channel_splitting or recipe.reconstruction or recipe.mixed_precision:
            return True
        may_mix = self.goal is not None and recipe.mixed_precision is None
        is_left = may_mix or (recipe.equalization, recipe.reconstruction) != (False, False)
        return recipe.method is None and is_left

    def _is_enough(self, worth: Worth) -> bool:
        return self._is_good(worth) and (
            worth.surely_reaches(EXCELLENT_DECIBELS) or not self.yardstick.is_quick
        )

    def _is_good(self, worth: Worth) -> bool:
        return worth.surely_reaches(GOOD_DECIBELS) and (self.goal is None or self.goal.is_reached(worth))

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
