"""16-bit activations judged by others: TensorFlow Lite for Microcontrollers gives the codes, Vela takes the operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.observe.observer import observe
from host_tools.observe.sources.opening import open_data
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe, Widen
from targets import catalog
from tests.e2e.small_network import samples, write_network
from tests.integration.environments import run_legacy, run_tflite_micro
from tests.integration.test_tflite_micro import RUN, codes_of
from tests.integration.test_vela import ACCELERATORS, compiled

if TYPE_CHECKING:
    from pathlib import Path

LEGACY = """
import sys
from tflite_runtime.interpreter import Interpreter

try:
    Interpreter(sys.argv[1]).allocate_tensors()
except RuntimeError as error:
    print(error)
"""
FAR = 2
"""Codes of 8 bits: what a kernel of 16 bits is off is less than one, and the last operators run on 8."""


def written(folder: Path, target: str) -> Path:
    """Write a small network for a target, all of it on 16-bit activations but what writes the output."""
    path = write_network(folder / "small.onnx")
    model, profile = load(path), catalog.load(target)
    np.save(folder / "small.npy", samples(8))
    data = open_data(folder / "small.npy", inputs=model.inputs)
    statistics = observe(model, data, histograms=False, threads=1, progress=Silent())
    (last,) = (value.producer() for value in model.graph.graph.outputs)
    assert last is not None
    assert profile.wide is not None
    before = last if last.op_type not in ("Flatten", "Reshape", "Softmax") else last.predecessors()[0]
    names = frozenset(
        str(node.name)
        for node in model.graph.graph
        if node.op_type in profile.wide.ops and node not in (last, before)
    )
    made = plan(model, statistics, profile, Recipe(method="minmax", widen=Widen(nodes=names)))
    assert sum(node.precision == "int16" for node in made.nodes.values()) >= 3
    file = folder / f"{target}.tflite"
    file.write_bytes(lower(model, made, profile).files["model.tflite"])
    return file


def test_a_microcontroller_gives_the_codes_of_the_reference_kernels(tmp_path: Path) -> None:
    file = written(tmp_path, "cortex-m-tflm")
    codes, expected = codes_of(file, samples(8)[:3])
    np.save(tmp_path / "in.npy", codes)
    run_tflite_micro("-c", RUN, str(file), str(tmp_path / "in.npy"), str(tmp_path / "out.npy"))
    found = np.load(tmp_path / "out.npy")
    assert found.shape == expected.shape
    assert len(np.unique(expected)) > 3
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= FAR


def test_the_old_runtime_does_not_take_8_bits_to_16(tmp_path: Path) -> None:
    """Which is why its profile has no 16-bit operators."""
    assert catalog.load("cortex-a-tflite-legacy").wide is None
    said = run_legacy("-c", LEGACY, str(written(tmp_path, "cortex-a-tflite")))
    assert "(QUANTIZE) failed to prepare" in said


@pytest.mark.parametrize("target", ACCELERATORS)
def test_vela_takes_every_operator(target: str, tmp_path: Path) -> None:
    found = compiled(written(tmp_path, target), ACCELERATORS[target])
    assert found.cpu == 0
    assert found.operators_left == ("ethos-u",)
