"""Codes of scale 1 behind a Transpose, as grey levels in NHWC have: OpenVINO takes them away, and computes in float what reads them.

The reader of files says so, and the lowering writes it otherwise; both are held against OpenVINO's runtime model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import parser

from device_agent.engines.openvino import compile_settings
from device_agent.engines.openvino_library import openvino as ov
from host_tools.lint.openvino import read_openvino
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from host_tools.verify.probes import PROBES
from targets import catalog
from tests.unit.host_tools.reconstruct.hard_networks import spread

if TYPE_CHECKING:
    from pathlib import Path

OPS = ov.opset13
MOVED, SWAPPED = np.array([0, 3, 1, 2]), np.array([0, 1, 3, 2])


def quantized(value: object, scale: float, zero_point: int, *, codes: bool) -> object:
    """As our lowering writes it, or as FakeQuantize alone."""
    low, high = np.float32(-zero_point * scale), np.float32((255 - zero_point) * scale)
    if not codes:
        return OPS.fake_quantize(value, low, high, low, high, 256)
    rounded = OPS.fake_quantize(value, low, high, np.float32(0), np.float32(255), 256)
    real = OPS.convert(OPS.convert(rounded, "u8"), "f32")
    if zero_point:
        real = OPS.subtract(real, np.float32(zero_point))
    return OPS.multiply(real, np.float32(scale))


def weight(*shape: int) -> object:
    numbers = np.random.default_rng(0).integers(-127, 127, shape).astype(np.int8)
    return OPS.multiply(OPS.convert(OPS.constant(numbers), "f32"), np.float32(0.01))


def network(steps: str, scale: float, zero_point: int, *, codes: bool) -> ov.Model:
    """Return quantizations (q), transpositions (t to NCHW, u of height and width) and a Relu (r) before a Convolution, and one more behind it."""
    value = image = OPS.parameter([1, 16, 16, 3], np.float32, name="x")
    for step in steps:
        if step == "q":
            value = quantized(value, scale, zero_point, codes=codes)
        elif step == "r":
            value = OPS.relu(value)
        else:
            value = OPS.transpose(value, MOVED if step == "t" else SWAPPED)
    first = OPS.convolution(value, weight(8, 3, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1], name="first")
    between = quantized(first, 0.5, 0, codes=codes)
    second = OPS.convolution(between, weight(8, 8, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1], name="second")
    return ov.Model([quantized(second, 0.5, 0, codes=codes)], [image], "net")


def executed(model: ov.Model) -> list[str]:
    nodes = ov.Core().compile_model(model, "CPU", compile_settings(1)).get_runtime_model().get_ordered_ops()
    told = [{key: str(node.rt_info[key].astype(str)) for key in node.rt_info} for node in nodes]
    return [
        "float32" if one["runtimePrecision"] == "f32" else "int8"
        for one in told
        if one["layerType"] == "Convolution"
    ]


def linted(model: ov.Model, folder: Path) -> list[str]:
    ov.serialize(model, folder / "model.xml")
    file = read_openvino((folder / "model.xml").read_bytes(), (folder / "model.bin").read_bytes())
    return [str(op.computed_in) for op in file.ops if op.kind == "Convolution"]


@pytest.mark.parametrize("codes", [True, False])
@pytest.mark.parametrize(("scale", "zero_point"), [(1.0, 0), (0.5, 0), (1.0, 100)])
@pytest.mark.parametrize("steps", ["qtq", "tq", "qt", "qtuq", "qtqu", "trq"])
def test_a_file_is_read_as_openvino_runs_it(
    tmp_path: Path, steps: str, scale: float, zero_point: int, codes: bool
) -> None:
    model = network(steps, scale, zero_point, codes=codes)
    assert linted(model, tmp_path) == executed(model)


def test_the_case_itself_is_float_here() -> None:
    assert executed(network("qtq", 1.0, 0, codes=True)) == ["float32", "int8"]


@pytest.mark.parametrize("highest", [255.0, 200.0])
def test_grey_levels_in_nhwc_are_lowered_so_that_the_first_conv_runs_in_integers(
    tmp_path: Path, highest: float
) -> None:
    model = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> net (float[1,16,16,3] x) => (float[1,8,16,16] y) {\n'
        "t = Transpose <perm = [0,3,1,2]> (x)\n c = Conv <pads = [1,1,1,1]> (t, w, b)\n r = Relu (c)\n"
        "y = Conv <pads = [1,1,1,1]> (r, v, b)\n}"
    )
    weights = spread(4, w=(8, 3, 3, 3), v=(8, 8, 3, 3), b=(8,))
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in weights.items()
    )
    onnx.save(model, tmp_path / "grey.onnx")
    pictures = np.random.default_rng(1).integers(0, int(highest) + 1, (6, 16, 16, 3)).astype(np.float32)
    pictures[0, 0, 0], pictures[0, 0, 1] = 0.0, highest
    np.save(tmp_path / "data.npy", pictures)
    loaded, profile = load(tmp_path / "grey.onnx"), catalog.load("x86_64-openvino")
    data = open_data(tmp_path / "data.npy", inputs=loaded.inputs)
    statistics = observe(loaded, data, histograms=False, threads=1, progress=Silent())
    payload = lower(loaded, plan(loaded, statistics, profile, Recipe(method="minmax")), profile)
    found = [
        one.precision
        for one in PROBES["openvino_ir"].executed_ops(payload, threads=1)
        if one.op_type == "Convolution"
    ]
    file = read_openvino(payload.files["model.xml"], payload.files["model.bin"])
    assert found == ["int8", "int8"]
    assert [op.computed_in for op in file.ops if op.kind == "Convolution"] == found
