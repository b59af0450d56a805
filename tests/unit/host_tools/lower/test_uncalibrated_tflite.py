"""Weights in 4 and 8 bits, and dynamic int8, as TFLite: what the file stores, and what LiteRT's kernels make of it."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from device_agent.contract.errors import EngineError
from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.lower.lowering import lower
from host_tools.model.reference import FloatRunner
from host_tools.plan.planned_values import with_stored_weights
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.recipe import Recipe
from targets import catalog
from tests.unit.host_tools.lower.uncalibrated_networks import IMAGE, image_constants, made, network

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from host_tools.lower.payload import Payload
    from host_tools.model import FloatModel
    from targets.profile import PlanPrecision

TARGET = "cortex-a-tflite"
DENSE = """net (float[1,6,40] x) => (float[1,10] scores) {
    wide = MatMul (x, up)
    bent = Relu (wide)
    narrow = MatMul (bent, down)
    flat = Flatten (narrow)
    scores = Gemm <transB = 1> (flat, head, head_bias)
}"""
SIZES = {"up": (40, 72), "down": (72, 40), "head": (10, 240), "head_bias": (10,)}


def dense(folder: Path) -> FloatModel:
    numbers = np.random.default_rng(7)
    weights = {name: numbers.standard_normal(size).astype(np.float32) for name, size in SIZES.items()}
    return network(folder, DENSE, weights)


def given(payload: Payload, arrays: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float64]]:
    engine = load_engine("tflite", payload.files, threads=1)
    try:
        found = engine.infer(to_payload(arrays, payload.inputs))
        return dict(to_source([np.array(one) for one in found], payload.outputs))
    finally:
        engine.close()


def stored(payload: Payload) -> dict[str, tuple[int, int]]:
    """Return type and bytes of the constants of two and more axes."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(payload.files["model.tflite"]))
    found = {}
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is not None and len(tensor.shape) > 1:
            found[tensor.name.decode()] = (tensor.type, len(data))
    return found


