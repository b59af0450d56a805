"""The last operator before a sum makes up for the error of the sum's other terms, and no other operator does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from host_tools.model.reference import FloatRunner
from host_tools.model.topology import NodeInput, network_of
from host_tools.progress import Silent
from host_tools.reconstruct import reconstruct
from host_tools.reconstruct.goals import goal_of
from host_tools.reconstruct.reading import read_at
from host_tools.reconstruct.steps import steps_of
from host_tools.simulate import simulate
from tests.unit.host_tools.model.onnx_models import model_proto
from tests.unit.host_tools.reconstruct.hard_networks import hard, pictures, spread

NETWORK = """net (float[1,3,12,12] x) => (float[1,4,12,12] y) {{
    a = Conv <pads = [1,1,1,1]> (x, w0, b0)
    r = Relu (a)
    c = Conv (r, w1, b1)
    {sum}
}}"""
SUMS = {
    "add": "y = Add (r, c)",
    "add, the other way round": "y = Add (c, r)",
    "sub": "y = Sub (r, c)",
    "sub, the other way round": "y = Sub (c, r)",
    "fused": "s = Add (c, r) y = Relu (s)",
}
NO_SUMS = {
    "not a sum": "y = Mul (c, r)",
    "spread": "g = GlobalAveragePool (r) y = Add (c, g)",
    "read twice": "s = Add (c, r) y = Mul (s, c)",
    "something between": "t = Relu (c) y = Add (t, r)",
    "a constant": "y = Add (c, k)",
}


def made(folder, text):
    weights = spread(7, 2.0, w0=(4, 3, 3, 3), b0=(4,), w1=(4, 4, 1, 1), b1=(4,))
    weights["k"] = np.full((1, 4, 12, 12), 0.5, np.float32)
    network = NETWORK.format(sum=text)
    used = {name: array for name, array in weights.items() if name != "k" or "k)" in text}
    return hard(folder, model_proto(network, **used), "generic-per-tensor-symmetric")


def goal(network):
    graph = network_of(network.model.graph)
    step = next(step for step in steps_of(graph, network.plan) if step.head_result == "c")
    return goal_of(step, graph)


@pytest.mark.parametrize("kind", list(SUMS))
def test_the_other_term_is_seen(tmp_path, kind):
    found = goal(made(tmp_path, SUMS[kind]))
    assert len(found.other_terms) == 1
    assert found.sign == (-1.0 if "sub" in kind else 1.0)


@pytest.mark.parametrize("kind", list(NO_SUMS))
def test_where_there_is_no_sum_the_goal_is_the_output_itself(tmp_path, kind):
    assert not goal(made(tmp_path, NO_SUMS[kind])).other_terms


@pytest.mark.parametrize("kind", list(SUMS))
def test_the_mean_of_the_sum_is_right_though_that_of_a_term_is_not(tmp_path, kind):
    """The shortcut saturates far below what is seen, so its mean is off; the bias of the other branch takes that back."""
    network = made(tmp_path, SUMS[kind])
    cut = network.plan.tensors["r"]
    narrow = replace(cut, qparams=replace(cut.qparams, scale=(cut.qparams.scale[0] / 16,)))
    bias = network.plan.tensors["b1"]
    scales = tuple(scale / 16 for scale in bias.qparams.scale)
    tensors = {
        **network.plan.tensors,
        "r": narrow,
        "b1": replace(bias, qparams=replace(bias.qparams, scale=scales)),
    }
    network = replace(network, plan=replace(network.plan, tensors=tensors))
    plan = reconstruct(
        network.model, network.plan, network.profile, network.data, threads=1, progress=Silent()
    )
    simulator = simulate(network.model, plan, network.profile)
    total = "s" if kind == "fused" else "y"
    runner = FloatRunner(network.model, threads=1, extra_outputs=("r", "c", total))
    shifts = {"r": [], "c": []}
    for sample in pictures(32):
        feeds = {"x": sample[np.newaxis]}
        exact, stored = runner.run(feeds), simulator.trace(feeds)
        for name, seen in shifts.items():
            real = read_at(NodeInput(node="", index=0), name, stored, plan, network.profile)
            seen.append((real - exact[name]).mean(axis=(0, 2, 3)))
    lost, made_up = (np.mean(seen, axis=0) for seen in shifts.values())
    sign = 1.0 if "sub" in kind else -1.0
    worst = np.abs(lost).argmax()
    assert abs(lost[worst]) > 3 * plan.tensors["c"].qparams.scale[0]
    assert abs(made_up[worst] - sign * lost[worst]) < 0.2 * abs(lost[worst])
