"""`prepare`: the plan of one target, by as many stages as it takes.

1. *ranges*: the plan from the statistics alone, with biases corrected for what rounding the weights does.
2. *equalization*: channels scaled against one another, so that one scale serves them all; the statistics are gathered anew.
3. *channel splitting*: outlier channels become two, then all are equalized anew; only where the recipe asks for it, as it costs operations.
4. *reconstruction*: weights rounded and biases set operator by operator, on quantized inputs.
5. *mixed precision*: the operators that still cost most run in float. An accelerator runs floats slowly or not at all, so this is done only
   where the recipe asks for it, or where the user named a goal that all the others miss.

After each the plan's own arithmetic is run on samples that nothing is fitted to. A stage that does not help is undone; when the outputs are
good enough the rest is not done. A recipe that names a method, or says yes or no to a stage, is obeyed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from host_tools.stages.ladder import Ladder
from host_tools.stages.methods import Methods

if TYPE_CHECKING:
    from host_tools.mixed_precision import Goal
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.cache import StatisticsCache
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from host_tools.recipe import Recipe
    from host_tools.stages.yardstick import Yardstick
    from host_tools.verify.verification_report import Stage
    from targets.profile import CapabilityProfile


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """What the stages came to.

    Attributes:
        model: The float model that the plan is for: the one given, or an equalized one that computes the same.
        statistics: Of that model; None for a precision that needs none.
        plan: The plan.
        stages: What each stage did, in order; one entry at least.
    """

    model: FloatModel
    statistics: Statistics | None
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
    ladder = Ladder(
        profile=profile, recipe=recipe, yardstick=yardstick, progress=progress, deadline=deadline, goal=goal
    )
    methods = Methods(
        model=model,
        profile=profile,
        recipe=recipe,
        data=data,
        fitting=yardstick.fitting,
        threads=threads,
        cache=cache,
        progress=progress,
        deadline=deadline,
    )
    ladder.begin(model, statistics)
    if ladder.wants("equalization", recipe.equalization):
        ladder.climb("equalization", methods.equalized, is_asked=recipe.equalization is True, is_fitted=False)
    if recipe.channel_splitting is not None and ladder.wants("channel splitting", True):  # noqa: FBT003 - it is asked for
        ladder.climb("channel splitting", methods.split, is_asked=True, is_fitted=False)
    if ladder.wants("reconstruction", recipe.reconstruction):
        ladder.climb("reconstruction", methods.reconstructed, is_asked=recipe.reconstruction is True)
    if ladder.wants_floats():
        mixed = partial(methods.mixed, goal=goal, measured=ladder.measured)
        ladder.climb("mixed precision", mixed, is_asked=True)  # it gives nothing that is no better
    state = ladder.state
    return Prepared(
        model=state.model, statistics=state.statistics, plan=state.plan, stages=tuple(ladder.stages)
    )
