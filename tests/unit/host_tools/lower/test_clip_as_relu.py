"""A Clip whose bound is the last code is written as Relu, and the codes are what they were."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from host_tools.lower.lowering import lower
from host_tools.plan.planner import plan
from host_tools.recipe import Recipe
from host_tools.simulate import simulate
from host_tools.verify.contestant import plan_arithmetic
from targets import catalog
from tests.unit.host_tools.equalize.networks import canonical, feeds_of, observe_all

DPU = catalog.load("amd-vitis-dpu")


def clipped(low: float, high: float):
    """Return a Conv and a Clip that all of its channels reach."""
    rng = np.random.default_rng(1)
    return canonical(
        "g (float[1,3,5,5] x) => (float[1,8,5,5] y) { a = Conv<kernel_shape=[1,1]>(x, weight) y = Clip(a, low, high) }",
        weight=rng.normal(0, 4.0, (8, 3, 1, 1)).astype(np.float32),
        low=np.float32(low),
        high=np.float32(high),
    )


@pytest.mark.parametrize(
    ("low", "high", "written"),
    [
        (0.0, 127 / 16, "Relu"),
        (0.0, 6.0, "Clip"),  # code 96
        (0.0, 127 / 32, "Relu"),
        (-1.0, 127 / 32, "Clip"),  # no Relu ends there
    ],
)
def test_a_clip_that_ends_where_the_codes_end_is_a_relu(low: float, high: float, written: str) -> None:
    model = clipped(low, high)
    feeds = feeds_of(model, 4)
    planned = plan(model, observe_all(model, feeds), DPU, Recipe())
    content = lower(model, planned, DPU).files["model.onnx"]
    kinds = Counter(node.op_type for node in onnx.load_from_string(content).graph.node)
    assert {kind: kinds[kind] for kind in ("Relu", "Clip")} == {"Relu": 0, "Clip": 0, written: 1}
    simulator, arithmetic = simulate(model, planned, DPU), plan_arithmetic(model, planned, DPU, threads=1)
    for feed in feeds:
        exact = simulator.run(feed)["y"]
        assert exact.max() == pytest.approx(high, abs=1 / 16)
        np.testing.assert_array_equal(arithmetic.run(feed)["y"], exact)
