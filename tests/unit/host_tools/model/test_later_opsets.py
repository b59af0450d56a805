"""Opsets beyond 21: functions become their bodies; what ONNX's own inference or old rules get wrong is said right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.parser
import pytest

from host_tools.errors import UnsupportedOperatorError
from host_tools.model import load
from host_tools.model.reference import FloatRunner

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.model import FloatModel


def loaded(folder: Path, opset: int, text: str) -> FloatModel:
    path = folder / "model.onnx"
    path.write_bytes(
        onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {text}').SerializeToString()
    )
    return load(path)


def kinds(model: FloatModel) -> list[str]:
    return [node.op_type for node in model.graph.graph]


def test_a_function_of_a_later_opset_becomes_its_body(tmp_path: Path) -> None:
    model = loaded(tmp_path, 24, "net (float[1,4] x) => (float[1,4] y) { y = Swish (x) }")
    assert set(kinds(model)) == {"Mul", "Sigmoid"}
    assert "Written out: Swish." in " ".join(model.notes)
    x = np.asarray([[-2, -1, 0, 3]], np.float32)
    (y,) = FloatRunner(model, threads=1).run({"x": x}).values()
    np.testing.assert_allclose(y, x / (1 + np.exp(-x)), rtol=1e-6)


def test_an_operator_that_is_no_function_is_refused_by_name(tmp_path: Path) -> None:
    text = "net (float[2,4] x, int64[1] k) => (float[2,4] y) { axis = Constant <value_int = 1> () y = CumProd (x, axis) }"
    with pytest.raises(UnsupportedOperatorError, match="CumProd"):
        loaded(tmp_path, 26, text)


def test_one_that_differs_in_types_alone_is_relabelled(tmp_path: Path) -> None:
    model = loaded(tmp_path, 22, "net (float[1,2,3,3] x) => (float[1,2,1,1] y) { y = GlobalMaxPool (x) }")
    assert kinds(model) == ["GlobalMaxPool"]


@pytest.mark.parametrize("opset", [18, 22])
def test_ceil_mode_gives_no_window_behind_the_input(opset: int, tmp_path: Path) -> None:
    # Kernel 1 and stride 2 over 2 and padding of 1 on the right and below: the second window would begin in padding.
    model = loaded(
        tmp_path,
        opset,
        "net (float[1,1,2,2] x) => (float[1,1,N,M] y) "
        "{ y = MaxPool <ceil_mode = 1, kernel_shape = [1,1], strides = [2,2], pads = [0,0,0,0]> (x) }",
    )
    assert model.outputs[0].shape == (1, 1, 1, 1)
    (y,) = FloatRunner(model, threads=1).run({"x": np.asarray([[[[1, 2], [3, 4]]]], np.float32)}).values()
    assert y.tolist() == [[[[1.0]]]]


def test_ceil_mode_behind_the_input_along_one_axis_only_is_refused(tmp_path: Path) -> None:
    text = (
        "net (float[1,1,2,4] x) => (float[1,1,N,M] y) "
        "{ y = MaxPool <ceil_mode = 1, kernel_shape = [1,3], strides = [2,2], pads = [0,0,0,0]> (x) }"
    )
    with pytest.raises(UnsupportedOperatorError, match=r"MaxPool.*ceil_mode"):
        loaded(tmp_path, 18, text)


def test_a_reduction_along_no_axis_that_asks_for_none_stays_what_it_is(tmp_path: Path) -> None:
    text = """net (float[2,3] x) => (float[2,3] y)
        <int64[0] axes = {}> { s = ReduceSum <noop_with_empty_axes = 1> (x, axes) y = Relu (s) }"""
    model = loaded(tmp_path, 18, text)
    assert kinds(model) == ["Relu"]


@pytest.mark.parametrize("line", ["y = Bernoulli (x)", "y = RandomNormalLike (x)"])
def test_lots_are_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorError, match="draws random numbers"):
        loaded(tmp_path, 18, f"net (float[1,4] x) => (float[1,4] y) {{ {line} }}")
