"""`prepare_uncalibrated`: the plan of one target where nothing is calibrated, which takes one stage."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.stages.single import in_one_stage

if TYPE_CHECKING:
    from host_tools.model.float_model import FloatModel
    from host_tools.recipe import Recipe
    from host_tools.stages.stages import Prepared
    from targets.profile import CapabilityProfile, PlanPrecision


def prepare_uncalibrated(model: FloatModel, profile: CapabilityProfile, recipe: Recipe) -> Prepared:
    """Plan a model for a target in a precision that needs no calibration.

    Raises:
        CapabilityError: See `plan_uncalibrated`.
        RecipeError: The recipe names what the model lacks.
    """
    return in_one_stage("weights", model, partial(plan_uncalibrated, model, profile, recipe))


def as_required(profile: CapabilityProfile, precision: PlanPrecision) -> CapabilityProfile:
    """Return the same target with the versions of libraries that a precision's kernels came with, where those are later."""
    rules = profile.uncalibrated.get(precision)
    if rules is None or not rules.min_versions:
        return profile
    versions = {**profile.engine.min_versions, **rules.min_versions}
    return dataclasses.replace(profile, engine=dataclasses.replace(profile.engine, min_versions=versions))
