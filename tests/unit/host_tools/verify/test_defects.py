"""Payloads that compute something else than their plan, by little: verification finds each, where outputs alone would say nothing."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from host_tools.lower.lowering import lower
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.plan.planner import plan
from host_tools.processor import shortfall
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from host_tools.verify.candidate import Candidate, Evaluation
from host_tools.verify.operator_parity import SAMPLES, OperatorMeter
from host_tools.verify.verification_report import Budget, TargetReport
from host_tools.verify.verifier import verify
from targets import catalog
from tests.e2e.small_network import samples
from tests.unit.host_tools.lower.uncalibrated_networks import network
from tests.unit.host_tools.small_candidate import small_candidate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from host_tools.model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan

    Change = Callable[[onnx.ModelProto], None]

COUNT = 12
QDQ_TARGETS = ("x86_64-onnxruntime", "generic-power-of-two", "nvidia-tensorrt")


def verified(model: FloatModel, candidate: Candidate, folder: Path) -> TargetReport:
    np.save(folder / "evaluation.npy", samples(COUNT, seed=3))
    return verified_on(folder / "evaluation.npy", model, candidate)


def verified_on(data: Path, model: FloatModel, candidate: Candidate) -> TargetReport:
    found = verify(
        model,
        [candidate],
        evaluation=Evaluation(
            data=open_data(data, inputs=model.inputs),
            labels=None,
            metric=None,
            origin="",
        ),
        budget=Budget(min_agreement=0.0, min_sqnr_db=-20.0),
        calibration_samples=4,
        threads=1,
        latency=False,
        made_with={},
        progress=Silent(),
    )
    return found.report.targets[0]


def activation_reader(model: onnx.ModelProto) -> onnx.NodeProto:
    """Return the DequantizeLinear of an activation in the middle."""
    codes = {node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    readers = [
        node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in codes
    ]
    return readers[len(readers) // 2]


def replaced(model: onnx.ModelProto, node: onnx.NodeProto, index: int, change: Callable[..., object]) -> None:
    (tensor,) = (one for one in model.graph.initializer if one.name == node.input[index])
    array = numpy_helper.to_array(tensor)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(change(array), array.dtype), "defect"))
    node.input[index] = "defect"


def wrong_zero_point(model: onnx.ModelProto) -> None:
    replaced(model, activation_reader(model), 2, lambda zero: zero + 1)


def wrong_scale(model: onnx.ModelProto) -> None:
    replaced(model, activation_reader(model), 1, lambda scale: scale * 1.05)


def rounding_down(model: onnx.ModelProto) -> None:
    """Half a step less before every QuantizeLinear: what was rounded to the nearest is now cut."""
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            name = f"{node.output[0]}/half"
            half = np.asarray(constants[node.input[1]] / 2.0, np.float32)
            model.graph.initializer.append(numpy_helper.from_array(half, name))
            nodes.append(helper.make_node("Sub", [node.input[0], name], [f"{name}/less"]))
            node.input[0] = f"{name}/less"
        nodes.append(node)
    held = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(held)


def changed(candidate: Candidate, change: Change) -> Candidate:
    model = onnx.load_model_from_string(candidate.payload.files["model.onnx"])
    change(model)
    files = {**candidate.payload.files, "model.onnx": model.SerializeToString()}
    return dataclasses.replace(candidate, payload=dataclasses.replace(candidate.payload, files=files))


@pytest.mark.parametrize("target", catalog.ids())
def test_what_was_planned_passes_on_every_target(tmp_path: Path, target: str) -> None:
    report = verified(*small_candidate(tmp_path, target), tmp_path)
    saturates = shortfall(catalog.load(target))
    if (
        saturates is not None
    ):  # what is measured on this processor says nothing of the target, and the report says so
        assert saturates in report.warnings
        assert report.verdict == "pass" or report.reasons[-1] == saturates
        return
    assert report.verdict == "pass", report.reasons
    assert report.parity is not None
    assert report.parity.operator_count >= 2
    assert all(one.within_one_share == 1.0 for one in report.parity.operators)


@pytest.mark.parametrize("change", [wrong_zero_point, wrong_scale, rounding_down])
@pytest.mark.parametrize("target", QDQ_TARGETS)
def test_a_defect_of_a_single_code_is_found(tmp_path: Path, target: str, change: Change) -> None:
    model, candidate = small_candidate(tmp_path, target)
    report = verified(model, changed(candidate, change), tmp_path)
    assert report.verdict == "fail"
    assert any("on the engine's own inputs" in reason for reason in report.reasons)


def with_other_scale(plan: QuantizationPlan, value: str) -> QuantizationPlan:
    planned = plan.tensors[value]
    assert planned.qparams is not None
    qparams = dataclasses.replace(planned.qparams, scale=(planned.qparams.scale[0] * 1.05,))
    tensors = {**plan.tensors, value: dataclasses.replace(planned, qparams=qparams)}
    return dataclasses.replace(plan, tensors=MappingProxyType(tensors))


@pytest.mark.parametrize("target", ["cortex-a-tflite", "x86_64-openvino", "nxp-neutron"])
def test_a_file_with_another_scale_than_planned_is_found_in_every_format(tmp_path: Path, target: str) -> None:
    model, candidate = small_candidate(tmp_path, target)
    (value,) = (name for name in ("s",) if candidate.plan.tensors[name].qparams is not None)
    other = lower(model, with_other_scale(candidate.plan, value), candidate.profile)
    report = verified(model, dataclasses.replace(candidate, payload=other), tmp_path)
    assert report.verdict == "fail"
    assert any(f"writes {value!r}" in reason for reason in report.reasons)


def test_what_cannot_be_simulated_is_told_and_outputs_are_held_instead(tmp_path: Path) -> None:
    model, candidate = small_candidate(tmp_path, "x86_64-onnxruntime")
    narrow = dataclasses.replace(
        candidate.profile, accumulator=dataclasses.replace(candidate.profile.accumulator, bits=9)
    )
    report = verified(model, dataclasses.replace(candidate, profile=narrow), tmp_path)
    assert report.parity is not None
    assert report.parity.operator_count == 0
    assert any("were not compared one by one" in warning for warning in report.warnings)


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    _, candidate = small_candidate(tmp_path, "x86_64-onnxruntime")
    meter = OperatorMeter(candidate)
    for _ in range(SAMPLES):
        assert not meter.is_full
        meter.add([("images", np.full((1, 3, 16, 16), np.nan))])
    assert meter.is_full
    assert meter.count == 0
    assert meter.result() == ()


@pytest.mark.parametrize("target", ["x86_64-onnxruntime", "cortex-a-tflite"])
def test_operators_behind_a_table_that_is_looked_up_are_compared(tmp_path: Path, target: str) -> None:
    model, data = network(tmp_path), tmp_path / "data.npz"
    numbers = np.random.default_rng(1)
    np.savez(
        data,
        ids=numbers.integers(0, 50, (COUNT, 1, 6)),
        more=numbers.standard_normal((COUNT, 1, 6, 40)).astype(np.float32),
    )
    samples_of_both = open_data(data, inputs=model.inputs)
    statistics = observe(model, samples_of_both, histograms=False, threads=1, progress=Silent())
    profile = catalog.load(target)
    planned = plan(model, statistics, profile, Recipe(method="minmax"))
    candidate = Candidate(profile=profile, model=model, plan=planned, payload=lower(model, planned, profile))
    report = verified_on(data, model, candidate)
    assert report.parity is not None
    assert report.parity.operator_count > 0
    assert not any("were not compared one by one" in warning for warning in report.warnings)
