"""Methods, statistics and what the report must be told of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from host_tools.errors import StatisticsError
from host_tools.plan.planner import plan
from host_tools.recipe import KeepFloat, Recipe, TensorOverride
from host_tools.recipe_values import RecipeError
from targets import catalog
from tests.unit.host_tools.plan.plan_models import conv_relu, planned, profile, residual, statistics, values

OUTLIER = replace(
    values(-1.0, 1.0),
    maximum=50.0,
    mean_maximum=8.0,
)


def test_the_plan_chooses_mse_and_says_so():
    made = planned(conv_relu(), ranges={"y": (0.0, 2.0)})
    assert made.method == "mse"
    assert "chosen by the plan" in made.method_reason
    assert 2.8 / 255 <= made.tensors["x"].qparams.scale[0] <= 3.0 / 255


@pytest.mark.parametrize(
    "change", [{"activations": {"zero_point": "symmetric"}}, {"scale": {"kind": "power_of_two"}}]
)
def test_the_plan_chooses_mse_where_the_grid_is_coarse_too(change):
    made = planned(conv_relu(), profile("cortex-a-tflite", **change))
    assert made.method == "mse"
    assert "mse, chosen by the plan" in made.method_reason


def test_without_histograms_the_plan_chooses_minmax_and_says_what_would_suit_better():
    made = planned(conv_relu(), "amd-vitis-dpu", histograms=False)
    assert made.method == "minmax"
    assert "no histograms; mse keeps more signal" in made.method_reason


def test_the_recipe_chooses_the_method():
    made = planned(conv_relu(), recipe=Recipe(method="moving_average"), ranges={"x": OUTLIER})
    assert made.method == "moving_average"
    assert made.tensors["x"].qparams.scale[0] == pytest.approx(9.0 / 255)
    assert "as the recipe says" in made.method_reason


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy", "cosine", "search"])
def test_a_method_that_needs_histograms_asks_for_them(method):
    with pytest.raises(StatisticsError, match="Observe again with histograms"):
        planned(conv_relu(), recipe=Recipe(method=method), histograms=False)


def test_clipping_more_than_a_thousandth_is_a_warning():
    made = planned(conv_relu(), recipe=Recipe(method="percentile", percentile=90.0))
    assert any(warning.startswith("'x': the range") and "clips" in warning for warning in made.warnings)
    quiet = planned(conv_relu(), recipe=Recipe(method="minmax"), ranges={"y": (0.0, 2.0)})
    assert quiet.warnings == ()


def test_one_sample_and_constant_tensors_are_warnings():
    made = planned(conv_relu(), samples=1, ranges={"y": (0.0, 0.0)})
    assert any("a single sample" in warning for warning in made.warnings)
    assert any("'y' was 0 everywhere" in warning for warning in made.warnings)


def test_an_override_gives_the_range_of_one_tensor():
    override = {"x": TensorOverride(range=(-4.0, 4.0)), "w": TensorOverride(range=(-0.5, 0.5))}
    made = planned(conv_relu(), recipe=Recipe(tensors=override))
    assert made.tensors["x"].qparams.scale[0] == pytest.approx(8.0 / 255)
    assert "given by the recipe" in made.tensors["x"].reason
    assert max(made.tensors["w"].qparams.scale) == pytest.approx(0.5 / 127)


def test_an_override_gives_the_method_of_one_tensor():
    override = {"x": TensorOverride(method="moving_average")}
    made = planned(
        residual(), recipe=Recipe(method="minmax", tensors=override), ranges={"x": OUTLIER, "b": OUTLIER}
    )
    assert made.tensors["x"].qparams.scale[0] == pytest.approx(9.0 / 255)
    assert made.tensors["b"].qparams.scale[0] == pytest.approx(51.0 / 255)


def test_statistics_of_another_model_are_refused():
    model = conv_relu()
    other = replace(statistics(model), model_digest="sha256:" + "9" * 64)
    with pytest.raises(StatisticsError, match="model_digest"):
        plan(model, other, catalog.load("cortex-a-tflite"), Recipe())


def test_statistics_that_lack_a_tensor_are_refused():
    model = conv_relu()
    seen = statistics(model)
    with pytest.raises(StatisticsError, match=r"1 of 3 tensors are missing: 'c'"):
        plan(
            model,
            replace(seen, tensors={name: one for name, one in seen.tensors.items() if name != "c"}),
            catalog.load("cortex-a-tflite"),
            Recipe(),
        )


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_statistics_that_are_not_finite_are_refused(bad):
    with pytest.raises(StatisticsError, match="expected finite numbers"):
        planned(conv_relu(), ranges={"x": replace(values(0.0, 1.0), maximum=float(bad))})


def test_a_recipe_that_names_what_the_model_lacks_is_refused():
    for recipe in (
        Recipe(keep_float=KeepFloat(nodes=frozenset({"nowhere"}))),
        Recipe(keep_float=KeepFloat(ops=frozenset({"nowhere"}))),
        Recipe(tensors={"nowhere": TensorOverride(range=(0.0, 1.0))}),
    ):
        with pytest.raises(RecipeError, match="'nowhere'"):
            planned(conv_relu(), recipe=recipe)
