"""`prepare_imported`: the plan of one target from a file that is quantized already, which takes one stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.errors import InputError
from host_tools.plan.imported import plan_imported
from host_tools.stages.single import in_one_stage

if TYPE_CHECKING:
    from host_tools.model.float_model import FloatModel
    from host_tools.recipe import Recipe
    from host_tools.stages.stages import Prepared
    from targets.profile import CapabilityProfile


def require_importable(recipe: Recipe) -> None:
    """Refuse what a recipe asks of ranges and weights, which a quantized file has settled.

    Raises:
        InputError: It asks for something; the message names it.
    """
    asked = {
        f"precision {recipe.precision}": recipe.precision != "int8",
        f"method {recipe.method}": recipe.method is not None,
        "equalization": recipe.equalization is True,
        "channel_splitting": recipe.channel_splitting is not None,
        "reconstruction": recipe.reconstruction is True,
        "mixed_precision": recipe.mixed_precision is True,
        "widen": bool(recipe.widen.ops or recipe.widen.nodes),
        "tensors": bool(recipe.tensors),
    }
    found = [name for name, is_asked in asked.items() if is_asked]
    if found:
        raise InputError(
            f"the model is quantized already: {', '.join(found)} cannot be had, since its scales and codes are kept as they are.",
            hint="Leave it out, or give the float model that the file was made from.",
        )


def prepare_imported(model: FloatModel, profile: CapabilityProfile, recipe: Recipe) -> Prepared:
    """Make the plan of a quantized file for a target.

    Raises:
        CapabilityError: See `plan_imported`.
        RecipeError: The recipe names what the model lacks.
    """
    return in_one_stage("codes of the file", lambda: (model, plan_imported(model, profile, recipe)))
