"""Operator versions: the lowest that says what is meant, and a refusal by name where the target's runtime is older."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from lowering_cases import CASES, TWO_ENDS, Case, _ints, _weights
from lowering_template import prepare
from tflite_file import float_payload, float_plan, load_case, model_of, only, ops_of

from host_tools.errors import LoweringError
from host_tools.lower.lowering import lower
from host_tools.lower.tflite import versions
from host_tools.lower.tflite.emit import EMITTERS
from host_tools.lower.tflite.graph import GraphBuilder, Options, Quantization
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

CASE = {case.name: case for case in (*CASES, TWO_ENDS)}

INT8_AND_FLOAT = (
    # Literature: tflite/converter/tools/versioning/op_version.cc, GetBuiltinOperatorVersion; case, operator, int8, float
    ("conv", "CONV_2D", 3, 1),
    ("conv_grouped", "CONV_2D", 6, 6),
    ("conv_depthwise", "DEPTHWISE_CONV_2D", 3, 1),
    ("conv_transpose", "TRANSPOSE_CONV", 3, 3),
    ("gemm", "FULLY_CONNECTED", 4, 1),
    ("matmul_constant", "FULLY_CONNECTED", 5, 5),
    ("matmul_of_activations", "BATCH_MATMUL", 2, 1),
    ("add", "ADD", 2, 1),
    ("sub", "SUB", 2, 1),
    ("leaky_relu", "LEAKY_RELU", 1, 1),
    ("prelu", "PRELU", 1, 1),
    ("sigmoid", "LOGISTIC", 2, 1),
    ("tanh", "TANH", 2, 1),
    ("hard_swish", "HARD_SWISH", 1, 1),
    ("softmax", "SOFTMAX", 2, 1),
    ("global_average_pool", "MEAN", 2, 1),
    ("average_pool", "AVERAGE_POOL_2D", 2, 1),
    ("max_pool", "MAX_POOL_2D", 2, 1),
    ("concat", "CONCATENATION", 2, 1),
    ("split", "SPLIT", 2, 1),
    ("slice", "STRIDED_SLICE", 2, 1),
    ("pad", "PAD", 2, 1),
    ("pad_with_a_value", "PADV2", 2, 1),
    ("reshape", "RESHAPE", 1, 1),
    ("transpose", "TRANSPOSE", 2, 1),
    ("resize_nearest", "RESIZE_NEAREST_NEIGHBOR", 2, 1),
    ("resize_linear", "RESIZE_BILINEAR", 3, 3),
    ("mul", "MUL", 2, 1),
    ("div", "DIV", 1, 1),
)


@pytest.mark.parametrize(
    ("name", "operator", "integer", "floating"), INT8_AND_FLOAT, ids=[row[0] for row in INT8_AND_FLOAT]
)
def test_the_lowest_version_is_asked_for(
    name: str, operator: str, integer: int, floating: int, tmp_path: Path
) -> None:
    payload = prepare(CASE[name], tmp_path, catalog.load("cortex-a-tflite")).lower()
    assert max(op.version for op in ops_of(payload) if op.name == operator) == integer
    _, payload = float_payload(CASE[name], tmp_path)
    assert max(op.version for op in ops_of(payload) if op.name == operator) == floating


@pytest.mark.parametrize("target", ["cortex-a-tflite", "nxp-neutron"])
def test_a_dense_layer_is_version_4_whatever_its_weights_granularity(target: str, tmp_path: Path) -> None:
    op = only(prepare(CASE["gemm"], tmp_path, catalog.load(target)).lower(), "FULLY_CONNECTED")
    assert (op.version, len(op.inputs[1].scale)) == (4, 5 if target == "cortex-a-tflite" else 1)


TENSOR = {
    "conv_float": ("CONV_2D", [(1, 4, 4, 8), (6, 3, 3, 8)], {}, False, 1),
    "conv_int8": ("CONV_2D", [(1, 4, 4, 8), (6, 3, 3, 8)], {}, True, 3),
    "depthwise_dilated": (
        "DEPTHWISE_CONV_2D",
        [(1, 4, 4, 8), (1, 3, 3, 8)],
        {"dilationHFactor": 2},
        False,
        2,
    ),
    "transpose_conv_fused": (
        "TRANSPOSE_CONV",
        [(4,), (6, 3, 3, 8), (1, 4, 4, 8), (6,)],
        {"fusedActivationFunction": 1},
        True,
        4,
    ),
    "transpose_conv_bare": ("TRANSPOSE_CONV", [(4,), (6, 3, 3, 8), (1, 4, 4, 8)], {}, True, 2),
    "transpose_of_5": ("TRANSPOSE", [(1, 2, 3, 4, 5), (5,)], {}, True, 4),
    "transpose_of_6": ("TRANSPOSE", [(1, 2, 3, 4, 5, 6), (6,)], {}, False, 6),
    "pad_of_5": ("PAD", [(1, 2, 3, 4, 5), (5, 2)], {}, True, 4),
    "slice_of_5": ("SLICE", [(1, 2, 3, 4, 5), (5,)], {}, False, 5),
    "sub_of_5_broadcast": ("SUB", [(1, 2, 3, 4, 5), (5,)], {}, True, 3),
    "sub_of_5": ("SUB", [(1, 2, 3, 4, 5), (1, 2, 3, 4, 5)], {}, True, 2),
    "div_of_5_broadcast": ("DIV", [(1, 2, 3, 4, 5), (5,)], {}, False, 2),
    "nearest_aligned": ("RESIZE_NEAREST_NEIGHBOR", [(1, 2, 3, 4), (2,)], {"alignCorners": True}, True, 3),
    "bilinear_aligned": ("RESIZE_BILINEAR", [(1, 2, 3, 4), (2,)], {"alignCorners": True}, False, 1),
}


@pytest.mark.parametrize(("operator", "shapes", "fields", "is_int8", "version"), TENSOR.values(), ids=TENSOR)
def test_version_of_one_operator(operator, shapes, fields, is_int8, version) -> None:
    graph = GraphBuilder({})
    quantization = Quantization.of([0.5], [3]) if is_int8 else None
    kinds = [
        "INT32" if len(shape) == 1 and place == 0 else "INT8" if is_int8 else "FLOAT32"
        for place, shape in enumerate(shapes)
    ]
    inputs = [
        graph.tensor("t", shape, kind, quantization if kind == "INT8" else None)
        for shape, kind in zip(shapes, kinds, strict=True)
    ]
    out = graph.tensor("y", shapes[0], "INT8" if is_int8 else "FLOAT32", quantization)
    graph.operator(operator, inputs, [out], Options(kind="AnyOptions", fields=fields), where="test")
    assert graph.operators[0].version == version


def test_a_product_of_large_scales_is_version_3() -> None:
    for scale, version in ((0.1, 2), (10.0, 3)):
        graph = GraphBuilder({})
        a, b, out = (graph.tensor("t", (1, 4), "INT8", Quantization.of([s], [0])) for s in (scale, 1.0, 1.0))
        graph.operator("MUL", [a, b], [out], Options(kind="MulOptions"), where="test")
        assert graph.operators[0].version == version


def limited(operator: str, version: int):
    profile = catalog.load("cortex-a-tflite")
    limits = {**profile.artifact.max_op_versions, operator: version}
    return dataclasses.replace(
        profile, artifact=dataclasses.replace(profile.artifact, max_op_versions=limits)
    )


@pytest.mark.parametrize(
    ("name", "operator", "limit", "said"),
    [
        ("gemm", "FULLY_CONNECTED", 3, r"Gemm 'Gemm_y': needs FULLY_CONNECTED version 4, .* at most version 3 \(first in runtime 1.14.0\)"),
        ("matmul_constant", "FULLY_CONNECTED", 4, r"needs FULLY_CONNECTED version 5, .* \(its input has more than two dimensions\)"),
        ("conv", "CONV_2D", 2, r"Conv 'Conv_a': needs CONV_2D version 3"),
        ("resize_linear", "RESIZE_BILINEAR", 2, r"Resize 'Resize_m': needs RESIZE_BILINEAR version 3"),
        ("max_pool", "MAX_POOL_2D", 1, r"MaxPool 'MaxPool_m': needs MAX_POOL_2D version 2"),
    ],
)  # fmt: skip
def test_too_new_a_version_is_refused_by_name(
    name: str, operator: str, limit: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(LoweringError, match=said) as caught:
        prepare(CASE[name], tmp_path, limited(operator, limit)).lower()
    assert "newer runtime" in caught.value.hint


def test_a_transposed_convolution_clips_apart_where_fusing_is_too_new(tmp_path: Path) -> None:
    case = Case(
        "up",
        "net (float[1,4,8,8] x) => (float[1,6,10,10] y) { c = ConvTranspose(x, w) y = Relu(c) }",
        dict(_weights(3, w=(4, 6, 3, 3))),
    )
    for limit, operators in ((4, ["TRANSPOSE_CONV"]), (3, ["TRANSPOSE_CONV", "MAXIMUM"])):
        profile = limited("TRANSPOSE_CONV", limit)
        model = load_case(case, tmp_path)
        plan = float_plan(model, profile)
        nodes = {
            **plan.nodes,
            "Relu_y": dataclasses.replace(plan.nodes["Relu_y"], fused_into="ConvTranspose_c"),
        }
        payload = lower(model, dataclasses.replace(plan, nodes=nodes), profile)
        assert [op.name for op in ops_of(payload)] == operators


def test_a_reshape_of_six_axes_needs_no_transpose_of_six(tmp_path: Path) -> None:
    """(h, w, c) with each axis cut in two would be a transpose of six axes: two of fewer axes are taken, which every runtime has."""
    case = Case(
        "cuts",
        """net (float[1,8,4,6] x) => (float[1,4,8,6] y)
            { c = Conv(x, w) r = Reshape(c, s) y = Conv(r, v) }""",
        {**_weights(3, w=(8, 8, 1, 1), v=(4, 4, 1, 1)), "s": _ints(1, 4, 8, 6)},
    )
    _, payload = float_payload(case, tmp_path)
    assert max(op.version for op in ops_of(payload) if op.name == "TRANSPOSE") <= 4


@pytest.mark.parametrize("name", ["conv", "softmax", "conv_grouped"])
@pytest.mark.parametrize("is_float", [True, False])
def test_the_file_names_the_oldest_runtime_that_has_all_versions(
    name: str, is_float: bool, tmp_path: Path
) -> None:
    payload = (
        float_payload(CASE[name], tmp_path)[1]
        if is_float
        else prepare(CASE[name], tmp_path, catalog.load("cortex-a-tflite")).lower()
    )
    model = model_of(payload)
    (metadata,) = [entry for entry in model.metadata if entry.name == b"min_runtime_version"]
    said = bytes(bytearray(model.buffers[metadata.buffer].data)).rstrip(b"\0").decode()
    expected = {
        ("conv", True): "1.5.0",
        ("conv", False): "1.14.0",
        ("softmax", True): "1.5.0",
        ("softmax", False): "1.14.0",
    }
    assert said == expected.get((name, is_float), "2.9.0")


def test_runtimes_are_known_up_to_the_newest_version_that_is_ever_written() -> None:
    for name, runtimes in versions._RUNTIMES.items():
        assert hasattr(schema.BuiltinOperator, name)
        newest = [tuple(map(int, text.split("."))) for text in runtimes]
        assert newest == sorted(newest), name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_written_for_the_legacy_runtime_is_within_its_versions(case: Case, tmp_path: Path) -> None:
    profile = catalog.load("cortex-a-tflite-legacy")
    limits = profile.artifact.max_op_versions
    written = {(op.name, op.version) for op in ops_of(prepare(case, tmp_path, profile).lower())}
    assert all(version <= limits[name] for name, version in written)


def test_every_operator_of_the_issue_has_an_emitter() -> None:
    asked = """Conv ConvTranspose Gemm MatMul Add Sub Mul Div Relu Clip LeakyRelu PRelu Sigmoid Tanh HardSwish HardSigmoid Softmax
        GlobalAveragePool AveragePool MaxPool ReduceMean Concat Split Slice Pad Reshape Flatten Squeeze Unsqueeze Transpose Resize"""
    assert set(asked.split()) <= set(EMITTERS)


def test_equal_scales_are_one_scale() -> None:
    assert not Quantization.of([0.5, 0.5], [0, 0], 3).is_per_channel
    assert Quantization.of([0.5, 0.25], [0, 0], 3).is_per_channel
    assert Quantization.of([0.1], [0]).scale == (float(np.float32(0.1)),)
