"""Weights in float16 in every format: what the file stores, what its engine makes of it, and integers around them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from lowering_template import Samples

from device_agent.engines import load_engine
from device_agent.engines.openvino_library import openvino as ov
from device_agent.sources.adapt import to_payload, to_source
from host_tools.errors import LoweringError
from host_tools.lint.reading import read
from host_tools.lint.rules import check as lint
from host_tools.lower.lowering import lower
from host_tools.lower.openvino_codes import store_in_float16
from host_tools.lower.qdq_nodes import QdqNodes
from host_tools.model.reference import FloatRunner
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.observe.observer import observe
from host_tools.plan.check import check
from host_tools.plan.planned_values import with_planned_values, with_stored_weights
from host_tools.plan.planner import plan as make_plan
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.progress import Silent
from host_tools.recipe import KeepFloat, Recipe
from host_tools.simulate import simulate
from host_tools.verify.probes import PROBES
from targets import catalog
from tests.unit.host_tools.lower.uncalibrated_networks import IMAGE, TEXT, image_constants, made, network

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from host_tools.lint.facts import LintedFile
    from host_tools.lower.payload import Payload
    from host_tools.model import FloatModel

    Arrays = Mapping[str, NDArray[np.generic]]

TARGETS = {
    "x86_64-onnxruntime": "model.onnx",
    "x86_64-openvino": "model.xml",
    "cortex-a-tflite": "model.tflite",
}
TEXT_SIZES = {"table": (50, 40), "up": (40, 72), "down": (72, 40), "head": (10, 240), "head_bias": (10,)}
UP = """net (float[1,4,5,5] image) => (float[1,6,10,10] y) {
    a = ConvTranspose <strides = [2,2]> (image, up, up_bias)
    b = Relu (a)
    y = Conv <pads = [1,1,1,1], group = 2> (b, grouped, grouped_bias)
}"""
UP_SIZES = {"up": (4, 8, 2, 2), "up_bias": (8,), "grouped": (6, 4, 3, 3), "grouped_bias": (6,)}
BATCHED = """net (float[2,3,40] x) => (float[2,3,24] y) {
    y = MatMul (x, stack)
}"""
"""A constant of two matrices, which TFLite has no fully connected operator for."""


def drawn(sizes: Mapping[str, tuple[int, ...]], seed: int = 7) -> dict[str, NDArray[np.float32]]:
    numbers = np.random.default_rng(seed)
    return {name: numbers.standard_normal(size).astype(np.float32) for name, size in sizes.items()}


NETWORKS = {
    "text": (TEXT, drawn(TEXT_SIZES), {"table", "up", "down", "head"}),
    "image": (IMAGE, image_constants(), {"first", "deep", "head"}),
    "transposed": (UP, drawn(UP_SIZES), {"up", "grouped"}),
    "batched": (BATCHED, drawn({"stack": (2, 40, 24)}), {"stack"}),
}


def fed(model: FloatModel, seed: int = 5) -> dict[str, NDArray[np.generic]]:
    numbers = np.random.default_rng(seed)
    return {
        spec.name: numbers.integers(0, 50, spec.shape)
        if spec.dtype == "int64"
        else numbers.standard_normal(spec.shape).astype(np.float32)
        for spec in model.inputs
    }


def given(payload: Payload, target: str, arrays: Arrays) -> dict[str, NDArray[np.float64]]:
    engine = load_engine(catalog.load(target).engine.name, payload.files, threads=1)
    try:
        found = engine.infer(to_payload(arrays, payload.inputs))
        return dict(to_source([np.array(one) for one in found], payload.outputs))
    finally:
        engine.close()


def opened(payload: Payload, folder: Path) -> LintedFile:
    for name, data in payload.files.items():
        (folder / name).write_bytes(data)
    return read(folder / next(iter(payload.files)))


def halves(file: LintedFile) -> list[tuple[str, int]]:
    """Return the operators that read a float16 weight, or table, with its number of elements."""
    return [
        (op.kind, int(np.prod(one.shape)))
        for op in file.ops
        if op.kind != "DEQUANTIZE"
        for one in (*op.data, op.weight)
        if one is not None and one.is_constant and one.dtype == "float16" and one.shape is not None
    ]


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_engine_computes_with_the_rounded_weights(tmp_path: Path, target: str, name: str) -> None:
    text, weights, stored = NETWORKS[name]
    model = network(tmp_path, text, weights)
    profile, plan, payload = made(model, target, "weights-float16")
    assert {one.name for one in plan.tensors.values() if one.float_type == "float16"} == stored
    exact = with_stored_weights(model, plan)
    for weight in stored:
        held = exact.graph.graph.initializers[weight].const_value
        assert held is not None
        assert np.array_equal(held.numpy(), weights[weight].astype(np.float16).astype(np.float32))
    arrays = fed(model)
    found = given(payload, target, arrays)
    unrounded = FloatRunner(model, threads=1).run(arrays)
    for output, values in FloatRunner(exact, threads=1).run(arrays).items():
        distance = np.abs(found[output] - values).max()
        assert distance <= 1e-5 * np.abs(values).max(), output
        assert distance < 0.2 * np.abs(found[output] - unrounded[output]).max(), output
    file = opened(payload, tmp_path)
    assert file.precision == "weights-float16"
    assert lint(file, profile) == ()


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_file_has_half_the_bytes_and_is_always_the_same(tmp_path: Path, target: str) -> None:
    sizes = {"table": (50, 64), "up": (64, 1024), "down": (1024, 64), "head": (10, 384), "head_bias": (10,)}
    weights = drawn(sizes)
    model = network(tmp_path, TEXT.replace("6,40", "6,64"), weights)
    files = made(model, target, "weights-float16")[2].files
    assert made(model, target, "weights-float16")[2].files == files
    # An OpenVINO network takes some thousand bytes of text besides; what is stored is in the other file.
    size = len(files.get("model.bin", next(iter(files.values()))))
    assert size < 0.52 * sum(one.nbytes for one in weights.values())


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_engine_says_what_it_runs_in(tmp_path: Path, target: str) -> None:
    text, weights, _ = NETWORKS["text"]
    payload = made(network(tmp_path, text, weights), target, "weights-float16")[2]
    ran = PROBES[payload.format].executed_ops(payload, threads=1)
    products = [
        op.precision for op in ran if op.op_type in ("MatMul", "Gemm", "FullyConnected", "FULLY_CONNECTED")
    ]
    assert len(products) >= 3
    # OpenVINO keeps what it multiplies by as it is, and looks half floats up; the others make float32 of them when they load the file.
    is_kept = target == "x86_64-openvino"
    assert set(products) == {"float32 (float16 weights)" if is_kept else "float32"}
    assert {op.op_type for op in ran if op.precision == "float16"} == ({"Gather"} if is_kept else set())
    assert not [op for op in ran if op.precision.startswith("int")]


def test_openvino_bears_the_mark_of_its_own_compression(tmp_path: Path) -> None:
    text, weights, _ = NETWORKS["text"]
    xml = made(network(tmp_path, text, weights), "x86_64-openvino", "weights-float16")[2].files["model.xml"]
    assert xml.count(b'<attribute name="decompression" version="0"') == 4


def test_openvino_refuses_a_weight_that_its_reader_computed() -> None:
    fed_in = ov.opset13.parameter([2, 2], ov.Type.f32, name="x")
    product = ov.opset13.matmul(fed_in, ov.opset13.exp(fed_in), False, False)
    with pytest.raises(LoweringError, match="Weight 'w': OpenVINO's reader made a Exp of it"):
        store_in_float16(product.input(1), "w")


def test_tflite_stores_them_as_the_converter_of_tensorflow_does(tmp_path: Path) -> None:
    text, weights, _ = NETWORKS["text"]
    data = made(network(tmp_path, text, weights), "cortex-a-tflite", "weights-float16")[2].files[
        "model.tflite"
    ]
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))
    main = model.subgraphs[0]
    held = [one for one in main.tensors if one.type == schema.TensorType.FLOAT16]
    assert sorted(one.name.decode() for one in held) == ["down", "head", "table", "up"]
    codes = {
        (model.operatorCodes[one.opcodeIndex].builtinCode, model.operatorCodes[one.opcodeIndex].version)
        for one in main.operators
        if main.tensors[one.inputs[0]].type == schema.TensorType.FLOAT16
    }
    assert codes == {(schema.BuiltinOperator.DEQUANTIZE, 3)}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_table_that_two_nodes_share_is_stored_once(tmp_path: Path, target: str) -> None:
    text = """net (int64[1,6] left, int64[1,6] right) => (float[1,6,40] y) {
        a = Gather <axis = 0> (table, left)
        b = Gather <axis = 0> (table, right)
        y = Sub (a, b)
    }"""
    weights = drawn({"table": (50, 40)})
    model = network(tmp_path, text, weights)
    _, plan, payload = made(model, target, "weights-float16")
    arrays = fed(model)
    (values,) = FloatRunner(with_stored_weights(model, plan), threads=1).run(arrays).values()
    assert np.array_equal(given(payload, target, arrays)["y"], values)
    data = payload.files.get("model.bin", next(iter(payload.files.values())))
    assert data.count(weights["table"].astype(np.float16).tobytes()) == 1
    assert data.count(weights["table"].tobytes()) == 0


# Integers around them


def islands(folder: Path, target: str) -> tuple[FloatModel, Payload, Payload]:
    """Return a model with its last product in float, lowered with that stored in float16, and in float32 but rounded before."""
    model = network(folder, IMAGE, image_constants())
    profile = catalog.load(target)
    data = CalibrationSet(Samples(model), model.inputs)
    statistics = observe(model, data, histograms=False, threads=1, progress=Silent())
    kept = KeepFloat(ops=frozenset({"Gemm"}))
    recipe = Recipe(method="minmax", keep_float=kept, float_weights="float16")
    plan = make_plan(model, statistics, profile, recipe)
    check(plan, model, profile)
    assert [one.name for one in plan.tensors.values() if one.float_type == "float16"] == ["head"]
    assert sum(node.precision == "int8" for node in plan.nodes.values()) >= 2
    rounded = with_planned_values(model, plan)
    bare = dataclasses.replace(
        plan,
        tensors={
            name: dataclasses.replace(one, float_type="float32", values=None)
            for name, one in plan.tensors.items()
        },
    )
    return model, lower(model, plan, profile), lower(rounded, bare, profile)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_integers_around_a_float16_weight_are_what_they_were(tmp_path: Path, target: str) -> None:
    model, payload, alike = islands(tmp_path, target)
    arrays = fed(model)
    found, expected = (given(one, target, arrays)["scores"] for one in (payload, alike))
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()
    file = opened(payload, tmp_path)
    assert file.precision == "int8"
    assert [count for _, count in halves(file)] == [160]
    profile = catalog.load(target)
    kept = {finding.rule for finding in lint(file, profile)}
    assert kept <= {"could-be-integer"}, kept
    (told,) = (
        one
        for one in lint(file, dataclasses.replace(profile, uncalibrated={}))
        if one.rule == "float16-weights"
    )
    assert (told.got, told.allowed) == ("a weight in float16", "float32")
    ran = PROBES[payload.format].executed_ops(payload, threads=1)
    assert sum(op.precision == "int8" for op in ran) >= 2


def test_the_simulator_computes_with_them_too(tmp_path: Path) -> None:
    model, _, _ = islands(tmp_path, "x86_64-onnxruntime")
    profile = catalog.load("x86_64-onnxruntime")
    data = CalibrationSet(Samples(model), model.inputs)
    statistics = observe(model, data, histograms=False, threads=1, progress=Silent())
    recipe = Recipe(method="minmax", keep_float=KeepFloat(ops=frozenset({"Gemm"})), float_weights="float16")
    plan = make_plan(model, statistics, profile, recipe)
    arrays = fed(model)
    found = simulate(model, plan, profile).run(arrays)["scores"]
    engine = given(lower(model, plan, profile), "x86_64-onnxruntime", arrays)["scores"]
    assert np.abs(found - engine).max() <= 1e-5 * np.abs(engine).max()


def test_weights_without_codes_beside_codes_of_others(tmp_path: Path) -> None:
    text, weights, _ = NETWORKS["text"]
    model = network(tmp_path, text, weights)
    for target in TARGETS:
        profile = catalog.load(target)
        kept = KeepFloat(ops=frozenset({"Gemm"}))
        recipe = Recipe(precision="weights-int8", keep_float=kept, float_weights="float16")
        plan = plan_uncalibrated(model, profile, recipe)
        check(plan, model, profile)
        assert plan.tensors["head"].float_type == "float16"
        assert plan.tensors["up"].qparams is not None
        payload = lower(model, plan, profile)
        arrays = fed(model)
        found = given(payload, target, arrays)
        for name, values in FloatRunner(with_stored_weights(model, plan), threads=1).run(arrays).items():
            assert np.abs(found[name] - values).max() <= 1e-4 * np.abs(values).max(), (target, name)


def test_a_name_that_is_taken_is_refused() -> None:
    nodes = QdqNodes()
    nodes.initializer("w/float16", np.zeros(1, np.float32))
    with pytest.raises(LoweringError, match="Value 'w/float16': the lowering needs this name for itself"):
        nodes.float16("w", np.zeros(1, np.float32))
