"""Weights in 4 and 8 bits, and dynamic int8, as ONNX: what the file holds, and what ONNX Runtime makes of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.errors import CapabilityError, LoweringError
from host_tools.model.reference import FloatRunner
from host_tools.plan.planned_values import with_stored_weights
from host_tools.simulate import simulate
from tests.unit.host_tools.lower.uncalibrated_networks import (
    IMAGE,
    constants,
    feeds,
    image_constants,
    made,
    network,
)

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.lower.payload import Payload
    from targets.profile import PlanPrecision

TARGET = "x86_64-onnxruntime"


def dequantized(payload: Payload, node_name: str) -> np.ndarray:
    """Read a MatMulNBits by hand, byte by byte, as ONNX Runtime's documentation says: (N, K) real numbers."""
    graph = onnx.load_from_string(payload.files["model.onnx"]).graph
    node = next(one for one in graph.node if one.name == node_name)
    held = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    said = {one.name: one.i for one in node.attribute}
    codes, scales = held[node.input[1]], held[node.input[2]]
    points = held[node.input[3]] if len(node.input) > 3 else None
    length, rows, bits, size = said["K"], said["N"], said["bits"], said["block_size"]
    groups = math.ceil(length / size)
    assert codes.shape == (rows, groups, size * bits // 8)
    assert scales.shape == (rows * groups,)
    row_bytes = math.ceil(groups * bits / 8)
    weight = np.zeros((rows, length))
    for row in range(rows):
        for at in range(length):
            group, inside = divmod(at, size)
            byte = int(codes[row, group, inside * bits // 8])
            code = byte if bits == 8 else (byte >> 4 if inside % 2 else byte & 15)
            point = 1 << (bits - 1)
            if points is not None:
                held_byte = int(points[row * row_bytes + group * bits // 8])
                point = held_byte if bits == 8 else (held_byte >> 4 if group % 2 else held_byte & 15)
            weight[row, at] = (code - point) * float(scales[row * groups + group])
    return weight


@pytest.mark.parametrize(
    ("precision", "group"),
    [
        ("weights-int4", None),
        ("weights-int4", 16),
        ("weights-int4", 128),
        ("weights-int8", None),
        ("weights-int8", 64),
    ],
)
def test_the_file_holds_what_was_planned_and_the_engine_multiplies_by_it(
    tmp_path: Path, precision: PlanPrecision, group: int | None
) -> None:
    model = network(tmp_path)
    profile, plan, payload = made(model, TARGET, precision, group)
    exact = with_stored_weights(model, plan)
    by_name = {node.outputs[0].name: node.name for node in model.graph.graph}
    for output, weight in (("wide", "up"), ("hidden", "down"), ("scores", "head")):
        node = next(one for one in model.graph.graph if one.name == by_name[output])
        stored = exact.graph.graph.initializers[node.inputs[1].name].const_value.numpy()
        matrix = stored if node.op_type == "Gemm" else stored.T
        assert np.array_equal(dequantized(payload, node.name).astype(np.float32), matrix), weight
        step = max(plan.tensors[node.inputs[1].name].qparams.scale)
        own = constants()[weight]
        assert np.abs(stored - own).max() <= step * (4.0 if precision == "weights-int4" else 0.51)
    runner = FloatRunner(exact, threads=1)
    engine = load_engine(profile.engine.name, payload.files, threads=1)
    try:
        for arrays in feeds():
            expected = runner.run(arrays)
            found = to_source(engine.infer(to_payload(arrays, payload.inputs)), payload.outputs)
            for name, values in expected.items():
                assert np.abs(found[name] - values).max() <= 1e-4 * np.abs(values).max(), name
    finally:
        engine.close()


def test_files_are_smaller_and_always_the_same(tmp_path: Path) -> None:
    weights = {**constants(), "up": np.ones((40, 1024), np.float32), "down": np.ones((1024, 40), np.float32)}
    numbers = np.random.default_rng(1)
    weights = {name: numbers.standard_normal(one.shape).astype(np.float32) for name, one in weights.items()}
    model = network(tmp_path, weights=weights)
    whole = sum(one.nbytes for one in weights.values())
    sizes = {}
    for precision in ("weights-int8", "weights-int4", "int8-dynamic"):
        content = made(model, TARGET, precision)[2].files["model.onnx"]
        assert made(model, TARGET, precision)[2].files["model.onnx"] == content
        sizes[precision] = len(content)
    # A byte and a scale of 4 bytes each 32; half a byte, half a byte each 32 for the zero point, and a scale; matrices of 40 rows are padded to 64.
    assert sizes["weights-int4"] < 0.27 * whole < sizes["weights-int8"] < 0.46 * whole
    assert sizes["int8-dynamic"] < 0.29 * whole


def test_dynamic_products_are_those_of_integers(tmp_path: Path) -> None:
    model = network(tmp_path, IMAGE, image_constants())
    profile, plan, payload = made(model, TARGET, "int8-dynamic")
    dynamic = [node for node in plan.nodes.values() if node.activations == "dynamic"]
    assert [node.op_type for node in dynamic] == ["Conv", "Conv", "Gemm"]
    kinds = [node.op_type for node in onnx.load_from_string(payload.files["model.onnx"]).graph.node]
    assert kinds.count("ConvInteger") == 2
    assert kinds.count("MatMulInteger") == 1
    image = np.random.default_rng(2).standard_normal((1, 3, 8, 8)).astype(np.float32)
    engine = load_engine(profile.engine.name, payload.files, threads=1)
    try:
        found = engine.infer([image])[0]
    finally:
        engine.close()
    expected = FloatRunner(model, threads=1).run({"image": image})["scores"]
    noise = np.square(found - expected).sum() / np.square(expected).sum()
    assert 0.0 < noise < 1e-3  # 8 bits, three layers: 30 dB at least, and not exact


def test_a_target_without_the_precision_says_which_it_has(tmp_path: Path) -> None:
    model = network(tmp_path)
    with pytest.raises(
        CapabilityError, match=r"'ethos-u55' has no kernels for weights-int4 .* it has int8\."
    ):
        made(model, "ethos-u55", "weights-int4")
    with pytest.raises(CapabilityError, match="groups of 16, 32, 64, 128, 256 weights, got 48"):
        made(model, TARGET, "weights-int4", 48)


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    text = "net (float[1,4] x) => (float[1,4] y) { y = Tanh (x) }"
    with pytest.raises(
        CapabilityError, match="none of the model's 1 nodes has a weight that becomes smaller"
    ):
        made(network(tmp_path, text, {}), TARGET, "weights-int4")


def test_the_simulator_refuses_what_has_no_codes(tmp_path: Path) -> None:
    model = network(tmp_path)
    profile, plan, _ = made(model, TARGET, "weights-int4")
    with pytest.raises(LoweringError, match="planned as weights-int4: the plan has no codes of activations"):
        simulate(model, plan, profile)
