"""Channels scaled by activations: the model computes the same, outputs lose less, and every matrix says what became of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.errors import DataError, InputError
from host_tools.lower.lowering import lower
from host_tools.model.reference import FloatRunner
from host_tools.model.topology import named, network_of
from host_tools.observe import open_data
from host_tools.plan.check import check
from host_tools.plan.planned_values import with_stored_weights
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.progress import Silent
from host_tools.recipe import KeepFloat, Recipe
from host_tools.reconstruct import read_moments, round_by_outputs, scale_by_activations
from targets import catalog
from tests.unit.host_tools.lower.uncalibrated_networks import IMAGE, image_constants, network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.lower.payload import Payload
    from host_tools.model import FloatModel
    from host_tools.observe import CalibrationSet
    from host_tools.plan.quantization_plan import QuantizationPlan

    Float32 = NDArray[np.float32]

WIDTH, OUTLIERS = 48, (3, 11)
BLOCK = """net (float[1,6,48] x) => (float[1,6,16] y) {
    n = LayerNormalization <axis = -1> (x, scale, shift)
    q = MatMul (n, wq)
    k = MatMul (n, wk)
    s = Add (q, k)
    b = Add (s, bias)
    r = Relu (b)
    m = Mul (r, gain)
    y = MatMul (m, down)
}"""
RESIDUAL = """net (float[1,6,48] x) => (float[1,6,48] y) {
    first = MatMul (x, wf)
    n = LayerNormalization <axis = -1> (first, scale, shift)
    q = MatMul (n, wq)
    g = Sigmoid (q)
    k = MatMul (g, wk)
    h = Add (k, n)
    n2 = LayerNormalization <axis = -1> (h, scale2, shift2)
    y = MatMul (n2, last)
}"""
ENGINES = {"x86_64-onnxruntime": "onnx", "x86_64-openvino": "openvino", "cortex-a-tflite": "tflite"}


def drawn(seed: int = 1, **shapes: tuple[int, ...]) -> dict[str, Float32]:
    """Weights; two features leave the normalization forty times as large as the others."""
    numbers = np.random.default_rng(seed)
    found = {name: numbers.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    found["scale"] = np.ones(WIDTH, np.float32)
    found["scale"][list(OUTLIERS)] = 40.0
    return found


def block_weights() -> dict[str, Float32]:
    weights = drawn(shift=(WIDTH,), wq=(WIDTH, 64), wk=(WIDTH, 64), bias=(64,), down=(64, 16))
    return {**weights, "gain": np.geomspace(0.1, 4.0, 64).astype(np.float32)}


def block(folder: Path) -> FloatModel:
    return network(folder, BLOCK, block_weights())


def residual(folder: Path) -> FloatModel:
    square = dict.fromkeys(("wf", "wq", "wk", "last"), (WIDTH, WIDTH))
    weights = drawn(**square, shift=(WIDTH,), scale2=(WIDTH,), shift2=(WIDTH,))
    return network(folder, RESIDUAL, weights)


def samples(folder: Path, model: FloatModel, count: int = 16, seed: int = 1) -> CalibrationSet:
    path = folder / f"samples{seed}.npz"
    np.savez(path, x=np.random.default_rng(seed).standard_normal((count, 1, 6, WIDTH)).astype(np.float32))
    return open_data(path, inputs=model.inputs)


def scaled(
    model: FloatModel,
    data: CalibrationSet,
    target: str = "x86_64-onnxruntime",
    recipe: Recipe | None = None,
    progress: Silent | None = None,
) -> tuple[QuantizationPlan, FloatModel, QuantizationPlan]:
    """Return the plan without scaling, the scaled model and its plan."""
    profile, asked = catalog.load(target), recipe or Recipe(precision="weights-int4")
    plan = plan_uncalibrated(model, profile, asked)
    found, planned = scale_by_activations(
        model,
        plan,
        data,
        planned_again=lambda one: plan_uncalibrated(one, profile, asked),
        threads=1,
        progress=progress or Silent(),
    )
    check(planned, found, profile)
    return plan, found, planned


def error_of(exact: FloatModel, found: FloatModel, data: CalibrationSet) -> float:
    """Return the squared error of the first output as a share of the output's square."""
    runners = [FloatRunner(one, threads=1) for one in (exact, found)]
    name = exact.outputs[0].name
    wanted, got = ([runner.run(one.arrays)[name] for one in data] for runner in runners)
    return float(np.square(np.subtract(wanted, got)).sum() / np.square(wanted).sum())


