"""The file itself: what readers and delegates rely on beyond the operators."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from lowering_cases import CASES, TWO_ENDS
from lowering_template import Samples, prepare
from tflite_file import float_payload, model_of, ops_of

from device_agent.engines.tflite_bounds import require_bounds
from host_tools.errors import LoweringError
from host_tools.lower.lowering import lower
from host_tools.lower.tflite import flatbuffer
from host_tools.lower.tflite.graph import GraphBuilder, Options
from host_tools.model import load
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.observe.observer import observe
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import KeepFloat, Recipe
from host_tools.verify.candidate import Candidate
from host_tools.verify.execution import executed
from targets import catalog
from tests.e2e.small_network import write_network

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.lower.payload import Payload

TFLITE = tuple(name for name in catalog.ids() if catalog.load(name).artifact.format == "tflite")
FLOATS = {schema.TensorType.FLOAT16, schema.TensorType.FLOAT32, schema.TensorType.FLOAT64}
CASE = {case.name: case for case in (*CASES, TWO_ENDS)}


def payload_of(name: str, folder: Path) -> Payload:
    return prepare(CASE[name], folder, catalog.load("cortex-a-tflite")).lower()


@pytest.mark.parametrize("case", CASE.values(), ids=CASE)
def test_every_file_keeps_the_format_s_promises(case, tmp_path: Path) -> None:
    payload = prepare(case, tmp_path, catalog.load("cortex-a-tflite")).lower()
    data = payload.files["model.tflite"]
    assert data[4:8] == b"TFL3"
    model = model_of(payload)
    assert model.version == 3
    assert model.buffers[0].data is None or len(model.buffers[0].data) == 0
    (graph,) = model.subgraphs
    written = {index for op in graph.operators for index in op.outputs}
    constants = {index for index, tensor in enumerate(graph.tensors) if tensor.buffer}
    # Every tensor comes from somewhere, is written once, and before it is read.
    assert sum(len(op.outputs) for op in graph.operators) == len(written)
    assert not written & constants
    known = set(graph.inputs) | constants
    for op in graph.operators:
        assert {index for index in op.inputs if index >= 0} <= known
        known |= set(op.outputs)
    assert set(graph.outputs) <= known
    assert known == set(range(len(graph.tensors)))
    names = [tensor.name for tensor in graph.tensors]
    assert len(set(names)) == len(names)
    for tensor in graph.tensors:
        assert tensor.hasRank
        if tensor.type == schema.TensorType.INT8:
            assert len(tensor.quantization.scale) == len(tensor.quantization.zeroPoint) >= 1
            assert (np.asarray(tensor.quantization.scale) > 0).all()
            assert all(-128 <= zero_point <= 127 for zero_point in tensor.quantization.zeroPoint)
        if tensor.type == schema.TensorType.FLOAT32:
            assert tensor.quantization is None
    require_bounds(data)


@pytest.mark.parametrize("name", ["conv", "gemm_relu", "hard_sigmoid", "two_inputs_and_outputs"])
def test_data_of_constants_lie_on_16_bytes(name: str, tmp_path: Path) -> None:
    data = payload_of(name, tmp_path).files["model.tflite"]
    model = schema.Model.GetRootAs(data, 0)
    offsets = []
    for index in range(model.BuffersLength()):
        table = model.Buffers(index)._tab
        field = table.Offset(4)
        if field:
            offsets.append(table.Vector(field))
    assert len(offsets) >= 4
    assert {offset % 16 for offset in offsets} == {0}


def test_equal_constants_share_a_buffer(tmp_path: Path) -> None:
    model = model_of(payload_of("several_readers", tmp_path))
    contents = [bytes(bytearray(buffer.data)) for buffer in model.buffers[1:]]
    assert len(set(contents)) == len(contents)


def test_the_signature_speaks_the_model_s_names(tmp_path: Path) -> None:
    payload = payload_of("two_inputs_and_outputs", tmp_path)
    engine = Interpreter(model_content=payload.files["model.tflite"])
    assert engine.get_signature_list() == {"serving_default": {"inputs": ["x", "z"], "outputs": ["s", "y"]}}
    runner = engine.get_signature_runner("serving_default")
    shapes = {tensor.name: tensor.shape for tensor in payload.inputs}
    found = runner(**{name: np.ones(shape, np.int8) for name, shape in shapes.items()})
    assert {name: array.shape for name, array in found.items()} == {
        tensor.name: tensor.shape for tensor in payload.outputs
    }


def test_operator_codes_are_each_there_once_and_readable_by_old_readers(tmp_path: Path) -> None:
    model = model_of(payload_of("conv_grouped", tmp_path))
    codes = [(code.builtinCode, code.version) for code in model.operatorCodes]
    assert len(set(codes)) == len(codes)
    assert [code.deprecatedBuiltinCode for code in model.operatorCodes] == [
        min(code, 127) for code, _ in codes
    ]


def test_a_code_beyond_a_byte_has_a_placeholder() -> None:
    code = flatbuffer._operator_code("GELU", 1)
    assert code.builtinCode == schema.BuiltinOperator.GELU > 127
    assert code.deprecatedBuiltinCode == 127


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; sys.path[:0] = sys.argv[1].split(':')\n"
        "from lowering_cases import CASES; from lowering_template import prepare; from targets import catalog\n"
        "for name in ('several_readers', 'hard_sigmoid'):\n"
        "    case = next(case for case in CASES if case.name == name)\n"
        "    payload = prepare(case, pathlib.Path(sys.argv[2]), catalog.load('cortex-a-tflite')).lower()\n"
        "    pathlib.Path(sys.argv[2], name).write_bytes(payload.files['model.tflite'])\n"
    )
    names = ("several_readers", "hard_sigmoid")
    here = [payload_of(name, tmp_path).files["model.tflite"] for name in names]
    subprocess.run([sys.executable, "-c", script, ":".join(sys.path), str(tmp_path)], check=True, timeout=120)
    assert [(tmp_path / name).read_bytes() for name in names] == here


def test_nothing_of_this_machine_is_in_the_file(tmp_path: Path) -> None:
    payload = payload_of("conv", tmp_path)
    assert str(tmp_path).encode() not in payload.files["model.tflite"]
    assert model_of(payload).description == b"conv for cortex-a-tflite"


def test_weights_are_bytes_and_no_float_weight_is_left(tmp_path: Path) -> None:
    payload = payload_of("gemm_relu", tmp_path)
    assert len(payload.files["model.tflite"]) < 6 * 512 + 4096
    assert not any(tensor.type == "FLOAT32" and tensor.data for op in ops_of(payload) for tensor in op.inputs)


@pytest.mark.parametrize("target", TFLITE)
def test_an_integer_only_file_computes_nothing_in_float(target: str, tmp_path: Path) -> None:
    model, profile = load(write_network(tmp_path / "small.onnx")), catalog.load(target)
    data = CalibrationSet(Samples(model), model.inputs)
    statistics = observe(model, data, histograms=False, threads=1, progress=Silent())
    for kept in (frozenset[str](), frozenset({"project"})):
        recipe = Recipe(method="minmax", keep_float=KeepFloat(nodes=kept))
        planned = plan(model, statistics, profile, recipe)
        assert all(node.precision == "int8" for node in planned.nodes.values()) == (not kept)
        payload = lower(model, planned, profile)
        (graph,) = model_of(payload).subgraphs
        ran = executed(Candidate(profile=profile, model=model, plan=planned, payload=payload), threads=1)
        assert bool({tensor.type for tensor in graph.tensors} & FLOATS) == bool(kept)
        assert len(ran.ops) == len(graph.operators)
        assert bool(ran.float_ops) == bool(kept)


def test_weights_are_the_plan_s_codes_in_the_file_s_order(tmp_path: Path) -> None:
    prepared = prepare(CASE["conv"], tmp_path, catalog.load("cortex-a-tflite"))
    op = ops_of(prepared.lower())[1]
    node = next(node for node in prepared.model.graph.graph if node.name == "Conv_m")
    planned = prepared.plan.tensors[node.inputs[1].name]
    scale = np.asarray(planned.qparams.scale)
    codes = np.rint(
        node.inputs[1].const_value.numpy().astype(np.float64) / scale.reshape(-1, 1, 1, 1)
    ).astype(np.int8)
    assert op.inputs[1].data == codes.transpose(0, 2, 3, 1).tobytes()
    assert op.inputs[1].scale == tuple(float(np.float32(value)) for value in scale)
    bias = prepared.plan.tensors[node.inputs[2].name]
    real = node.inputs[2].const_value.numpy() if bias.values is None else np.asarray(bias.values)
    found = np.frombuffer(op.inputs[2].data, "<i4") * np.asarray(bias.qparams.scale)
    np.testing.assert_allclose(found, real, atol=max(bias.qparams.scale))


def test_more_than_the_format_holds_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(flatbuffer, "_MAX_FILE_BYTES", (1 << 24) + 100)
    with pytest.raises(
        LoweringError, match=r"constants take \d+ bytes; a .tflite file holds less than 2 GiB"
    ):
        float_payload(CASE["conv"], tmp_path)


def test_a_field_that_the_schema_lacks_is_refused() -> None:
    graph = GraphBuilder({})
    a, b = graph.tensor("a", (1,), "FLOAT32"), graph.tensor("b", (1,), "FLOAT32")
    graph.operator("RELU", [a], [b], Options(kind="PadOptions", fields={"nonsense": 1}), where="test")
    with pytest.raises(LoweringError, match="no field 'nonsense' in PadOptions"):
        flatbuffer.serialize(graph, inputs=[a], outputs=[b], description="")


def test_a_name_that_is_taken_gets_a_number() -> None:
    graph = GraphBuilder({})
    a, b = graph.tensor("a", (1,), "FLOAT32"), graph.tensor("a", (1,), "FLOAT32")
    graph.rename(b, "a")
    assert [graph.tensors[index].name for index in (a, b)] == ["a", "a_1"]
