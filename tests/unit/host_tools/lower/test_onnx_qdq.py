"""ONNX QDQ: what the file says, and that ONNX Runtime does not think better of it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from lowering_cases import CASES, TWO_ENDS, Case, between, ending
from lowering_template import Prepared, prepare
from onnx import numpy_helper

from device_agent.engines.onnx import open_session
from device_agent.engines.onnxruntime_library import onnxruntime as ort
from host_tools.errors import LoweringError
from host_tools.lower.lowering import lower
from host_tools.lower.onnx_file import onnx_bytes
from host_tools.lower.qdq_graph import write_qdq_graph
from host_tools.plan.quantization_plan import Requantize
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.plan.quantization_plan import QParams, TensorPlan
    from targets.profile import CapabilityProfile

CASE = {case.name: case for case in CASES}
RESIDUAL = between(
    "residual",
    "c = Conv <group = 8, pads = [1,1,1,1]> (a, w, b) r = Clip (c, low, high) p = Conv (r, v, d) s = Add (a, p) m = GlobalAveragePool (s)",
    result=(8, 1, 1),
    w=(8, 1, 3, 3),
    b=(8,),
    v=(8, 8, 1, 1),
    d=(8,),
    low=np.float32(0),
    high=np.float32(6),
)


@pytest.fixture
def profile() -> CapabilityProfile:
    return catalog.load("x86_64-onnxruntime")


def file_of(prepared: Prepared) -> onnx.ModelProto:
    return onnx.load_from_string(prepared.lower().files["model.onnx"])


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def types(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def session(data: bytes, *, optimized: Path | None = None) -> ort.InferenceSession:
    def options() -> ort.SessionOptions:
        made = ort.SessionOptions()
        made.intra_op_num_threads = 1
        made.log_severity_level = 3
        if optimized is None:
            made.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        else:
            made.optimized_model_filepath = str(optimized)
        return made

    return open_session(data, options)


def difference(data: bytes, prepared: Prepared, folder: Path) -> tuple[float, onnx.ModelProto]:
    """Return how far, in LSB, the optimized model is from the one as written, and the optimized graph."""
    path = folder / "optimized.onnx"
    written, optimized = session(data), session(data, optimized=path)
    largest = 0.0
    for sample in prepared.samples():
        for spec, a, b in zip(
            prepared.model.outputs,
            written.run(None, dict(sample)),
            optimized.run(None, dict(sample)),
            strict=True,
        ):
            largest = max(
                largest, float(np.abs(a - b).max() / prepared.plan.tensors[spec.name].qparams.scale[0])
            )
    return largest, onnx.load(path)


def unshielded(prepared: Prepared) -> bytes:
    written = write_qdq_graph(prepared.model, prepared.plan, prepared.profile, shields=False)
    return onnx_bytes(written.graph, opset=prepared.profile.artifact.opset)


def with_tensor(prepared: Prepared, name: str, **changes: object) -> Prepared:
    changed = dataclasses.replace(prepared.plan.tensors[name], **changes)
    plan = dataclasses.replace(prepared.plan, tensors={**prepared.plan.tensors, name: changed})
    return dataclasses.replace(prepared, plan=plan)


def first(prepared: Prepared, role: str) -> TensorPlan:
    return next(
        planned for planned in prepared.plan.tensors.values() if planned.role == role and planned.qparams
    )


def activation(prepared: Prepared) -> tuple[str, QParams]:
    planned = first(prepared, "activation")
    assert planned.qparams is not None
    return planned.name, planned.qparams


# -- what the runtime makes of it ----------------------------------------------------------------------------------------------------


def test_a_network_fuses_without_a_rest(profile: CapabilityProfile, tmp_path: Path) -> None:
    prepared = prepare(RESIDUAL, tmp_path, profile)
    distance, optimized = difference(prepared.lower().files["model.onnx"], prepared, tmp_path)
    assert distance <= 1.01
    counts = types(optimized)
    assert counts["QLinearConv"] == 4
    assert counts["QLinearAdd"] == counts["QLinearGlobalAveragePool"] == 1
    assert counts["QuantizeLinear"] == counts["DequantizeLinear"] == 1
    assert not {"Conv", "FusedConv", "Add", "Clip", "GlobalAveragePool"} & set(counts)


@pytest.mark.parametrize(
    "case",
    [
        CASE["conv"],
        CASE["conv_transpose"],
        ending(
            "gemm",
            "f = Flatten (a) g = Gemm <transB = 1> (f, w, b) y = Gemm <transB = 1> (g, v, d)",
            (1, 5),
            w=(6, 512),
            b=(6,),
            v=(5, 6),
            d=(5,),
        ),
        between(
            "behind_a_pool",
            "p = MaxPool <kernel_shape = [1,1]> (a) m = Conv (p, w, b)",
            w=(8, 8, 1, 1),
            b=(8,),
        ),
        between(
            "behind_a_pad",
            "p = Pad (a, pads) m = Conv (p, w, b)",
            w=(8, 8, 3, 3),
            b=(8,),
            pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        ),
    ],
    ids=lambda case: case.name,
)
def test_float_weights_stay_float(case: Case, profile: CapabilityProfile, tmp_path: Path) -> None:
    """ONNX Runtime would quantize them per tensor by itself; the second half shows that it still does where nothing shields."""
    nodes = list(prepare(case, tmp_path, profile).model.graph.graph)[1:-1]
    inner = [node.name for node in nodes if node.op_type != "Flatten"]
    prepared = prepare(case, tmp_path, profile, keep_float=inner)
    payload = prepared.lower()
    distance, optimized = difference(payload.files["model.onnx"], prepared, tmp_path)
    assert distance <= 1.01
    assert {"Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm"} & set(types(optimized))
    assert any("half the scale" in note for note in payload.notes)
    bare_distance, bare = difference(unshielded(prepared), prepared, tmp_path)
    quantized_weights = [
        t for t in bare.graph.initializer if "weight" in t.name and t.data_type == onnx.TensorProto.INT8
    ]
    assert bare_distance > 1.01 or quantized_weights


def test_a_requantized_edge_keeps_both_scales(profile: CapabilityProfile, tmp_path: Path) -> None:
    """ONNX Runtime would merge Q-DQ-Q-DQ into one pair of other parameters."""
    prepared = prepare(CASE["conv"], tmp_path, profile)
    node = prepared.model.graph.graph[1]
    name = node.inputs[0].name
    qparams = prepared.plan.tensors[name].qparams
    assert qparams is not None
    coarser = dataclasses.replace(qparams, scale=(qparams.scale[0] * 0.37,), zero_point=(90,))
    edge = Requantize(node=node.name, input_index=0, qparams=coarser, reason="test")
    bias = prepared.plan.tensors[node.inputs[2].name]
    assert bias.qparams is not None
    smaller = dataclasses.replace(bias.qparams, scale=tuple(scale * 0.37 for scale in bias.qparams.scale))
    prepared = with_tensor(prepared, bias.name, qparams=smaller)
    prepared = dataclasses.replace(prepared, plan=dataclasses.replace(prepared.plan, requantize=(edge,)))
    assert difference(prepared.lower().files["model.onnx"], prepared, tmp_path)[0] <= 1.01
    assert difference(unshielded(prepared), prepared, tmp_path)[0] > 1.01


# -- what the file says --------------------------------------------------------------------------------------------------------------


def test_weights_and_biases_are_the_plans_integers(profile: CapabilityProfile, tmp_path: Path) -> None:
    prepared = prepare(CASE["conv_depthwise"], tmp_path, profile)
    stored = constants(file_of(prepared))
    source = prepared.model.graph.graph.initializers
    for planned in prepared.plan.tensors.values():
        if planned.role not in {"weight", "bias"}:
            continue
        scale = np.asarray(planned.qparams.scale, np.float64)
        array = source[planned.name].const_value.numpy().astype(np.float64)
        if planned.values is not None:
            array = np.asarray(planned.values, np.float32).astype(np.float64)
        aligned = scale.reshape(-1, *[1] * (array.ndim - 1))
        codes = stored[f"{planned.name}/codes"]
        assert codes.dtype == (np.int8 if planned.role == "weight" else np.int32)
        np.testing.assert_array_equal(codes, np.rint(array / aligned))
        np.testing.assert_array_equal(stored[f"{planned.name}/codes/scale"], scale.astype(np.float32))
    assert not any(array.dtype == np.float32 and array.ndim > 1 for array in stored.values())


def test_an_activation_that_saturation_does_is_left_out_and_another_is_kept(
    profile: CapabilityProfile, tmp_path: Path
) -> None:
    prepared = prepare(CASE["conv_clip"], tmp_path, profile)
    assert types(file_of(prepared))["Clip"] == 0
    clipped = next(node for node in prepared.model.graph.graph if node.op_type == "Clip").outputs[0].name
    qparams = prepared.plan.tensors[clipped].qparams
    assert qparams is not None
    wider = with_tensor(
        prepared, clipped, qparams=dataclasses.replace(qparams, scale=(qparams.scale[0] * 2,))
    )
    assert types(file_of(wider))["Clip"] == 1


def test_the_header_is_fixed(profile: CapabilityProfile, tmp_path: Path) -> None:
    model = file_of(prepare(RESIDUAL, tmp_path, profile))
    assert (model.producer_name, model.producer_version, model.doc_string) == ("edgewright", "", "")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", profile.artifact.opset)]
    assert not model.metadata_props


def test_operators_on_codes_read_and_write_integers(profile: CapabilityProfile, tmp_path: Path) -> None:
    model = file_of(prepare(CASE["pad_with_a_value"], tmp_path, profile))
    pad = next(node for node in model.graph.node if node.op_type == "Pad")
    known = {info.name: info.type.tensor_type.elem_type for info in model.graph.value_info}
    assert known[pad.input[0]] == known[pad.output[0]] == onnx.TensorProto.UINT8
    assert constants(model)[pad.input[2]].dtype == np.uint8


def test_a_relu_on_codes_knows_the_zero_point(tmp_path: Path) -> None:
    prepared = prepare(CASE["relu_alone"], tmp_path, catalog.load("aarch64-onnxruntime"))
    model = file_of(prepared)
    assert types(model)["Relu"] == 0
    relu = next(node for node in model.graph.node if node.op_type == "Max")
    output = next(node for node in prepared.model.graph.graph if node.op_type == "Relu").outputs[0].name
    assert constants(model)[relu.input[1]] == prepared.plan.tensors[output].qparams.zero_point[0]


@pytest.mark.parametrize("opset", range(13, 22))
def test_any_opset_says_the_same(opset: int, profile: CapabilityProfile, tmp_path: Path) -> None:
    artifact = dataclasses.replace(profile.artifact, opset=opset)
    for name in (
        "reduce_mean",
        "split",
        "resize_linear",
        "average_pool",
        "reshape",
        "pad",
        "squeeze",
        "softmax",
    ):
        newest = prepare(CASE[name], tmp_path, profile)
        other = dataclasses.replace(newest, profile=dataclasses.replace(profile, artifact=artifact))
        model = file_of(other)
        assert model.opset_import[0].version == opset
        assert model.ir_version <= 10
        sample = dict(newest.samples()[0])
        expected = session(newest.lower().files["model.onnx"]).run(None, sample)[0]
        np.testing.assert_array_equal(session(model.SerializeToString()).run(None, sample)[0], expected)


def test_an_application_may_see_one_type_and_kernels_another(
    profile: CapabilityProfile, tmp_path: Path
) -> None:
    interface = dataclasses.replace(profile.interface, input_type="int8", output_type="int8")
    prepared = prepare(TWO_ENDS, tmp_path, dataclasses.replace(profile, interface=interface))
    path = tmp_path / "optimized.onnx"
    session(prepared.lower().files["model.onnx"], optimized=path)
    assert types(onnx.load(path))["QLinearConv"] == 2


def test_biases_stay_real_numbers_where_the_target_quantizes_them_itself(
    profile: CapabilityProfile, tmp_path: Path
) -> None:
    artifact = dataclasses.replace(profile.artifact, qdq_bias=False)
    prepared = prepare(CASE["conv"], tmp_path, dataclasses.replace(profile, artifact=artifact))
    bias = first(prepared, "bias")
    stored = constants(file_of(prepared))
    assert not any(array.dtype == np.int32 for array in stored.values())
    codes = stored[bias.name].astype(np.float64) / np.asarray(bias.qparams.scale)
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)


# -- what is refused -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [12, 22])
def test_an_opset_out_of_reach_is_refused(opset: int, profile: CapabilityProfile, tmp_path: Path) -> None:
    artifact = dataclasses.replace(profile.artifact, opset=opset)
    with pytest.raises(LoweringError, match=rf"opset {opset}; expected 13 to 21"):
        prepare(CASE["conv"], tmp_path, dataclasses.replace(profile, artifact=artifact)).lower()


@pytest.mark.parametrize(
    ("case", "opset", "message"),
    [
        (CASE["hard_swish"], 13, "HardSwish .* came with opset 14"),
        (
            between(
                "resize_antialias",
                'm = Resize <mode = "linear", antialias = 1> (a, , scales)',
                result=(8, 4, 4),
                scales=np.array([1, 1, 0.5, 0.5], np.float32),
            ),
            17,
            "antialias = 1 came with opset 18",
        ),
    ],
    ids=["hard_swish", "antialias"],
)
def test_what_an_old_opset_cannot_say_is_refused_by_name(
    case: Case, opset: int, message: str, profile: CapabilityProfile, tmp_path: Path
) -> None:
    prepared = prepare(case, tmp_path, profile)
    artifact = dataclasses.replace(profile.artifact, opset=opset)
    with pytest.raises(LoweringError, match=message):
        dataclasses.replace(prepared, profile=dataclasses.replace(profile, artifact=artifact)).lower()


def test_an_integer_interface_of_a_float_value_is_refused(profile: CapabilityProfile, tmp_path: Path) -> None:
    interface = dataclasses.replace(profile.interface, output_type="int8")
    prepared = prepare(CASE["conv"], tmp_path, dataclasses.replace(profile, interface=interface))
    with pytest.raises(LoweringError, match="'y': the target's interface is int8"):
        with_tensor(prepared, "y", qparams=None).lower()


def test_codes_that_quantize_linear_cannot_keep_to_are_refused(
    profile: CapabilityProfile, tmp_path: Path
) -> None:
    prepared = prepare(CASE["conv"], tmp_path, profile)
    name, qparams = activation(prepared)
    with pytest.raises(LoweringError, match=rf"'{name}.*saturates to \[0, 255\], the plan to \[1, 255\]"):
        with_tensor(prepared, name, qparams=dataclasses.replace(qparams, quant_min=1)).lower()


def test_a_type_that_onnx_lacks_is_refused(profile: CapabilityProfile, tmp_path: Path) -> None:
    prepared = prepare(CASE["conv"], tmp_path, profile)
    weight = first(prepared, "weight")
    wide = dataclasses.replace(weight.qparams, dtype="int64")
    with pytest.raises(LoweringError, match=rf"{weight.name}.*int64"):
        with_tensor(prepared, weight.name, qparams=wide).lower()


@pytest.mark.parametrize("scale", [1e-42, 1e39])
def test_a_scale_that_float32_lacks_is_refused(
    scale: float, profile: CapabilityProfile, tmp_path: Path
) -> None:
    prepared = prepare(CASE["conv"], tmp_path, profile)
    name, qparams = activation(prepared)
    with pytest.raises(LoweringError, match=rf"'{name}.*float32"):
        with_tensor(prepared, name, qparams=dataclasses.replace(qparams, scale=(scale,))).lower()


def test_a_name_of_the_model_that_meets_one_of_ours_is_refused(
    profile: CapabilityProfile, tmp_path: Path
) -> None:
    prepared = prepare(CASE["conv"], tmp_path, profile)
    name, _ = activation(prepared)
    node = prepared.model.graph.graph[1]
    old = node.outputs[0].name
    node.outputs[0].name = f"{name}/codes"
    tensors = dict(prepared.plan.tensors)
    tensors[f"{name}/codes"] = dataclasses.replace(tensors.pop(old), name=f"{name}/codes", qparams=None)
    clashing = dataclasses.replace(prepared, plan=dataclasses.replace(prepared.plan, tensors=tensors))
    with pytest.raises(LoweringError, match="needs this name"):
        clashing.lower()


def test_a_requantized_edge_that_the_model_lacks_is_refused(
    profile: CapabilityProfile, tmp_path: Path
) -> None:
    prepared = prepare(CASE["conv"], tmp_path, profile)
    edge = Requantize(node="nowhere", input_index=0, qparams=activation(prepared)[1], reason="test")
    with pytest.raises(LoweringError, match="'nowhere', input 0"):
        lower(prepared.model, dataclasses.replace(prepared.plan, requantize=(edge,)), profile)


def test_what_a_library_raises_does_not_come_out(profile: CapabilityProfile, tmp_path: Path) -> None:
    prepared = prepare(CASE["conv"], tmp_path, profile)
    name, qparams = activation(prepared)
    broken = with_tensor(prepared, name, qparams=dataclasses.replace(qparams, scale=()))
    with pytest.raises(LoweringError) as caught:
        broken.lower()
    assert prepared.model.name in str(caught.value) or name in str(caught.value)
