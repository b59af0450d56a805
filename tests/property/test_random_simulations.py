"""Random small graphs on every target and on harder ones: each code that the simulator gives is the nearest to the real number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host_tools.errors import CapabilityError, DataError, VerificationError
from host_tools.model.float_model import TensorSpec
from host_tools.plan.planner import plan
from host_tools.recipe import KeepFloat, Recipe, Widen
from host_tools.simulate import simulate
from tests.property.test_random_plans import models, profiles, widenable
from tests.unit.host_tools.plan.plan_models import statistics, values
from tests.unit.host_tools.simulate.parity import Planned
from tests.unit.host_tools.simulate.real_arithmetic import assert_real

RANGES = st.sampled_from(
    [(0.0, 0.0), (0.7, 0.7), (-1.0, 1.0), (0.0, 6.0), (-3.0, 0.0), (-0.01, 40.0), (0.0, 1.0)]
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models(), profiles(), st.data())
def test_every_code_is_the_nearest_to_the_real_number(model, target, data):
    outputs = tuple(
        TensorSpec(name=value.name, shape=(1, 4, 4, 4), dtype="float32")
        for value in model.graph.graph.outputs
    )
    model = replace(
        model, inputs=(TensorSpec(name="x", shape=(1, 4, 4, 4), dtype="float32"),), outputs=outputs
    )
    names = [value.name for node in model.graph.graph for value in node.outputs]
    seen = statistics(model, {name: values(*data.draw(RANGES)) for name in ["x", *names]})
    kept = data.draw(st.sets(st.sampled_from([str(node.name) for node in model.graph.graph]), max_size=2))
    wide = data.draw(st.sets(st.sampled_from([str(node.name) for node in model.graph.graph])))
    seed = data.draw(st.integers(0, 99))
    try:
        made = plan(
            model,
            seen,
            target,
            Recipe(
                keep_float=KeepFloat(nodes=frozenset(kept)),
                widen=Widen(nodes=frozenset(widenable(model, target, wide))),
            ),
        )
    except CapabilityError:
        return
    simulator = simulate(model, made, target)
    feed = np.random.default_rng(seed).normal(0, 2, (1, 4, 4, 4)).astype(np.float32)
    try:
        stored = simulator.trace({"x": feed})
    except VerificationError as error:
        assert "zero is divided by zero" in str(error)
        return
    except DataError as error:  # the same in float, and what overflows there
        assert "NaN has no code" in str(error)
        return
    assert_real(Planned(model, made, target), stored)
    run = simulator.run({"x": feed})
    assert set(run) == {spec.name for spec in outputs}
