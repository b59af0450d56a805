"""An input of pixels has the pixels for codes: a step of exactly 1, from 0 to 255."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.errors import CapabilityError, InputError
from host_tools.plan.qparams import choose, code_range
from host_tools.recipe import TensorOverride

if TYPE_CHECKING:
    from host_tools.recipe import Recipe
    from targets.profile import CapabilityProfile

_PIXELS: Final = (0.0, 255.0)


def with_pixel_codes(recipe: Recipe, name: str) -> Recipe:
    """Return the recipe with the range of pixels for an input, whatever calibration sees of it.

    Args:
        recipe: What the user asks.
        name: The input.

    Raises:
        InputError: The recipe needs no calibration, so that nothing of an input is quantized, or has another range for it.
    """
    if recipe.precision != "int8":
        raise InputError(
            f"--fold-preprocessing: precision {recipe.precision} keeps the input in float.",
            hint="Leave it out, or choose precision int8.",
        )
    if name in recipe.tensors:
        raise InputError(
            f"--fold-preprocessing: the recipe has an entry for the input {name!r}, which then is pixels, 0 to 255.",
            hint="Take the entry out of the recipe.",
        )
    entries = {**recipe.tensors, name: TensorOverride(range=_PIXELS)}
    return dataclasses.replace(recipe, tensors=entries)


def require_pixel_codes(profile: CapabilityProfile) -> None:
    """Insist that a target has a code for every pixel.

    Raises:
        CapabilityError: Its activations are symmetric, or its steps are not 1.
    """
    rules = profile.activations
    low, high = (np.asarray([end]) for end in _PIXELS)
    codes = code_range(rules.bits, signed=rules.signed)
    found = choose(low, high, codes=codes, zero_point=rules.zero_point, scale=profile.scale)
    if found.scale != (1.0,):
        raise CapabilityError(
            f"{profile.id}: --fold-preprocessing: pixels from 0 to 255 would be codes in steps of {found.scale[0]:g}, "
            f"for activations are {rules.zero_point} in {rules.bits} bits, {'signed' if rules.signed else 'unsigned'}.",
            hint="Leave it out for this target: the agent normalises before it quantizes.",
        )
