"""Layer by layer, with any layer in float: held against the plan computed node by node by code that shares nothing with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from host_tools.diagnose.layer_runner import LayerRunner
from host_tools.diagnose.layers import Layer, layers_of
from host_tools.diagnose.propagation import FLOAT, QUANTIZED, Propagation, Setting
from host_tools.model.reference import FloatRunner
from host_tools.verify.metrics import sqnr_db
from tests.unit.host_tools.diagnose.networks import Planned, planned, without_codes
from tests.unit.host_tools.lower.lowering_cases import CASES, TWO_ENDS, Case
from tests.unit.host_tools.lower.plan_simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QuantizationPlan

    Values = Mapping[str, NDArray[np.generic]]

TARGETS = ("x86_64-onnxruntime", "nxp-neutron", "amd-vitis-dpu")
CLOSE_DB = 40.0  # float32 against float64: here and there a number falls to the other side of a code's edge

# A mean of codes on a scale of its own lies half way between two codes time and again: float32 and float64 then part.
TIES = {("nxp-neutron", name) for name in ("average_pool", "average_pool_padded", "resize_linear")}
COMBINATIONS = [
    pytest.param(case, target, id=f"{case.name}-{target}")
    for target in TARGETS
    for case in (*CASES, TWO_ENDS)
    if (target, case.name) not in TIES
]


def prepared(network: Planned) -> tuple[tuple[Layer, ...], Propagation, dict[str, NDArray[np.generic]]]:
    layers = layers_of(network.model, network.plan)
    runner = LayerRunner(network.model, network.plan, layers, rounding=network.profile.rounding.weights)
    feeds = dict(next(iter(network.data)).arrays)
    return layers, Propagation(runner, layers, network.plan), feeds


def assert_close(found: Values, expected: Values, names: set[str]) -> None:
    for name in names:
        if expected[name].dtype != np.float32:
            continue
        exact = expected[name].astype(np.float64)
        ratio = sqnr_db(float(np.sum(exact**2)), float(np.sum((found[name] - exact) ** 2)))
        assert ratio is None or ratio > CLOSE_DB, (name, ratio)


def names_of(layers: tuple[Layer, ...]) -> set[str]:
    return {name for layer in layers for name in layer.outputs}


@pytest.mark.parametrize(("case", "target"), COMBINATIONS)
def test_all_quantized_is_the_plan_and_nothing_quantized_is_the_model(
    case: Case, target: str, tmp_path: Path
) -> None:
    network = planned(case.proto(), tmp_path, target)
    layers, propagation, feeds = prepared(network)
    quantized = propagation.run(feeds, QUANTIZED)
    assert_close(quantized, simulate(network.model, network.plan, feeds), names_of(layers))
    exact = propagation.run(feeds, FLOAT)
    for name, array in FloatRunner(network.model, threads=1).run(feeds).items():
        np.testing.assert_allclose(exact[name], array, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("case", "target"), COMBINATIONS)
def test_each_layer_alone_exact_and_alone_quantized(case: Case, target: str, tmp_path: Path) -> None:
    network = planned(case.proto(), tmp_path, target)
    layers, propagation, feeds = prepared(network)
    exact, quantized = propagation.run(feeds, FLOAT), propagation.run(feeds, QUANTIZED)
    everything = {name for name, tensor in network.plan.tensors.items() if tensor.qparams is not None}
    results = {spec.name for spec in network.model.outputs}
    for layer in layers:
        if layer.copies is not None:
            continue
        followers = {name for one in layers if one.copies == layer.rank for name in one.outputs}
        own = {*layer.outputs, *layer.weights, *followers}
        single = frozenset({layer.rank})
        without = propagation.change(quantized, feeds, Setting(quantized=True, layers=single))
        others = _without_edges(network, own)
        assert_close(without, simulate(network.model, others, feeds), results)
        alone = propagation.change(
            exact, feeds, Setting(quantized=False, layers=single, weights=True, output=True)
        )
        only = _without_edges(network, everything - own)
        assert_close(alone, simulate(network.model, only, feeds), results)


def _without_edges(network: Planned, names: set[str]) -> QuantizationPlan:
    """Return the plan with those values exact, on every edge."""
    plan = without_codes(network.plan, names)
    sources = {node.name: node for node in network.model.graph.graph}
    edges = tuple(
        edge for edge in plan.requantize if sources[edge.node].inputs[edge.input_index].name not in names
    )
    return replace(plan, requantize=edges)


def test_a_run_that_starts_in_the_middle_leaves_what_was_kept_as_it_was(tmp_path: Path) -> None:
    network = planned(CASES[0].proto(), tmp_path, TARGETS[0])
    layers, propagation, feeds = prepared(network)
    kept = propagation.run(feeds, QUANTIZED)
    before = {name: array.copy() for name, array in kept.items()}
    propagation.change(kept, feeds, Setting(quantized=True, layers=frozenset({layers[1].rank})))
    assert kept.keys() == before.keys()
    assert all(np.array_equal(kept[name], before[name]) for name in before)


def test_other_parameters_take_the_place_of_the_plans(tmp_path: Path) -> None:
    network = planned(CASES[0].proto(), tmp_path, TARGETS[0])
    layers, propagation, feeds = prepared(network)
    kept = propagation.run(feeds, QUANTIZED)
    layer = layers[-1]
    qparams = network.plan.tensors[layer.outputs[0]].qparams
    assert qparams is not None
    coarse = replace(qparams, scale=(4 * qparams.scale[0],))
    found = propagation.change(
        kept,
        feeds,
        Setting(quantized=True, layers=frozenset({layer.rank}), weights=True, output=True, qparams=coarse),
    )
    steps = found[layer.outputs[0]] / coarse.scale[0]
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)


def test_what_only_moves_codes_follows_the_layer_that_made_them(tmp_path: Path) -> None:
    case = next(case for case in CASES if "MaxPool" in case.text)
    network = planned(case.proto(), tmp_path, "cortex-a-tflite")
    layers = layers_of(network.model, network.plan)
    pool = next(layer for layer in layers if layer.op_type == "MaxPool")
    assert pool.copies is not None
    assert layers[pool.copies].op_type == "Conv"
