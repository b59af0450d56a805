"""`prepare_uncalibrated`: the plan of one target where no activation is calibrated, which takes one stage."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from host_tools.plan.float16 import PRECISION
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.reconstruct import round_by_outputs, scale_by_activations
from host_tools.stages.single import in_one_stage

if TYPE_CHECKING:
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from host_tools.recipe import Recipe
    from host_tools.stages.stages import Prepared
    from targets.profile import CapabilityProfile, PlanPrecision


def prepare_uncalibrated(
    model: FloatModel,
    profile: CapabilityProfile,
    recipe: Recipe,
    *,
    data: CalibrationSet,
    threads: int,
    progress: Progress,
) -> Prepared:
    """Plan a model for a target in a precision that needs no calibration.

    Args:
        model: The canonical float model.
        profile: The target.
        recipe: Its precision, group size, and how weights are scaled and rounded.
        data: Calibration samples, for a scaling or rounding that looks at them.
        threads: Threads of one inference.
        progress: Told how far it is.

    Raises:
        CapabilityError: See `plan_uncalibrated`.
        RecipeError: The recipe names what the model lacks.
        InputError: The recipe scales or rounds matrices, and none is stored, or none can be scaled.
        DataError: A sample cannot be read or does not fit.
        ModelError: ONNX Runtime failed.
    """

    def planned() -> tuple[FloatModel, QuantizationPlan]:
        found, plan = model, plan_uncalibrated(model, profile, recipe)
        if recipe.scaling == "awq":
            found, plan = scale_by_activations(
                found, plan, data, planned_again=planned_for, threads=threads, progress=progress
            )
        if recipe.rounding == "gptq":
            found, plan = round_by_outputs(found, plan, data, threads=threads, progress=progress)
        return found, plan

    def planned_for(scaled: FloatModel) -> QuantizationPlan:
        return plan_uncalibrated(scaled, profile, recipe)

    return in_one_stage("weights", planned)


def as_required(profile: CapabilityProfile, recipe: Recipe) -> CapabilityProfile:
    """Return the same target with the versions of libraries that the kernels of a recipe's precision came with, where those are later."""
    asked: list[PlanPrecision] = [recipe.precision]
    if recipe.float_weights == "float16":
        asked.append(PRECISION)
    versions = dict(profile.engine.min_versions)
    for rules in (profile.uncalibrated[one] for one in asked if one in profile.uncalibrated):
        for library, version in rules.min_versions.items():
            versions[library] = max(versions.get(library, version), version, key=_numbers)
    if versions == profile.engine.min_versions:
        return profile
    return dataclasses.replace(profile, engine=dataclasses.replace(profile.engine, min_versions=versions))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
