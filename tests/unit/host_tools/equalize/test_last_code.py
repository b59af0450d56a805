"""Bounds of Clips moved to the last code: that it costs nothing and pays, and where it must not be done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from host_tools.equalize import equalize
from host_tools.equalize.channels import channels_of
from host_tools.equalize.last_code import shifts_of
from host_tools.model.reference import FloatRunner
from host_tools.model.topology import network_of
from host_tools.plan.planner import plan
from host_tools.recipe import Recipe
from host_tools.verify.contestant import plan_arithmetic
from targets import catalog
from tests.unit.host_tools.equalize.networks import by_name, canonical, feeds_of, observe_all, op_types

if TYPE_CHECKING:
    from host_tools.model import FloatModel

DPU = catalog.load("amd-vitis-dpu")
FINE = replace(DPU, weights=replace(DPU.weights, bits=12))
ANY_SCALE = catalog.load("generic-per-tensor-symmetric")
TFLITE = catalog.load("nxp-neutron").artifact


def clipped(width: int = 24, size: int = 6, top: float = 6.0) -> FloatModel:
    """Return three layers with a Clip behind each of the first two, most of whose channels reach it."""
    rng = np.random.default_rng(3)
    return canonical(
        f"""g (float[1,3,{size},{size}] x) => (float[1,4,{size},{size}] y) {{
            a = Conv<kernel_shape=[1,1]>(x, first, bias) b = Clip(a, zero, top)
            c = Conv<kernel_shape=[1,1]>(b, second, bias) d = Clip(c, zero, top)
            y = Conv<kernel_shape=[1,1]>(d, third)
        }}""",
        first=rng.normal(0, 2.0, (width, 3, 1, 1)).astype(np.float32),
        second=rng.normal(0, 0.4, (width, width, 1, 1)).astype(np.float32),
        third=rng.normal(0, 0.3, (4, width, 1, 1)).astype(np.float32),
        bias=rng.normal(1, 0.5, width).astype(np.float32),
        zero=np.float32(0),
        top=np.float32(top),
    )


def noise_of(made: FloatModel, original: FloatModel, profile) -> float:
    """Return the power of what quantizing a model for a target does to the outputs of the one that it was; inputs are codes."""
    feeds = [{"x": np.clip(np.rint(feed["x"] * 16), -127, 127) / 16} for feed in feeds_of(original, 12)]
    arithmetic = plan_arithmetic(
        made, plan(made, observe_all(made, feeds), profile, Recipe()), profile, threads=1
    )
    runner = FloatRunner(original, threads=1)
    return float(np.mean([np.square(arithmetic.run(feed)["y"] - runner.run(feed)["y"]) for feed in feeds]))


def test_a_clip_at_6_ends_where_the_codes_end() -> None:
    """6 is code 96 in steps of 1/16; where weights count for nothing the bound moves to code 127, and the Clip is still one Clip."""
    model = clipped()
    feeds = feeds_of(model, 12)
    made = equalize(model, observe_all(model, feeds), FINE)
    assert op_types(made.model) == ["Conv", "Clip", "Conv", "Clip", "Conv"]
    assert "its bound is their last code" in made.note
    for clip in (node for node in made.model.graph.graph if node.op_type == "Clip"):
        bound = float(np.asarray(clip.inputs[2].const_value.numpy()))
        assert bound == 127 / 16
    before, after = FloatRunner(model, threads=1), FloatRunner(made.model, threads=1)
    for feed in feeds:
        np.testing.assert_allclose(after.run(feed)["y"], before.run(feed)["y"], atol=1e-4)


def test_it_takes_noise_off_the_outputs() -> None:
    model = clipped(96)
    made = equalize(model, observe_all(model, feeds_of(model, 12)), FINE).model
    assert noise_of(made, model, FINE) < 0.9 * noise_of(model, model, FINE)


def test_where_any_scale_is_legal_nothing_is_moved() -> None:
    model = clipped()
    made = equalize(model, observe_all(model, feeds_of(model, 12)), ANY_SCALE, clips="saturating").model
    tops = [float(values) for name, values in by_name(made).items() if "top" in name]
    assert set(tops) == {6.0}


def test_a_format_that_knows_relu6_alone_keeps_it() -> None:
    """TFLite's fused activations end at 6 and nowhere else."""
    model = clipped()
    profile = replace(DPU, artifact=replace(TFLITE, sidecars=()))
    made = equalize(model, observe_all(model, feeds_of(model, 12)), profile).model
    tops = [float(values) for name, values in by_name(made).items() if "top" in name]
    assert set(tops) == {6.0}


@pytest.mark.parametrize(("top", "moved"), [(6.0, 127 / 96), (1.0, 127 / 64), (127 / 16, 1.0)])
def test_a_bound_moves_to_the_last_code_and_nothing_else_moves(top: float, moved: float) -> None:
    channels = channels_of(network_of(clipped(top=top).graph))
    found = shifts_of(channels, {"b": top, "d": top}, DPU)
    assert found[0] == 1.0
    for name, own in channels.factors.items():
        assert found[own] == pytest.approx(1.0 if name in {"x", "y"} else moved)


def test_two_bounds_on_tensors_that_meet_stay() -> None:
    """What moves 6 to the last code moves 5 elsewhere."""
    channels = channels_of(network_of(clipped().graph))
    found = shifts_of(channels, {"a": 5.0, "b": 6.0, "d": 6.0}, DPU)
    assert set(found[channels.factors["b"]].tolist()) == {1.0}
    assert set(found[channels.factors["d"]].tolist()) == {127 / 96}


def test_unsigned_codes_end_elsewhere() -> None:
    channels = channels_of(network_of(clipped().graph))
    unsigned = replace(DPU, activations=replace(DPU.activations, zero_point="midpoint"))
    assert shifts_of(channels, {"b": 6.0}, unsigned)[channels.factors["b"]].max() == 255 / 192
