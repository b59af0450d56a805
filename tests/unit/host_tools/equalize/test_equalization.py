"""`equalize` as a whole: what it finds, what it leaves, and input that is bad."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from host_tools.equalize import equalize
from host_tools.equalize.absorption import FEWEST_SAMPLES, absorb
from host_tools.equalize.channels import channels_of
from host_tools.equalize.factors import best_factors, limits
from host_tools.equalize.rewriting import rewritten
from host_tools.equalize.splitting import split
from host_tools.model.export import export_onnx
from host_tools.model.reference import FloatRunner
from host_tools.model.topology import network_of
from targets import catalog
from tests.unit.host_tools.equalize.networks import (
    by_name,
    canonical,
    feeds_of,
    observe_all,
    op_types,
    random_factors,
)
from tests.unit.host_tools.model.canonical_form import check_canonical

PER_TENSOR = catalog.load("generic-per-tensor-symmetric")
PER_CHANNEL = catalog.load("x86_64-onnxruntime")
TWO_LAYERS = """g (float[1,3,5,5] x) => (float[1,4,5,5] y) {
    a = Conv<kernel_shape=[1,1]>(x, first, bias) r = Relu(a) y = Conv<kernel_shape=[1,1]>(r, second)
}"""
CLIPPED = TWO_LAYERS.replace("Relu(a)", "Clip(a, zero, six)")
BOUNDS = {"zero": np.float32(0), "six": np.float32(6)}


def two_layers(scales: np.ndarray | None = None, text: str = TWO_LAYERS, **more: np.ndarray):
    """Return two layers with ``scales`` moved from the second to the first."""
    rng = np.random.default_rng(5)
    first, bias = rng.normal(0, 0.5, (6, 3, 1, 1)), rng.normal(0, 0.5, 6)
    second = rng.normal(0, 0.5, (4, 6, 1, 1))
    moved = np.ones(6) if scales is None else scales
    return canonical(
        text,
        first=(first * moved.reshape(-1, 1, 1, 1)).astype(np.float32),
        bias=(bias * moved).astype(np.float32),
        second=(second / moved.reshape(1, -1, 1, 1)).astype(np.float32),
        **more,
    )


UNEVEN = np.asarray([1, 50, 0.02, 7, 0.3, 1])


@pytest.mark.parametrize("profile", [PER_TENSOR, PER_CHANNEL], ids=lambda one: one.id)
def test_however_the_layers_were_scaled_the_best_network_is_the_same(profile) -> None:
    """Cross-layer equalization undoes what was moved between two layers: the minimum is one."""
    made = []
    for scales in (None, UNEVEN):
        model = two_layers(scales)
        made.append(equalize(model, observe_all(model, feeds_of(model)), profile))
    even, uneven = (by_name(one.model) for one in made)
    assert made[1].decibels > 10
    for name, array in even.items():  # all channels together may be scaled by anything
        got, expected = (one / max(np.abs(one).max(), 1e-9) for one in (uneven[name], array))
        np.testing.assert_allclose(got, expected, rtol=0.02, atol=0.02)


def test_two_layers_with_one_scale_each_get_even_channels() -> None:
    """The classic result: a channel's largest weight is as large on both sides, over each tensor's largest."""
    model = two_layers(UNEVEN)
    made = equalize(model, observe_all(model, feeds_of(model)), PER_TENSOR).model

    def spread(network) -> float:
        first, second = (by_name(network)[name] for name in ("first", "second"))
        rows, columns = np.abs(first).max(axis=(1, 2, 3)), np.abs(second).max(axis=(0, 2, 3))
        return float(max(rows.max() / rows.min(), columns.max() / columns.min()))

    assert spread(model) > 100
    assert spread(made) < 5


def test_the_source_is_untouched_and_the_result_has_a_digest_of_its_own() -> None:
    model = two_layers(UNEVEN)
    statistics, before = observe_all(model, feeds_of(model)), export_onnx(model)
    made, again = (equalize(model, statistics, PER_TENSOR) for _ in range(2))
    assert export_onnx(model) == before
    assert made.model.digest != model.digest
    assert made.model.digest.startswith("sha256:")
    assert made.model.digest == again.model.digest
    assert export_onnx(made.model) == export_onnx(again.model)
    check_canonical(export_onnx(made.model))
    assert made.decibels > 0.1
    assert f"{made.decibels:.1f} dB" in made.note
    assert "Min" not in made.note


def test_another_treatment_of_clips_is_another_digest() -> None:
    model = two_layers(text=CLIPPED, **BOUNDS)
    channels = channels_of(network_of(model.graph))
    factors = random_factors(channels)
    digests = {
        rewritten(model, channels, factors, clips=clips)[0].digest for clips in ("bounded", "saturating")
    }
    assert len(digests) == 2


def test_a_network_with_nothing_to_gain_is_the_same_object() -> None:
    model = two_layers(UNEVEN)
    once = equalize(model, observe_all(model, feeds_of(model)), PER_TENSOR).model
    twice = equalize(once, observe_all(once, feeds_of(once)), PER_TENSOR)
    assert twice.model is once
    assert twice.decibels == 0.0
    assert (
        twice.note
        == "there is nothing to gain by scaling channels; 2 of 4 values have any that may be scaled"
    )


@pytest.mark.parametrize(
    "text",
    [
        "g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }",
        "g (float[1,3] x) => (float[1,3] y) { y = Sigmoid(x) }",
        "g (float x) => (float y) { a = Relu(x) y = Add(a, a) }",
        "g (float[3] x) => (float[3] y) { a = Relu(x) y = Sigmoid(a) }",
    ],
)
def test_a_network_that_cannot_be_scaled_is_the_same_object(text: str) -> None:
    model = canonical(text)
    found = equalize(model, observe_all(model, feeds_of(model)), PER_TENSOR)
    assert found.model is model
    assert found.note.startswith("no channel can be scaled: all of them meet the model's inputs or outputs")


def test_a_clip_becomes_a_bound_for_each_channel_where_the_target_has_min() -> None:
    model = two_layers(UNEVEN / 4, CLIPPED, **BOUNDS)
    statistics = observe_all(model, feeds_of(model))
    made = equalize(model, statistics, PER_TENSOR, clips="bounded")
    assert op_types(made.model) == ["Conv", "Relu", "Min", "Conv"]
    assert "1 Clips became Relu" in made.note
    names = [str(node.name) for node in model.graph.graph]
    assert [str(node.name) for node in made.model.graph.graph] == [*names[:1], f"{names[1]}/relu", *names[1:]]
    kept = equalize(model, statistics, PER_TENSOR, clips="saturating")
    assert op_types(kept.model) == ["Conv", "Clip", "Conv"]
    assert 0 <= kept.decibels < made.decibels


def test_a_clip_that_stays_never_cuts_what_passes() -> None:
    model = two_layers(UNEVEN / 4, CLIPPED, **BOUNDS)
    network, statistics = network_of(model.graph), observe_all(model, feeds_of(model))
    channels = channels_of(network)
    low, high = limits(network, channels, statistics, "saturating")
    seen = statistics.tensors["r"].channel_maximum
    lowest, highest = (ends[channels.factors["r"]] for ends in (low, high))
    is_near = seen > 3  # twice as much on other data would meet the bound
    assert (seen == 6).any()
    assert not is_near.all()
    np.testing.assert_array_equal(lowest[is_near], 0)
    np.testing.assert_array_equal(highest[is_near], 0)
    assert (lowest[~is_near] < 0).all()
    assert (2 * np.exp(highest) * seen)[~is_near] == pytest.approx(6)


def hard(kind: str):
    """Return a network and samples that are hard on the estimate."""
    rng = np.random.default_rng(9)
    first, second = rng.normal(0, 0.5, (6, 3, 1, 1)), rng.normal(0, 0.5, (4, 6, 1, 1))
    bias, factor, feeds = np.zeros(6), 1.0, 3
    if kind == "dead channels":
        bias[:3] = -100
    if kind == "everything dead":
        bias[:] = -100
    if kind == "filters of zeros":
        first[1:3] = 0
        second[:, 4] = 0
    if kind == "all weights zero":
        first[:] = 0
        second[:] = 0
    if kind == "an outlier of 1e30":
        first[2, 1] = 1e30
    if kind == "outliers of 1e38":
        first[2, 1], second[1, 3], second[:, 2] = 1e38, 1e38, 0
        factor = 0.01
    if kind == "denormal weights":
        first *= 1e-40
    if kind == "one denormal filter":
        first[2] *= 1e-40
    if kind == "denormal samples":
        factor = 1e-40
    if kind == "constant samples":
        factor = 0.0
    if kind == "samples of 1e30":
        factor = 1e30
    if kind == "one sample":
        feeds = 1
    model = canonical(
        TWO_LAYERS,
        first=first.astype(np.float32),
        bias=bias.astype(np.float32),
        second=second.astype(np.float32),
    )
    samples = [
        {name: (array * np.float32(factor)).astype(np.float32) for name, array in feed.items()}
        for feed in feeds_of(model, feeds)
    ]
    return model, samples


HARD = (
    "dead channels",
    "everything dead",
    "filters of zeros",
    "all weights zero",
    "an outlier of 1e30",
    "outliers of 1e38",
    "denormal weights",
    "one denormal filter",
    "denormal samples",
    "constant samples",
    "samples of 1e30",
    "one sample",
)


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize("profile", [PER_TENSOR, PER_CHANNEL], ids=lambda one: one.id)
def test_bad_input_leaves_finite_factors_and_the_same_network(kind: str, profile) -> None:
    model, feeds = hard(kind)
    statistics, network = observe_all(model, feeds), network_of(model.graph)
    found = best_factors(
        network, channels_of(network), statistics, profile, clips="bounded", weight_share=1.0
    )
    assert np.isfinite(found.values).all()
    assert (found.values > 0).all()
    assert np.isfinite(found.decibels)
    made = equalize(model, statistics, profile).model
    check_canonical(export_onnx(made))
    original, scaled = FloatRunner(model, threads=1), FloatRunner(made, threads=1)
    for feed in feeds:
        before, after = original.run(feed)["y"], scaled.run(feed)["y"]
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())


@pytest.mark.parametrize("kind", HARD)
def test_bad_input_is_moved_and_split_without_a_change(kind: str) -> None:
    model, feeds = hard(kind)
    statistics = observe_all(model, feeds * FEWEST_SAMPLES)
    absorbed, halved = absorb(model, statistics, clips="bounded"), split(model, statistics, share=0.3)
    # Where no weight and no value is above 0 there is no outlier.
    assert (halved is None) == (kind == "all weights zero")
    for made in (one.model for one in (absorbed, halved) if one is not None):
        check_canonical(export_onnx(made))
        original, changed = FloatRunner(model, threads=1), FloatRunner(made, threads=1)
        for feed in feeds:
            before, after = original.run(feed)["y"], changed.run(feed)["y"]
            np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())


def test_noise_beyond_any_number_leaves_the_network() -> None:
    """Seven layers of 1e25: the squares of what they pass on exceed even float64."""
    layers = " ".join(
        f"c{at} = Conv<kernel_shape=[1,1]>({'x' if at == 0 else f's{at - 1}'}, w{at}) s{at} = Relu(c{at})"
        for at in range(7)
    )
    text = f"g (float[1,3,2,2] x) => (float[1,3,2,2] s6) {{ {layers} }}"
    weights = {f"w{at}": np.full((3, 3, 1, 1), 1e25 if at % 2 else 1e-25, np.float32) for at in range(7)}
    model = canonical(text, **weights)
    huge = {name: np.full_like(array, 1e25) for name, array in weights.items()}
    statistics = observe_all(model, feeds_of(model))
    steeper = canonical(text, **huge)
    found = equalize(steeper, statistics, PER_TENSOR)
    assert found.model is steeper


def test_a_constant_that_would_exceed_float32_is_refused() -> None:
    rng = np.random.default_rng(5)
    model = canonical(
        TWO_LAYERS,
        first=np.full((6, 3, 1, 1), 2e38, np.float32),
        bias=np.zeros(6, np.float32),
        second=rng.normal(0, 0.5, (4, 6, 1, 1)).astype(np.float32),
    )
    channels = channels_of(network_of(model.graph))
    factors = np.full(channels.count, 3.0)
    factors[0] = 1.0
    with pytest.raises(OverflowError, match="6e\\+38 is too large for float32"):
        rewritten(model, channels, factors, clips="bounded")


def test_tied_weights_are_taken_apart() -> None:
    text = """g (float[1,4,3,3] x) => (float[1,4,3,3] y) {
        a = Conv<kernel_shape=[1,1]>(x, w) r = Relu(a) y = Conv<kernel_shape=[1,1]>(r, w)
    }"""
    weight = np.random.default_rng(1).normal(0, 1, (4, 4, 1, 1)) * [[[[1]]], [[[100]]], [[[0.1]]], [[[1]]]]
    model = canonical(text, w=weight.astype(np.float32))
    feeds = feeds_of(model)
    made = equalize(model, observe_all(model, feeds), PER_TENSOR)
    assert made.model is not model
    for feed in feeds:
        before = FloatRunner(model, threads=1).run(feed)["y"]
        after = FloatRunner(made.model, threads=1).run(feed)["y"]
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())


def test_a_constant_that_is_an_output_too_stays_as_it_is() -> None:
    """Its one reader gets a constant of its own."""
    model = two_layers(
        text=TWO_LAYERS.replace("r = Relu(a)", "s = Relu(a) r = Max(s, floor)"),
        floor=np.linspace(0.1, 0.6, 6, dtype=np.float32).reshape(1, 6, 1, 1),
    )
    graph = model.graph.clone()
    graph.graph.outputs.append(graph.graph.initializers["floor"])
    model = replace(model, graph=graph)
    channels = channels_of(network_of(model.graph))
    made, _ = rewritten(model, channels, random_factors(channels), clips="bounded")
    np.testing.assert_array_equal(by_name(made)["floor"], by_name(model)["floor"])
    assert len(by_name(made)) == len(by_name(model)) + 1


@pytest.mark.parametrize("target", sorted(catalog.ids()))
def test_every_target_has_an_answer(target: str) -> None:
    model = two_layers(UNEVEN / 4, CLIPPED, **BOUNDS)
    feeds = feeds_of(model)
    made = equalize(model, observe_all(model, feeds), catalog.load(target))
    for feed in feeds:
        before = FloatRunner(model, threads=1).run(feed)["y"]
        after = FloatRunner(made.model, threads=1).run(feed)["y"]
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())
