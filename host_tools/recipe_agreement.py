"""Whether a recipe asks for nothing that its precision cannot have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.recipe_values import RecipeError
from targets.profile import GROUPED

if TYPE_CHECKING:
    from host_tools.recipe import Recipe


def require_agreement(recipe: Recipe, *, where: str) -> None:
    """Check that a recipe asks for nothing that its precision cannot have.

    Raises:
        RecipeError: It does; the message names the keys.
    """
    if recipe.rounding != "nearest" and recipe.precision not in GROUPED:
        raise RecipeError(
            f"{where}: rounding: {recipe.rounding} is for {' and '.join(GROUPED)}, got precision {recipe.precision}.",
            hint="Leave rounding out"
            + (": precision int8 reconstructs its weights by itself." if recipe.precision == "int8" else "."),
        )
    if recipe.scaling != "none" and recipe.precision not in GROUPED:
        raise RecipeError(
            f"{where}: scaling: {recipe.scaling} is for {' and '.join(GROUPED)}, got precision {recipe.precision}.",
            hint="Leave scaling out"
            + (": precision int8 has equalization." if recipe.precision == "int8" else "."),
        )
    if recipe.precision == "int8":
        if recipe.group is not None:
            raise RecipeError(
                f"{where}: group: precision int8 has no groups, got {recipe.group}.",
                hint="Leave group out, or ask for weights-int4.",
            )
        return
    usual = type(recipe)()
    asked = {
        "method": recipe.method,
        "percentile": recipe.percentile if recipe.percentile != usual.percentile else None,
        "bias_correction": None if recipe.bias_correction else "false",
        "equalization": recipe.equalization,
        "channel_splitting": recipe.channel_splitting,
        "reconstruction": recipe.reconstruction,
        "mixed_precision": recipe.mixed_precision,
        "spared": recipe.spared if recipe.spared != usual.spared else None,
        "widen": recipe.widen.ops | recipe.widen.nodes or None,
        "tensors": recipe.tensors or None,
    }
    vain = [key for key, value in asked.items() if value not in (None, False)]
    if vain:
        raise RecipeError(
            f"{where}: {', '.join(vain)}: for precision int8 only; precision {recipe.precision} plans no activation.",
            hint="Leave them out, or leave precision out.",
        )
    if recipe.group is not None and recipe.precision not in GROUPED:
        why = "has one scale an output channel" if recipe.precision == "int8-dynamic" else "has no scales"
        raise RecipeError(
            f"{where}: group: precision {recipe.precision} {why}, got {recipe.group}.",
            hint=f"Leave group out, or ask for {' or '.join(GROUPED)}.",
        )