@pytest.mark.parametrize(("precision", "bits"), [("weights-int8", 8), ("weights-int4", 4)])
def test_weights_are_stored_as_codes_and_multiplied_as_floats(
    tmp_path: Path, precision: PlanPrecision, bits: int
) -> None:
    model = dense(tmp_path)
    _, plan, payload = made(model, TARGET, precision)
    kind = schema.TensorType.INT8 if bits == 8 else schema.TensorType.INT4
    assert stored(payload) == {
        name: (kind, int(np.prod(SIZES[name])) * bits // 8) for name in ("up", "down", "head")
    }
    x = np.random.default_rng(8).standard_normal((1, 6, 40)).astype(np.float32)
    expected = FloatRunner(with_stored_weights(model, plan), threads=1).run({"x": x})["scores"]
    found = given(payload, {"x": x})["scores"]
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_weights_to_one_side_of_zero_have_all_sixteen_codes(tmp_path: Path) -> None:
    numbers = np.random.default_rng(7)
    weights = {name: numbers.uniform(1.0, 2.0, size).astype(np.float32) for name, size in SIZES.items()}
    model = network(tmp_path, DENSE, weights)
    _, plan, payload = made(model, TARGET, "weights-int4")
    qparams = plan.tensors["up"].qparams
    assert qparams is not None
    assert (qparams.dtype, set(qparams.zero_point)) == ("uint4", {0})
    assert stored(payload)["up"] == (schema.TensorType.INT4, 40 * 72 // 2)
    x = numbers.uniform(0.0, 1.0, (1, 6, 40)).astype(np.float32)
    expected = FloatRunner(with_stored_weights(model, plan), threads=1).run({"x": x})["scores"]
    assert np.abs(given(payload, {"x": x})["scores"] - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("precision", ["int8-dynamic", "weights-int8"])
def test_convolutions_too(tmp_path: Path, precision: PlanPrecision) -> None:
    model = network(tmp_path, IMAGE, image_constants())
    _, plan, payload = made(model, TARGET, precision)
    assert payload.inputs[0].dtype == "float32"
    types = [kind for kind, _ in stored(payload).values()]
    assert types == [schema.TensorType.INT8] * 3
    image = np.random.default_rng(9).standard_normal((1, 3, 8, 8)).astype(np.float32)
    expected = FloatRunner(with_stored_weights(model, plan), threads=1).run({"image": image})["scores"]
    found = given(payload, {"image": image})["scores"]
    noise = float(np.square(found - expected).sum() / np.square(expected).sum())
    assert noise < (1e-3 if precision == "int8-dynamic" else 1e-10)


def test_dynamic_products_are_those_of_integers(tmp_path: Path) -> None:
    model = dense(tmp_path)
    _, plan, payload = made(model, TARGET, "int8-dynamic")
    x = np.random.default_rng(8).standard_normal((1, 6, 40)).astype(np.float32)
    expected = FloatRunner(with_stored_weights(model, plan), threads=1).run({"x": x})["scores"]
    found = given(payload, {"x": x})["scores"]
    noise = float(np.square(found - expected).sum() / np.square(expected).sum())
    assert 1e-9 < noise < 1e-3


def test_writing_holds_no_more_copies_than_it_must(tmp_path: Path) -> None:
    """A large table, and scales by the thousand beside the constants; counted is what is asked for, whatever the allocator does."""
    numbers = np.random.default_rng(10)
    sizes = {"table": (24_000, 64), "wide": (64, 8192)}
    weights = {name: numbers.standard_normal(size).astype(np.float32) for name, size in sizes.items()}
    text = """net (int64[1,2] ids) => (float[1,2,8192] scores) {
        row = Gather <axis = 0> (table, ids)
        scores = MatMul (row, wide)
    }"""
    model = network(tmp_path, text, weights)
    profile = catalog.load(TARGET)
    plan = plan_uncalibrated(model, profile, Recipe(precision="weights-int8"))
    tracemalloc.start()
    try:
        payload = lower(model, plan, profile)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stored(payload)["table"] == (schema.TensorType.INT8, weights["table"].size)
    size = sum(array.nbytes for array in weights.values())
    assert peak < 3 * size, f"{peak / size:.2f}"


@pytest.mark.parametrize("precision", ["int8-dynamic", "weights-int8", "weights-int4"])
@pytest.mark.parametrize("dtype", ["int64", "int32"])
@pytest.mark.parametrize("shape", [(6,), (1, 6), (2, 1, 3)])
def test_a_table_of_codes_gives_the_rows_of_their_numbers(
    tmp_path: Path, precision: PlanPrecision, dtype: str, shape: tuple[int, ...]
) -> None:
    sizes = ",".join(map(str, shape))
    text = f"""net ({dtype}[{sizes}] ids) => (float[{sizes},41] row) {{
        row = Gather <axis = 0> (table, ids)
    }}"""
    table = (
        np.random.default_rng(3).standard_normal((50, 41)) * np.geomspace(1e-3, 1e3, 50)[:, None]
    ).astype(np.float32)
    _, plan, payload = made(network(tmp_path, text, {"table": table}), TARGET, precision)
    assert stored(payload)["table"] == (schema.TensorType.INT8, table.size)
    qparams = plan.tensors["table"].qparams
    assert qparams is not None
    codes = np.clip(np.rint(table / np.asarray(qparams.scale)[:, None]), -127, 127)
    exact = (codes * np.asarray(qparams.scale)[:, None].astype(np.float32)).astype(np.float32)
    ids = np.asarray([0, 49, 7, 7, -1, -50], dtype).reshape(shape)  # negative ones count from the end
    assert np.allclose(given(payload, {"ids": ids})["row"], exact[ids], rtol=1e-6, atol=0)


@pytest.mark.parametrize("wrong", [50, -51, 1 << 31, (1 << 32) + 3, -(1 << 32)])
def test_a_row_that_there_is_not_fails_and_is_no_other_row(tmp_path: Path, wrong: int) -> None:
    text = """net (int64[1,2] ids) => (float[1,2,40] row) {
        row = Gather <axis = 0> (table, ids)
    }"""
    table = np.random.default_rng(3).standard_normal((50, 40)).astype(np.float32)
    _, _, payload = made(network(tmp_path, text, {"table": table}), TARGET, "weights-int8")
    with pytest.raises(EngineError):
        given(payload, {"ids": np.asarray([[1, wrong]])})
