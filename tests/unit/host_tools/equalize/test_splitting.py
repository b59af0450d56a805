"""Outlier channels in two: the network computes the same, what is told of it is what is observed, and where it cannot be done it says so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host_tools.equalize import equalize
from host_tools.equalize.splitting import split
from host_tools.model.export import export_onnx
from host_tools.model.reference import FloatRunner
from host_tools.observe.cache import StatisticsCache
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from host_tools.recipe_file import encode, parse_recipe
from host_tools.recipe_values import RecipeError
from host_tools.stages import Yardstick, prepare
from targets import catalog
from tests.unit.host_tools.equalize.networks import by_name, canonical, feeds_of, observe_all, op_types
from tests.unit.host_tools.model.canonical_form import check_canonical
from tests.unit.host_tools.model.onnx_models import model_proto
from tests.unit.host_tools.reconstruct.hard_networks import classifier, hard, pictures, spread

TARGET = catalog.load("generic-per-tensor-symmetric")
RNG = np.random.default_rng(6)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


CONSTANTS = {
    "w": floats(4, 3, 3, 3),
    "b": floats(4),
    "v": floats(5, 4, 1, 1),
    "c": floats(5),
    "d": floats(4, 1, 1, 1),
    "low": np.float32(0),
    "six": np.float32(6),
    "addend": floats(4, 1, 1),
    "one": np.float32(1),
}
IMAGES = "g (float[1,3,6,6] x) => (float[1,K,N,M] y) {{ a = Conv<pads=[1,1,1,1]>(x, w, b) {} }}"
SPLIT = {
    "relu": "r = Relu(a) y = Conv(r, v, c)",
    "nothing": "y = Conv(a, v, c)",
    "clip": "r = Clip(a, low, six) y = Conv(r, v, c)",
    "sigmoid": "r = Sigmoid(a) y = Conv(r, v, c)",
    "padding": "r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, v, c)",
    "pool": "p = MaxPool<kernel_shape=[2,2], pads=[1,1,0,0]>(a) y = Conv(p, v, c)",
    "additions": "r = Relu(a) s = Add(r, addend) t = Add(one, s) y = Conv(t, v, c)",
    "two readers": "r = Relu(a) p = Conv(r, v, c) q = Conv(a, v, c) y = Add(p, q)",
    "a chain": "r = Relu(a) s = Conv(r, v, c) y = Conv(s, u, b)",
}


def network(body: str, text: str = IMAGES):
    used = text.format(body)
    constants = {**CONSTANTS, "u": floats(4, 5, 1, 1)}
    return canonical(
        used,
        **{
            name: array
            for name, array in constants.items()
            if f" {name})" in used or f" {name}," in used or f"({name}," in used
        },
    )


def assert_same(before, after, feeds) -> None:
    check_canonical(export_onnx(after))
    one, other = FloatRunner(before, threads=1), FloatRunner(after, threads=1)
    for feed in feeds:
        expected, found = one.run(feed)["y"], other.run(feed)["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("case", SPLIT)
def test_channels_in_two_compute_the_same_and_are_told_as_they_are_observed(case: str) -> None:
    model = network(SPLIT[case])
    feeds = feeds_of(model)
    statistics, before = observe_all(model, feeds), export_onnx(model)
    made = split(model, statistics, share=0.5)
    assert made is not None
    assert export_onnx(model) == before
    assert op_types(made.model) == op_types(model)
    assert made.model.digest != model.digest
    assert by_name(made.model)["w"].shape[0] == 6
    assert made.growth > 0.1
    assert_same(model, made.model, feeds)
    seen = observe_all(made.model, feeds)
    assert made.statistics.model_digest == made.model.digest
    for name, tensor in seen.tensors.items():
        told = made.statistics.tensors[name]
        for part in ("channel_minimum", "channel_maximum", "channel_mean"):
            np.testing.assert_allclose(getattr(told, part), getattr(tensor, part), rtol=1e-3, atol=1e-4)
    assert_same(model, equalize(made.model, made.statistics, TARGET).model, feeds)


def test_tied_weights_are_taken_apart() -> None:
    text = "g (float[1,4,6,6] x) => (float[1,4,6,6] y) { a = Conv(x, w) r = Relu(a) s = Conv(r, w) t = Relu(s) y = Conv(t, w) }"
    model = canonical(text, w=floats(4, 4, 1, 1))
    feeds = feeds_of(model)
    made = split(model, observe_all(model, feeds), share=0.5)
    assert made is not None
    assert made.channels == 4
    assert_same(model, made.model, feeds)


def test_features_of_a_matrix_product_are_split_too() -> None:
    text = "g (float[1,3,4] x) => (float[1,3,5] y) { m = MatMul(x, w) a = Add(m, b) r = Relu(a) y = MatMul(r, v) }"
    model = canonical(text, w=floats(4, 6), b=floats(6), v=floats(6, 5))
    feeds = feeds_of(model)
    made = split(model, observe_all(model, feeds), share=0.1)
    assert made is not None
    assert (made.channels, made.weights) == (1, 4 + 5)
    assert_same(model, made.model, feeds)


def test_it_is_the_outlier_that_is_split_and_the_range_is_halved() -> None:
    weight = floats(5, 4, 1, 1)
    weight[2, 1] = 9.0
    model = canonical(
        IMAGES.format(SPLIT["relu"]), **{**{name: CONSTANTS[name] for name in "wbc"}, "v": weight}
    )
    made = split(model, observe_all(model, feeds_of(model)), share=0.3)
    assert made is not None
    wide, narrow = (np.abs(by_name(one)["v"]).max() for one in (model, made.model))
    assert (wide, narrow) == (9.0, 4.5)


REFUSED = {
    "depthwise": "r = Relu(a) y = Conv<group=4>(r, d)",
    "an output": "y = Relu(a)",
    "a residual addition": "r = Relu(a) y = Add(r, a)",
    "channels mixed": "r = Softmax<axis=1>(a) y = Conv(r, v, c)",
    "one reader of two": "p = Conv(a, v, c) q = Softmax<axis=1>(p) s = Conv<group=4>(a, d) y = Concat<axis=1>(q, s)",
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_something_else_depends_on_the_channels_nothing_is_split(case: str) -> None:
    model = network(REFUSED[case])
    assert split(model, observe_all(model, feeds_of(model)), share=0.5) is None


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(SPLIT)), st.floats(1e-6, 1.0), st.integers(0, 99))
def test_any_share_leaves_what_a_network_computes(case: str, share: float, seed: int) -> None:
    model = network(SPLIT[case])
    feeds = feeds_of(model, 2, seed)
    made = split(model, observe_all(model, feeds), share=share)
    assert made is not None
    assert_same(model, made.model, feeds)


def stages(tmp_path, recipe: Recipe, network=None):
    network = network or hard(
        tmp_path, classifier(w2=spread(5, 300.0, w2=(12, 12, 1, 1))["w2"]), samples=pictures(24)
    )
    return prepare(
        network.model,
        network.statistics,
        network.profile,
        recipe,
        network.data,
        Yardstick(network.model, network.data, threads=1),
        threads=1,
        cache=StatisticsCache(tmp_path / "cache"),
        progress=Silent(),
    )


def test_it_is_a_stage_only_where_the_recipe_asks_and_says_what_it_cost(tmp_path) -> None:
    text = """net (float[1,3,12,12] x) => (float[1,10,12,12] y) {
        c = Conv (x, w0, b0) r = Relu (c) d = Conv (r, w1, b1) s = Relu (d) y = Conv (s, w2, b2)
    }"""
    weights = spread(
        7, 60.0, w0=(12, 3, 1, 1), b0=(12,), w1=(12, 12, 1, 1), b1=(12,), w2=(10, 12, 1, 1), b2=(10,)
    )
    network = hard(tmp_path, model_proto(text, **weights), samples=pictures(24))
    plain = stages(tmp_path, Recipe(reconstruction=False), network)
    assert "channel splitting" not in [stage.name for stage in plain.stages]
    found = stages(tmp_path, Recipe(reconstruction=False, channel_splitting=0.1), network)
    (stage,) = [stage for stage in found.stages if stage.name == "channel splitting"]
    assert stage.is_kept
    # One channel more of `r` and one of `s`: rows of 3 and of 13, columns of 12 and of 10.
    assert "2 channels were split in two, which adds 38 weights (12.7%)" in stage.note
    assert stage.sqnr_db is not None


def test_a_network_that_cannot_be_split_says_so(tmp_path) -> None:
    found = stages(tmp_path, Recipe(reconstruction=False, channel_splitting=0.1))
    (stage,) = [stage for stage in found.stages if stage.name == "channel splitting"]
    assert not stage.is_kept
    assert stage.note.startswith("no channel can be split")


@pytest.mark.parametrize("value", ["0", "1.5", "true", '"much"', "nan"])
def test_a_share_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(RecipeError, match=r"my\.toml: channel_splitting: expected "):
        parse_recipe(f"channel_splitting = {value}".encode(), where="my.toml")


def test_a_share_is_read_and_written() -> None:
    recipe = parse_recipe(b"channel_splitting = 0.02", where="my.toml")
    assert recipe.channel_splitting == 0.02
    assert parse_recipe(encode(recipe), where="again.json", is_json=True) == recipe
