"""Every operator that a target runs in integers, on its engine, against the simulator: within one code, and equal unless it is known why not."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_agent.engines import onnx as onnx_engine
from device_agent.engines import tflite as tflite_engine
from device_agent.engines.openvino import OpenVinoEngine
from device_agent.engines.openvino_library import openvino as ov
from host_tools.processor import suited
from host_tools.simulate.known_differences import KNOWN_DIFFERENCES, difference_table, known_difference
from targets import catalog
from targets.profile import Interface
from tests.unit.host_tools.simulate.parity import compare, load_built_in, planned_wide
from tests.unit.host_tools.simulate.single_operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.engines.engine import EngineLoader
    from host_tools.simulate.known_differences import Kernels
    from targets.profile import CapabilityProfile

ROOT = Path(__file__).parents[4]


def load_in_float32(files: Mapping[str, bytes], *, threads: int) -> OpenVinoEngine:
    """Processors with AMX would compute what is float in bfloat16."""
    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    return OpenVinoEngine(core.compile_model(core.read_model(*files.values()), "CPU", settings))


ENGINES: dict[tuple[str, Kernels], EngineLoader] = {
    ("x86_64-onnxruntime", "ONNX Runtime"): onnx_engine.load,
    ("cortex-a-tflite", "XNNPACK"): tflite_engine.load,
    ("cortex-a-tflite", "LiteRT built-in"): load_built_in,
    ("amd-vitis-dpu", "ONNX Runtime"): onnx_engine.load,
    ("x86_64-openvino", "OpenVINO"): load_in_float32,
}


def in_integers(operator: str, profile: CapabilityProfile) -> bool:
    op_type, *mode = operator.split()
    support = profile.ops[op_type]
    modes = support.constraints.modes
    return "int8" in support.precisions and (not mode or modes is None or mode[0] in modes)


CELLS = [
    pytest.param(target, kernels, operator, id=f"{target}-{kernels}-{operator}")
    for target, kernels in ENGINES
    for operator in OPERATORS
    if in_integers(operator, catalog.load(target))
]


@pytest.mark.parametrize(("target", "kernels", "operator"), CELLS)
def test_an_operator(target: str, kernels: Kernels, operator: str) -> None:
    """With weights of 7 bits where this processor's kernels would saturate."""
    seen = compare(operator, catalog.load(suited(target)), ENGINES[target, kernels], networks=6, samples=3)
    known = known_difference(target, kernels, operator)
    equal, within_one = seen.equal / seen.count, seen.within_one / seen.count
    assert seen.count >= 2500
    if known is None:
        assert equal >= 0.999
        assert seen.largest <= 1
        return
    assert known.least_equal <= equal < 1.0
    assert within_one >= known.least_within_one
    assert seen.largest <= known.largest


WIDE = dataclasses.replace(
    catalog.load("cortex-a-tflite"), interface=Interface(input_type="float32", output_type="float32")
)
FAR_IN_16_BITS = {"Softmax": 2, "Tanh": 3, "Conv": 16}
"""Codes of 16 bits. LiteRT interpolates Softmax and Tanh in a table; a Clip at a bound of no fused activation is a second operator behind Conv,
in a finer scale."""
LEAST_WITHIN_ONE_IN_16_BITS = {"Tanh": 0.9}


@pytest.mark.parametrize(
    "operator", [name for name in OPERATORS if WIDE.wide is not None and name.split()[0] in WIDE.wide.ops]
)
def test_an_operator_on_16_bit_activations(operator: str) -> None:
    """XNNPACK takes none of them, so one way of running LiteRT is enough."""
    seen = compare(operator, WIDE, tflite_engine.load, networks=3, samples=2, plan=planned_wide)
    assert seen.count >= 100
    assert seen.largest <= FAR_IN_16_BITS.get(operator, 1)
    assert seen.within_one / seen.count >= LEAST_WITHIN_ONE_IN_16_BITS.get(operator, 0.99)


@pytest.mark.parametrize(
    "operator", next(k.operators for k in KNOWN_DIFFERENCES if k.target == "amd-vitis-dpu")
)
def test_the_stand_in_differs_by_its_rounding_only(operator: str) -> None:
    profile = catalog.load("amd-vitis-dpu")
    as_stand_in = dataclasses.replace(
        profile, rounding=dataclasses.replace(profile.rounding, requantization="half_even")
    )
    seen = compare(operator, as_stand_in, onnx_engine.load, networks=6, samples=3)
    assert seen.equal >= 0.9999 * seen.count


def test_every_known_difference_is_tested() -> None:
    tested = {(cell.values[0], cell.values[1], cell.values[2]) for cell in CELLS}
    listed = [(k.target, k.kernels, operator) for k in KNOWN_DIFFERENCES for operator in k.operators]
    assert len(listed) == len(set(listed))
    assert set(listed) <= tested


def test_the_document_shows_the_table() -> None:
    text = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- known differences -->\n(.*?)\n<!-- end -->", text, re.DOTALL)
    assert shown is not None
    assert shown[1] == difference_table(), (
        "docs/simulator.md: known_differences.difference_table() gives the new table"
    )
