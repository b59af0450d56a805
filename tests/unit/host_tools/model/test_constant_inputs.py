"""`--constant`: an input that chooses a branch is fixed, and the branch with it; what does not fit is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.parser
import pytest

from host_tools.errors import DynamicShapeError, ModelError, UnsupportedOperatorError
from host_tools.model import load
from host_tools.model.reference import FloatRunner

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.model import FloatModel

BRANCHES = """<ir_version: 8, opset_import: ["" : 18]>
vad (float[1,4] x, int64 rate, float[2] gains) => (float[1,4] y) {
    wide = Constant <value = int64 {16000}> ()
    is_wide = Equal (rate, wide)
    m = If (is_wide) <
        then_branch = yes () => (float[1,4] a) { a = Relu (x) },
        else_branch = no () => (float[1,4] b) { b = Neg (x) }
    >
    total = ReduceSum <keepdims = 0> (gains)
    y = Mul (m, total)
}"""


def loaded(tmp_path: Path, text: str = BRANCHES, **options: object) -> FloatModel:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    return load(path, **options)  # type: ignore[arg-type]  # each test's own


def outputs(model: FloatModel) -> np.ndarray:
    feeds = {"x": np.asarray([[-1, 2, -3, 4]], np.float32)}
    return FloatRunner(model, threads=1).run(feeds)["y"]


@pytest.mark.parametrize(("rate", "wanted"), [(16000, [0, 6, 0, 12]), (8000, [3, -6, 9, -12])])
def test_the_branch_that_the_constant_chooses_is_left(rate: int, wanted: list[float], tmp_path: Path) -> None:
    model = loaded(tmp_path, constants={"rate": (rate,), "gains": (1.0, 2.0)})
    assert [spec.name for spec in model.inputs] == ["x"]
    assert {node.op_type for node in model.graph.graph} <= {"Relu", "Neg", "Mul"}
    np.testing.assert_allclose(outputs(model), [wanted])
    assert f"Fixed for good: 'rate' = {rate}, 'gains' = 1, 2." in model.notes


def test_one_number_is_for_all_elements(tmp_path: Path) -> None:
    model = loaded(tmp_path, constants={"rate": (16000,), "gains": (0.5,)})
    np.testing.assert_allclose(outputs(model), [[0, 2, 0, 4]])


def test_the_digest_counts_constants(tmp_path: Path) -> None:
    gains = {"gains": (1.0,)}
    digests = {loaded(tmp_path, constants={"rate": (rate,), **gains}).digest for rate in (8000, 16000)}
    assert len(digests) == 2


def test_without_it_the_refusal_names_it(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorError, match="If 'm' is control flow") as refused:
        loaded(tmp_path)
    assert "--constant NAME=NUMBER" in refused.value.hint


@pytest.mark.parametrize(
    ("constants", "reason"),
    [
        ({"sr": (1,)}, "--constant names 'sr', which is no input"),
        ({"rate": (1, 2)}, r"--constant rate: expected 1 number, or 1 for the shape \[\], got 2"),
        ({"gains": (1, 2, 3)}, r"expected 1 number, or 2 for the shape \[2\], got 3"),
        ({"rate": (0.5,)}, "--constant rate: 0.5: not of type int64"),
        ({"rate": (10**30,)}, "not of type int64"),
        ({"gains": (1e300,)}, "--constant gains: 1e[+]300: not of type float32"),
    ],
)
def test_what_does_not_fit_is_refused(
    constants: dict[str, tuple[float, ...]], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=reason):
        loaded(tmp_path, constants=constants)


TEXT = """<ir_version: 8, opset_import: ["" : 18]>
net (float[1,4] x, string[1] word) => (float[1,4] y) { y = Relu (x) }"""
OPEN = """<ir_version: 8, opset_import: ["" : 18]>
net (float[1,4] x, int64[N] n) => (float[1,4] y) { f = Cast <to = 1> (n) y = Mul (x, f) }"""


def test_only_numbers_can_be_constants(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="only inputs of numbers"):
        loaded(tmp_path, TEXT, constants={"word": (1,)})


def test_an_open_extent_is_one_unless_its_shape_is_given(tmp_path: Path) -> None:
    np.testing.assert_allclose(outputs(loaded(tmp_path, OPEN, constants={"n": (2,)})), [[-2, 4, -6, 8]])
    four = loaded(tmp_path, OPEN, constants={"n": (1, 2, 3, 4)}, shapes={"n": (4,)})
    np.testing.assert_allclose(outputs(four), [[-1, 4, -9, 16]])


def test_an_input_without_a_shape_wants_one(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(OPEN)
    proto.graph.input[1].type.tensor_type.ClearField("shape")
    path = tmp_path / "shapeless.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(DynamicShapeError, match="Input 'n' has no shape"):
        load(path, constants={"n": (2,)})
