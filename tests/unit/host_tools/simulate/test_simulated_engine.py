"""The simulator in an engine's place: it takes and gives what the payload's own engine does."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from device_agent.contract.errors import EngineError
from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload
from host_tools.lower.lowering import lower
from host_tools.simulate.engine import SimulatedEngine
from targets import catalog
from tests.unit.host_tools.lower.lowering_cases import TWO_ENDS
from tests.unit.host_tools.simulate.parity import Planned, planned

if TYPE_CHECKING:
    from device_agent.engines.engine import Engine
    from host_tools.lower.payload import Payload


def prepared(target: str, interface: str) -> tuple[Planned, Payload, Engine]:
    profile = catalog.load(target)
    types = dataclasses.replace(profile.interface, input_type=interface, output_type=interface)
    made = planned(TWO_ENDS, dataclasses.replace(profile, interface=types))
    payload = lower(made.model, made.plan, made.profile)
    return made, payload, SimulatedEngine(made.model, made.plan, made.profile, payload)


@pytest.mark.parametrize("interface", ["float32", "int8", "uint8"])
@pytest.mark.parametrize("target", ["x86_64-onnxruntime", "cortex-a-tflite"])
def test_it_gives_what_the_engine_gives(target: str, interface: str) -> None:
    made, payload, simulated = prepared(target, interface)
    real = load_engine(made.profile.engine.name, payload.files, threads=1)
    assert (simulated.name, simulated.input_names, simulated.output_names) == (
        real.name,
        real.input_names,
        real.output_names,
    )
    for sample in made.samples(np.random.default_rng(0), 3):
        inputs = to_payload(sample, payload.inputs)
        for found, expected, tensor in zip(
            simulated.infer(inputs), real.infer(inputs), payload.outputs, strict=True
        ):
            assert found.dtype == expected.dtype
            assert found.shape == expected.shape
            code = 1 if interface != "float32" else made.plan.tensors[tensor.source_name].qparams.scale[0]
            distance = np.abs(found.astype(np.float64) - expected.astype(np.float64)) / code
            assert distance.max() < 1.01
            assert np.mean(distance < 0.5) > 0.99
    real.close()
    simulated.close()
    simulated.close()


def test_it_says_that_it_is_a_simulation() -> None:
    assert prepared("amd-vitis-dpu", "float32")[2].version.endswith("simulated")


def test_it_refuses_other_inputs() -> None:
    made, payload, simulated = prepared("x86_64-onnxruntime", "int8")
    inputs = to_payload(next(made.samples(np.random.default_rng(0), 1)), payload.inputs)
    for wrong in ([], inputs[:1], [inputs[0], inputs[1].astype(np.float32)], [inputs[0], inputs[1][:, :1]]):
        with pytest.raises(
            EngineError, match=r"expected inputs int8 \[1, 4, 8, 8\], int8 \[1, 8, 8, 8\], got"
        ):
            simulated.infer(wrong)
