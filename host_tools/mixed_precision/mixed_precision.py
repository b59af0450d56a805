"""`mix`: from a plan that misses a goal to the cheapest one that reaches it, or to the best that was found.

Sensitivity is measured once, on the plan as it is: after reconstruction, as what rounding and biases can mend needs no float. It orders
the moves. How many of them it takes is then measured, not predicted: 1, 2, 4 and so on, and between the last that was too few and the
first that was enough by halves. Of those, what turns out not to be needed goes back into integers, the costliest first.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final

from host_tools.errors import CapabilityError
from host_tools.mixed_precision.costs import operations
from host_tools.mixed_precision.moves import movable, moves_of
from host_tools.mixed_precision.placing import limits_of, plan_with
from host_tools.mixed_precision.sensitivity import measure_sensitivity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from host_tools.diagnose.layers import Layer
    from host_tools.mixed_precision.goal import Goal
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from host_tools.recipe import Recipe
    from host_tools.stages.yardstick import Worth
    from targets.profile import CapabilityProfile

_MOST_GIVEN_BACK: Final = 8
"""So many operators are tried in integers again, when the goal is reached; each costs a measurement."""

_MOST_NAMED: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One assignment that was measured.

    Attributes:
        names: Operators in float beside those that were before, in order of execution.
        worth: What the plan was then worth; None where the target did not accept it.
    """

    names: tuple[str, ...]
    worth: Worth | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixed:
    """What mixed precision came to.

    Attributes:
        plan: The plan; None where nothing was better than before.
        is_reached: Whether it reaches the goal.
        trail: Everything that was tried, in order.
        note: What was done, or why not, for people.
    """

    plan: QuantizationPlan | None
    is_reached: bool
    trail: tuple[Trial, ...]
    note: str


def mix(
    original: FloatModel,
    model: FloatModel,
    statistics: Statistics,
    before: QuantizationPlan,
    profile: CapabilityProfile,
    recipe: Recipe,
    *,
    goal: Goal,
    worth: Worth,
    measure: Callable[[QuantizationPlan], Worth],
    data: CalibrationSet,
    threads: int,
    progress: Progress,
    deadline: float | None = None,
) -> Mixed:
    """Move as few operators to float as a goal takes.

    Args:
        original: The float model whose outputs are the reference.
        model: The model that the plan is about; it computes what ``original`` does.
        statistics: Of ``model``.
        before: The plan that is not good enough.
        profile: The target; its ``fallback`` says what may run in float, and how much.
        recipe: What the user asks.
        goal: What to reach.
        worth: What ``before`` is worth.
        measure: Tells what a plan is worth.
        data: Samples for the sensitivity.
        threads: Samples that are run at the same time.
        progress: Told of every sample and every trial.
        deadline: Time (`time.monotonic`) after which nothing more is tried; None: no limit.

    Returns:
        The cheapest plan that was seen to reach the goal; else the best that was seen, if it is better than ``before``.

    Raises:
        DataError: A sample cannot be read.
        ModelError: ONNX Runtime refuses a layer or fails.
        EdgewrightError: Whatever ``measure`` raises.
    """
    if profile.fallback.to == "refuse":
        return _nothing(f"cannot: {profile.id} runs nothing in float (fallback.to is refuse)")
    if goal.is_reached(worth):
        return _nothing(f"not needed: {goal} is reached without")
    sensitivity = measure_sensitivity(
        original,
        model,
        before,
        rounding=profile.rounding.weights,
        data=data,
        threads=threads,
        progress=progress,
    )
    candidates = movable(sensitivity.layers, before, profile)
    moves = tuple(moves_of(sensitivity, model, before, profile, limits_of(model, profile, recipe)))
    if not moves:
        why = (
            "its limits (fallback.max_float_ops, fallback.max_partitions) leave room for none"
            if candidates
            else "none of the integer operators has a float kernel"
        )
        return _nothing(f"cannot: {profile.id} runs no further operator in float: {why}")
    progress.stage("Trying mixed precision", None)
    search = _Search(
        make=lambda names: plan_with(before, names, model, statistics, profile, recipe),
        measure=measure,
        goal=goal,
        progress=progress,
        deadline=deadline,
    )
    search.run(moves)
    return search.result(worth, candidates)


