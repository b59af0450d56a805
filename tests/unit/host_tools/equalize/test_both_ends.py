"""Clips done by saturation at both ends of the codes: that it costs nothing and pays, and where it must not be done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host_tools.equalize import equalize
from host_tools.equalize.both_ends import clips_at_both_ends
from host_tools.equalize.channels import channels_of
from host_tools.equalize.last_code import shifts_of
from host_tools.equalize.rewriting import rewritten
from host_tools.lower.lowering import lower
from host_tools.model.export import export_onnx
from host_tools.model.reference import FloatRunner
from host_tools.model.topology import network_of
from host_tools.plan.fusion import bounds_of
from host_tools.plan.planner import plan
from host_tools.recipe import Recipe
from targets import catalog
from tests.unit.host_tools.equalize.networks import canonical, feeds_of, observe_all, op_types
from tests.unit.host_tools.equalize.test_last_code import FINE, clipped, noise_of
from tests.unit.host_tools.model.canonical_form import check_canonical

if TYPE_CHECKING:
    from host_tools.model import FloatModel

DPU = catalog.load("amd-vitis-dpu")
UNSIGNED = replace(DPU, activations=replace(DPU.activations, zero_point="midpoint"))
ANY_SCALE = catalog.load("generic-per-tensor-symmetric")
BOUNDED = catalog.load("generic-power-of-two")
AT_BOTH_ENDS = (-128 / 16, 127 / 16)
AT_THE_LAST = (0.0, 127 / 16)


def network(body: str, *, seed: int = 3, top: float = 6.0) -> FloatModel:
    """Return a graph of what it is given between a first convolution `a` and the output `y`."""
    rng = np.random.default_rng(seed)
    constants = {
        "w": rng.normal(0, 1.0, (4, 4, 1, 1)),
        "b": rng.normal(1, 0.5, 4),
        "v": rng.normal(0, 0.4, (4, 4, 1, 1)),
        "v3": rng.normal(0, 0.3, (4, 4, 3, 3)),
        "c": rng.normal(0, 0.3, 4),
        "d": rng.normal(0, 0.6, (4, 1, 1, 1)),
        "g": rng.normal(0, 0.4, (4, 4)),
        "zero": np.zeros(()),
        "top": np.asarray(top),
    }
    text = f"g (float[1,4,6,6] x) => (float[1,K,N,M] y) {{ a = Conv(x, w, b) {body} }}"
    used = {
        name: values.astype(np.float32)
        for name, values in constants.items()
        if any(f" {name}{end}" in text for end in ",)")
    }
    return canonical(text, **used)


def bounds_in(model: FloatModel) -> list[tuple[float, float] | None]:
    return [bounds_of(node) for node in model.graph.graph if node.op_type == "Clip"]


def equalized(model: FloatModel, profile=DPU) -> FloatModel:
    return equalize(model, observe_all(model, feeds_of(model, 12)), profile).model


def assert_same(made: FloatModel, model: FloatModel, feeds) -> None:
    """Constants are rounded once more, and so are sums with the constant in them."""
    check_canonical(export_onnx(made))
    before, after = FloatRunner(model, threads=1), FloatRunner(made, threads=1)
    for feed in feeds:
        expected = before.run(feed)["y"]
        np.testing.assert_allclose(after.run(feed)["y"], expected, atol=3e-5 * np.abs(expected).max())


TAKEN = {
    "convolution": "r = Clip(a, zero, top) y = Conv(r, v, c)",
    "without padding": "r = Clip(a, zero, top) y = Conv(r, v3, c)",
    "depthwise": "r = Clip(a, zero, top) y = Conv<group=4>(r, d, c)",
    "two readers": "r = Clip(a, zero, top) p = Conv(r, v, c) q = Conv(r, v, c) y = Add(p, q)",
    "max pool": "r = Clip(a, zero, top) p = MaxPool<kernel_shape=[2,2]>(r) y = Conv(p, v, c)",
}
"""Every one of these has a Clip that ends where the codes end, on both sides."""

KEPT = {
    "padding": "r = Clip(a, zero, top) y = Conv<pads=[1,1,1,1]>(r, v3, c)",
    "a mean": "r = Clip(a, zero, top) p = GlobalAveragePool(r) y = Conv(p, v, c)",
    "nothing that takes it up": "r = Clip(a, zero, top) s = Conv<pads=[1,1,1,1]>(r, v3, c) q = Conv(r, v, c) y = Add(s, q)",
}
"""And these have one that ends at the last code and at code 0."""


@pytest.mark.parametrize("case", TAKEN)
def test_a_clip_lies_between_both_ends_and_the_network_computes_the_same(case: str) -> None:
    """On data that calibration did not see, too: both bounds are where they were."""
    model = network(TAKEN[case])
    before = export_onnx(model)
    made = equalized(model)
    assert bounds_in(made) == [AT_BOTH_ENDS]
    assert export_onnx(model) == before
    assert op_types(made) == op_types(model)
    assert made.digest != model.digest
    others = [{"x": 4.0 * feed["x"]} for feed in feeds_of(model, 12, seed=9)]
    assert_same(made, model, others)


@pytest.mark.parametrize("case", KEPT)
def test_where_a_constant_cannot_be_taken_up_or_would_be_averaged_zero_stays_code_0(case: str) -> None:
    model = network(KEPT[case])
    made = equalized(model)
    assert bounds_in(made) == [AT_THE_LAST]
    assert_same(made, model, feeds_of(model, 4, seed=9))


@pytest.mark.parametrize(
    ("profile", "bounds"), [(UNSIGNED, [(0.0, 255 / 32)]), (ANY_SCALE, []), (BOUNDED, [])]
)
def test_other_codes_and_targets_that_bound_each_channel_have_none_of_it(profile, bounds) -> None:
    """Unsigned codes are all used; where a target has Min a Clip becomes Relu and Min, or stays as it is."""
    made = equalized(network(TAKEN["convolution"]), profile)
    assert [found for found in bounds_in(made) if found != (0.0, 6.0)] == bounds


def test_two_in_a_row() -> None:
    """The biases between them give away and take up."""
    model = network("r = Clip(a, zero, top) s = Conv(r, v, c) t = Clip(s, zero, top) y = Conv(t, v, c)")
    made = equalized(model)
    assert bounds_in(made) == [AT_BOTH_ENDS] * 2
    assert_same(made, model, feeds_of(model, 6, seed=9))


def test_the_note_says_how_many() -> None:
    model = network(TAKEN["convolution"])
    note = equalize(model, observe_all(model, feeds_of(model, 12)), DPU).note
    assert (
        "1 of them lie between their lowest and their last code, and the biases behind them take it up"
        in note
    )


def test_the_file_has_no_clip_and_less_noise() -> None:
    """At the same step the two values that are clipped are twice as large; what is left is mostly the output's own rounding."""
    model = clipped(96)
    statistics = observe_all(model, feeds_of(model, 12))
    made = equalize(model, statistics, FINE).model
    channels = channels_of(network_of(model.graph))
    shifts = shifts_of(channels, {"b": 6.0, "d": 6.0}, FINE)
    at_the_last, _ = rewritten(model, channels, np.ones(channels.count), clips="saturating", shifts=shifts)
    assert bounds_in(made) == [AT_BOTH_ENDS] * 2
    assert bounds_in(at_the_last) == [(0.0, 127 / 16)] * 2
    planned = plan(made, observe_all(made, feeds_of(made, 12)), FINE, Recipe())
    assert [planned.tensors[name].qparams.scale for name in ("b", "d")] == [(1 / 16,)] * 2
    assert b"Clip" not in lower(made, planned, FINE).files["model.onnx"]
    assert noise_of(made, model, FINE) < 0.9 * noise_of(at_the_last, model, FINE)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**16), top=st.floats(2.0**-10, 64.0, width=32), case=st.sampled_from(sorted(TAKEN))
)
def test_any_bound(seed: int, top: float, case: str) -> None:
    """0 and the bound are the lowest and the last code of a power of two where half of the range is used, and it is the same network."""
    model = network(TAKEN[case], seed=seed, top=top)
    statistics = observe_all(model, feeds_of(model, 12))
    made = equalize(model, statistics, DPU).model
    [(low, high)] = bounds_in(made)
    if statistics.tensors["r"].maximum >= top / 2:
        assert np.frexp(-low)[0] == 0.5
        assert high == -low * 127 / 128
    elif low != 0.0:  # channels were scaled up to where they use it
        assert high == -low * 127 / 128
    assert_same(made, model, feeds_of(model, 3, seed=seed + 1))


@pytest.mark.parametrize(("top", "is_found"), [(6.0, True), (1000.0, False)])
def test_a_bound_that_nothing_comes_near_keeps_its_finer_step(top: float, is_found: bool) -> None:
    model = network(TAKEN["convolution"], top=top)
    found = network_of(model.graph)
    channels = channels_of(found)
    statistics, ones = observe_all(model, feeds_of(model, 12)), np.ones(channels.count)
    assert clips_at_both_ends(found, channels, statistics, ones, DPU) == ({"r"} if is_found else frozenset())
    assert clips_at_both_ends(found, channels, statistics, ones, UNSIGNED) == frozenset()
