"""Operators one at a time: what is written, what it computes, and what is refused with node, reason and a way out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from lowering_cases import Case, _float, _ints, _weights
from lowering_template import Prepared, prepare
from plan_simulation import simulate
from tflite_file import (
    XNNPACK,
    assert_float_matches,
    float_payload,
    float_plan,
    load_case,
    names_of,
    only,
    ops_of,
    run,
)

from host_tools.errors import LoweringError
from host_tools.lower.lowering import lower
from host_tools.lower.tflite.lowering import lower as lower_tflite
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

    from targets.profile import CapabilityProfile, Precision


def one(name: str, body: str, shape: str, inputs: str = "float[1,8,8,8] x", **constants: object) -> Case:
    shapes = {key: value for key, value in constants.items() if isinstance(value, tuple)}
    arrays = {key: np.asarray(value) for key, value in constants.items() if not isinstance(value, tuple)}
    return Case(
        name, f"net ({inputs}) => (float[{shape}] y) {{ {body} }}", {**_weights(9, **shapes), **arrays}
    )


CUBE = "1,8,8,8"
NEAREST = 'Resize<mode="nearest", coordinate_transformation_mode="{}", nearest_mode="{}">(x, , s)'
LINEAR = 'Resize<mode="linear", coordinate_transformation_mode="{}">(x, , s)'
TWICE = np.asarray([1, 1, 2, 2], np.float32)
HALF = np.asarray([1, 1, 0.5, 0.5], np.float32)

FLOAT = (
    one("min_of_three", "y = Min(x, c, d)", CUBE, c=_float(0.5), d=np.linspace(-1, 1, 8, dtype=np.float32).reshape(8, 1, 1)),
    one("max_of_rows", "y = Max(x, c)", CUBE, c=np.linspace(-1, 1, 8, dtype=np.float32)),
    one("bounds_of_channels", "r = Relu(x) y = Min(r, c)", CUBE, c=np.linspace(0.1, 1, 8, dtype=np.float32).reshape(1, 8, 1, 1)),
    one("clip_to_six", "y = Clip(x, a, b)", CUBE, a=_float(0), b=_float(6)),
    one("clip_to_one", "y = Clip(x, a, b)", CUBE, a=_float(-1), b=_float(1)),
    one("clip_below", "y = Clip(x, a)", CUBE, a=_float(-0.3)),
    one("clip_above", "y = Clip(x, , b)", CUBE, b=_float(0.3)),
    one("two_clips", "c = Conv(x, w) r = Relu(c) y = Clip(r, a, b)", CUBE, w=(8, 8, 1, 1), a=_float(-1), b=_float(0.5)),
    one("add_of_ranks", "y = Add(x, c)", CUBE, c=np.arange(64, dtype=np.float32).reshape(8, 8) / 64),
    one("sub_from_constant", "y = Sub(c, x)", CUBE, c=_float(1.5)),
    one("div_by_channels", "y = Div(x, c)", CUBE, c=np.linspace(1, 2, 8, dtype=np.float32).reshape(8, 1, 1)),
    one("add_of_activations_of_ranks", "m = Add(x, z) y = Relu(m)", CUBE, "float[1,8,8,8] x, float[8,8] z"),
    one("prelu_of_one", "y = PRelu(x, s)", CUBE, s=np.full(1, 0.1, np.float32)),
    one("prelu_of_every_element", "y = PRelu(x, s)", CUBE, s=np.linspace(0.1, 0.9, 512, dtype=np.float32).reshape(8, 8, 8)),
    one("leaky_negative", "y = LeakyRelu<alpha=-0.5>(x)", CUBE),
    one("softmax_of_two", "y = Softmax<axis=0>(x)", "8,4", "float[8,4] x"),
    one("mean_of_everything", "r = ReduceMean<keepdims=0>(x) y = Reshape(r, s)", "1,1", "float[2,3] x", s=_ints(1, 1)),
    one("mean_of_last", "y = ReduceMean<keepdims=1>(x, i)", "1,8,1", "float[1,8,6] x", i=_ints(-1)),
    one("mean_of_nothing", "r = ReduceMean<noop_with_empty_axes=1>(x) y = Relu(r)", CUBE),
    one("matmul_of_batches", "y = MatMul(x, z)", "2,3,4,6", "float[2,3,4,5] x, float[2,3,5,6] z"),
    one("matmul_broadcast", "y = MatMul(x, z)", "2,3,4,6", "float[2,3,4,5] x, float[5,6] z"),
    one("matmul_by_stack", "y = MatMul(x, m)", "2,4,6", "float[2,4,5] x", m=(2, 5, 6)),
    one("matmul_from_constant", "y = MatMul(m, x)", "6,4", "float[5,4] x", m=(6, 5)),
    one("gemm_of_scaled", "y = Gemm<alpha=0.5, beta=2.0, transB=1>(x, w, b)", "2,6", "float[2,4] x", w=(6, 4), b=(6,)),
    one("pad_edge", 'y = Pad<mode="edge">(x, p)', "1,8,10,9", p=_ints(0, 0, 1, 0, 0, 0, 1, 1)),
    one("pad_some_axes", "y = Pad(x, p, , i)", "1,8,8,11", p=_ints(1, 2), i=_ints(-1)),
    one("slice_negative", "y = Slice(x, a, b, i)", "1,8,3,8", a=_ints(-4), b=_ints(-1), i=_ints(2)),
    one("slice_backwards", "y = Slice(x, a, b, i, s)", "1,8,8,3", a=_ints(-1), b=_ints(-100), i=_ints(3), s=_ints(-3)),
    one("split_of_three", "a, b, c = Split<axis=2, num_outputs=3>(x) y = Concat<axis=2>(c, a, b)", CUBE),
    one("transpose_default", "y = Transpose(x)", "4,3,2", "float[2,3,4] x"),
    one("squeeze_all", "s = Squeeze(x, i) y = Unsqueeze(s, j)", "4,1,1,6", "float[1,4,1,6] x", i=_ints(0, 2), j=_ints(1, 2)),
    one("linear_aligned", f"y = {LINEAR.format('align_corners')}", "1,8,16,16", s=TWICE),
    one("linear_asymmetric", f"y = {LINEAR.format('asymmetric')}", "1,8,16,16", s=TWICE),
    one("linear_pytorch", f"y = {LINEAR.format('pytorch_half_pixel')}", "1,8,16,16", s=TWICE),
    one("linear_symmetric", f"y = {LINEAR.format('half_pixel_symmetric')}", "1,8,16,16", s=TWICE),
    one("linear_to_size", 'y = Resize<mode="linear">(x, , , n)', "1,8,5,11", n=_ints(1, 8, 5, 11)),
    one("nearest_half_pixel_up", f"y = {NEAREST.format('half_pixel', 'round_prefer_ceil')}", "1,8,16,16", s=TWICE),
    one("nearest_half_down", f"y = {NEAREST.format('asymmetric', 'floor')}", "1,8,4,4", s=HALF),
    one("nearest_aligned", f"y = {NEAREST.format('align_corners', 'round_prefer_ceil')}", "1,8,16,16", s=TWICE),
    one("resize_some_axes", 'y = Resize<mode="linear", axes=[3]>(x, , s)', "1,8,8,16", s=np.asarray([2], np.float32)),
)  # fmt: skip


@pytest.mark.parametrize("case", FLOAT, ids=lambda case: case.name)
def test_float_operator(case: Case, tmp_path: Path) -> None:
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)


def profile_with(
    op: str, precisions: tuple[Precision, ...], target: str = "cortex-a-tflite"
) -> CapabilityProfile:
    profile = catalog.load(target)
    return dataclasses.replace(
        profile, ops={**profile.ops, op: dataclasses.replace(profile.ops[op], precisions=precisions)}
    )


INTEGERS = (
    one("min_of_channels", "r = Relu(x) y = Min(r, c)", CUBE, c=np.linspace(0.1, 1, 8, dtype=np.float32).reshape(1, 8, 1, 1)),
    one("max", "a = Conv(x, w) y = Max(a, x)", CUBE, w=(8, 8, 1, 1)),
    one("clip_odd", "y = Clip(x, a, b)", CUBE, a=_float(-0.3), b=_float(0.9)),
    one("relu", "y = Relu(x)", CUBE),
    one("concat_of_scales", "s = Sigmoid(x) a = Conv(x, w) y = Concat<axis=1>(a, s)", "1,16,8,8", w=(8, 8, 1, 1)),
    one("pad_far_value", "y = Pad(x, p, v)", "1,8,10,8", p=_ints(0, 0, 1, 0, 0, 0, 1, 0), v=_float(100)),
    one("matmul_of_batches", "y = MatMul(x, z)", "2,3,4,6", "float[2,3,4,5] x, float[2,3,5,6] z"),
    one("matmul_by_stack", "y = MatMul(x, m)", "2,4,6", "float[2,4,5] x", m=(2, 5, 6)),
    one("gemm_on_tokens", "y = MatMul(x, m)", "2,4,6", "float[2,4,5] x", m=(5, 6)),
    one("sub_from_constant", "y = Sub(c, x)", CUBE, c=_float(1.5)),
    one("mul_by_scalar", "y = Mul(x, c)", CUBE, c=_float(-1.5)),
    one("softmax_of_channels", "a = Conv(x, w) y = Softmax<axis=1>(a)", CUBE, w=(8, 8, 1, 1)),
    one("mean_of_channels", "y = ReduceMean<keepdims=0>(x, i)", "1,8,8", i=_ints(1)),
)  # fmt: skip


@pytest.mark.parametrize("case", INTEGERS, ids=lambda case: case.name)
def test_integer_operator(case: Case, tmp_path: Path) -> None:
    # XNNPACK re-quantizes by a factor of 8 fractional bits, so codes near a half go either way.
    check(
        prepare(case, tmp_path, catalog.load("cortex-a-tflite")), exact=0.8 if "concat" in case.name else 0.98
    )


def check(prepared: Prepared, *, most: float = 1.01, exact: float = 0.98) -> None:
    payload = prepared.lower()
    distances = []
    for sample in prepared.samples():
        expected = simulate(prepared.model, prepared.plan, sample)["y"]
        unit = prepared.plan.tensors["y"].qparams.scale[0]
        distances.append(np.abs(run(payload, sample, XNNPACK)["y"] - expected) / unit)
    assert np.stack(distances).max() <= most
    assert np.mean(np.stack(distances) < 0.5) >= exact


def test_hard_sigmoid_in_integers_where_a_profile_wants_it(tmp_path: Path) -> None:
    case = one("hard", "c = Conv(x, w) y = HardSigmoid<alpha=0.16666667, beta=0.5>(c)", CUBE, w=(8, 8, 1, 1))
    prepared = prepare(case, tmp_path, profile_with("HardSigmoid", ("int8", "float32")))
    payload = prepared.lower()
    assert names_of(payload)[:3] == ["CONV_2D", "MUL", "ADD"]
    assert {tensor.type for op in ops_of(payload) for tensor in op.outputs} == {"INT8"}
    product = only(payload, "MUL").inputs[1]
    assert product.data == b"\x7f"
    assert product.scale[0] * 127 == pytest.approx(0.16666667, rel=1e-6)
    check(prepared, exact=0.9)  # its middle lies half way between two codes


def test_hard_sigmoid_that_turns_the_codes_around_is_refused(tmp_path: Path) -> None:
    case = one("hard", "c = Conv(x, w) y = HardSigmoid<alpha=-0.2>(c)", CUBE, w=(8, 8, 1, 1))
    prepared = prepare(case, tmp_path, profile_with("HardSigmoid", ("int8", "float32")))
    refuses(prepared, r"HardSigmoid 'HardSigmoid_y': alpha -0.2 in int8")


def test_an_integer_division_is_refused(tmp_path: Path) -> None:
    case = one("div", "s = Sigmoid(x) t = Add(s, c) y = Div(x, t)", CUBE, c=_float(1))
    prepared = prepare(case, tmp_path, profile_with("Div", ("int8", "float32")))
    refuses(prepared, r"Div 'Div_y': planned in integers, but no TFLite runtime divides them")


def refuses(prepared: Prepared, said: str) -> None:
    with pytest.raises(LoweringError, match=said) as caught:
        prepared.lower()
    assert caught.value.hint


REFUSED = (
    (one("cubic", 'y = Resize<mode="cubic">(x, , s)', "1,8,16,16", s=TWICE), r"Resize 'Resize_y': mode 'cubic'"),
    (one("antialias", 'y = Resize<mode="linear", antialias=1>(x, , s)', "1,8,4,4", s=HALF), r"Resize 'Resize_y': antialias = 1"),
    (
        one("channels", 'y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric">(x, , s)', "1,16,8,8", s=np.asarray([1, 2, 1, 1], np.float32)),
        r"Resize 'Resize_y': resizes batch or channels",
    ),
    (
        one("nearest_ceil", f"y = {NEAREST.format('asymmetric', 'ceil')}", "1,8,16,16", s=TWICE),
        r"'asymmetric' with nearest_mode 'ceil' from \[8, 8\] to \[16, 16\] reads elements that no TFLite rule reads",
    ),
    (
        one("crop", 'y = Resize<mode="linear", coordinate_transformation_mode="tf_crop_and_resize">(x, r, s)', "1,8,16,16", s=TWICE, r=np.asarray([0, 0, 0, 0, 1, 1, 1, 1], np.float32)),
        r"Resize 'Resize_y': coordinate_transformation_mode 'tf_crop_and_resize'",
    ),
    (one("edge", 'y = Pad<mode="edge">(x, p)', "1,8,12,8", p=_ints(0, 0, 2, 0, 0, 0, 2, 0)), r"Pad 'Pad_y': mode 'edge' with pads up to 2"),
    (one("indices", "y, i = MaxPool<kernel_shape=[2,2]>(x) j = Cast<to=1>(i) z = Relu(j)", "1,8,7,7"), r"MaxPool .*: its second output \(indices\) is used"),
    (one("atanh", "y = Atanh(x)", CUBE), r"Atanh 'Atanh_y': the TFLite lowering does not know this operator"),
)  # fmt: skip


@pytest.mark.parametrize(("case", "said"), REFUSED, ids=[case.name for case, _ in REFUSED])
def test_refused_with_node_reason_and_a_way_out(case: Case, said: str, tmp_path: Path) -> None:
    text = case.text.replace("=> (float[1,8,7,7] y)", "=> (float[1,8,7,7] y, float[1,8,7,7] z)")
    with pytest.raises(LoweringError, match=said) as caught:
        float_payload(dataclasses.replace(case, text=text), tmp_path)
    assert caught.value.hint


def test_weights_that_are_computed_are_refused(tmp_path: Path) -> None:
    case = one("computed", "y = Conv(x, z)", "1,6,7,7", "float[1,4,9,9] x, float[6,4,3,3] z")
    with pytest.raises(
        LoweringError, match=r"Conv 'Conv_y': input 1 \('z'\) must be a constant for TFLite"
    ) as caught:
        float_payload(case, tmp_path)
    assert caught.value.hint


def test_another_format_s_target_is_refused(tmp_path: Path) -> None:
    model, profile = load_case(FLOAT[0], tmp_path), catalog.load("x86_64-onnxruntime")
    with pytest.raises(LoweringError, match="takes onnx_qdq, not TFLite"):
        lower_tflite(model, float_plan(model, profile), profile)


def test_a_plan_for_another_target_is_refused(tmp_path: Path) -> None:
    model, profile = load_case(FLOAT[0], tmp_path), catalog.load("cortex-a-tflite")
    plan = dataclasses.replace(float_plan(model, profile), target="nxp-neutron")
    with pytest.raises(LoweringError, match="plan is for target 'nxp-neutron', not for 'cortex-a-tflite'"):
        lower_tflite(model, plan, profile)


def test_a_fusion_that_tflite_lacks_is_refused(tmp_path: Path) -> None:
    case = one("tanh", "c = Conv(x, w) y = Tanh(c)", CUBE, w=(8, 8, 1, 1))
    model, profile = load_case(case, tmp_path), catalog.load("cortex-a-tflite")
    plan = float_plan(model, profile)
    nodes = {**plan.nodes, "Tanh_y": dataclasses.replace(plan.nodes["Tanh_y"], fused_into="Conv_c")}
    with pytest.raises(
        LoweringError,
        match="Tanh 'Tanh_y': planned as fused into 'Conv_c', but TFLite fuses only Relu and Clip",
    ):
        lower(model, dataclasses.replace(plan, nodes=nodes), profile)


@pytest.mark.parametrize(
    ("low", "high", "activation", "others"),
    [(0, np.inf, 1, []), (-1, 1, 2, []), (0, 6, 3, []), (-0.5, np.inf, 0, ["MAXIMUM"]), (-np.inf, 2, 0, ["MINIMUM"]), (0.1, 0.4, 0, ["MAXIMUM", "MINIMUM"])],
)  # fmt: skip
def test_a_fused_clip_is_the_activation_where_there_is_one(
    low: float, high: float, activation: int, others: list[str], tmp_path: Path
) -> None:
    case = one(
        "clip", "c = Conv(x, w) y = Clip(c, a, b)", CUBE, w=(8, 8, 1, 1), a=_float(low), b=_float(high)
    )
    model, profile = load_case(case, tmp_path), catalog.load("cortex-a-tflite")
    plan = float_plan(model, profile)
    clip = next(node for node in model.graph.graph if node.op_type in {"Clip", "Relu"})
    nodes = {**plan.nodes, clip.name: dataclasses.replace(plan.nodes[clip.name], fused_into="Conv_c")}
    tensors = {**plan.tensors, "c": dataclasses.replace(plan.tensors["c"], role="fused")}
    payload = lower(model, dataclasses.replace(plan, nodes=nodes, tensors=tensors), profile)
    assert_float_matches(model, payload)
    assert names_of(payload) == ["CONV_2D", *others]
    assert only(payload, "CONV_2D").options.fusedActivationFunction == activation
    assert "c" not in payload.tensor_names


@pytest.mark.parametrize(
    "body",
    [
        "c = Conv(x, w) m = MatMul(c, c) y = Conv(m, v)",
        "c = Conv(x, w) m = MatMul(c, c) n = Add(m, c) y = Relu(n)",
    ],
)
def test_a_matrix_times_itself_is_right_on_xnnpack(body: str, tmp_path: Path) -> None:
    """XNNPACK computes another product when a TRANSPOSE feeds both sides of a BATCH_MATMUL."""
    constants = {"w": (8, 8, 1, 1), "v": (8, 8, 1, 1)} if "v)" in body else {"w": (8, 8, 1, 1)}
    case = one("itself", body, CUBE, **constants)
    model, payload = float_payload(case, tmp_path)
    assert "TRANSPOSE" in names_of(payload)
    assert_float_matches(model, payload)
    check(prepare(case, tmp_path, catalog.load("cortex-a-tflite")), most=2.01)


@pytest.mark.parametrize(
    ("mode", "rule"),
    [("align_corners", (True, False)), ("half_pixel", (False, True))],
)
@pytest.mark.parametrize("kind", ["nearest", "linear"])
def test_a_resize_takes_the_rule_that_reads_the_same_elements(
    kind: str, mode: str, rule: tuple[bool, bool], tmp_path: Path
) -> None:
    """3 and 11 from 8: sizes at which no two rules agree."""
    body = f'y = Resize<mode="{kind}", coordinate_transformation_mode="{mode}", nearest_mode="round_prefer_ceil">(x, , , n)'
    model, payload = float_payload(one("sizes", body, "1,8,3,11", n=_ints(1, 8, 3, 11)), tmp_path)
    assert_float_matches(model, payload)
    (op,) = ops_of(payload)
    assert (bool(op.options.alignCorners), bool(op.options.halfPixelCenters)) == rule


@pytest.mark.parametrize("step", [-1, -2])
def test_a_slice_backwards_to_the_first_element(step: int, tmp_path: Path) -> None:
    body = "a = Conv(x, w) y = Slice(a, b, e, i, s)"
    count = 7 if step == -1 else 4
    case = one(
        "back", body, f"1,{count},8,8", w=(8, 8, 1, 1), b=_ints(6), e=_ints(-9), i=_ints(1), s=_ints(step)
    )
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)
    check(prepare(case, tmp_path, catalog.load("cortex-a-tflite")))
