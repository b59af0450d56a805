"""What every lowering refuses of a plan or a graph that does not fit: which node or value, and why."""

from __future__ import annotations

import contextlib
import dataclasses
import resource
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest
from lowering_cases import CASES, Case, _float, _ints
from lowering_template import Prepared, prepare
from test_tflite_operators import CUBE, one
from tflite_file import float_payload, float_plan, load_case

from device_agent.engines.openvino_library import openvino as ov
from host_tools.errors import LoweringError, OutputError
from host_tools.lower.lowering import lower
from host_tools.lower.onnx_file import onnx_bytes
from host_tools.lower.openvino_codes import replace_weight
from host_tools.lower.tflite.lowering import lower as lower_tflite
from host_tools.plan.quantization_plan import QParams
from targets import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from host_tools.model import FloatModel

CASE = {case.name: case for case in CASES}
ONNX, OPENVINO, TFLITE = "x86_64-onnxruntime", "x86_64-openvino", "cortex-a-tflite"
ALL = (ONNX, OPENVINO, TFLITE)
RELU = one("relu", "s = Sigmoid(x) y = Relu(s)", CUBE)
ADD = one("add", "m = MaxPool<kernel_shape=[1,1]>(x) y = Add(m, k)", CUBE, k=_float(0.5))


def prepared(case: Case, target: str, folder: Path) -> Prepared:
    return prepare(case, folder, catalog.load(target))


def with_tensor(made: Prepared, name: str, **changes: object) -> Prepared:
    tensors = {**made.plan.tensors, name: dataclasses.replace(made.plan.tensors[name], **changes)}
    return dataclasses.replace(made, plan=dataclasses.replace(made.plan, tensors=tensors))


def without_tensor(made: Prepared, name: str) -> Prepared:
    tensors = {key: tensor for key, tensor in made.plan.tensors.items() if key != name}
    return dataclasses.replace(made, plan=dataclasses.replace(made.plan, tensors=tensors))


def some(made: Prepared, role: str) -> str:
    return next(name for name, tensor in made.plan.tensors.items() if tensor.role == role and tensor.qparams)


def node_of(model: FloatModel, name: str) -> ir.Node:
    return next(node for node in model.graph.graph if node.name == name)


# A plan that is not the model's


@pytest.mark.parametrize("target", ALL)
def test_a_plan_without_a_value(target: str, tmp_path: Path) -> None:
    made = without_tensor(prepared(CASE["conv"], target, tmp_path), "m")
    with pytest.raises(LoweringError, match=r"Value 'm': the plan does not have it\. Plan this model anew\."):
        made.lower()


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("name", ["front_b", "m"])
def test_planned_values_that_do_not_fit(name: str, target: str, tmp_path: Path) -> None:
    made = with_tensor(prepared(CASE["conv"], target, tmp_path), name, values=(1.0, 2.0))
    with pytest.raises(LoweringError, match=f"Constant '{name}': the plan has 2 values for it, which do not"):
        made.lower()


def test_tflite_by_itself_checks_the_model_too(tmp_path: Path) -> None:
    made = prepared(CASE["conv"], TFLITE, tmp_path)
    other = dataclasses.replace(made.plan, model_digest="sha256:" + "0" * 64)
    with pytest.raises(LoweringError, match=f"The plan is for model sha256:0+, not for {made.model.digest}"):
        lower_tflite(made.model, other, made.profile)


def test_tflite_needs_a_word_on_every_constant_that_it_quantizes(tmp_path: Path) -> None:
    made = without_tensor(prepared(ADD, TFLITE, tmp_path), "k")
    with pytest.raises(LoweringError, match="The plan has no tensor 'k'; it was made for another model"):
        made.lower()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("y", {"qparams": None}, r"Add 'Add_y': runs in integers, but its output 'y' is planned as float"),
        (
            "m",
            {"qparams": None},
            r"Add 'Add_y': runs in integers, but its input 0 \('m'\) is planned as float",
        ),
        (
            "k",
            {"qparams": None},
            r"Add 'Add_y': runs in integers, but its constant 'k' has no quantization param",
        ),
    ],
)
def test_tflite_integers_that_meet_floats(
    name: str, change: dict[str, None], said: str, tmp_path: Path
) -> None:
    with pytest.raises(LoweringError, match=said):
        with_tensor(prepared(ADD, TFLITE, tmp_path), name, **change).lower()


