"""High biases: what is moved, what is refused, that the network computes the same, and that it is done only where it helps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host_tools.equalize import equalize
from host_tools.equalize.absorption import FEWEST_SAMPLES, absorb
from host_tools.model.export import export_onnx
from host_tools.model.reference import FloatRunner
from targets import catalog
from tests.unit.host_tools.equalize.networks import by_name, canonical, feeds_of, observe_all, op_types
from tests.unit.host_tools.model.canonical_form import check_canonical

RNG = np.random.default_rng(4)
SYMMETRIC = catalog.load("generic-per-tensor-symmetric")


def weights(*shape: int, size: float = 0.3) -> np.ndarray:
    return RNG.normal(0, size, shape).astype(np.float32)


CONSTANTS = {
    "w": weights(4, 4, 1, 1),
    "b": np.asarray([20, -0.5, 9, 0], np.float32),
    "v": weights(3, 4, 1, 1),
    "c": weights(3),
    "v3": weights(3, 4, 3, 3),
    "v4": weights(4, 3, 3, 3),
    "g": weights(3, 4),
    "g100": weights(3, 100),
    "d": weights(4, 1, 1, 1),
    "e": weights(4),
    "low": np.float32(0),
    "high": np.float32(21),
    "six": np.float32(6),
    "flat": np.asarray([1, 100], np.int64),
    "wm": weights(4, 4),
    "bm": np.asarray([20, -0.5, 9, 0], np.float32),
    "vm": weights(4, 5),
    "cm": weights(5),
}
FIRST = "a = Conv(x, w, b) "
IMAGES = "g (float[1,4,5,5] x) => (float[1,K,N,M] y) {{ a = Conv(x, w, b) {} }}"


def network(body: str, text: str = IMAGES):
    used = text.format(body)
    constants = {name: CONSTANTS[name] for name in CONSTANTS if f" {name})" in used or f" {name}," in used}
    return canonical(used, **constants)


def moved_channels(before, after, name: str = "b") -> list[int]:
    return np.flatnonzero(by_name(before)[name] != by_name(after)[name]).tolist()


def assert_same(before, after, feeds, rtol: float = 1e-4) -> None:
    check_canonical(export_onnx(after))
    one, other = FloatRunner(before, threads=1), FloatRunner(after, threads=1)
    for feed in feeds:
        expected, found = one.run(feed)["y"], other.run(feed)["y"]
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


TAKEN = {
    "convolution": "r = Relu(a) y = Conv(r, v, c)",
    "convolution without padding": "r = Relu(a) y = Conv(r, v3, c)",
    "depthwise": "r = Relu(a) y = Conv<group=4>(r, d, e)",
    "two readers": "r = Relu(a) p = Conv(r, v, c) q = Conv(r, v, c) y = Add(p, q)",
    "max pool": "r = Relu(a) p = MaxPool<kernel_shape=[2,2]>(r) y = Conv(p, v, c)",
    "mean and Gemm": "r = Relu(a) p = GlobalAveragePool(r) f = Flatten(p) y = Gemm<transB=1>(f, g, c)",
    "flattened": "r = Relu(a) f = Reshape(r, flat) y = Gemm<transB=1>(f, g100, c)",
    "bounded": "r = Clip(a, low, high) y = Conv(r, v, c)",
    "two layers": "r = Relu(a) s = Conv<group=4>(r, d, b) t = Relu(s) y = Conv(t, v, c)",
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_channel_that_never_comes_near_0_is_moved_and_the_network_computes_the_same(case: str) -> None:
    model = network(TAKEN[case])
    feeds = feeds_of(model, 12)
    statistics, before = observe_all(model, feeds), export_onnx(model)
    low = statistics.tensors["a"].channel_minimum
    assert low[0] > 5.0
    assert low[2] > 1.0
    assert (low[[1, 3]] < 0.0).all()
    absorbed = absorb(model, statistics, clips="bounded")
    assert absorbed is not None
    assert export_onnx(model) == before
    assert absorbed.model.digest != model.digest
    assert_same(model, absorbed.model, feeds)
    # What is told of the moved network is what is observed of it.
    told, seen = absorbed.statistics, observe_all(absorbed.model, feeds)
    assert told.model_digest == absorbed.model.digest
    assert set(told.tensors) == set(seen.tensors)
    for name, tensor in seen.tensors.items():
        top = max(abs(tensor.minimum), abs(tensor.maximum))
        for part in ("channel_minimum", "channel_maximum", "channel_mean"):
            if name != "r/relu":
                np.testing.assert_allclose(
                    getattr(told.tensors[name], part), getattr(tensor, part), atol=1e-4 * top
                )
        if tensor.channel_mean_square is not None:
            np.testing.assert_allclose(
                told.tensors[name].channel_mean_square, tensor.channel_mean_square, rtol=1e-3
            )
    assert seen.tensors["a"].channel_minimum[0] > 0.0
    assert seen.tensors["a"].maximum < statistics.tensors["a"].maximum - 5.0


def test_behind_a_matrix_product_the_next_addition_takes_it_up() -> None:
    text = "g (float[1,6,4] x) => (float[1,6,5] y) {{ m = MatMul(x, wm) a = Add(m, bm) {} }}"
    model = network("r = Relu(a) h = MatMul(r, vm) y = Add(h, cm)", text)
    feeds = feeds_of(model, 12)
    absorbed = absorb(model, observe_all(model, feeds), clips="bounded")
    assert absorbed is not None
    assert absorbed.channels == 2
    assert_same(model, absorbed.model, feeds)
    assert op_types(absorbed.model) == op_types(model)


REFUSED = {
    "padding": "r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, v3, c)",
    "padding behind a pool": "r = Relu(a) p = MaxPool<kernel_shape=[2,2]>(r) y = Conv<pads=[0,0,1,1]>(p, v3, c)",
    "a pool that pads": "r = Relu(a) p = AveragePool<kernel_shape=[2,2], pads=[1,1,0,0]>(r) y = Conv(p, v, c)",
    "a residual addition": "r = Relu(a) y = Add(r, x)",
    "a sigmoid": "r = Relu(a) y = Sigmoid(r)",
    "transposed convolution": "r = Relu(a) y = ConvTranspose(r, v4)",
    "one reader of two": "r = Relu(a) p = Conv(r, v, c) q = Sigmoid(r) y = Concat<axis=1>(p, q)",
    "what is before the Relu is read": "r = Relu(a) p = Conv(r, v, c) q = Conv(a, v, c) y = Add(p, q)",
    "no Relu": "y = Conv(a, v, c)",
    "something in between": "s = LeakyRelu(a) r = Relu(s) y = Conv(r, v, c)",
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_would_not_be_exact_nothing_is_moved(case: str) -> None:
    model = network(REFUSED[case])
    assert absorb(model, observe_all(model, feeds_of(model, 12)), clips="bounded") is None


def test_what_a_model_gives_out_is_not_moved() -> None:
    text = IMAGES.replace("y)", "y, float[1,4,5,5] r)")
    model = network("r = Relu(a) y = Conv(r, v, c)", text)
    assert absorb(model, observe_all(model, feeds_of(model, 12)), clips="bounded") is None


def test_a_bound_moves_too_and_one_that_stays_was_not_reached() -> None:
    """Channel 0 reaches 21 and channel 2 does not."""
    model = network(TAKEN["bounded"])
    feeds = feeds_of(model, 12)
    statistics = observe_all(model, feeds)
    top = statistics.tensors["r"].channel_maximum
    assert top[0] == 21 > top[2]
    bounded, staying = (absorb(model, statistics, clips=clips) for clips in ("bounded", "saturating"))
    assert bounded is not None
    assert staying is not None
    assert op_types(bounded.model) == ["Conv", "Relu", "Min", "Conv"]
    assert (bounded.bounded, staying.bounded) == (1, 0)
    assert moved_channels(model, bounded.model) == [0, 2]
    assert op_types(staying.model) == ["Conv", "Clip", "Conv"]
    assert moved_channels(model, staying.model) == [2]
    assert_same(model, staying.model, feeds)
    # The bound that moved cuts where the old one did: also what calibration did not show.
    wild = [{"x": feed["x"] * np.float32(1.1)} for feed in feeds]
    assert (
        observe_all(model, wild).tensors["a"].channel_minimum[0] < statistics.tensors["a"].channel_minimum[0]
    )
    assert_same(model, bounded.model, wild)


def test_a_channel_that_is_always_at_its_bound_is_constant_still() -> None:
    model = network(TAKEN["bounded"].replace("high", "six"))
    feeds = feeds_of(model, 12)
    statistics = observe_all(model, feeds)
    assert statistics.tensors["r"].channel_minimum[0] == statistics.tensors["r"].channel_maximum[0] == 6
    absorbed = absorb(model, statistics, clips="bounded")
    assert absorbed is not None
    assert_same(model, absorbed.model, feeds)
    assert absorbed.statistics.tensors["r"].channel_maximum[0] == pytest.approx(0.75, rel=1e-5)


def test_a_margin_is_left_for_what_calibration_did_not_show() -> None:
    model = network(TAKEN["convolution"])
    statistics = observe_all(model, feeds_of(model, 12))
    seen = statistics.tensors["r"]
    absorbed = absorb(model, statistics, clips="bounded")
    assert absorbed is not None
    for channel in (0, 2):
        low, high = float(seen.channel_minimum[channel]), float(seen.channel_maximum[channel])
        left = absorbed.statistics.tensors["r"].channel_minimum[channel]
        assert left == pytest.approx(max(high - low, low) / 8, rel=1e-4)
    # New samples go a little lower, and nothing is cut.
    fresh = feeds_of(model, 200, seed=77)
    assert observe_all(model, fresh).tensors["a"].channel_minimum[0] < seen.channel_minimum[0]
    assert_same(model, absorbed.model, fresh)


@pytest.mark.parametrize("count", [1, FEWEST_SAMPLES - 1, FEWEST_SAMPLES])
def test_few_samples_prove_nothing(count: int) -> None:
    model = network(TAKEN["convolution"])
    absorbed = absorb(model, observe_all(model, feeds_of(model, count)), clips="bounded")
    assert (absorbed is not None) == (count >= FEWEST_SAMPLES)


def test_constant_samples_leave_a_margin_of_the_value() -> None:
    model = network(TAKEN["convolution"])
    feeds = [{"x": np.zeros((1, 4, 5, 5), np.float32)}] * 8
    absorbed = absorb(model, observe_all(model, feeds), clips="bounded")
    assert absorbed is not None
    np.testing.assert_allclose(by_name(absorbed.model)["b"], [20 / 8, -0.5, 9 / 8, 0], rtol=1e-5)
    assert_same(model, absorbed.model, feeds)


def test_a_bias_shared_by_two_operators_is_taken_apart() -> None:
    model = network("r = Relu(a) s = Conv(r, w, b) t = Relu(s) y = Conv(t, v, c)")
    feeds = feeds_of(model, 12)
    absorbed = absorb(model, observe_all(model, feeds), clips="bounded")
    assert absorbed is not None
    assert_same(model, absorbed.model, feeds)


def test_a_bias_beyond_float32_is_refused() -> None:
    constants = {name: CONSTANTS[name] for name in ("w", "v", "c")}
    text = IMAGES.format(TAKEN["convolution"])
    model = canonical(
        text, **{**constants, "v": np.full((3, 4, 1, 1), 0.2, np.float32)}, b=np.full(4, 1e36, np.float32)
    )
    statistics = observe_all(model, feeds_of(model, 12))
    steeper = canonical(
        text, **{**constants, "v": np.full((3, 4, 1, 1), 999.0, np.float32)}, b=np.full(4, 1e36, np.float32)
    )
    with pytest.raises(OverflowError, match="is too large for float32"):
        absorb(steeper, statistics, clips="bounded")
    assert equalize(steeper, statistics, SYMMETRIC).note


def test_equalization_moves_channels_where_that_lowers_the_noise_and_says_so() -> None:
    model = network(TAKEN["convolution"])
    feeds = feeds_of(model, 12)
    made = equalize(model, observe_all(model, feeds), SYMMETRIC)
    assert made.decibels > 1.0
    assert (
        "2 channels that never fell near 0 before their Relu in any of 12 samples were moved down"
        in made.note
    )
    assert "within the values seen" in made.note
    assert_same(model, made.model, feeds)


def test_equalization_leaves_high_biases_that_cost_nothing() -> None:
    """The channel that sets the range is not the one that is high."""
    model = network("r = Relu(a) y = Conv(r, v, c)")
    feeds = [
        {"x": feed["x"] * np.float32([[[[0.01]], [[40]], [[0.01]], [[40]]]])} for feed in feeds_of(model, 12)
    ]
    statistics = observe_all(model, feeds)
    made = equalize(model, statistics, SYMMETRIC)
    assert_same(model, made.model, feeds)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.floats(-3, 40), min_size=4, max_size=4),
    st.sampled_from(sorted(TAKEN)),
    st.sampled_from(["bounded", "saturating"]),
    st.integers(0, 99),
)
def test_whatever_the_biases_the_network_computes_the_same(biases, case, clips, seed) -> None:
    used = IMAGES.format(TAKEN[case])
    constants = {name: CONSTANTS[name] for name in CONSTANTS if f" {name})" in used or f" {name}," in used}
    model = canonical(used, **{**constants, "b": np.asarray(biases, np.float32)})
    feeds = feeds_of(model, FEWEST_SAMPLES, seed)
    absorbed = absorb(model, observe_all(model, feeds), clips=clips)
    if absorbed is not None:
        assert_same(model, absorbed.model, feeds)
