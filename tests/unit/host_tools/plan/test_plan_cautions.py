"""What a plan says of damaged samples, and of entries of a recipe that contradict one another or come to nothing."""

from __future__ import annotations

import dataclasses

import pytest

from host_tools.plan.planner import plan
from host_tools.recipe import KeepFloat, Recipe, TensorOverride
from tests.unit.host_tools.equalize.networks import canonical
from tests.unit.host_tools.plan.plan_models import MODEL_DIGEST, profile, statistics, values

_POOLS = "g (float[1,4,8,8] x) => (float[1,4,2,2] y) { a = Relu(x) b = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a) y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(b) }"
_CURVES = "g (float[1,4,8,8] x) => (float[1,4,8,8] y) { a = Sigmoid(x) y = Tanh(a) }"


def _warnings(text: str, recipe: Recipe, **inputs: object) -> tuple[str, ...]:
    model = dataclasses.replace(canonical(text), digest=MODEL_DIGEST)
    return plan(model, statistics(model, **inputs), profile("cortex-a-tflite"), recipe).warnings


def test_two_ranges_for_one_scale_are_said_with_both_and_with_what_joins_them() -> None:
    recipe = Recipe(tensors={"a": TensorOverride(range=(0.0, 1.0)), "y": TensorOverride(range=(0.0, 4.0))})
    (said,) = [one for one in _warnings(_POOLS, recipe) if "share one scale" in one]
    assert "[0, 1] for 'a', [0, 4] for 'y'" in said
    assert "MaxPool" in said
    assert "[0, 4], which holds all of them, is used" in said


def test_two_methods_for_one_scale_are_said_with_both() -> None:
    recipe = Recipe(tensors={"a": TensorOverride(method="mse"), "y": TensorOverride(method="minmax")})
    (said,) = [one for one in _warnings(_POOLS, recipe) if "share one scale" in one]
    assert "mse for 'a', minmax for 'y'" in said


def test_entries_that_agree_are_not_worth_a_word() -> None:
    recipe = Recipe(tensors=dict.fromkeys(("a", "y"), TensorOverride(range=(0.0, 4.0), method="minmax")))
    assert not [one for one in _warnings(_POOLS, recipe) if "recipe" in one and "share" in one]


def test_a_range_for_what_a_kernel_fixes_does_not_count_and_says_so() -> None:
    recipe = Recipe(tensors={"a": TensorOverride(range=(0.0, 0.5))})
    (said,) = [one for one in _warnings(_CURVES, recipe) if "does not count" in one]
    assert "'a'" in said
    assert "the kernel of Sigmoid" in said


def test_a_range_for_what_stays_in_float_does_not_count_and_says_so() -> None:
    recipe = Recipe(
        keep_float=KeepFloat(ops=frozenset({"Sigmoid", "Tanh"})),
        tensors={"a": TensorOverride(range=(0.0, 1.0))},
    )
    (said,) = [one for one in _warnings(_CURVES, recipe) if "does not count" in one]
    assert "'a'" in said
    assert "no integer node writes or reads it" in said


@pytest.mark.parametrize(("end", "is_far"), [(1e6, True), (1e30, True), (-1e6, True), (40.0, False)])
def test_one_sample_far_from_all_others_is_said(end: float, *, is_far: bool) -> None:
    """Forty samples reach from -1 to 2, one of them to ``end`` besides."""
    low, high = min(-1.0, end), max(2.0, end)
    seen = dataclasses.replace(
        values(low, high), mean_minimum=(low - 39.0) / 40.0, mean_maximum=(high + 2.0 * 39.0) / 40.0
    )
    said = [one for one in _warnings(_POOLS, Recipe(), ranges={"x": seen}, samples=40) if "damaged" in one]
    assert bool(said) == is_far
    if is_far:
        assert f"'x': one of 40 samples reaches {end:.4g}," in said[0]


def test_of_two_samples_neither_is_the_odd_one_out() -> None:
    seen = dataclasses.replace(values(-1.0, 1e6), mean_minimum=-1.0, mean_maximum=5e5)
    assert not [one for one in _warnings(_POOLS, Recipe(), ranges={"x": seen}, samples=2) if "damaged" in one]


@pytest.mark.parametrize(
    ("recipe", "is_vain"),
    [
        (Recipe(method="mse", percentile=90.0), True),
        (Recipe(percentile=90.0), True),
        (Recipe(method="percentile", percentile=90.0), False),
        (
            Recipe(method="mse", percentile=90.0, tensors={"a": TensorOverride(method="percentile")}),
            False,
        ),
        (Recipe(method="mse"), False),
    ],
)
def test_a_percentile_that_no_method_reads_is_said(recipe: Recipe, *, is_vain: bool) -> None:
    said = [one for one in _warnings(_POOLS, recipe) if "percentile 90 does not count" in one]
    assert len(said) == is_vain