def test_tflite_has_one_scale_for_a_constant_that_is_no_weight(tmp_path: Path) -> None:
    case = one("add", "y = Add(x, k)", CUBE, k=np.linspace(0.1, 1, 8, dtype=np.float32).reshape(8, 1, 1))
    made = prepared(case, TFLITE, tmp_path)
    qparams = made.plan.tensors["k"].qparams
    many = dataclasses.replace(qparams, scale=tuple(np.linspace(0.1, 1, 8)), zero_point=(0,) * 8, axis=0)
    with pytest.raises(
        LoweringError, match="Add 'Add_y': constant 'k' is planned with one scale per channel"
    ):
        with_tensor(made, "k", qparams=many).lower()


def test_tflite_biases_are_int32(tmp_path: Path) -> None:
    made = prepared(CASE["conv"], TFLITE, tmp_path)
    bias = some(made, "bias")
    wide = dataclasses.replace(made.plan.tensors[bias].qparams, dtype="int64")
    with pytest.raises(
        LoweringError, match=f"bias '{bias}' is planned as int64; .*take int32.*bias.bits = 32"
    ):
        with_tensor(made, bias, qparams=wide).lower()


# A graph that is not canonical


@pytest.mark.parametrize("target", [ONNX, TFLITE])
def test_a_constant_without_data(target: str, tmp_path: Path) -> None:
    made = prepared(CASE["conv"], target, tmp_path)
    made.model.graph.graph.initializers["front_w"].const_value = None
    with pytest.raises(LoweringError, match=r"'front_w' has no (data|values)\. Load the model with its"):
        made.lower()


@pytest.mark.parametrize(
    ("body", "shape", "node"),
    [
        ("y = Sigmoid(x)", CUBE, "Sigmoid"),
        ("y = Flatten(x)", "1,512", "Flatten"),
        ("y = MaxPool<kernel_shape=[2,2]>(x)", "1,8,7,7", "MaxPool"),
    ],
)
def test_tflite_input_that_is_missing(body: str, shape: str, node: str, tmp_path: Path) -> None:
    model, profile = load_case(one("missing", body, shape), tmp_path), catalog.load(TFLITE)
    node_of(model, f"{node}_y").replace_input_with(0, None)
    with pytest.raises(LoweringError, match=f"{node} '{node}_y': input 0 is missing"):
        lower(model, float_plan(model, profile), profile)


def test_tflite_slice_of_nothing(tmp_path: Path) -> None:
    case = one("slice", "y = Slice(x, a, b, i)", "1,8,3,8", a=_ints(5), b=_ints(8), i=_ints(2))
    model, profile = load_case(case, tmp_path), catalog.load(TFLITE)
    model.graph.graph.initializers["a"].const_value = ir.tensor(np.array([8]), name="a")
    with pytest.raises(LoweringError, match="Slice 'Slice_y': selects nothing; TFLite has no empty tensors"):
        lower(model, float_plan(model, profile), profile)


def test_tflite_resize_by_another_rule_of_aspect(tmp_path: Path) -> None:
    body = 'y = Resize<mode="linear", keep_aspect_ratio_policy="not_larger", axes=[2,3]>(x, , , n)'
    with pytest.raises(
        LoweringError, match="Resize 'Resize_y': keep_aspect_ratio_policy other than 'stretch'"
    ):
        float_payload(one("aspect", body, "1,8,16,16", n=_ints(16, 16)), tmp_path)


@pytest.mark.parametrize("target", [ONNX, OPENVINO])
def test_clip_without_constant_bounds(target: str, tmp_path: Path) -> None:
    made = prepared(CASE["conv_clip"], target, tmp_path)
    (clip,) = (node for node in made.model.graph.graph if node.op_type == "Clip")
    clip.replace_input_with(2, None)
    with pytest.raises(LoweringError, match=f"Clip '{clip.name}': its bounds are not two constant scalars"):
        made.lower()


