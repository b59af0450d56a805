"""What each operator ties and what it pins to 1, between a convolution that makes `a` and one that reads `z`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pytest

from host_tools.equalize.channels import ONE, Channels, channels_of
from host_tools.equalize.observed import observed
from host_tools.model.reference import FloatRunner
from host_tools.model.topology import network_of
from tests.unit.host_tools.equalize.networks import (
    assert_law,
    canonical,
    feeds_of,
    observe_all,
    random_factors,
)


def ints(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int64)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.6, shape).astype(np.float32)


CONSTANTS = {
    "wa": floats(4, 4, 1, 1),
    "wz": floats(2, 4, 1, 1, seed=1),
    "wz8": floats(2, 8, 1, 1, seed=1),
    "we": floats(4, 4, 1, 1, seed=2),
    "zero": np.float32(0),
    "one": np.float32(1),
    "minus": np.float32(-1),
    "six": np.float32(6),
    "channel": floats(4, 1, 1, seed=3),
    "row": floats(4, seed=4),
    "image": floats(1, 4, 4, 4, seed=5),
    "square": floats(4, 4, seed=8),
    "pads": ints(0, 0, 1, 1, 0, 0, 1, 1),
    "rolled": ints(0, 1, 0, 0, 0, -1, 0, 0),
    "spatial": ints(2, 3),
    "around": ints(1, 1, 1, 1),
    "double": np.asarray([1, 1, 2, 2], np.float32),
    "across": np.asarray([1, 1.2, 1, 1], np.float32),
    "halves": ints(1, 4, 2, 8),
    "wide": ints(1, 4, 4, 4),
    "split_in_two": ints(1, 2, 2, 4, 4),
    "scale4": floats(4, seed=6),
    "shift4": floats(4, seed=7),
    "scale44": floats(4, 4, seed=6),
}
IN_ORDER = [0, 1, 2, 3]


def linked(body: str, *, last: str = "y = Conv<kernel_shape=[1,1]>(z, wz)", outputs: str = "") -> Channels:
    text = (
        f"g (float[1,4,4,4] x) => (float y{outputs}) {{ a = Conv<kernel_shape=[1,1]>(x, wa) {body} {last} }}"
    )
    used = {name: array for name, array in CONSTANTS.items() if re.search(rf"[( ]{name}[,)]", text)}
    model = canonical(text.replace("float y", "float[1,2,N,M] y", 1), **used)
    channels = channels_of(network_of(model.graph))
    assert_law(model, channels, random_factors(channels), feeds_of(model))
    return channels


@dataclass(frozen=True)
class Tied:
    """`z` has the factors of `a`, channel by channel."""

    body: str
    of_a: list[int] = field(default_factory=lambda: IN_ORDER)
    last: str = "y = Conv<kernel_shape=[1,1]>(z, wz)"


PADDED = "y = Conv<kernel_shape=[1,1], pads=[0,0,1,1]>(z, wz)"  # what stands before any other goes into it

TIED = {
    "relu": Tied("z = Relu(a)"),
    "leaky relu": Tied("z = LeakyRelu<alpha=0.1>(a)"),
    "prelu": Tied("z = PRelu(a, channel)"),
    "relu6": Tied("z = Clip(a, zero, six)"),
    "add constant": Tied("r = Relu(a) z = Add(r, channel)", last=PADDED),
    "add number": Tied("r = Relu(a) z = Add(one, r)", last=PADDED),
    "subtract from constant": Tied("r = Relu(a) z = Sub(channel, r)", last=PADDED),
    "max constant": Tied("z = Max(a, channel)"),
    "min constant": Tied("z = Min(a, channel)"),
    "pad zeros": Tied("z = Pad(a, pads)"),
    "pad reflect": Tied('z = Pad<mode="reflect">(a, pads)'),
    "max pool": Tied("z = MaxPool<kernel_shape=[2,2]>(a)"),
    "average pool": Tied("z = AveragePool<kernel_shape=[2,2]>(a)"),
    "global average pool": Tied("z = GlobalAveragePool(a)"),
    "mean of image": Tied("z = ReduceMean(a, spatial)"),
    "resize": Tied('z = Resize<mode="nearest">(a, , double)'),
    "transpose image": Tied("z = Transpose<perm=[0,1,3,2]>(a)"),
    "reshape image": Tied("z = Reshape(a, halves)"),
    "split and put together in another order": Tied(
        "f, s = Split<axis=1, num_outputs=2>(a) z = Concat<axis=1>(s, f)", [2, 3, 0, 1]
    ),
    "split rows": Tied("f, s = Split<axis=2, num_outputs=2>(a) z = Concat<axis=2>(s, f)"),
    "concat with itself": Tied(
        "z = Concat<axis=1>(a, a)", [0, 1, 2, 3, 0, 1, 2, 3], "y = Conv<kernel_shape=[1,1]>(z, wz8)"
    ),
    "residual": Tied("r = Relu(a) e = Conv<kernel_shape=[1,1]>(r, we) z = Add(e, a)"),
    "gate": Tied("p = GlobalAveragePool(a) g = Sigmoid(p) z = Mul(g, a)"),
}


@pytest.mark.parametrize("case", TIED)
def test_ties(case: str) -> None:
    tied = TIED[case]
    channels = linked(tied.body, last=tied.last)
    if "gate" not in case:  # what opens the gate comes from the same channels, which it pins
        assert channels.is_free("a")
        assert len(set(channels.factors["a"].tolist())) == 4
    np.testing.assert_array_equal(channels.factors["z"], channels.factors["a"][tied.of_a])


PINNED = {
    "sigmoid": "z = Sigmoid(a)",
    "hard swish": "z = HardSwish(a)",
    "softmax": "z = Softmax<axis=1>(a)",
    "clip from below 0": "z = Clip(a, minus, one)",
    "clip from above 0": "z = Clip(a, one, six)",
    "clip to nothing": "z = Clip(a, zero, minus)",
    "add image": "z = Add(a, image)",
    "multiply by rows": "z = Mul(a, row)",
    "square": "z = Mul(a, a)",
    "pad a value": "z = Pad(a, pads, six)",
    "roll the channels": "z = Pad(a, rolled)",
    "resize the channels": 'z = Resize<mode="nearest">(a, , across)',
    "transpose channels": "z = Transpose<perm=[0,2,1,3]>(a)",
    "exponential": "z = Exp(a)",
    "quotient": "e = Exp(a) z = Div(a, e)",
    "matrix product along the width": "z = MatMul(a, square)",
}


@pytest.mark.parametrize("case", PINNED)
def test_pins(case: str) -> None:
    channels = linked(PINNED[case])
    assert not channels.is_free("a")


def test_a_slope_that_is_computed_is_pinned_and_what_it_bends_is_not() -> None:
    channels = linked("r = Relu(a) s = Conv<kernel_shape=[1,1]>(r, we) z = PRelu(a, s)")
    assert not channels.is_free("s")
    assert channels.is_free("a")
    np.testing.assert_array_equal(channels.factors["z"], channels.factors["a"])


def test_a_product_with_a_constant_takes_up_any_factor() -> None:
    channels = linked(
        "r = Relu(a) z = Mul(r, channel) q = Relu(z)", last="y = Conv<kernel_shape=[1,1]>(q, wz)"
    )
    assert not set(channels.factors["z"].tolist()) & set(channels.factors["a"].tolist())
    assert channels.is_free("a")
    assert channels.is_free("z")


def test_a_gate_has_the_factor_1_and_what_it_closes_has_any() -> None:
    channels = linked("r = Relu(a) e = Conv<kernel_shape=[1,1]>(r, we) g = Sigmoid(e) z = Mul(r, g)")
    assert not channels.is_free("g")
    assert not channels.is_free("e")
    assert channels.is_free("r")
    np.testing.assert_array_equal(channels.factors["z"], channels.factors["r"])


def test_an_output_of_the_model_and_an_input_are_pinned() -> None:
    channels = linked("z = Relu(a)", outputs=", float[1,4,4,4] a")
    assert not any(channels.is_free(name) for name in ("x", "a", "z", "y"))


def test_two_groups_that_meet_become_one() -> None:
    swapped = "f, s = Split<axis=1, num_outputs=2>(a) c = Concat<axis=1>(s, f) z = Add(a, c)"
    of_a = linked(swapped).factors["a"].tolist()
    assert of_a[0] == of_a[2] != of_a[1] == of_a[3]
    assert ONE not in of_a


def test_a_group_that_meets_1_is_1_in_that_channel_alone() -> None:
    body = "f, s = Split<axis=1, num_outputs=2>(a) g = Sigmoid(f) z = Concat<axis=1>(g, s)"
    of_a = linked(body).factors["a"].tolist()
    assert of_a[:2] == [ONE, ONE]
    assert len({*of_a[2:], ONE}) == 3


def test_a_flattened_channel_keeps_one_factor_in_all_its_places() -> None:
    model = canonical(
        "g (float[1,4,2,2] x) => (float[1,3] y) { a = Conv<kernel_shape=[1,1]>(x, wa) f = Flatten(a) y = Gemm<transB=1>(f, w) }",
        wa=CONSTANTS["wa"],
        w=floats(3, 16),
    )
    channels = channels_of(network_of(model.graph))
    np.testing.assert_array_equal(channels.factors["f"], np.repeat(channels.factors["a"], 4))
    assert_law(model, channels, random_factors(channels), feeds_of(model))


FEED_FORWARD = """g (float[1,6,4] x) => (float[1,6,4] y) {
    n = LayerNormalization<axis=-1>(x, scale4, shift4)
    h = MatMul(n, up) b = Add(h, bias) r = Relu(b) d = MatMul(r, down) y = Add(d, x)
}"""


def test_a_feed_forward_block_is_scaled_behind_its_normalization_and_inside() -> None:
    """SmoothQuant's case, and the equalization of two layers, along the last axis."""
    constants = {"scale4": CONSTANTS["scale4"], "shift4": CONSTANTS["shift4"]}
    model = canonical(FEED_FORWARD, up=floats(4, 5), bias=floats(5), down=floats(5, 4), **constants)
    channels = channels_of(network_of(model.graph))
    assert {name: channels.axes[name] for name in "xnhbrdy"} == dict.fromkeys("xnhbrdy", 2)
    assert ONE not in channels.factors["n"]
    assert ONE not in channels.factors["r"]
    assert not channels.is_free("x")
    assert channels.count == 1 + 4 + 5
    np.testing.assert_array_equal(channels.factors["h"], channels.factors["r"])
    made = assert_law(model, channels, random_factors(channels), feeds_of(model))
    assert [node.op_type for node in made.graph.graph] == [node.op_type for node in model.graph.graph]


