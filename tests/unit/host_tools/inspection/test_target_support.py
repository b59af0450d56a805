"""What `inspect` says of a target, against what planning and lowering with real statistics say."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from host_tools.errors import CapabilityError, LoweringError
from host_tools.inspection.support import support_of
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.model.topology import network_of
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from targets import catalog
from tests.e2e.small_network import samples, write_network
from tests.unit.host_tools.lower.lowering_cases import between, ending
from tests.unit.host_tools.model.onnx_models import saved
from tests.unit.host_tools.plan.plan_models import profile

CASES = {
    "softmax": between("softmax", "m = Softmax <axis: int = 1> (a)"),
    "no_lowering_has_it": between("odd", "m = Shrink (a)"),
    "too_far": between(
        "far", "m = Conv <dilations: ints = [1, 1], pads: ints = [3, 3, 3, 3]> (a, wide)",
        wide=np.full((8, 8, 7, 7), 0.01, np.float32),
    ),
    "deep": ending("deep", "y = Transpose <perm: ints = [0, 3, 1, 2]> (a)", (1, 8, 8, 8)),
}  # fmt: skip


@cache
def observed(name):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        if name == "small":
            path, data = write_network(Path(folder) / "small.onnx"), samples(4)
        else:
            path = saved(Path(folder), CASES[name].proto())
            data = np.random.default_rng(1).uniform(-4.0, 4.0, (4, 4, 8, 8)).astype(np.float32)
        model = load(path)
        np.save(Path(folder) / "data.npy", data)
        given = open_data(Path(folder) / "data.npy", inputs=model.inputs)
        return model, observe(model, given, histograms=False, threads=1, progress=Silent())


def converted(model, statistics, target):
    """Return how every node runs when it is converted, or the refusal's message and hint."""
    try:
        planned = plan(model, statistics, target, Recipe(method="minmax"))
        lower(model, planned, target)
    except (CapabilityError, LoweringError) as error:
        return error.args[0], error.hint
    return {name: (node.precision, node.fused_into) for name, node in planned.nodes.items()}


@pytest.mark.parametrize("name", ["small", *CASES])
def test_every_target_does_in_a_conversion_what_was_said_before(name):
    model, statistics = observed(name)
    network = network_of(model.graph)
    refused = 0
    for target in map(catalog.load, catalog.ids()):
        said = support_of(model, network, target, rehearse=True)
        done = converted(model, statistics, target)
        assert said.rehearsed
        assert not said.doubt, target.id
        if said.status == "refused":
            refused += 1
            assert (said.refusal, said.hint) == done, target.id
        else:
            assert {node.name: (node.precision, node.fused_into) for node in said.nodes} == done, target.id
            floats = {node.name for node in said.in_float}
            assert (said.status == "partly_float") == bool(floats), target.id
    assert refused < len(catalog.ids())
    assert refused or name in ("small", "softmax", "deep", "too_far")


def test_the_plan_alone_refuses_in_the_same_words_and_lowers_nothing():
    model, statistics = observed("no_lowering_has_it")
    network = network_of(model.graph)
    refusing = profile("nxp-neutron", fallback={"to": "refuse"})
    said = support_of(model, network, refusing, rehearse=False)
    assert (said.status, said.rehearsed) == ("refused", False)
    assert (said.refusal, said.hint) == converted(model, statistics, refusing)
    assert "Shrink" in said.refusal
    # the plan lets it run in float; that the format has no such operator only the lowering knows
    target = catalog.load("cortex-a-tflite")
    assert support_of(model, network, target, rehearse=False).status == "partly_float"
    asked = support_of(model, network, target, rehearse=True)
    assert (asked.refusal, asked.hint) == converted(model, statistics, target)
    assert asked.status == "refused"


def test_what_only_the_assumed_ranges_break_is_a_doubt():
    model, _ = observed("small")
    base = catalog.load("cortex-a-tflite")
    narrow = {**base.ops, "Add": replace(base.ops["Add"], requantization_ratio=(1e6, 1e7))}
    strict = profile("cortex-a-tflite", fallback={"to": "refuse"}, ops=narrow)
    said = support_of(model, network_of(model.graph), strict, rehearse=True)
    assert said.status == "integer"
    assert "Add" in said.doubt
    assert not support_of(model, network_of(model.graph), strict, rehearse=False).doubt
