"""Rows of the tables that a model's inputs are looked up in: through what only moves numbers, and not through what changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from device_agent.engines.onnxruntime_library import onnxruntime as ort
from host_tools.lower.interface import payload_tensors, with_rows
from host_tools.model import load
from host_tools.model.table_rows import table_rows
from tests.integration.small_encoder import VOCABULARY, write_encoder

if TYPE_CHECKING:
    from pathlib import Path

Node = tuple[str, list[str], list[str], dict[str, object]]
CONSTANTS = {
    "words": np.ones((9, 4), np.float32),
    "few": np.ones((7, 4), np.float32),
    "sideways": np.ones((4, 5), np.float32),
    "one": np.asarray([1], np.int64),
    "shape": np.asarray([2, 3], np.int64),
    "third": np.asarray([2], np.int64),
}
MOVED = {
    "cast": [("Cast", ["ids"], ["k"], {"to": TensorProto.INT32}), ("Gather", ["words", "k"], ["out"], {})],
    "shape": [
        ("Unsqueeze", ["ids", "third"], ["a"], {}),
        ("Transpose", ["a"], ["b"], {"perm": [0, 2, 1]}),
        ("Reshape", ["b", "shape"], ["c"], {}),
        ("Gather", ["words", "c"], ["out"], {}),
    ],
    "joined": [
        ("Cast", ["ids"], ["a"], {"to": TensorProto.INT64}),
        ("Concat", ["one_more", "a"], ["c"], {"axis": 1}),
        ("Gather", ["words", "c"], ["out"], {}),
    ],
}
CHANGED = {
    "offset": [("Add", ["ids", "one"], ["k"], {}), ("Gather", ["words", "k"], ["out"], {})],
    "counted from one": [("Sub", ["ids", "one"], ["k"], {}), ("Gather", ["words", "k"], ["out"], {})],
}


def model(path: Path, nodes: list[Node]) -> Path:
    constants = CONSTANTS | {"one_more": np.zeros((1, 2), np.int64)}
    read = {name for _, inputs, _, _ in nodes for name in inputs}
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, outputs, **more) for kind, inputs, outputs, more in nodes],
        "lookup",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 6])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if name in read],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(proto), path)
    return path


@pytest.mark.parametrize("how", MOVED)
def test_numbers_that_only_move_are_followed_to_their_table(tmp_path: Path, how: str) -> None:
    path = model(tmp_path / "m.onnx", MOVED[how])
    found = table_rows(load(path).graph)
    assert {name: (one.rows, one.table) for name, one in found.items()} == {"ids": (9, "words")}
    session = ort.InferenceSession(path)
    assert session.run(None, {"ids": np.full((1, 6), 8)})[0].all(), "the last row is one"
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {"ids": np.full((1, 6), 9)})


@pytest.mark.parametrize("how", CHANGED)
def test_of_numbers_that_change_nothing_is_said(tmp_path: Path, how: str) -> None:
    assert table_rows(load(model(tmp_path / "m.onnx", CHANGED[how])).graph) == {}


def test_the_smallest_of_several_tables_counts_along_its_own_axis(tmp_path: Path) -> None:
    nodes: list[Node] = [
        ("Gather", ["words", "ids"], ["a"], {}),
        ("Gather", ["few", "ids"], ["b"], {}),
        ("Gather", ["sideways", "ids"], ["c"], {"axis": 1}),
        ("Transpose", ["c"], ["d"], {"perm": [1, 2, 0]}),
        ("Add", ["a", "b"], ["e"], {}),
        ("Add", ["e", "d"], ["out"], {}),
    ]
    found = table_rows(load(model(tmp_path / "m.onnx", nodes)).graph)["ids"]
    assert (found.rows, found.table) == (5, "sideways")
    assert found.node


def test_an_artifact_says_the_rows_of_inputs_of_integers_alone(tmp_path: Path) -> None:
    encoder = load(write_encoder(tmp_path / "encoder.onnx", types=True))
    tensors = with_rows(payload_tensors(encoder.inputs, {}), encoder.inputs)
    assert {tensor.name: tensor.rows for tensor in tensors} == {
        "input_ids": VOCABULARY,
        "attention_mask": None,
        "token_type_ids": 2,
    }
