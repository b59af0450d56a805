"""`Stream`: as many samples as memory allows, each as if it had been there from the start, and nothing kept that no step reads."""

from __future__ import annotations

import math

import numpy as np
import pytest

from host_tools.model.topology import network_of
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.reconstruct.steps import StepWriter, steps_of
from host_tools.reconstruct.stream import Stream, sizes_of
from targets import catalog
from tests.unit.host_tools.lower.lowering_cases import CASES, TWO_ENDS
from tests.unit.host_tools.simulate.parity import _Random, planned

PROFILE = catalog.load("cortex-a-tflite")
SOME = [
    case
    for case in (*CASES, TWO_ENDS)
    if case.name in ("add_relu", "gemm", "split", "two_inputs_and_outputs")
]


def streamed(case, *, sizes=None):
    """Return a stream over a planned case, its network and its plan."""
    made = planned(case, PROFILE)
    network = network_of(made.model.graph)
    steps = steps_of(network, made.plan)
    data = CalibrationSet(_Random(made.model), made.model.inputs)
    stream = Stream(
        steps=steps,
        data=data,
        inputs={name: made.plan.tensors[name].qparams for name in network.inputs},
        sizes=sizes(len(steps)) if sizes else [len(data)] * len(steps),
    )
    writer = StepWriter(made.model, network, made.profile, threads=1)
    return stream, network, made, [(writer.exact(step), writer.quantized(step, made.plan)) for step in steps]


def passed(stream, runners):
    """Run a stream to its end and yield, before each step, every traveller's values as they are then."""
    for exact, quantized in runners:
        stream.fill()
        yield [(dict(one.exact), dict(one.quantized)) for one in stream.travellers]
        stream.finish(exact, quantized)


@pytest.mark.parametrize("case", SOME, ids=lambda case: case.name)
def test_a_late_sample_is_as_if_it_had_been_there_from_the_start(case):
    early, *_, runners = streamed(case)
    late, *_, others = streamed(case, sizes=lambda count: [min(8, 1 + 3 * at) for at in range(count)])
    for number, (all_at_once, one_by_one) in enumerate(
        zip(passed(early, runners), passed(late, others), strict=True)
    ):
        assert len(one_by_one) == min(8, 1 + 3 * number)
        for whole, own in zip(all_at_once, one_by_one, strict=False):
            for side, other in zip(whole, own, strict=True):
                assert set(side) == set(other)
                assert all((side[name] == other[name]).all() for name in side)


@pytest.mark.parametrize("case", SOME, ids=lambda case: case.name)
def test_nothing_is_kept_that_no_step_reads(case):
    stream, *_, runners = streamed(case)
    for at, values in enumerate(passed(stream, runners)):
        needed = {name for step in stream.steps[at:] for name in step.reads}
        written = {name for step in stream.steps[:at] for name in step.writes} | set(stream.inputs)
        for exact, quantized in values:
            assert set(exact) == set(quantized) == needed & written
    assert all(not one.exact and not one.quantized for one in stream.travellers)


def test_samples_keep_their_names_and_order():
    stream, *_, runners = streamed(SOME[0], sizes=lambda count: range(1, count + 1))
    list(passed(stream, runners))
    assert [one.id for one in stream.travellers] == [str(at) for at in range(len(stream.steps))]


def test_inputs_become_codes_to_nearest_and_saturate():
    stream, _, made, _ = streamed(SOME[0])
    stream.fill()
    qparams = made.plan.tensors["x"].qparams
    for one in stream.travellers:
        codes = one.quantized["x"]
        real = (codes.astype(np.float64) - qparams.zero_point[0]) * qparams.scale[0]
        assert codes.dtype == qparams.dtype
        assert np.abs(real - one.exact["x"]).max() <= qparams.scale[0] * 0.5001
    assert stream._taken_in("x", np.asarray([1e30, -1e30], np.float32)).tolist() == [127, -128]


def test_runners_are_let_go_when_no_sample_is_to_come():
    stream, *_, runners = streamed(SOME[0])
    list(passed(stream, runners))
    assert not stream._finished_runners


@pytest.mark.parametrize("case", [*CASES, TWO_ENDS], ids=lambda case: case.name)
@pytest.mark.parametrize("memory", [1, 20_000, 100_000, 1 << 40])
def test_sizes_never_fall_and_obey_memory(case, memory):
    made = planned(case, PROFILE)
    network = network_of(made.model.graph)
    steps = steps_of(network, made.plan)
    sizes = sizes_of(steps, network, made.plan, 50, memory=memory)
    assert len(sizes) == len(steps)
    assert list(sizes) == sorted(sizes)
    assert 1 <= sizes[0] <= sizes[-1] <= 50
    if memory == 1 << 40:
        assert set(sizes) == {50}
    for at, size in enumerate(sizes):
        there = {name for step in steps[:at] for name in step.writes} | set(network.inputs)
        read = {name for step in steps[at:] for name in step.reads} & there
        live = sum(
            math.prod(network.values[name].shape.numpy())
            * (4 + np.dtype(made.plan.tensors[name].qparams.dtype).itemsize)
            for name in (*read, *steps[at].writes)
        )
        assert size == 1 or size * live <= memory