def products_of(model: FloatModel, found: FloatModel) -> dict[str, str]:
    """Return the nodes that a scaled model has and the other has not, and what each reads; all are products with a constant."""
    before = {named(node) for node in model.graph.graph}
    added = [node for node in found.graph.graph if named(node) not in before]
    assert all(node.op_type == "Mul" and node.inputs[1].is_initializer() for node in added)
    return {named(node): named(node.inputs[0]) for node in added}


def assert_engine_gives(exact: FloatModel, payload: Payload, engine: str, data: CalibrationSet) -> None:
    """Assert that the file computes on its engine what a float model does."""
    runner, loaded = FloatRunner(exact, threads=1), load_engine(engine, payload.files, threads=1)
    for sample in data:
        outputs = [np.array(one) for one in loaded.infer(to_payload(sample.arrays, payload.inputs))]
        wanted = runner.run(sample.arrays)["y"]
        got = to_source(outputs, payload.outputs)["y"]
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    loaded.close()


LAYERS = st.sampled_from(("normalize", "matrix", "relu", "gain", "add", "sigmoid", "skip"))


def written(layers: list[str], seed: int) -> tuple[str, dict[str, Float32]]:
    """Return a network of layers of a width of 12, ending in a matrix, and its constants, of very different sizes."""
    numbers, lines, weights, value, earlier = np.random.default_rng(seed), [], {}, "x", "x"
    for at, layer in enumerate([*layers, "matrix"]):
        made = f"v{at}"
        constants = {"normalize": ("a", "b"), "matrix": ("w",), "gain": ("c",), "add": ("d",)}.get(layer, ())
        for name in constants:
            drawn_now = numbers.standard_normal((12, 12) if name == "w" else 12) * np.geomspace(0.05, 5.0, 12)
            weights[f"{name}{at}"] = drawn_now.astype(np.float32)
        call = {
            "normalize": f"LayerNormalization <axis = -1> ({value}, a{at}, b{at})",
            "matrix": f"MatMul ({value}, w{at})",
            "relu": f"Relu ({value})",
            "gain": f"Mul ({value}, c{at})",
            "add": f"Add ({value}, d{at})",
            "sigmoid": f"Sigmoid ({value})",
            "skip": f"Add ({value}, {earlier})",
        }[layer]
        lines.append(f"    {made} = {call}")
        earlier, value = value, made
    body = "\n".join(lines)
    return f"net (float[1,5,12] x) => (float[1,5,12] {value}) {{\n{body}\n}}", weights


