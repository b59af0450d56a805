"""The chain of quantized steps gives the codes that the simulator gives, and the chain of exact ones what the float model gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from host_tools.model.reference import FloatRunner
from host_tools.model.topology import network_of
from host_tools.recipe import KeepFloat, Recipe
from host_tools.reconstruct.steps import StepWriter, steps_of
from host_tools.simulate import simulate
from targets import catalog
from tests.unit.host_tools.lower.lowering_cases import CASES, TWO_ENDS, Case, between
from tests.unit.host_tools.simulate.parity import Planned, planned

_TFLITE = catalog.load("cortex-a-tflite")
_WIDE = replace(_TFLITE.activations, bits=16, zero_point="symmetric")
_AWAY = replace(
    catalog.load("generic-power-of-two").rounding,
    requantization="half_away_from_zero",
    activations="half_away_from_zero",
)
PROFILES = {
    "x86_64-onnxruntime": catalog.load("x86_64-onnxruntime"),  # uint8, zero points
    "cortex-a-tflite": _TFLITE,  # fixed outputs, fused activations
    "generic-per-tensor-symmetric": catalog.load("generic-per-tensor-symmetric"),
    "amd-vitis-dpu": catalog.load("amd-vitis-dpu"),  # powers of two, halves up
    "espressif-esp32s3": catalog.load("espressif-esp32s3"),  # powers of two, 20-bit biases
    "halves away from zero": replace(catalog.load("generic-power-of-two"), rounding=_AWAY),
    "16 bits": replace(_TFLITE, activations=_WIDE),
}


def entered(made: Planned, sample):
    """Return the inputs as the simulator stores them."""
    stored = simulate(made.model, made.plan, made.profile).trace(sample)
    return {spec.name: stored[spec.name] for spec in made.model.inputs}


def chained(made: Planned, sample):
    """Run all exact steps one after the other, each on what the ones before have left."""
    network = network_of(made.model.graph)
    writer = StepWriter(made.model, network, made.profile, threads=1)
    stored = dict(sample)
    for step in steps_of(network, made.plan):
        stored.update(writer.exact(step).run(stored))
    return stored


def assert_the_simulators_codes(made: Planned) -> None:
    """Hold every step against the simulator: on what the simulator has there to a code, and chained nearly everywhere."""
    network = network_of(made.model.graph)
    writer = StepWriter(made.model, network, made.profile, threads=1)
    steps = [(step, writer.quantized(step, made.plan)) for step in steps_of(network, made.plan)]
    simulator = simulate(made.model, made.plan, made.profile)
    alone, together, total = 0, 0, 0
    for sample in made.samples(np.random.default_rng(0), 2):
        wanted = simulator.trace(sample)
        stored = entered(made, sample)
        for step, runner in steps:
            found = runner.run(wanted)
            stored.update(runner.run(stored))
            assert list(found) == list(step.writes)
            for name, array in found.items():
                assert (array.shape, array.dtype) == (wanted[name].shape, wanted[name].dtype), name
                if made.plan.tensors[name].qparams is None:
                    np.testing.assert_allclose(array, wanted[name], rtol=1e-5, atol=1e-5, err_msg=name)
                    continue
                distance = _distance(array, wanted[name])
                assert distance.max(initial=0) <= 1, name
                alone += np.count_nonzero(distance)
                together += np.count_nonzero(_distance(stored[name], wanted[name]))
                total += distance.size
        assert set(stored) == set(wanted)
    assert alone <= 0.02 * total, f"{alone} of {total} codes differ"
    assert together <= 0.05 * total, f"{together} of {total} codes differ behind one another"


def _distance(found, wanted):
    return np.abs(found.astype(np.int64) - wanted.astype(np.int64))


@pytest.mark.parametrize("target", list(PROFILES))
@pytest.mark.parametrize("case", [*CASES, TWO_ENDS], ids=lambda case: case.name)
def test_codes_are_the_simulators(case: Case, target: str) -> None:
    assert_the_simulators_codes(planned(case, PROFILES[target]))


@pytest.mark.parametrize(
    "name", ["conv_relu", "add_relu", "gemm_relu", "softmax", "several_readers", "concat"]
)
def test_nodes_that_stay_in_float(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    made = planned(case, PROFILES["x86_64-onnxruntime"])
    nodes = list(network_of(made.model.graph).nodes)
    for kept in nodes:
        recipe = Recipe(method="minmax", keep_float=KeepFloat(nodes=frozenset({kept})))
        own = planned(case, made.profile, recipe)
        assert own.plan.nodes[kept].precision == "float32"
        assert_the_simulators_codes(own)


@pytest.mark.parametrize("case", [*CASES, TWO_ENDS], ids=lambda case: case.name)
def test_exact_steps_are_the_float_model(case: Case) -> None:
    made = planned(case, PROFILES["cortex-a-tflite"])
    (sample,) = made.samples(np.random.default_rng(0), 1)
    found = chained(made, sample)
    for name, wanted in FloatRunner(made.model, threads=1).run(sample).items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-5)


def test_a_first_output_that_is_left_out() -> None:
    """An LSTM that gives its last state only, as in speech detectors."""
    case = between(
        "recurrent",
        """f = Reshape (a, rows)
        , h = LSTM <hidden_size = 8> (f, w, r)
        m = Reshape (h, square)""",
        result=(8, 1, 1),
        w=(1, 32, 64),
        r=(1, 32, 8),
        rows=np.asarray([8, 1, 64], np.int64),
        square=np.asarray([1, 8, 1, 1], np.int64),
    )
    assert_both_chains(case)


def test_a_constant_without_axes_keeps_none() -> None:
    """Gather takes one row by an index without axes, and that axis away; by an index of one entry it would stay."""
    case = between(
        "picked",
        "g = Gather <axis = 1> (a, third) m = Unsqueeze (g, first)",
        result=(1, 8, 8),
        third=np.asarray(2, np.int64),
        first=np.asarray([1], np.int64),
    )
    assert_both_chains(case)


def assert_both_chains(case: Case) -> None:
    """Hold the quantized steps against the simulator, and the exact ones against the float model."""
    made = planned(case, PROFILES["x86_64-onnxruntime"])
    assert_the_simulators_codes(made)
    (sample,) = made.samples(np.random.default_rng(0), 1)
    (wanted,) = FloatRunner(made.model, threads=1).run(sample).values()
    np.testing.assert_allclose(chained(made, sample)["y"], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", list(PROFILES))
def test_edges_of_another_scale(target: str) -> None:
    case = between(
        "joined",
        "s = Sigmoid (a) b = Conv (x, other_w, other_b) j = Concat <axis = 1> (s, b) t = Concat <axis = 1> (s, a) m = Add (j, t)",
        result=(16, 8, 8),
        other_w=(8, 4, 1, 1),
        other_b=(8,),
    )
    made = planned(case, PROFILES[target])
    if target == "cortex-a-tflite":
        assert made.plan.requantize
    assert_the_simulators_codes(made)


def test_a_step_says_what_it_reads_and_writes() -> None:
    made = planned(next(case for case in CASES if case.name == "add_relu"), PROFILES["cortex-a-tflite"])
    steps = steps_of(network_of(made.model.graph), made.plan)
    fused = next(step for step in steps if step.tails)
    assert [node.op_type for node in fused.nodes] == ["Add", "Relu"]
    assert fused.reads == ("a", "b")
    assert fused.writes == ("m",)
    assert fused.head_result == "s"
    assert [step.writes for step in steps] == [("a",), ("b",), ("m",), ("y",)]
