"""Weights by codebooks in every format that has them: what the file stores, and what its engine makes of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from device_agent.engines.onnxruntime_library import onnxruntime
from device_agent.engines.openvino_library import openvino as ov
from host_tools.errors import LoweringError
from host_tools.lint.reading import read
from host_tools.lint.rules import check as lint
from host_tools.lower.lowering import lower
from host_tools.lower.openvino_codes import store_in_codebook
from host_tools.lower.qdq_nodes import QdqNodes
from host_tools.model.reference import FloatRunner
from host_tools.plan.check import check
from host_tools.plan.planned_values import with_stored_weights
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.recipe import KeepFloat, Recipe
from host_tools.verify.probes import PROBES
from targets import catalog
from targets.profile import CLUSTERED
from tests.unit.host_tools.lower.test_float16_weights import NETWORKS, drawn, fed, given, opened
from tests.unit.host_tools.lower.uncalibrated_networks import TEXT, made, network

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.lint.facts import LintedFile

TARGETS = ("x86_64-onnxruntime", "x86_64-openvino")
LARGE = {"table": (50, 64), "up": (64, 1024), "down": (1024, 64), "head": (10, 384), "head_bias": (10,)}
SHARE = {"weights-kmeans4": 0.16, "weights-kmeans8": 0.29}
"""Of the float weights' bytes: an eighth or a quarter, codebooks, and an ONNX file's own tables."""


def looked_up(file: LintedFile) -> list[tuple[str, int, int]]:
    """Return the operators that read a weight, or table, by a codebook: its number of elements, and of the codebook."""
    return [
        (op.kind, int(np.prod(one.shape)), one.codebook)
        for op in file.ops
        for one in (*op.data, op.weight)
        if one is not None and one.codebook and one.shape is not None
    ]


@pytest.mark.parametrize("precision", CLUSTERED)
@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("target", TARGETS)
def test_the_engine_computes_with_the_numbers_of_the_codebook(
    tmp_path: Path, target: str, name: str, precision: Any
) -> None:
    text, weights, _ = NETWORKS[name]
    if (
        name == "transposed" and precision == "weights-kmeans8"
    ):  # of few numbers, or none of its weights would become smaller
        weights = {**weights, "grouped": np.tile(weights["grouped"][:1], (6, 1, 1, 1))}
    model = network(tmp_path, text, weights)
    profile, plan, payload = made(model, target, precision)
    stored = {one.name: one.codebook for one in plan.tensors.values() if one.codebook is not None}
    assert stored
    exact = with_stored_weights(model, plan)
    arrays = fed(model)
    found = given(payload, target, arrays)
    for output, values in FloatRunner(exact, threads=1).run(arrays).items():
        assert np.abs(found[output] - values).max() <= 1e-5 * np.abs(values).max(), output
    file = opened(payload, tmp_path)
    assert file.precision in CLUSTERED
    expected = sorted((weights[one].size, len(book)) for one, book in stored.items())
    assert sorted((size, entries) for _, size, entries in looked_up(file)) == expected
    assert lint(file, profile) == ()


@pytest.mark.parametrize("precision", CLUSTERED)
@pytest.mark.parametrize("target", TARGETS)
def test_the_file_is_small_and_always_the_same(tmp_path: Path, target: str, precision: Any) -> None:
    weights = drawn(LARGE)
    model = network(tmp_path, TEXT.replace("6,40", "6,64"), weights)
    files = made(model, target, precision)[2].files
    assert made(model, target, precision)[2].files == files
    size = len(files.get("model.bin", next(iter(files.values()))))
    assert size < SHARE[precision] * sum(one.nbytes for one in weights.values())


@pytest.mark.parametrize("target", TARGETS)
def test_an_odd_number_of_weights_is_looked_up_in_pairs_too(tmp_path: Path, target: str) -> None:
    text = """net (float[1,65] x) => (float[1,135] y) {
        y = MatMul (x, odd)
    }"""
    weights = drawn({"odd": (65, 135)})
    model = network(tmp_path, text, weights)
    profile, plan, payload = made(model, target, "weights-kmeans4")
    arrays = fed(model)
    found = given(payload, target, arrays)
    for output, values in FloatRunner(with_stored_weights(model, plan), threads=1).run(arrays).items():
        assert np.abs(found[output] - values).max() <= 1e-5 * np.abs(values).max(), output
    file = opened(payload, tmp_path)
    assert [(size, entries) for _, size, entries in looked_up(file)] == [(65 * 135, 16)]
    assert lint(file, profile) == ()


def test_onnx_holds_two_indices_in_a_byte_and_the_numbers_that_they_stand_for(tmp_path: Path) -> None:
    weights = drawn(LARGE)
    model = network(tmp_path, TEXT.replace("6,40", "6,64"), weights)
    _, plan, payload = made(model, "x86_64-onnxruntime", "weights-kmeans4")
    held = {
        one.name: numpy_helper.to_array(one)
        for one in onnx.load_model_from_string(payload.files["model.onnx"]).graph.initializer
    }
    assert (held["up/indices"].dtype, held["up/indices"].shape) == (np.uint8, (64 * 1024 // 2,))
    assert held["up/pairs/codebook"].shape == (256, 2)
    codebook = np.asarray(plan.tensors["up"].codebook, np.float32)
    assert np.array_equal(np.unique(held["up/pairs/codebook"]), codebook)
    exact = with_stored_weights(model, plan).graph.graph.initializers["up"].const_value
    assert exact is not None
    assert np.array_equal(held["up/pairs/codebook"][held["up/indices"]].reshape(64, 1024), exact.numpy())
    # Where pairs would take more than they save, an index has a byte.
    assert held["head/indices"].shape == (10, 384)
    assert held["head/codebook"].shape == (16,)


@pytest.mark.parametrize("precision", CLUSTERED)
def test_onnx_runtime_looks_up_once_when_it_loads_the_file(tmp_path: Path, precision: Any) -> None:
    text, weights, _ = NETWORKS["text"]
    payload = made(network(tmp_path, text, weights), "x86_64-onnxruntime", precision)[2]
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(
        payload.files["model.onnx"], sess_options=options, providers=["CPUExecutionProvider"]
    )
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("Gather") == 1  # the model's own
    assert "Cast" not in kinds
    ran = PROBES[payload.format].executed_ops(payload, threads=1)
    assert {op.precision for op in ran if op.op_type in ("MatMul", "Gemm")} == {"float32"}


def test_openvino_keeps_indices_of_four_bits(tmp_path: Path) -> None:
    text, weights, _ = NETWORKS["text"]
    xml = made(network(tmp_path, text, weights), "x86_64-openvino", "weights-kmeans4")[2].files["model.xml"]
    assert xml.count(b'element_type="u4"') == 4
    eight = made(network(tmp_path, text, weights), "x86_64-openvino", "weights-kmeans8")[2].files["model.xml"]
    assert eight.count(b'element_type="u8"') == 4


@pytest.mark.parametrize("precision", CLUSTERED)
def test_openvino_looks_up_once_when_it_loads_the_file(tmp_path: Path, precision: Any) -> None:
    text, weights, _ = NETWORKS["text"]
    payload = made(network(tmp_path, text, weights), "x86_64-openvino", precision)[2]
    ran = PROBES[payload.format].executed_ops(payload, threads=1)
    assert [op.op_type for op in ran].count("Gather") == 1  # the model's own
    assert {op.precision for op in ran if op.op_type == "FullyConnected"} == {"float32"}


def test_openvino_refuses_a_weight_that_its_reader_computed() -> None:
    fed_in = ov.opset13.parameter([2, 2], ov.Type.f32, name="x")
    product = ov.opset13.matmul(fed_in, ov.opset13.exp(fed_in), False, False)
    with pytest.raises(LoweringError, match="Weight 'w': OpenVINO's reader made a Exp of it"):
        store_in_codebook(product.input(1), np.asarray([0.0, 1.0], np.float32), "w")


@pytest.mark.parametrize("target", TARGETS)
def test_a_table_that_two_nodes_share_is_stored_once(tmp_path: Path, target: str) -> None:
    text = """net (int64[1,6] left, int64[1,6] right) => (float[1,6,40] y) {
        a = Gather <axis = 0> (table, left)
        b = Gather <axis = 0> (table, right)
        y = Sub (a, b)
    }"""
    model = network(tmp_path, text, drawn({"table": (50, 40)}))
    profile, plan, payload = made(model, target, "weights-kmeans8")
    arrays = fed(model)
    (values,) = FloatRunner(with_stored_weights(model, plan), threads=1).run(arrays).values()
    assert np.array_equal(given(payload, target, arrays)["y"], values)
    data = payload.files.get("model.bin", next(iter(payload.files.values())))
    codebook = np.asarray(plan.tensors["table"].codebook, np.float32)
    assert data.count(codebook.tobytes()) == 1
    assert lint(opened(payload, tmp_path), profile) == ()


@pytest.mark.parametrize("target", TARGETS)
def test_float16_beside_codebooks(tmp_path: Path, target: str) -> None:
    text, weights, _ = NETWORKS["text"]
    model, profile = network(tmp_path, text, weights), catalog.load(target)
    kept = KeepFloat(ops=frozenset({"Gemm"}))
    recipe = Recipe(precision="weights-kmeans4", keep_float=kept, float_weights="float16")
    plan = plan_uncalibrated(model, profile, recipe)
    check(plan, model, profile)
    payload = lower(model, plan, profile)
    arrays = fed(model)
    found = given(payload, target, arrays)
    for name, values in FloatRunner(with_stored_weights(model, plan), threads=1).run(arrays).items():
        assert np.abs(found[name] - values).max() <= 1e-4 * np.abs(values).max(), name
    file = opened(payload, tmp_path)
    assert file.precision == "weights-kmeans4"
    assert lint(file, profile) == ()


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_reads_no_codebooks_is_told(tmp_path: Path, target: str) -> None:
    text, weights, _ = NETWORKS["text"]
    profile, _, payload = made(network(tmp_path, text, weights), target, "weights-kmeans4")
    rules = dataclasses.replace(profile.uncalibrated["weights-kmeans4"], ops=frozenset({"Gather"}))
    found = lint(
        opened(payload, tmp_path), dataclasses.replace(profile, uncalibrated={"weights-kmeans4": rules})
    )
    told = [one for one in found if one.rule == "codebook-weights"]
    assert len(told) == 3
    assert {(one.got, one.allowed, one.severity) for one in told} == {
        ("a weight by a codebook of 16", "Gather", "warning")
    }


def test_a_table_that_a_model_looks_up_by_itself_is_no_codebook(tmp_path: Path) -> None:
    source = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        net (float[1,4] x, uint8[1,4] at) => (float[1,4] y) {
            wide = Cast <to = 6> (at)
            found = Gather <axis = 0> (table, wide)
            y = Add (x, found)
        }"""
    )
    source.graph.initializer.append(numpy_helper.from_array(np.arange(16, dtype=np.float32), "table"))
    onnx.save(source, tmp_path / "own.onnx")
    file = read(tmp_path / "own.onnx")
    assert [op.kind for op in file.ops] == ["Cast", "Gather", "Add"]
    assert not looked_up(file)


@pytest.mark.parametrize("taken", ["w/indices", "w/codebook", "w/int32", "w"])
def test_a_name_that_is_taken_is_refused(taken: str) -> None:
    nodes = QdqNodes()
    nodes.initializer(taken, np.zeros(1, np.float32))
    with pytest.raises(LoweringError, match=f"Value '{taken}': the lowering needs this name for itself"):
        nodes.looked_up("w", np.zeros(4, np.uint8), np.zeros(2, np.float32))
