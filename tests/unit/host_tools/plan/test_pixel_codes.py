"""An input of pixels: which targets have a code for each, and what a recipe must not say of it."""

from __future__ import annotations

import pytest

from host_tools.errors import CapabilityError, InputError
from host_tools.plan.pixel_codes import require_pixel_codes, with_pixel_codes
from host_tools.recipe import Recipe, TensorOverride
from targets import catalog

HAVE_THEM = ("cortex-a-tflite", "x86_64-onnxruntime", "x86_64-openvino", "qualcomm-htp", "sony-imx500")
LACK_THEM = ("amd-vitis-dpu", "nvidia-tensorrt", "ncnn", "espressif-esp32s3", "generic-symmetric")


@pytest.mark.parametrize("target", HAVE_THEM)
def test_targets_with_a_code_for_every_pixel(target: str) -> None:
    require_pixel_codes(catalog.load(target))


@pytest.mark.parametrize("target", LACK_THEM)
def test_symmetric_targets_are_refused_by_name(target: str) -> None:
    with pytest.raises(
        CapabilityError, match=rf"{target}: --fold-preprocessing: .* in steps of [24].*symmetric"
    ):
        require_pixel_codes(catalog.load(target))


def test_the_input_has_the_range_of_pixels_beside_what_the_recipe_says() -> None:
    recipe = Recipe(tensors={"other": TensorOverride(range=(0.0, 6.0))})
    found = with_pixel_codes(recipe, "x")
    assert found.tensors["x"].range == (0.0, 255.0)
    assert found.tensors["other"] == recipe.tensors["other"]
    assert "x" not in recipe.tensors


def test_an_entry_for_the_input_is_refused() -> None:
    with pytest.raises(InputError, match="the recipe has an entry for the input 'x'"):
        with_pixel_codes(Recipe(tensors={"x": TensorOverride(range=(0.0, 1.0))}), "x")


def test_a_precision_that_leaves_the_input_in_float_is_refused() -> None:
    with pytest.raises(InputError, match="precision weights-int8 keeps the input in float"):
        with_pixel_codes(Recipe(precision="weights-int8"), "x")
