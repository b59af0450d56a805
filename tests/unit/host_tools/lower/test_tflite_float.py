"""Float plans and mixed ones: what is planned as float is ONNX Runtime's float, and integers begin and end where the plan says."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from lowering_cases import CASES, TWO_ENDS, Case
from lowering_template import Prepared, Samples, prepare
from plan_simulation import simulate
from tflite_file import (
    XNNPACK,
    assert_float_matches,
    float_payload,
    load_case,
    names_of,
    ops_of,
    run,
    with_tensor,
)

from host_tools.errors import LoweringError
from host_tools.lower.lowering import lower
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.observe.observer import observe
from host_tools.plan.planner import plan as make_plan
from host_tools.plan.quantization_plan import Requantize
from host_tools.progress import Silent
from host_tools.recipe import KeepFloat, Recipe
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.lower.payload import Payload
    from host_tools.plan.quantization_plan import QParams

CASE = {case.name: case for case in (*CASES, TWO_ENDS)}


@pytest.mark.parametrize("case", CASE.values(), ids=CASE)
def test_a_plan_without_codes_is_the_float_model(case: Case, tmp_path: Path) -> None:
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(names_of(payload))
    types = {
        tensor.type for op in ops_of(payload) for tensor in (*op.inputs, *op.outputs) if tensor is not None
    }
    assert types <= {"FLOAT32", "INT32"}


@pytest.mark.parametrize("case", CASE.values(), ids=CASE)
def test_a_recipe_that_keeps_all_in_float_fuses_and_is_the_float_model(case: Case, tmp_path: Path) -> None:
    model, profile = load_case(case, tmp_path), catalog.load("cortex-a-tflite")
    door = dataclasses.replace(profile.interface, input_type="float32", output_type="float32")
    profile = dataclasses.replace(profile, interface=door)
    statistics = observe(
        model, CalibrationSet(Samples(model), model.inputs), histograms=False, threads=1, progress=Silent()
    )
    ops = frozenset(node.op_type for node in model.graph.graph)
    plan = make_plan(model, statistics, profile, Recipe(method="minmax", keep_float=KeepFloat(ops=ops)))
    payload = lower(model, plan, profile)
    assert_float_matches(model, payload)
    assert [tensor.dtype for tensor in (*payload.inputs, *payload.outputs)] == ["float32"] * (
        len(model.inputs) + len(model.outputs)
    )


def prepared_case(name: str, folder: Path, *, keep_float: tuple[str, ...] = ()) -> Prepared:
    return prepare(CASE[name], folder, catalog.load("cortex-a-tflite"), keep_float=keep_float)


ISLANDS = (
    "conv", "conv_depthwise", "conv_clip", "conv_transpose", "add_relu", "mul_of_channels", "leaky_relu", "prelu", "tanh", "max_pool",
    "average_pool", "concat", "split", "slice", "pad", "transpose", "reshape", "resize_linear", "several_readers", "clip_alone",
)  # fmt: skip


@pytest.mark.parametrize("name", ISLANDS)
def test_a_float_island_between_integers(name: str, tmp_path: Path) -> None:
    middle = tuple(node.name for node in prepared_case(name, tmp_path).model.graph.graph)[1:-1]
    check_mixed(prepared_case(name, tmp_path, keep_float=middle))


@pytest.mark.parametrize("name", ISLANDS)
def test_an_integer_island_between_floats(name: str, tmp_path: Path) -> None:
    names = tuple(node.name for node in prepared_case(name, tmp_path).model.graph.graph)
    check_mixed(prepared_case(name, tmp_path, keep_float=(names[0], names[-1])))


def check_mixed(prepared: Prepared) -> None:
    payload = prepared.lower()
    assert {"QUANTIZE", "DEQUANTIZE"} & set(names_of(payload))
    found, unit = [], 0.0
    for sample in prepared.samples():
        expected = simulate(prepared.model, prepared.plan, sample)["y"]
        qparams = prepared.plan.tensors["y"].qparams
        unit = qparams.scale[0] if qparams is not None else float(np.ptp(expected)) / 255
        found.append(np.abs(run(payload, sample, XNNPACK)["y"] - expected) / unit)
    # Ties in pools and slopes move codes in front of the last Conv (see test_tflite_template).
    has_ties = {node.op_type for node in prepared.model.graph.graph} & {
        "AveragePool",
        "PRelu",
        "LeakyRelu",
        "Resize",
    }
    assert np.mean(np.concatenate(found) > 1.5) < (0.2 if has_ties else 0.02)
    assert np.concatenate(found).max() <= 12


def test_dequantized_once_for_all_float_readers(tmp_path: Path) -> None:
    names = [node.name for node in prepared_case("several_readers", tmp_path).model.graph.graph]
    payload = prepared_case("several_readers", tmp_path, keep_float=tuple(names[1:])).lower()
    assert names_of(payload).count("DEQUANTIZE") == 1


COARSER = 256 / 43
"""XNNPACK re-quantizes by a factor of 8 fractional bits (as for `leaky_relu` in test_tflite_template): this one is exact in them, with one tie, at 128."""


def coarse(qparams: QParams) -> QParams:
    return dataclasses.replace(qparams, scale=(qparams.scale[0] * COARSER,), zero_point=(11,))


def with_edges(prepared: Prepared, *edges: Requantize) -> Prepared:
    return dataclasses.replace(prepared, plan=dataclasses.replace(prepared.plan, requantize=edges))


def test_a_requantized_edge_has_a_scale_of_its_own_and_others_do_not(tmp_path: Path) -> None:
    prepared = prepared_case("several_readers", tmp_path)
    reader = next(node for node in prepared.model.graph.graph if node.op_type == "Relu")
    qparams = prepared.plan.tensors["a"].qparams
    edge = Requantize(node=reader.name, input_index=0, qparams=coarse(qparams), reason="test")
    changed = with_edges(prepared, edge)
    payload = changed.lower()
    quantize = [op for op in ops_of(payload) if op.name == "QUANTIZE" and op.inputs[0].name == "a"]
    assert [op.outputs[0].zero_point for op in quantize] == [(11,)]
    assert quantize[0].outputs[0].scale == (float(np.float32(coarse(qparams).scale[0])),)
    assert wrong_share(payload, changed) < 0.02
    assert wrong_share(payload, prepared) > 0.1


def wrong_share(payload: Payload, prepared: Prepared) -> float:
    """Return which share of the output's codes differs from the plan's arithmetic."""
    unit = prepared.plan.tensors["y"].qparams.scale[0]
    distances = [
        np.abs(run(payload, sample, XNNPACK)["y"] - simulate(prepared.model, prepared.plan, sample)["y"])
        / unit
        for sample in prepared.samples()
    ]
    return float(np.mean(np.stack(distances) > 0.5))


def test_two_edges_of_the_same_scale_share_their_quantize(tmp_path: Path) -> None:
    prepared = prepared_case("several_readers", tmp_path)
    nodes = [node for node in prepared.model.graph.graph if "a" in {value.name for value in node.inputs}]
    edges = [
        Requantize(
            node=node.name, input_index=0, qparams=coarse(prepared.plan.tensors["a"].qparams), reason="test"
        )
        for node in nodes
        if node.op_type in {"Conv", "Relu"}
    ]
    # The Conv's bias belongs to the input's scale; it is re-based as the planner would do it.
    conv = next(node for node in nodes if node.op_type == "Conv")
    bias = prepared.plan.tensors[conv.inputs[2].name].qparams
    rebased = dataclasses.replace(bias, scale=tuple(scale * COARSER for scale in bias.scale))
    plan = with_tensor(with_edges(prepared, *edges).plan, conv.inputs[2].name, qparams=rebased)
    payload = lower(prepared.model, plan, prepared.profile)
    assert len(edges) == 2
    assert sum(op.name == "QUANTIZE" and op.inputs[0].name == "a" for op in ops_of(payload)) == 1
    assert wrong_share(payload, dataclasses.replace(prepared, plan=plan)) < 0.02


def test_an_edge_of_the_value_s_own_scale_adds_nothing(tmp_path: Path) -> None:
    prepared = prepared_case("conv", tmp_path)
    edge = Requantize(node="Conv_m", input_index=0, qparams=prepared.plan.tensors["a"].qparams, reason="test")
    assert edge.node in prepared.plan.nodes
    assert names_of(with_edges(prepared, edge).lower()) == names_of(prepared.lower())


def test_a_float_node_reads_a_requantized_edge_too(tmp_path: Path) -> None:
    prepared = prepared_case("add", tmp_path, keep_float=("Add_m",))
    edge = Requantize(
        node="Add_m", input_index=0, qparams=coarse(prepared.plan.tensors["a"].qparams), reason="test"
    )
    changed = with_edges(prepared, edge)
    assert wrong_share(changed.lower(), changed) < 0.02
    assert wrong_share(changed.lower(), prepared) > 0.3


def test_an_integer_node_that_would_read_a_float_is_refused(tmp_path: Path) -> None:
    prepared = prepared_case("conv", tmp_path)
    plan = with_tensor(prepared.plan, "a", qparams=None)
    with pytest.raises(
        LoweringError, match=r"Conv 'Conv_a': runs in integers, but its output 'a' is planned as float"
    ):
        lower(prepared.model, plan, prepared.profile)


def test_an_integer_node_whose_weight_is_float_is_refused(tmp_path: Path) -> None:
    prepared = prepared_case("conv", tmp_path)
    weight = next(node for node in prepared.model.graph.graph if node.name == "Conv_m").inputs[1].name
    with pytest.raises(LoweringError, match=rf"'Conv_m': runs in integers, but its weight '{weight}' has no"):
        lower(prepared.model, with_tensor(prepared.plan, weight, qparams=None), prepared.profile)


def test_an_integer_node_whose_bias_is_float_is_refused(tmp_path: Path) -> None:
    prepared = prepared_case("conv", tmp_path)
    bias = next(node for node in prepared.model.graph.graph if node.name == "Conv_m").inputs[2].name
    with pytest.raises(LoweringError, match=rf"'Conv_m': runs in integers, but its bias '{bias}' has no"):
        lower(prepared.model, with_tensor(prepared.plan, bias, qparams=None), prepared.profile)


def test_weights_that_are_not_symmetric_are_refused(tmp_path: Path) -> None:
    prepared = prepared_case("conv", tmp_path)
    weight = next(node for node in prepared.model.graph.graph if node.name == "Conv_m").inputs[1].name
    qparams = prepared.plan.tensors[weight].qparams
    moved = dataclasses.replace(qparams, zero_point=(3,) * len(qparams.zero_point))
    with pytest.raises(LoweringError, match=r"zero points \[3\]; TFLite takes symmetric int8 weights"):
        lower(prepared.model, with_tensor(prepared.plan, weight, qparams=moved), prepared.profile)


def test_weights_with_scales_along_another_axis_are_refused(tmp_path: Path) -> None:
    prepared = prepared_case("conv", tmp_path)
    weight = next(node for node in prepared.model.graph.graph if node.name == "Conv_m").inputs[1].name
    qparams = prepared.plan.tensors[weight].qparams
    with pytest.raises(LoweringError, match=r"scales along axis 1; TFLite needs axis 0"):
        lower(
            prepared.model,
            with_tensor(prepared.plan, weight, qparams=dataclasses.replace(qparams, axis=1)),
            prepared.profile,
        )


def test_unsigned_activations_are_refused(tmp_path: Path) -> None:
    prepared = prepared_case("conv", tmp_path)
    unsigned = dataclasses.replace(
        prepared.plan.tensors["a"].qparams, dtype="uint8", quant_min=0, quant_max=255, zero_point=(128,)
    )
    with pytest.raises(LoweringError, match="'a' is planned as uint8"):
        lower(prepared.model, with_tensor(prepared.plan, "a", qparams=unsigned), prepared.profile)
