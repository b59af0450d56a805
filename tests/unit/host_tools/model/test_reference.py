"""The float model on ONNX Runtime: what it is fed, what it is asked for, and what the engine refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest
from onnx_models import model_proto, saved

from host_tools.errors import DataError, ModelError
from host_tools.model import load
from host_tools.model.export import serialize
from host_tools.model.reference import FloatRunner, open_session, run_session

if TYPE_CHECKING:
    from pathlib import Path

RELU = "g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"


@pytest.mark.parametrize(
    ("feeds", "got"),
    [
        ({}, "nothing"),
        ({"y": np.zeros((1, 4), np.float32)}, "nothing"),
        ({"x": np.zeros((1, 5), np.float32)}, r"float32 \(1, 5\)"),
        ({"x": np.zeros((1, 4), np.float64)}, r"float64 \(1, 4\)"),
    ],
)
def test_feeds_that_do_not_fit(feeds: dict[str, np.ndarray], got: str, tmp_path: Path) -> None:
    runner = FloatRunner(load(saved(tmp_path, model_proto(RELU))), threads=1)
    with pytest.raises(DataError, match=rf"Input 'x': expected float32 \(1, 4\), got {got}\."):
        runner.run(feeds)


def test_a_value_that_nothing_computes(tmp_path: Path) -> None:
    model = load(saved(tmp_path, model_proto(RELU)))
    with pytest.raises(ModelError, match="'absent' is no computed value of model 'net'"):
        FloatRunner(model, threads=1, extra_outputs=("absent",))


@pytest.mark.parametrize("content", [b"", b"noise", model_proto(RELU).SerializeToString()[:-20]])
def test_a_graph_that_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"ONNX Runtime [\d.]+ refuses the float model 'net': ."):
        open_session(content, threads=1, name="net")


def test_a_run_that_fails() -> None:
    proto = model_proto("g (float[3] x, int64[1] i) => (float[1] y) { y = Gather(x, i) }")
    session = open_session(proto.SerializeToString(), threads=1, name="net")
    feeds = {"x": np.zeros(3, np.float32), "i": np.array([7])}
    with pytest.raises(ModelError, match=r"ONNX Runtime failed while running the float model: .*Gather"):
        run_session(session, ("y",), feeds)


def test_a_run_that_fails_without_a_word() -> None:
    class OutOfMemory:
        def run(self, *_: object) -> None:
            raise MemoryError

    with pytest.raises(ModelError, match="while running the float model: MemoryError"):
        run_session(OutOfMemory(), ("y",), {})  # type: ignore[arg-type]  # stands in for a session


def test_more_weights_than_one_file_can_hold() -> None:
    graph = ir.from_proto(model_proto("g (float[1] x) => (float[1] y) { y = Add(x, w) }", w=np.float32(0)))
    huge = np.broadcast_to(np.float32(0), (1 << 29,))  # 2 GiB that take no memory
    graph.graph.initializers["w"].const_value = ir.tensor(huge)
    with pytest.raises(ModelError, match=r"has 2\.0 GiB of weights; at most 2 GiB fit into one ONNX file"):
        serialize(graph)


def test_a_name_that_is_no_text() -> None:
    graph = ir.from_proto(model_proto(RELU))
    graph.graph[0].name = "\ud800"
    with pytest.raises(ModelError, match="The model cannot be serialized: "):
        serialize(graph)
