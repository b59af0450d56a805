"""Recipes: read from TOML and JSON, written back, refused by file and key."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.plan.quantization_plan import Method
from host_tools.recipe import METHODS, SPARED, KeepFloat, Recipe, TensorOverride, Widen
from host_tools.recipe_file import encode, parse_recipe, read_recipe, recipe_from
from host_tools.recipe_values import RecipeError

TOML = b"""
schema_version = "1.7"
method = "percentile"
percentile = 99.9
spared = "size"
colour = "blue"

[widen]
ops = ["Add"]
nodes = ["features/conv"]

[keep_float]
ops = ["Softmax"]
nodes = ["head/gemm"]

[tensors."features/out:0"]
range = [0, 6.0]
method = "mse"
"""
RECIPE = Recipe(
    method="percentile",
    percentile=99.9,
    spared="size",
    widen=Widen(ops=frozenset({"Add"}), nodes=frozenset({"features/conv"})),
    keep_float=KeepFloat(ops=frozenset({"Softmax"}), nodes=frozenset({"head/gemm"})),
    tensors={"features/out:0": TensorOverride(range=(0.0, 6.0), method="mse")},
    extra={"colour": "blue"},
    schema_version="1.7",
)


def test_a_recipe_is_read_from_toml_and_json(tmp_path):
    (tmp_path / "recipe.toml").write_bytes(TOML)
    (tmp_path / "recipe.json").write_bytes(encode(RECIPE))
    assert read_recipe(tmp_path / "recipe.toml") == RECIPE
    assert read_recipe(tmp_path / "recipe.json") == RECIPE


def test_only_a_newer_recipe_may_have_keys_that_are_not_known():
    with pytest.raises(RecipeError, match=r"recipe\.toml: colour: expected one of the keys"):
        parse_recipe(TOML.replace(b"1.7", b"1.0"), where="recipe.toml")


def test_an_empty_recipe_leaves_every_choice_to_the_plan():
    assert parse_recipe(b"", where="recipe.toml") == Recipe()
    assert Recipe().method is None


@pytest.mark.parametrize("key", ["equalization", "reconstruction"])
def test_a_stage_is_asked_for_forbidden_or_left_to_the_plan(key):
    for text, wanted in ((b"", None), (f"{key} = true".encode(), True), (f"{key} = false".encode(), False)):
        recipe = parse_recipe(text, where="recipe.toml")
        assert getattr(recipe, key) is wanted
        assert (key.encode() in encode(recipe)) == (wanted is not None)


def test_the_methods_are_those_of_the_plan():
    assert get_args(Method) == METHODS


names = st.text(min_size=1, max_size=8)
recipes = st.builds(
    Recipe,
    method=st.sampled_from([None, *METHODS]),
    percentile=st.floats(50.0, 100.0, exclude_min=True),
    bias_correction=st.booleans(),
    equalization=st.none() | st.booleans(),
    reconstruction=st.none() | st.booleans(),
    mixed_precision=st.none() | st.booleans(),
    keep_float=st.builds(
        KeepFloat, ops=st.frozensets(names, max_size=3), nodes=st.frozensets(names, max_size=3)
    ),
    spared=st.sampled_from(SPARED),
    widen=st.builds(Widen, ops=st.frozensets(names, max_size=3), nodes=st.frozensets(names, max_size=3)),
    tensors=st.dictionaries(
        names,
        st.builds(
            TensorOverride,
            range=st.none() | st.tuples(st.floats(-1e6, -1e-3), st.floats(1e-3, 1e6)),
            method=st.sampled_from([None, *METHODS]),
        ),
        max_size=3,
    ),
)


@settings(max_examples=60, deadline=None)
@given(recipes)
def test_a_recipe_survives_the_round_trip(recipe):
    text = encode(recipe)
    assert parse_recipe(text, where="recipe.json", is_json=True) == recipe


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ([], "recipe"),
        ({"schema_version": 1}, "schema_version"),
        ({"schema_version": "1"}, "schema_version"),
        ({"method": "guess"}, "method"),
        ({"method": 3}, "method"),
        ({"percentile": 50}, "percentile"),
        ({"percentile": 101}, "percentile"),
        ({"percentile": True}, "percentile"),
        ({"percentile": 10**400}, "percentile"),
        ({"percentile": float("nan")}, "percentile"),
        ({"bias_correction": None}, "bias_correction"),
        ({"equalization": "yes"}, "equalization"),
        ({"equalization": 1}, "equalization"),
        ({"reconstruction": []}, "reconstruction"),
        ({"reconstruction": 0.0}, "reconstruction"),
        ({"mixed_precision": "latency"}, "mixed_precision"),
        ({"spared": "memory"}, "spared"),
        ({"spared": None}, "spared"),
        ({"widen": []}, "widen"),
        ({"widen": {"op": []}}, "widen.op"),
        ({"widen": {"ops": "Add"}}, "widen.ops"),
        ({"widen": {"nodes": [3]}}, "widen.nodes"),
        ({"keep_float": []}, "keep_float"),
        ({"keep_float": {"opps": []}}, "keep_float.opps"),
        ({"keep_float": {"ops": "Softmax"}}, "keep_float.ops"),
        ({"keep_float": {"nodes": [3]}}, "keep_float.nodes"),
        ({"keep_float": {"nodes": [""]}}, "keep_float.nodes"),
        ({"tensors": {"x": 3}}, "tensors.x"),
        ({"tensors": {"x": {"rnage": [0, 1]}}}, "tensors.x.rnage"),
        ({"tensors": {"x": {"range": [1]}}}, "tensors.x.range"),
        ({"tensors": {"x": {"range": [1, 1]}}}, "tensors.x.range"),
        ({"tensors": {"x": {"range": [0, "1"]}}}, "tensors.x.range"),
        ({"tensors": {"x": {"range": [0, float("inf")]}}}, "tensors.x.range"),
        ({"tensors": {"x": {"range": [0, 3.5e38]}}}, "tensors.x.range"),
        ({"tensors": {"x": {"range": [-1e39, 1]}}}, "tensors.x.range"),
        ({"tensors": {"x": {"method": "guess"}}}, "tensors.x.method"),
    ],
)
def test_a_wrong_value_is_refused_by_file_and_key(document, key):
    with pytest.raises(RecipeError) as caught:
        recipe_from(document, where="my.toml")
    assert str(caught.value).startswith(f"my.toml: {key}: expected ")


def test_a_newer_major_version_is_refused_by_name():
    with pytest.raises(RecipeError, match=r"recipes of version 1, got 2\.0"):
        recipe_from({"schema_version": "2.0"}, where="my.toml")


@pytest.mark.parametrize(
    ("data", "is_json"), [(b"= 3", False), (b"{", True), (b"\xff", False), (b"[" * 100_000, True)]
)
def test_what_is_no_document_is_refused(data, is_json):
    with pytest.raises(RecipeError, match=r"my\.file: not"):
        parse_recipe(data, where="my.file", is_json=is_json)


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.toml: cannot be read"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * (1 << 20) + b"\n#")
    with pytest.raises(RecipeError, match="larger than"):
        read_recipe(tmp_path / "big.toml")
