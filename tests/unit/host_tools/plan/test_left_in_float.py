"""Where a file quantizes only what integer operators read, the plan says which of its codes are in no file, and no pair is left that nobody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest

from tests.unit.host_tools.small_candidate import small_candidate

if TYPE_CHECKING:
    from pathlib import Path

SENTENCE = "float in the file, since no integer operator reads it"


@pytest.mark.parametrize("target", ["nvidia-tensorrt", "ncnn"])
def test_every_pair_in_the_file_is_read_by_an_integer_operator(tmp_path: Path, target: str) -> None:
    _, candidate = small_candidate(tmp_path, target)
    graph = onnx.load_model_from_string(candidate.payload.files["model.onnx"]).graph
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.name)
    codes = {node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    pairs = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in codes]
    assert pairs
    assert codes == {node.input[0] for node in pairs}
    integer = {name for name, node in candidate.plan.nodes.items() if node.precision == "int8"}
    assert all(readers[pair.output[0]] & integer for pair in pairs)


@pytest.mark.parametrize(
    ("target", "count"), [("nvidia-tensorrt", True), ("ncnn", True), ("x86_64-onnxruntime", False)]
)
def test_the_plan_says_what_is_float_in_the_file(tmp_path: Path, target: str, count: bool) -> None:
    _, candidate = small_candidate(tmp_path, target)
    graph = onnx.load_model_from_string(candidate.payload.files["model.onnx"]).graph
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    told = {
        name
        for name, tensor in candidate.plan.tensors.items()
        if tensor.qparams is not None and SENTENCE in tensor.reason
    }
    assert bool(told) is count
    assert not {candidate.payload.tensor_names[name] for name in told} & dequantized
