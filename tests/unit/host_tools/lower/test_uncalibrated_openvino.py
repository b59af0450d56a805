"""Weights in 4 and 8 bits, and dynamic int8, as OpenVINO IR: compressed on disk, compressed when compiled, and right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.model.reference import FloatRunner
from host_tools.plan.planned_values import with_stored_weights
from host_tools.verify.probes import PROBES
from tests.unit.host_tools.lower.uncalibrated_networks import TEXT, feeds, made, network

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from host_tools.lower.payload import Payload
    from host_tools.model import FloatModel
    from targets.profile import PlanPrecision

TARGET = "x86_64-openvino"


def outputs(
    model: FloatModel, payload: Payload
) -> list[dict[str, tuple[NDArray[np.float64], NDArray[np.generic]]]]:
    """Return, by sample and output, what the engine gives and what float does."""
    runner = FloatRunner(model, threads=1)
    engine = load_engine("openvino", payload.files, threads=1)
    try:
        found = []
        for arrays in feeds():
            given = to_source(
                [np.array(one) for one in engine.infer(to_payload(arrays, payload.inputs))], payload.outputs
            )
            found.append({name: (given[name], values) for name, values in runner.run(arrays).items()})
        return found
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("precision", "group", "bits"),
    [
        ("weights-int4", 16, 4),
        ("weights-int4", 64, 4),
        ("weights-int4", 0, 4),
        ("weights-int8", None, 8),
        ("weights-int8", 32, 8),
    ],
)
def test_weights_stay_compressed_and_activations_float(
    tmp_path: Path, precision: PlanPrecision, group: int | None, bits: int
) -> None:
    # No group of 64 or 32 fills 40 or 72 inputs: those matrices get one scale a channel.
    model = network(tmp_path)
    _, plan, payload = made(model, TARGET, precision, group)
    for sample in outputs(with_stored_weights(model, plan), payload):
        for name, (found, expected) in sample.items():
            assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), name
    ran = PROBES["openvino_ir"].executed_ops(payload, threads=1)
    products = [op.precision for op in ran if op.op_type == "FullyConnected"]
    assert products == [f"float32 (int{bits} weights)"] * 3


def test_dynamic_activations_are_quantized_at_run_time(tmp_path: Path) -> None:
    numbers = np.random.default_rng(6)
    sizes = {"table": (50, 64), "up": (64, 256), "down": (256, 64), "head": (10, 384), "head_bias": (10,)}
    weights = {name: numbers.standard_normal(shape).astype(np.float32) for name, shape in sizes.items()}
    model = network(tmp_path, TEXT.replace("6,40", "6,64"), weights)
    _, plan, payload = made(model, TARGET, "int8-dynamic")
    arrays = {
        "ids": numbers.integers(0, 50, (1, 6)),
        "more": numbers.standard_normal((1, 6, 64)).astype(np.float32),
    }
    stored = FloatRunner(with_stored_weights(model, plan), threads=1).run(arrays)["hidden"]
    engine = load_engine("openvino", payload.files, threads=1)
    try:
        found = to_source(engine.infer(to_payload(arrays, payload.inputs)), payload.outputs)["hidden"]
    finally:
        engine.close()
    noise = float(np.square(found - stored).sum() / np.square(stored).sum())
    assert noise < 1e-3
    ran = PROBES["openvino_ir"].executed_ops(payload, threads=1)
    assert [op.precision for op in ran if op.op_type == "FullyConnected"] == ["int8"] * 3


def test_the_file_is_smaller_and_always_the_same(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1)
    sizes = {"table": (50, 64), "up": (64, 1024), "down": (1024, 64), "head": (10, 384), "head_bias": (10,)}
    weights = {name: numbers.standard_normal(shape).astype(np.float32) for name, shape in sizes.items()}
    model = network(tmp_path, TEXT.replace("6,40", "6,64"), weights)
    whole = sum(one.nbytes for one in weights.values())
    share = {}
    for precision in ("weights-int8", "weights-int4"):
        files = made(model, TARGET, precision)[2].files
        assert made(model, TARGET, precision)[2].files == files
        share[precision] = len(files["model.bin"]) / whole
    assert share["weights-int8"] < 0.28
    assert share["weights-int4"] < 0.18