def test_onnx_relu_without_an_input(tmp_path: Path) -> None:
    made = prepared(CASE["conv_relu"], ONNX, tmp_path)
    (relu,) = (node for node in made.model.graph.graph if node.op_type == "Relu")
    relu.replace_input_with(0, None)
    with pytest.raises(LoweringError, match=f"Relu '{relu.name}': its first input is absent"):
        made.lower()


# What ONNX cannot say


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("y = Pad(x, p, , i)", "Pad '': axes of Pad came"),
        ("y = ReduceMean(x, j)", "ReduceMean '': axes that are not constant came"),
    ],
)
def test_onnx_axes_in_an_old_opset(body: str, said: str) -> None:
    """Canonical form knows neither."""
    case = one("axes", body, "n,m,k", "float[1,8,6] x, int64[1] j", p=_ints(0, 0), i=_ints(-1))
    node, reason = said.split(": ")
    graph = ir.from_proto(case.proto()).graph
    with pytest.raises(LoweringError, match=f"{node} cannot be written in opset 17: {reason} with opset 18"):
        onnx_bytes(graph, opset=17)


def test_onnx_graph_that_breaks_the_rules(tmp_path: Path) -> None:
    graph = load_case(RELU, tmp_path).graph.graph
    graph[1].attributes["alpha"] = ir.AttrFloat32("alpha", 1.0)
    with pytest.raises(LoweringError, match=r"The graph is not valid ONNX of opset 18: .*alpha"):
        onnx_bytes(graph, opset=18)


# What OpenVINO does not keep


def test_openvino_does_not_know_an_operator(tmp_path: Path) -> None:
    model, profile = load_case(one("det", "r = Relu(x) y = Det(r)", "1,8"), tmp_path), catalog.load(OPENVINO)
    with pytest.raises(LoweringError, match=r"(?s)OpenVINO cannot read the float network: .*Det"):
        lower(model, float_plan(model, profile), profile)


def test_openvino_leaves_out_what_nobody_reads(tmp_path: Path) -> None:
    case = one("dead", "m = MatMul(x, w) y = Add(m, z)", "2,4,6", "float[2,4,5] x, float[2,4,6] z", w=(5, 6))
    made = prepared(case, OPENVINO, tmp_path)
    add = node_of(made.model, "Add_y")
    add.replace_input_with(0, add.inputs[1])
    with pytest.raises(LoweringError, match="Value 'm': OpenVINO's reader did not keep this tensor"):
        made.lower()


def test_openvino_weight_of_an_operator_that_has_none(tmp_path: Path) -> None:
    made = with_tensor(prepared(ADD, OPENVINO, tmp_path), "k", role="weight")
    with pytest.raises(
        LoweringError, match="'Add_y': OpenVINO's reader did not make a weighted operator of it"
    ):
        made.lower()


def test_openvino_weight_of_another_shape() -> None:
    image = ov.opset13.parameter([1, 4], np.float32)
    node = ov.opset13.matmul(image, ov.opset13.constant(np.ones((4, 6), np.float32)), False, False)
    qparams = QParams(scale=(0.1,), zero_point=(0,), dtype="int8", quant_min=-127, quant_max=127, axis=None)
    with pytest.raises(
        LoweringError, match=r"Weight 'w': OpenVINO's reader gave it shape \(4, 6\); expected \(6, 4\)"
    ):
        replace_weight(node, np.ones((6, 4), np.int8), qparams, "w")


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let this process write no file of more than 1,000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_openvino_on_a_full_disk(tmp_path: Path) -> None:
    made = prepared(CASE["conv"], OPENVINO, tmp_path)
    with full_disk(), pytest.raises(OutputError, match=r"Temporary files of OpenVINO: .*Free some space"):
        made.lower()


def test_openvino_that_cannot_serialize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Check 'false' failed\n")

    made = prepared(CASE["conv"], OPENVINO, tmp_path)
    monkeypatch.setattr(ov, "serialize", fail)
    with pytest.raises(LoweringError, match=r"OpenVINO cannot serialize the model: Check 'false' failed$"):
        made.lower()