def _nothing(note: str) -> Mixed:
    return Mixed(plan=None, is_reached=False, trail=(), note=note)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    """An assignment with its plan."""

    layers: tuple[Layer, ...]
    plan: QuantizationPlan
    worth: Worth


class _TimeIsUpError(Exception):
    """The deadline has passed."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Search:
    """Measures assignments, and remembers the best and the cheapest that is enough."""

    make: Callable[[frozenset[str]], QuantizationPlan]
    measure: Callable[[QuantizationPlan], Worth]
    goal: Goal
    progress: Progress
    deadline: float | None
    trail: list[Trial] = field(default_factory=list)
    best: _Found | None = None
    enough: _Found | None = None
    is_out_of_time: bool = False

    def run(self, moves: Sequence[tuple[Layer, ...]]) -> None:
        """Find how many moves it takes, and give back what was not needed."""
        try:
            self._count(moves)
            if self.enough is not None:
                self._give_back(self.enough.layers)
        except _TimeIsUpError:
            self.is_out_of_time = True

    def _count(self, moves: Sequence[tuple[Layer, ...]]) -> None:
        few, many, count = 0, len(moves) + 1, 1
        while few + 1 < many:
            if self._is_too_few(tuple(chain.from_iterable(moves[:count]))):
                few = count
            else:
                many = count
            count = min(2 * count, len(moves)) if many > len(moves) else (few + many) // 2

    def _give_back(self, layers: tuple[Layer, ...]) -> None:
        costliest = sorted(layers, key=lambda layer: (-operations(layer), layer.rank))
        for layer in costliest[:_MOST_GIVEN_BACK]:
            rest = tuple(one for one in layers if one is not layer)
            if not rest:
                return
            if self._try(rest) is not None and self.enough is not None and self.enough.layers == rest:
                layers = rest

    def _is_too_few(self, layers: tuple[Layer, ...]) -> bool:
        """Tell whether more must move; not where the target did not accept even these."""
        worth = self._try(layers)
        return worth is not None and not self.goal.is_reached(worth)

    def _try(self, layers: tuple[Layer, ...]) -> Worth | None:
        """Measure an assignment; None where the target does not accept it.

        Raises:
            _TimeIsUpError: There is no time for it.
        """
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise _TimeIsUpError
        ordered = tuple(sorted(layers, key=lambda layer: layer.rank))
        names = tuple(layer.name for layer in ordered)
        try:
            plan = self.make(frozenset(names))
        except CapabilityError:
            self.trail.append(Trial(names=names, worth=None))
            return None
        worth = self.measure(plan)
        self.progress.step()
        self.trail.append(Trial(names=names, worth=worth))
        found = _Found(layers=layers, plan=plan, worth=worth)
        if self.goal.is_reached(worth):
            self.enough = found  # each that is tried after one that was enough is cheaper
        if self.best is None or worth.is_better_than(self.best.worth):
            self.best = found
        return worth

    def result(self, before: Worth, candidates: Sequence[Layer]) -> Mixed:
        """Return what was found."""
        found = self.enough
        if found is None and self.best is not None and self.best.worth.is_better_than(before):
            found = self.best
        trail = f"tried: {', '.join(map(_told, self.trail)) or 'nothing'}"
        if self.is_out_of_time:
            trail += ", then the time was up"
        if found is None:
            what = f"{self.goal} is not reached, and nothing that was tried is better than what was there"
            return Mixed(plan=None, is_reached=False, trail=tuple(self.trail), note=f"{what}; {trail}")
        whole = sum(map(operations, candidates))
        what = (
            f"{len(found.layers)} of {len(candidates)} operators in float, "
            f"{sum(map(operations, found.layers)) / whole:.1%} of the operations: {_named(found.layers)}"
        )
        if self.enough is None:
            what = f"{self.goal} is not reached, this is the best that was found: {what}"
        return Mixed(
            plan=found.plan,
            is_reached=self.enough is not None,
            trail=tuple(self.trail),
            note=f"{what}; {trail}",
        )


def _told(trial: Trial) -> str:
    count = f"{len(trial.names)} operator{'' if len(trial.names) == 1 else 's'}"
    if trial.worth is None:
        return f"{count} refused"
    return f"{count} exact" if trial.worth.sqnr_db is None else f"{count} {trial.worth.sqnr_db:.1f} dB"


def _named(layers: Sequence[Layer]) -> str:
    names = [repr(layer.name) for layer in sorted(layers, key=lambda layer: layer.rank)]
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
