"""Groups of equal scale that cannot be one: the plan re-quantizes, and says which values stood against each other and why."""

from __future__ import annotations

import re

import pytest

from host_tools.plan.check import check
from host_tools.plan.explain import explain
from host_tools.plan.planner import plan
from host_tools.recipe import Recipe
from targets import catalog
from tests.unit.host_tools.equalize.networks import canonical, feeds_of, observe_all


@pytest.mark.parametrize("target", ["cortex-a-tflite", "ethos-u55", "nxp-neutron"])
def test_two_scales_that_kernels_fix_meet_in_one_group(target: str) -> None:
    """A Concat wants one scale; a Sigmoid's kernel gives 1/256 and a Tanh's 1/128."""
    model = canonical(
        "g (float[1,4,6,6] x) => (float[1,8,6,6] y) { s = Sigmoid(x) t = Tanh(x) y = Concat<axis=1>(s, t) }"
    )
    profile = catalog.load(target)
    planned = plan(model, observe_all(model, feeds_of(model, 8)), profile, Recipe(method="minmax"))
    check(planned, model, profile)
    assert planned.tensors["s"].qparams is not None
    assert planned.tensors["t"].qparams is not None
    assert (planned.tensors["s"].qparams.scale, planned.tensors["t"].qparams.scale) == (
        (1 / 256,),
        (1 / 128,),
    )
    reasons = {edge.input_index: edge.reason for edge in planned.requantize}
    for index, value, scale, kernel in ((0, "s", "0.00390625", "Sigmoid"), (1, "t", "0.0078125", "Tanh")):
        assert re.match(r"Concat needs one scale for its inputs and output \(same_scale of ", reasons[index])
        assert f"'{value}' must keep its own, {scale}, which the kernel of {kernel} fixes" in reasons[index]
        assert reasons[index] in explain(planned)
