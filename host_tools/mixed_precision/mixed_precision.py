"""`mix`: from a plan that misses a goal to the cheapest one that reaches it, or to the best that was found.

Sensitivity is measured once and orders the moves; how many of them it takes is measured (`search`).

Reconstruction fits every operator to the noise of those before it: weights and biases that were reconstructed with all in integers are
wrong where many of those before are exact. So assignments are searched without it, for a goal that is lower by what it gave, and the one
that is found is reconstructed anew; if it then misses the goal, the next search aims higher by as much. EfficientNet-Lite0, per tensor and
symmetric: 23.5 dB with three operators in four in float and the old weights, 26.7 dB with the same operators reconstructed anew.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from host_tools.mixed_precision.costs import Costs, operations
from host_tools.mixed_precision.moves import choices_of, moves_of
from host_tools.mixed_precision.placing import limits_of, plan_with
from host_tools.mixed_precision.search import Search
from host_tools.mixed_precision.sensitivity import measure_sensitivity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from host_tools.diagnose.layers import Layer
    from host_tools.mixed_precision.assignment import Move
    from host_tools.mixed_precision.goal import Goal
    from host_tools.mixed_precision.search import Found, Trial
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from host_tools.recipe import Recipe
    from host_tools.stages.yardstick import Worth
    from targets.profile import CapabilityProfile, Precision

_MOST_ROUNDS: Final = 3
"""So often is a plan reconstructed; each takes as long as the first time."""

_LEAST_STEP_DB: Final = 0.1
"""The next search aims higher by this at least."""

_MARGIN_DB: Final = 1.0
"""So much more than the goal is aimed at: it is measured on few samples, and has to hold on others."""

_MOST_NAMED: Final = 8


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
    base: QuantizationPlan,
    profile: CapabilityProfile,
    recipe: Recipe,
    *,
    goal: Goal,
    worth: Worth,
    measure: Callable[[QuantizationPlan], Worth],
    finish: Callable[[QuantizationPlan], QuantizationPlan] | None = None,
    data: CalibrationSet,
    threads: int,
    progress: Progress,
    deadline: float | None = None,
) -> Mixed:
    """Move operators to 16-bit activations and to float, as cheaply as a goal takes.

    Args:
        original: The float model whose outputs are the reference.
        model: The model that the plan is about; it computes what ``original`` does.
        statistics: Of ``model``.
        base: The plan that is not good enough, as it was before it was finished.
        profile: The target; its ``wide`` says what may run on 16-bit activations, its ``fallback`` what in float, and how much.
        recipe: What the user asks; its ``spared`` says what is cheap.
        goal: What to reach.
        worth: What it is worth, finished.
        measure: Tells what a plan is worth.
        finish: Reconstructs a plan; None where that is not done.
        data: Samples for the sensitivity.
        threads: Samples that are run at the same time.
        progress: Told of every sample and every trial.
        deadline: Time (`time.monotonic`) after which nothing more is tried; None: no limit.

    Returns:
        The cheapest plan that was seen to reach the goal; else the best that was seen, if it is better than what was there.

    Raises:
        DataError: A sample cannot be read.
        ModelError: ONNX Runtime refuses a layer or fails.
        EdgewrightError: Whatever ``measure`` and ``finish`` raise.
    """
    if profile.fallback.to == "refuse" and profile.wide is None:
        return _nothing(
            f"cannot: {profile.id} runs nothing in float (fallback.to is refuse) and nothing on 16-bit activations (wide.ops is none)"
        )
    if goal.is_reached(worth):
        return _nothing(f"not needed: {goal} is reached without")
    sensitivity = measure_sensitivity(
        original,
        model,
        base,
        rounding=profile.rounding.weights,
        data=data,
        threads=threads,
        progress=progress,
    )
    choices = choices_of(sensitivity.layers, model, base, profile)
    costs = Costs(profile=profile, spared=recipe.spared, float_weights=recipe.float_weights)
    moves = tuple(moves_of(sensitivity, choices, costs, model, base, limits_of(model, profile, recipe)))
    if not moves:
        why = (
            "its limits (fallback.max_float_ops, fallback.max_partitions) leave room for none"
            if choices
            else "none of the integer operators has a float kernel, or one for 16-bit activations"
        )
        return _nothing(f"cannot: {profile.id} runs no further operator in a wider precision: {why}")
    rounds = _Rounds(
        moves=moves,
        search=Search(
            make=lambda assignment: plan_with(assignment, model, statistics, profile, recipe),
            measure=measure,
            choices=choices,
            costs=costs,
            progress=progress,
            deadline=deadline,
        ),
        finish=finish,
        goal=goal,
        progress=progress,
    )
    rounds.run(expected_gain_db=0.0 if finish is None else _gain(measure(base), worth))
    return rounds.result(worth, [sensitivity.layers[rank] for rank in choices])


def _gain(before: Worth, after: Worth) -> float:
    """Return how many decibels are between two measurements; 0 where one has no noise at all."""
    if before.sqnr_db is None or after.sqnr_db is None:
        return 0.0
    return after.sqnr_db - before.sqnr_db


def _nothing(note: str) -> Mixed:
    return Mixed(plan=None, is_reached=False, trail=(), note=note)


@dataclass(slots=True, kw_only=True, eq=False)
class _Rounds:
    """Searches, finishes what was found, and searches higher where that was too little."""

    moves: Sequence[Move]
    search: Search
    finish: Callable[[QuantizationPlan], QuantizationPlan] | None
    goal: Goal
    progress: Progress
    best: Found | None = None
    is_reached: bool = False

    def run(self, *, expected_gain_db: float) -> None:
        """Find an assignment.

        Args:
            expected_gain_db: What finishing a plan is expected to give.
        """
        gain = expected_gain_db
        finished: set[tuple[tuple[int, Precision], ...]] = set()
        for _ in range(_MOST_ROUNDS):
            self.progress.stage("Trying mixed precision", None)
            self.search.run(self.moves, self.goal.lowered(gain - _MARGIN_DB))
            found = self.search.enough or self.search.best
            if found is None or tuple(found.assignment.precisions.items()) in finished:
                return
            finished.add(tuple(found.assignment.precisions.items()))
            done = self._finished(found)
            self._take(done)
            if self.is_reached or self.search.is_out_of_time or self.finish is None:
                return
            gain = min(gain - _LEAST_STEP_DB, _gain(found.worth, done.worth))

    def _finished(self, found: Found) -> Found:
        if self.finish is None or self.search.is_out_of_time:
            return found
        plan = self.finish(found.plan)
        done = dataclasses.replace(found, plan=plan, worth=self.search.measure(plan))
        self.search.trail.append(done.trial(is_finished=True))
        return done

    def _take(self, found: Found) -> None:
        self.is_reached = self.goal.is_reached(found.worth)
        if self.is_reached or self.best is None or found.worth.is_better_than(self.best.worth):
            self.best = found

    def result(self, before: Worth, candidates: Sequence[Layer]) -> Mixed:
        """Return what was found, if it is better than what was there."""
        found = self.best
        if found is not None and not (self.is_reached or found.worth.is_better_than(before)):
            found = None
        trail = tuple(self.search.trail)
        tried = f"tried: {', '.join(map(_told, trail)) or 'nothing'}"
        if self.search.is_out_of_time:
            tried += ", then the time was up"
        if found is None:
            what = f"{self._missed(before)}, and nothing that was tried is better than what was there"
            return Mixed(plan=None, is_reached=False, trail=trail, note=f"{what}; {tried}")
        what = "; ".join(_shares(found, candidates))
        if not self.is_reached:
            what = f"{self._missed(found.worth)}, this is the best that was found: {what}"
        return Mixed(plan=found.plan, is_reached=self.is_reached, trail=trail, note=f"{what}; {tried}")

    def _missed(self, worth: Worth) -> str:
        return f"{self.goal} is not reached, {self.goal.missing(worth)} short"


def _shares(found: Found, candidates: Sequence[Layer]) -> Iterator[str]:
    """Say how much runs on 16-bit activations, and how much in float."""
    whole = sum(map(operations, candidates))
    assignment = found.assignment
    for names, where in ((assignment.wide, "on 16-bit activations"), (assignment.floats, "in float")):
        if names:
            part = sum(operations(layer) for layer in assignment.layers.values() if layer.name in names)
            yield (
                f"{len(names)} of {len(candidates)} operators {where}, {part / whole:.1%} of the operations: {_named(names)}"
            )


def _told(trial: Trial) -> str:
    count = f"{len(trial.names)} operator{'' if len(trial.names) == 1 else 's'}"
    if trial.wide:
        count += f" ({len(trial.wide)} on 16 bits)"
    if trial.worth is None:
        return f"{count} refused"
    worth = "exact" if trial.worth.sqnr_db is None else f"{trial.worth.sqnr_db:.1f} dB"
    return f"{count} {worth}{' reconstructed' if trial.is_finished else ''}"


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(map(repr, names[:_MOST_NAMED])) + (f" and {more} more" if more > 0 else "")