def test_pooling_along_the_last_axis_is_pinned() -> None:
    text = """g (float[1,4,4,4] x) => (float[1,4,4,4] y) {
        h = MatMul(x, w) p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(h) y = MatMul(p, v)
    }"""
    model = canonical(text, w=floats(4, 4), v=floats(4, 4, seed=1))
    channels = channels_of(network_of(model.graph))
    assert not channels.is_free("h")
    assert_law(model, channels, random_factors(channels), feeds_of(model))


def test_a_value_that_a_convolution_and_a_matrix_product_read_follows_the_convolution() -> None:
    text = """g (float[1,4,4,5] x) => (float[1,2,4,5] y, float[1,4,4,3] m) {
        a = Conv<kernel_shape=[1,1]>(x, wa) y = Conv<kernel_shape=[1,1]>(a, wz) m = MatMul(a, w)
    }"""
    model = canonical(text, wa=CONSTANTS["wa"], wz=CONSTANTS["wz"], w=floats(5, 3))
    channels = channels_of(network_of(model.graph))
    assert channels.axes["a"] == 1
    assert not channels.is_free("a")
    assert_law(model, channels, random_factors(channels), feeds_of(model))


def test_weights_in_batches_pin() -> None:
    text = "g (float[2,3,4] x) => (float[2,3,2] y) { r = MatMul(x, w) h = Relu(r) y = MatMul(h, v) }"
    model = canonical(text, w=floats(2, 4, 5), v=floats(5, 2))
    channels = channels_of(network_of(model.graph))
    assert not channels.is_free("h")
    assert_law(model, channels, random_factors(channels), feeds_of(model))


