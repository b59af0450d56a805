"""Opsets before 13, and files of 2018: what operators meant then is kept, held against ONNX Runtime on the file as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from host_tools.errors import UnsupportedOperatorError
from host_tools.model import load
from host_tools.model.reference import FloatRunner
from tests.unit.host_tools.model.onnx_models import model_proto, run, saved

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray


def assert_means_what_it_did(proto: onnx.ModelProto, folder: Path, *shape: int) -> None:
    x = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    model = load(saved(folder, proto))
    ours = FloatRunner(model, threads=1).run({"x": x})
    for theirs, mine in zip(run(proto.SerializeToString(), {"x": x}), ours.values(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [7, 9, 12])
@pytest.mark.parametrize("axis", ["<axis = 0>", "", "<axis = 2>"])
def test_hardmax_is_over_all_axes_from_its_own_on(opset: int, axis: str, tmp_path: Path) -> None:
    text = f"net (float[2,3,4] x) => (float[2,3,4] y) {{ y = Hardmax {axis} (x) }}"
    assert_means_what_it_did(model_proto(text, opset=opset), tmp_path, 2, 3, 4)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [2.0, 1.25])
def test_upsample_puts_pixel_0_on_pixel_0(mode: str, scale: float, tmp_path: Path) -> None:
    text = f'net (float[1,2,8,8] x) => (float[1,2,N,M] y) {{ y = Upsample <mode = "{mode}"> (x, scales) }}'
    proto = model_proto(text, opset=9, scales=np.asarray([1, 1, scale, scale], np.float32))
    assert_means_what_it_did(proto, tmp_path, 1, 2, 8, 8)


def test_upsample_with_its_scales_as_an_attribute(tmp_path: Path) -> None:
    text = 'net (float[1,2,8,8] x) => (float[1,2,16,16] y) { y = Upsample <mode = "linear", scales = [1.0, 1.0, 2.0, 2.0]> (x) }'
    assert_means_what_it_did(model_proto(text, opset=7), tmp_path, 1, 2, 8, 8)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [1.25, 0.7])
def test_resize_of_opset_10_by_scales_that_are_computed(mode: str, scale: float, tmp_path: Path) -> None:
    text = f"""net (float[1,2,10,10] x) => (float[1,2,N,M] y) {{
        ones = Div (half, half) scales = Concat <axis = 0> (ones, pixels) y = Resize <mode = "{mode}"> (x, scales) }}"""
    weights = {
        "half": np.full(2, 0.5, np.float32),
        "pixels": np.full(2, scale, np.float32),
    }
    assert_means_what_it_did(model_proto(text, opset=10, **weights), tmp_path, 1, 2, 10, 10)


def test_a_resize_to_the_nearest_that_rounds_in_two_ways_is_refused(tmp_path: Path) -> None:
    text = 'net (float[1,2,10,10] x) => (float[1,2,N,M] y) { y = Resize <mode = "nearest"> (x, scales) }'
    proto = model_proto(text, opset=10, scales=np.asarray([1, 1, 2, 0.5], np.float32))
    with pytest.raises(UnsupportedOperatorError, match=r"Resize.*smaller and another larger.*opset 11"):
        load(saved(tmp_path, proto))


def convolution() -> NDArray[np.generic]:
    return np.random.default_rng(1).standard_normal((2, 3, 3, 3)).astype(np.float32)


@pytest.mark.parametrize("inputs", ["float[1,3,8,8] x, float[2,3,3,3] w", "float[1,3,8,8] x"])
def test_a_file_of_ir_version_3_whose_weights_are_inputs_too(inputs: str, tmp_path: Path) -> None:
    text = f"net ({inputs}) => (float[1,2,6,6] y) {{ y = Conv (x, w) }}"
    proto = model_proto(text, opset=8, ir_version=3, w=convolution())
    assert [spec.name for spec in load(saved(tmp_path, proto)).inputs] == ["x"]
    if "w" in inputs:
        assert_means_what_it_did(proto, tmp_path, 1, 3, 8, 8)