@settings(max_examples=25, deadline=None)
@given(layers=st.lists(LAYERS, min_size=1, max_size=7), seed=st.integers(0, 1000))
def test_the_scaled_model_computes_the_same(layers: list[str], seed: int) -> None:
    text, weights = written(layers, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = network(folder, text, weights)
        np.savez(folder / "x.npz", x=np.random.default_rng(seed).standard_normal((6, 1, 5, 12)).astype("f4"))
        data = open_data(folder / "x.npz", inputs=model.inputs)
        recipe = Recipe(precision="weights-int4", group=16)
        try:
            _, found, planned = scaled(model, data, "x86_64-openvino", recipe)
        except InputError as error:
            assert "matrices can be scaled" in str(error) or "is a matrix" in str(error)
            return
        assert error_of(model, found, data) < 1e-8
        kept = [one for one in found.graph.graph if named(one) not in products_of(model, found)]
        assert [one.op_type for one in kept] == [one.op_type for one in model.graph.graph]
        assert planned.model_digest == found.digest != model.digest


@pytest.mark.parametrize("target", list(ENGINES))
@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_outliers_cost_less_and_every_engine_gives_what_the_plan_says(
    tmp_path: Path, target: str, rounding: str
) -> None:
    model, profile = block(tmp_path), catalog.load(target)
    data, others = samples(tmp_path, model), samples(tmp_path, model, seed=9)
    plain, found, planned = scaled(model, data, target)
    before = error_of(model, with_stored_weights(model, plain), others)
    if rounding == "gptq":
        found, planned = round_by_outputs(found, planned, data, threads=1, progress=Silent())
        check(planned, found, profile)
        assert "(AWQ)" in planned.method_reason
        assert "(GPTQ)" in planned.method_reason
    exact = with_stored_weights(found, planned)
    assert error_of(model, exact, others) < 0.9 * before  # one scale a channel (LiteRT) gains least
    assert planned.data_digest != plain.data_digest
    assert_engine_gives(exact, lower(found, planned, profile), ENGINES[target], others)


def test_the_model_that_was_given_is_not_changed(tmp_path: Path) -> None:
    model = block(tmp_path)
    before = {name: np.array(one.const_value.numpy()) for name, one in model.graph.graph.initializers.items()}
    scaled(model, samples(tmp_path, model))
    for name, array in before.items():
        np.testing.assert_array_equal(model.graph.graph.initializers[name].const_value.numpy(), array)


def test_every_matrix_says_what_became_of_it(tmp_path: Path) -> None:
    model = residual(tmp_path)
    _, found, planned = scaled(model, samples(tmp_path, model))
    reasons = {name: planned.tensors[name].reason for name in ("wf", "wq", "wk", "last")}
    # What the first reads has no channel that is larger than others; behind the Sigmoid some are near 0 on all samples.
    assert (
        "not scaled by activations (AWQ): nothing before it takes the scales up, and with a" in reasons["wf"]
    )
    assert reasons["wf"].endswith("would be left; one is put in where that is at most 90%")
    assert "(AWQ), by a product put before it, which leaves" in reasons["wq"]
    assert "(AWQ), by a product put before it, which leaves" in reasons["wk"]
    assert "(AWQ), which leaves" in reasons["last"]
    assert "input channels of 3 of 4 matrices scaled" in planned.method_reason
    assert "on 16 calibration samples (AWQ)" in planned.method_reason
    assert any("1 of 4 matrices are not scaled by activations" in one for one in planned.warnings)
    assert any(one.startswith("2 products with constants were put into") for one in planned.warnings)
    written_by = network_of(model.graph).writers
    assert {written_by[read] for read in products_of(model, found).values()} == {
        written_by["n"],
        written_by["g"],
    }


@pytest.mark.parametrize("target", list(ENGINES))
def test_a_normalization_behind_a_residual_sum_is_scaled_by_a_product_for_its_matrices_alone(
    target: str, tmp_path: Path
) -> None:
    square = dict.fromkeys(("w1", "w2", "w3"), (WIDTH, WIDTH))
    weights = drawn(**square, shift=(WIDTH,), scale2=(WIDTH,), shift2=(WIDTH,))
    text = """net (float[1,6,48] x) => (float[1,6,48] y) {
        n = LayerNormalization <axis = -1> (x, scale, shift)
        q = MatMul (n, w1)
        k = MatMul (n, w2)
        s = Add (q, k)
        g = Sigmoid (s)
        d = MatMul (g, w3)
        h = Add (d, n)
        y = LayerNormalization <axis = -1> (h, scale2, shift2)
    }"""
    model = network(tmp_path, text, weights)
    data, others = samples(tmp_path, model), samples(tmp_path, model, seed=9)
    plain, found, planned = scaled(model, data, target)
    assert "n" in products_of(model, found).values()
    readers = [node for node in found.graph.graph if "n" in {named(value) for value in node.inputs}]
    assert [node.op_type for node in readers] == ["Mul", "Add"]
    assert error_of(model, found, others) < 1e-10
    before = error_of(model, with_stored_weights(model, plain), others)
    exact = with_stored_weights(found, planned)
    assert error_of(model, exact, others) < 0.9 * before
    assert_engine_gives(exact, lower(found, planned, catalog.load(target)), ENGINES[target], others)


def test_channels_that_a_bound_reads_are_scaled_behind_it(tmp_path: Path) -> None:
    weights = {
        **drawn(shift=(WIDTH,), wq=(WIDTH, 64), down=(64, 16)),
        "zero": np.float32(0),
        "six": np.float32(6),
    }
    weights["wq"][:, 5] *= (
        1e-3  # so that the bound is far above most channels, and one of them is far below the others
    )
    text = """net (float[1,6,48] x) => (float[1,6,16] y) {
        n = LayerNormalization <axis = -1> (x, scale, shift)
        q = MatMul (n, wq)
        c = Clip (q, zero, six)
        y = MatMul (c, down)
    }"""
    model = network(tmp_path, text, {name: np.asarray(one) for name, one in weights.items()})
    _, found, planned = scaled(model, samples(tmp_path, model))
    assert "input channels scaled" in planned.tensors["wq"].reason
    assert "by a product" not in planned.tensors["wq"].reason
    assert "nothing before it takes the scales up" in planned.tensors["down"].reason
    assert not products_of(model, found)
    assert [node.op_type for node in found.graph.graph if node.op_type in ("Clip", "Min")] == ["Clip"]


def test_channels_that_a_weight_in_float_reads_are_left_to_it(tmp_path: Path) -> None:
    model = block(tmp_path)
    kept = network_of(model.graph).writers["k"]
    recipe = Recipe(precision="weights-int4", keep_float=KeepFloat(nodes=frozenset({kept})))
    _, found, planned = scaled(model, samples(tmp_path, model, 4), recipe=recipe)
    assert "by a product put before it" in planned.tensors["wq"].reason
    assert "by a product" not in planned.tensors["down"].reason
    np.testing.assert_array_equal(
        found.graph.graph.initializers["wk"].const_value.numpy(),
        model.graph.graph.initializers["wk"].const_value.numpy(),
    )


def test_sites_that_memory_is_too_small_for_together_come_out_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = block(tmp_path)
    data = samples(tmp_path, model, 6)
    at_once = scaled(model, data)[1]
    monkeypatch.setattr(read_moments, "_MOST_BYTES", 1)
    assert scaled(model, data)[1].digest == at_once.digest


def test_channels_that_are_always_zero_stay_finite(tmp_path: Path) -> None:
    weights = block_weights()
    weights["scale"][5], weights["shift"][5] = 0.0, 0.0
    model = network(tmp_path, BLOCK, {**weights, "gain": np.zeros(64, np.float32)})
    data = samples(tmp_path, model, 4)
    _, found, _ = scaled(model, data)
    for name, one in found.graph.graph.initializers.items():
        assert np.isfinite(one.const_value.numpy()).all(), name


def test_a_model_without_a_place_for_the_scales_is_refused(tmp_path: Path) -> None:
    text = """net (float[1,6,48] x) => (float[1,6,64] y, float[1,4,48] z) {
        y = MatMul (x, w)
        z = Conv <kernel_shape = [1]> (x, kernel)
    }"""
    weights = drawn(w=(WIDTH, 64), kernel=(4, 6, 1))
    del weights["scale"]
    model = network(tmp_path, text, weights)
    with pytest.raises(
        InputError, match=r"none of the 1 matrices can be scaled; of .*: it reads the model's input 'x'"
    ):
        scaled(model, samples(tmp_path, model, 2))


def test_a_plan_without_matrices_is_refused(tmp_path: Path) -> None:
    model = network(tmp_path, IMAGE, image_constants())
    recipe = Recipe(precision="weights-int8", keep_float=KeepFloat(ops=frozenset({"Gemm"})))
    np.savez(tmp_path / "image.npz", image=np.zeros((2, 1, 3, 8, 8), np.float32))
    data = open_data(tmp_path / "image.npz", inputs=model.inputs)
    with pytest.raises(
        InputError, match=r"--scaling awq: none of the weights that are stored .* is a matrix"
    ):
        scaled(model, data, recipe=recipe)


def test_a_sample_that_overflows_inside_the_model_is_named(tmp_path: Path) -> None:
    model = residual(tmp_path)
    x = np.ones((3, 1, 6, WIDTH), np.float32)
    x[1] = 3e38
    np.savez(tmp_path / "large.npz", x=x)
    with pytest.raises(
        DataError, match=r"large\.npz: sample 1: '\w+' inside the model becomes NaN or infinite"
    ):
        scaled(model, open_data(tmp_path / "large.npz", inputs=model.inputs))


def test_no_weight_outgrows_float32(tmp_path: Path) -> None:
    weights = block_weights()
    weights["shift"] *= 0.0
    weights["scale"] = np.full(WIDTH, 1e-6, np.float32)
    weights["scale"][list(OUTLIERS)] = 1e-3, 1e-2
    weights["wq"][list(OUTLIERS)] *= 5e37
    model = network(tmp_path, BLOCK, weights)
    _, found, _ = scaled(model, samples(tmp_path, model, 4))
    assert np.isfinite(found.graph.graph.initializers["wq"].const_value.numpy()).all()


def test_a_constant_before_a_matrix_that_outgrows_float32_is_refused(tmp_path: Path) -> None:
    weights = block_weights()
    weights["bias"][0], weights["gain"][0] = -1e6, 3e38  # a channel that Relu makes 0 always
    model = network(tmp_path, BLOCK, weights)
    with pytest.raises(InputError, match=r"--scaling awq: .* is too large for float32"):
        scaled(model, samples(tmp_path, model, 4))