INTEGERS = """g (float[1,4,4,4] x, int32[1,4] i) => (float[1,2,4,4] y, int32[1,8] j, int32[1,1,4] t) {
    a = Conv<kernel_shape=[1,1]>(x, wa) z = Relu(a) y = Conv<kernel_shape=[1,1]>(z, wz)
    m = Mul(i, three) n = Add(m, i) c = Clip(n, none, many) j = Concat<axis=1>(c, i)
    u = Reshape(n, shape) t = Transpose<perm=[0,1,2]>(u)
}"""


def test_integers_have_no_factors_and_stand_in_nobodys_way() -> None:
    model = canonical(
        INTEGERS,
        three=np.int32(3),
        none=np.int32(0),
        many=np.int32(9),
        shape=ints(1, 1, 4),
        **{name: CONSTANTS[name] for name in ("wa", "wz")},
    )
    channels = channels_of(network_of(model.graph))
    assert set(channels.factors) == {"x", "a", "z", "y"}
    assert channels.is_free("z")
    assert {"Clip", "Mul", "Concat"} <= {node.op_type for node in model.graph.graph}
    assert_law(model, channels, random_factors(channels), feeds_of(model))


def test_a_bias_that_is_computed_pins_what_it_is_added_to() -> None:
    text = """g (float[1,4,4,4] x, float[4] b) => (float[1,2,4,4] y) {
        a = Conv<kernel_shape=[1,1]>(x, wa, b) z = Relu(a) y = Conv<kernel_shape=[1,1]>(z, wz)
    }"""
    model = canonical(text, wa=CONSTANTS["wa"], wz=CONSTANTS["wz"])
    channels = channels_of(network_of(model.graph))
    assert not channels.is_free("b")
    assert_law(model, channels, random_factors(channels), feeds_of(model))


def test_a_feed_forward_block_is_observed_along_its_features() -> None:
    """The observers look where the factors lie, feature by feature and not token by token."""
    constants = {"scale4": CONSTANTS["scale4"], "shift4": CONSTANTS["shift4"]}
    model = canonical(FEED_FORWARD, up=floats(4, 6), bias=floats(6), down=floats(6, 4), **constants)
    feeds = feeds_of(model)
    statistics, channels = observe_all(model, feeds), channels_of(network_of(model.graph))
    runner = FloatRunner(model, threads=1, extra_outputs=("n", "r"))
    for name in ("n", "r"):
        rows = np.concatenate(
            [runner.run(feed)[name].reshape(-1, channels.factors[name].size) for feed in feeds]
        )
        seen = observed(name, channels, statistics)
        assert statistics.tensors[name].channel_axis == channels.axes[name] == 2
        np.testing.assert_allclose(seen.maximum, rows.max(axis=0), rtol=1e-6)
        np.testing.assert_allclose(seen.reach, np.abs(rows).max(axis=0), rtol=1e-6)
        np.testing.assert_allclose(seen.squares, np.square(rows).mean(axis=0), rtol=1e-5)
