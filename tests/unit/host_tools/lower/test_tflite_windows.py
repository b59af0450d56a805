"""Windows: how ONNX pads, strides and dilations are written, held against ONNX Runtime's float, and in integers against the plan."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import onnx.parser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lowering_cases import Case, _weights
from lowering_template import prepare
from plan_simulation import simulate
from tflite_file import (
    BUILT_IN,
    XNNPACK,
    assert_float_matches,
    float_payload,
    names_of,
    only,
    ops_of,
    run,
    with_tensor,
)

from host_tools.errors import LoweringError
from host_tools.lower.lowering import lower
from host_tools.lower.tflite.window import Window, scheme
from targets import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SAME, VALID = 0, 1


def network(
    name: str,
    node: str,
    shape: Sequence[int],
    *,
    inputs: Sequence[int] = (1, 4, 9, 9),
    **weights: tuple[int, ...],
) -> Case:
    """Return one node from ``x`` to ``y`` of ``shape``; values of ``x`` are of both signs."""
    text = f"net (float[{','.join(map(str, inputs))}] x) => (float[{','.join(map(str, shape))}] y) {{ y = {node} }}"
    return Case(name, text, dict(_weights(4, **weights)))


CONVOLUTIONS = (
    # name, node, output shape, weights, operators, padding of the last
    ("valid", "Conv(x, w, b)", (1, 6, 7, 7), {"w": (6, 4, 3, 3), "b": (6,)}, ["CONV_2D"], VALID),
    ("same", "Conv<pads=[1,1,1,1]>(x, w)", (1, 6, 9, 9), {"w": (6, 4, 3, 3)}, ["CONV_2D"], SAME),
    ("same_at_the_end", "Conv<pads=[0,0,1,1]>(x, w)", (1, 6, 9, 9), {"w": (6, 4, 2, 2)}, ["CONV_2D"], SAME),
    ("at_the_front", "Conv<pads=[1,1,0,0]>(x, w)", (1, 6, 9, 9), {"w": (6, 4, 2, 2)}, ["PAD", "CONV_2D"], VALID),
    ("strided_same", "Conv<strides=[2,2], pads=[1,1,1,1]>(x, w)", (1, 6, 5, 5), {"w": (6, 4, 3, 3)}, ["CONV_2D"], SAME),
    ("one_axis", "Conv<pads=[1,0,1,0]>(x, w)", (1, 6, 9, 7), {"w": (6, 4, 3, 3)}, ["PAD", "CONV_2D"], VALID),
    ("wide", "Conv<pads=[3,2,0,1]>(x, w)", (1, 6, 10, 10), {"w": (6, 4, 3, 3)}, ["PAD", "CONV_2D"], VALID),
    ("never_reached", "Conv<strides=[2,2], pads=[0,0,1,1]>(x, w)", (1, 6, 4, 4), {"w": (6, 4, 3, 3)}, ["CONV_2D"], VALID),
    ("stride_beyond_kernel", "Conv<strides=[3,4]>(x, w)", (1, 6, 3, 3), {"w": (6, 4, 1, 1)}, ["CONV_2D"], VALID),
    ("dilated", "Conv<dilations=[2,3]>(x, w)", (1, 6, 5, 3), {"w": (6, 4, 3, 3)}, ["CONV_2D"], VALID),
    ("dilated_same", "Conv<dilations=[2,2], pads=[2,2,2,2]>(x, w)", (1, 6, 9, 9), {"w": (6, 4, 3, 3)}, ["CONV_2D"], SAME),
    ("same_upper", 'Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)', (1, 6, 5, 5), {"w": (6, 4, 4, 4)}, ["CONV_2D"], SAME),
    ("same_lower", 'Conv<auto_pad="SAME_LOWER", strides=[2,2]>(x, w)', (1, 6, 5, 5), {"w": (6, 4, 4, 4)}, ["PAD", "CONV_2D"], VALID),
    ("grouped", "Conv<group=2>(x, w, b)", (1, 6, 7, 7), {"w": (6, 2, 3, 3), "b": (6,)}, ["CONV_2D"], VALID),
    ("depthwise", "Conv<group=4, pads=[1,1,1,1]>(x, w, b)", (1, 4, 9, 9), {"w": (4, 1, 3, 3), "b": (4,)}, ["DEPTHWISE_CONV_2D"], SAME),
    ("multiplied", "Conv<group=4>(x, w, b)", (1, 12, 7, 7), {"w": (12, 1, 3, 3), "b": (12,)}, ["DEPTHWISE_CONV_2D"], VALID),
    ("depthwise_dilated", "Conv<group=4, dilations=[2,2]>(x, w)", (1, 4, 5, 5), {"w": (4, 1, 3, 3)}, ["DEPTHWISE_CONV_2D"], VALID),
    (
        "depthwise_at_the_front",
        "Conv<group=4, strides=[2,2], pads=[2,2,0,0]>(x, w)",
        (1, 4, 5, 5),
        {"w": (4, 1, 3, 3)},
        ["PAD", "DEPTHWISE_CONV_2D"],
        VALID,
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "node", "shape", "weights", "operators", "padding"),
    CONVOLUTIONS,
    ids=[c[0] for c in CONVOLUTIONS],
)
def test_convolution(name, node, shape, weights, operators, padding, tmp_path: Path) -> None:
    case = network(name, node, shape, **weights)
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)
    assert names_of(payload) == operators
    assert ops_of(payload)[-1].options.padding == padding
    in_integers(case, tmp_path)


def in_integers(case: Case, folder: Path, *, exact: float = 0.995) -> list[str]:
    """Hold the int8 file against the plan's arithmetic on both kernel sets. Returns its operators."""
    prepared = prepare(case, folder, catalog.load("cortex-a-tflite"))
    payload = prepared.lower()
    for sample in prepared.samples()[:2]:
        expected = simulate(prepared.model, prepared.plan, sample)["y"]
        unit = prepared.plan.tensors["y"].qparams.scale[0]
        for resolver in (XNNPACK, BUILT_IN):
            distance = np.abs(run(payload, sample, resolver)["y"] - expected) / unit
            assert distance.max() <= 1.01
            if resolver is XNNPACK:
                assert np.mean(distance < 0.5) >= exact
    return names_of(payload)


def test_padding_of_integers_is_their_zero(tmp_path: Path) -> None:
    """A row of taps of one, over an input far from zero: padding that is not real 0 would be seen."""
    case = network("front", "Conv<pads=[2,2,0,0]>(x, w)", (1, 1, 9, 9), w=(1, 4, 3, 3))
    prepared = prepare(case, tmp_path, catalog.load("cortex-a-tflite"))
    assert prepared.plan.tensors["x"].qparams.zero_point != (0,)
    assert in_integers(case, tmp_path) == ["PAD", "CONV_2D"]


def test_a_multiplier_keeps_the_order_of_channels(tmp_path: Path) -> None:
    _, payload = float_payload(
        network("multiplied", "Conv<group=4>(x, w)", (1, 12, 7, 7), w=(12, 1, 3, 3)), tmp_path
    )
    op = only(payload, "DEPTHWISE_CONV_2D")
    assert op.options.depthMultiplier == 3
    assert op.inputs[1].shape == (1, 3, 3, 12)


def test_per_channel_scales_lie_along_the_filter_s_own_channels(tmp_path: Path) -> None:
    profile = catalog.load("cortex-a-tflite")
    for case, name, axis, count in (
        (network("plain", "Conv(x, w, b)", (1, 6, 7, 7), w=(6, 4, 3, 3), b=(6,)), "CONV_2D", 0, 6),
        (
            network("deep", "Conv<group=4>(x, w, b)", (1, 12, 7, 7), w=(12, 1, 3, 3), b=(12,)),
            "DEPTHWISE_CONV_2D",
            3,
            12,
        ),
        (
            network("up", "ConvTranspose(x, w, b)", (1, 6, 11, 11), w=(4, 6, 3, 3), b=(6,)),
            "TRANSPOSE_CONV",
            0,
            6,
        ),
        (
            network("dense", "Gemm<transB=1>(x, w, b)", (2, 6), inputs=(2, 4), w=(6, 4), b=(6,)),
            "FULLY_CONNECTED",
            0,
            6,
        ),
    ):
        op = only(prepare(case, tmp_path, profile).lower(), name)
        filters, bias = (op.inputs[1], op.inputs[3] if name == "TRANSPOSE_CONV" else op.inputs[2])
        assert (len(filters.scale), filters.axis, set(filters.zero_point)) == (count, axis, {0})
        assert (bias.type, len(bias.scale), bias.axis, set(bias.zero_point)) == ("INT32", count, 0, {0})


def test_grouped_convolutions_become_one_convolution_a_group_where_the_target_has_none(
    tmp_path: Path,
) -> None:
    profile = catalog.load("cortex-a-tflite")
    versions = {**profile.artifact.max_op_versions, "CONV_2D": 5}
    old = dataclasses.replace(
        profile, artifact=dataclasses.replace(profile.artifact, max_op_versions=versions)
    )
    case = network("grouped", "Conv<group=2, pads=[1,1,1,1]>(x, w, b)", (1, 6, 9, 9), w=(6, 2, 3, 3), b=(6,))
    prepared = prepare(case, tmp_path, old)
    payload = prepared.lower()
    assert names_of(payload) == ["SLICE", "CONV_2D", "SLICE", "CONV_2D", "CONCATENATION"]
    assert any("2 groups were written as 2 CONV_2D" in note for note in payload.notes)
    sample = prepared.samples()[0]
    expected = simulate(prepared.model, prepared.plan, sample)["y"]
    assert (
        np.abs(run(payload, sample, XNNPACK)["y"] - expected).max()
        <= prepared.plan.tensors["y"].qparams.scale[0] * 1.01
    )


TRANSPOSED = (
    ("plain", "ConvTranspose(x, w, b)", (1, 6, 11, 11), {"w": (4, 6, 3, 3), "b": (6,)}, ["TRANSPOSE_CONV"]),
    ("doubling", "ConvTranspose<strides=[2,2]>(x, w)", (1, 6, 18, 18), {"w": (4, 6, 2, 2)}, ["TRANSPOSE_CONV"]),
    ("same", "ConvTranspose<strides=[2,2], pads=[0,0,1,1]>(x, w)", (1, 6, 18, 18), {"w": (4, 6, 3, 3)}, ["TRANSPOSE_CONV"]),
    ("pads_both", "ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(x, w)", (1, 6, 17, 17), {"w": (4, 6, 3, 3)}, ["TRANSPOSE_CONV", "SLICE"]),
    ("pads_of_four", "ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(x, w)", (1, 6, 18, 18), {"w": (4, 6, 4, 4)}, ["TRANSPOSE_CONV"]),
    (
        "output_padding",
        "ConvTranspose<strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]>(x, w, b)",
        (1, 6, 18, 18),
        {"w": (4, 6, 3, 3), "b": (6,)},
        ["TRANSPOSE_CONV", "SLICE"],
    ),
    ("beyond_the_kernel", "ConvTranspose<strides=[3,3], output_padding=[2,1]>(x, w, b)", (1, 6, 27, 26), {"w": (4, 6, 1, 1), "b": (6,)}, None),
    ("uneven", "ConvTranspose<strides=[2,1], pads=[1,0,0,2]>(x, w)", (1, 6, 18, 9), {"w": (4, 6, 3, 3)}, ["TRANSPOSE_CONV", "SLICE"]),
    ("grouped", "ConvTranspose<group=2, strides=[2,2]>(x, w, b)", (1, 6, 18, 18), {"w": (4, 3, 2, 2), "b": (6,)}, ["TRANSPOSE_CONV"]),
    ("depthwise", "ConvTranspose<group=4, strides=[2,2]>(x, w)", (1, 4, 18, 18), {"w": (4, 1, 2, 2)}, ["TRANSPOSE_CONV"]),
    ("dilated", "ConvTranspose<dilations=[2,2]>(x, w)", (1, 6, 13, 13), {"w": (4, 6, 3, 3)}, ["TRANSPOSE_CONV"]),
    ("output_shape", "ConvTranspose<strides=[2,2], output_shape=[18,17]>(x, w)", (1, 6, 18, 17), {"w": (4, 6, 3, 3)}, None),
    ("same_upper", 'ConvTranspose<strides=[2,2], auto_pad="SAME_UPPER">(x, w)', (1, 6, 18, 18), {"w": (4, 6, 3, 3)}, None),
    ("same_lower", 'ConvTranspose<strides=[2,2], auto_pad="SAME_LOWER">(x, w)', (1, 6, 18, 18), {"w": (4, 6, 3, 3)}, None),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "node", "shape", "weights", "operators"), TRANSPOSED, ids=[c[0] for c in TRANSPOSED]
)
def test_transposed_convolution(name, node, shape, weights, operators, tmp_path: Path) -> None:
    case = network(name, node, shape, **weights)
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)
    if operators is not None:
        assert names_of(payload) == operators
    in_integers(case, tmp_path)


def test_scales_of_a_grouped_transposed_convolution_repeat_with_its_groups(tmp_path: Path) -> None:
    case = network(
        "grouped",
        "ConvTranspose<group=2, strides=[2,2]>(x, w, b)",
        (1, 6, 18, 18),
        w=(4, 3, 2, 2),
        b=(6,),
    )
    prepared = prepare(case, tmp_path, catalog.load("cortex-a-tflite"))
    weight, bias, data = (prepared.plan.tensors[name].qparams for name in ("w", "b", "x"))
    scales = tuple(weight.scale[0] * factor for factor in (1.0, 1.5, 2.0))
    per_channel = dataclasses.replace(weight, scale=scales, zero_point=(0,) * 3, axis=1)
    products = tuple(data.scale[0] * scale for scale in scales * 2)
    plan = with_tensor(prepared.plan, "w", qparams=per_channel)
    plan = with_tensor(
        plan, "b", qparams=dataclasses.replace(bias, scale=products, zero_point=(0,) * 6, axis=0)
    )
    payload = lower(prepared.model, plan, prepared.profile)
    assert only(payload, "TRANSPOSE_CONV").inputs[1].scale == tuple(np.float32(scales * 2).tolist())
    for sample in prepared.samples()[:2]:
        expected = simulate(prepared.model, plan, sample)["y"]
        distance = np.abs(run(payload, sample, XNNPACK)["y"] - expected) / plan.tensors["y"].qparams.scale[0]
        assert distance.max() <= 1.01


POOLS = (
    ("max_valid", "MaxPool<kernel_shape=[3,3], strides=[2,2]>(x)", (1, 4, 4, 4), ["MAX_POOL_2D"]),
    ("max_same", "MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)", (1, 4, 5, 5), ["MAX_POOL_2D"]),
    ("max_front", "MaxPool<kernel_shape=[2,2], pads=[1,1,0,0]>(x)", (1, 4, 9, 9), ["PADV2", "MAX_POOL_2D"]),
    ("max_ceil", "MaxPool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(x)", (1, 4, 5, 5), ["MAX_POOL_2D"]),
    ("max_ceil_padded", "MaxPool<kernel_shape=[3,3], strides=[3,3], pads=[1,1,1,1], ceil_mode=1>(x)", (1, 4, 4, 4), None),
    ("max_gaps", "MaxPool<kernel_shape=[1,2], strides=[4,3]>(x)", (1, 4, 3, 3), ["MAX_POOL_2D"]),
    ("mean_valid", "AveragePool<kernel_shape=[3,2], strides=[2,2]>(x)", (1, 4, 4, 4), ["AVERAGE_POOL_2D"]),
    ("mean_same", "AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)", (1, 4, 9, 9), ["AVERAGE_POOL_2D"]),
    ("mean_counted", "AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x)", (1, 4, 9, 9), ["PAD", "AVERAGE_POOL_2D"]),
    ("mean_front", "AveragePool<kernel_shape=[2,2], pads=[1,1,0,0]>(x)", (1, 4, 9, 9), None),
    ("mean_front_counted", "AveragePool<kernel_shape=[2,2], pads=[1,1,0,0], count_include_pad=1>(x)", (1, 4, 9, 9), ["PAD", "AVERAGE_POOL_2D"]),
    ("mean_wide", "AveragePool<kernel_shape=[4,4], strides=[3,3], pads=[2,1,2,1]>(x)", (1, 4, 4, 3), None),
    ("mean_ceil", "AveragePool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(x)", (1, 4, 5, 5), None),
    ("mean_ceil_counted", "AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1], ceil_mode=1, count_include_pad=1>(x)", (1, 4, 5, 5), None),
    ("mean_of_all", "AveragePool<kernel_shape=[9,9]>(x)", (1, 4, 1, 1), ["MEAN"]),
    ("global", "GlobalAveragePool(x)", (1, 4, 1, 1), ["MEAN"]),
)  # fmt: skip


@pytest.mark.parametrize(("name", "node", "shape", "operators"), POOLS, ids=[c[0] for c in POOLS])
def test_pool_of_values_of_both_signs(name, node, shape, operators, tmp_path: Path) -> None:
    case = network(name, node, shape)
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)
    if operators is not None:
        assert names_of(payload) == operators
    # An average of two or four lies half way between codes in one case of two or four; ties go either way.
    in_integers(case, tmp_path, exact=0.995 if name.startswith("max") or "MEAN" in (operators or ()) else 0.7)


def test_padding_is_never_the_largest_of_negative_values(tmp_path: Path) -> None:
    text = """net (float[1,4,9,9] x) => (float[1,4,9,9] y)
        { e = Exp(x) n = Neg(e) y = MaxPool<kernel_shape=[2,2], pads=[1,1,0,0]>(n) }"""
    assert_float_matches(*float_payload(Case("negative_in_float", text, {}), tmp_path))
    text = """net (float[1,4,9,9] x) => (float[1,4,9,9] y)
        { s = Sigmoid(x) n = Sub(s, two) y = MaxPool<kernel_shape=[2,2], pads=[1,1,0,0]>(n) }"""
    case = Case("negative", text, {"two": np.float32(2)})
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)
    in_integers(case, tmp_path)
    prepared = prepare(case, tmp_path, catalog.load("cortex-a-tflite"))
    (padded,) = [op for op in ops_of(prepared.lower()) if op.name.startswith("PAD")]
    assert padded.name == "PADV2"
    assert padded.inputs[2].data == b"\x80"


def test_pads_of_zero_after_relu_are_a_plain_pad(tmp_path: Path) -> None:
    text = "net (float[1,4,9,9] x) => (float[1,4,9,9] y) { r = Relu(x) y = MaxPool<kernel_shape=[2,2], pads=[1,1,0,0]>(r) }"
    model, payload = float_payload(Case("relu", text, {}), tmp_path)
    assert_float_matches(model, payload)
    assert names_of(payload) == ["RELU", "PAD", "MAX_POOL_2D"]


ONE_DIMENSION = (
    ("conv", "Conv<strides=[2], pads=[1,1]>(x, w)", (1, 6, 5), {"w": (6, 4, 3)}),
    ("conv_front", "Conv<pads=[2,0]>(x, w)", (1, 6, 9), {"w": (6, 4, 3)}),
    ("depthwise", "Conv<group=4>(x, w)", (1, 4, 7), {"w": (4, 1, 3)}),
    (
        "transposed",
        "ConvTranspose<strides=[2], pads=[1,1], output_padding=[1]>(x, w)",
        (1, 6, 18),
        {"w": (4, 6, 3)},
    ),
    ("transposed_dilated", "ConvTranspose<dilations=[2]>(x, w)", (1, 6, 13), {"w": (4, 6, 3)}),
    ("max", "MaxPool<kernel_shape=[3], strides=[2], pads=[1,1]>(x)", (1, 4, 5), {}),
    ("mean", "AveragePool<kernel_shape=[2], strides=[2]>(x)", (1, 4, 4), {}),
    ("global", "GlobalAveragePool(x)", (1, 4, 1), {}),
)


@pytest.mark.parametrize(
    ("name", "node", "shape", "weights"), ONE_DIMENSION, ids=[c[0] for c in ONE_DIMENSION]
)
def test_one_dimension(name, node, shape, weights, tmp_path: Path) -> None:
    case = network(name, node, shape, inputs=(1, 4, 9), **weights)
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)
    in_integers(case, tmp_path, exact=0.5 if name == "mean" else 0.995)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_window_of_any_kind(data, tmp_path_factory) -> None:
    draw = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731 - short, and local
    kind = data.draw(st.sampled_from(["Conv", "MaxPool", "AveragePool"]))
    kernel, stride, size = (
        [draw(1, 4) for _ in range(2)],
        [draw(1, 4) for _ in range(2)],
        [draw(5, 9) for _ in range(2)],
    )
    dilation = [draw(1, 2) if kind == "Conv" else 1 for _ in range(2)]
    pads = [draw(0, kernel[axis] - 1) for axis in (0, 1)] + [draw(0, kernel[axis] - 1) for axis in (0, 1)]
    extents = [(kernel[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
    out = [(size[a] + pads[a] + pads[a + 2] - extents[a]) // stride[a] + 1 for a in (0, 1)]
    if min(out) < 1:
        return
    group = data.draw(st.sampled_from([1, 2, 4]))
    common = f"kernel_shape={kernel}, strides={stride}, pads={pads}"
    if kind == "Conv":
        node, weights = (
            f"Conv<group={group}, dilations={dilation}, {common}>(x, w)",
            {"w": (4, 4 // group, *kernel)},
        )
    else:
        counted = f", count_include_pad={draw(0, 1)}" if kind == "AveragePool" else ""
        node, weights = f"{kind}<{common}{counted}>(x)", {}
    case = network("any", node, (1, 4, *out), inputs=(1, 4, *size), **weights)
    model, payload = float_payload(case, tmp_path_factory.mktemp("any"))
    assert_float_matches(model, payload, count=1)


class OfOpset19(Case):
    """AveragePool has dilations since opset 19."""

    def proto(self) -> onnx.ModelProto:
        return onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]> {self.text}')


REFUSED = (
    (
        "MaxPool<kernel_shape=[2,2], dilations=[2,2]>(x)",
        (1, 4, 7, 7),
        "MaxPool 'MaxPool_y': has dilations; MAX_POOL_2D has none",
    ),
    (
        "AveragePool<kernel_shape=[2,2], dilations=[2,2]>(x)",
        (1, 4, 7, 7),
        "AveragePool 'AveragePool_y': has dilations",
    ),
)


@pytest.mark.parametrize(("node", "shape", "said"), REFUSED, ids=["max", "mean"])
def test_dilated_pools_are_refused(node: str, shape: tuple[int, ...], said: str, tmp_path: Path) -> None:
    text = f"net (float[1,4,9,9] x) => (float[{','.join(map(str, shape))}] y) {{ y = {node} }}"
    case = OfOpset19("refused", text, {})
    with pytest.raises(LoweringError, match=said) as caught:
        float_payload(case, tmp_path)
    assert caught.value.hint


def test_three_spatial_axes_are_refused(tmp_path: Path) -> None:
    case = network("cubes", "Conv(x, w)", (1, 6, 3, 3, 3), inputs=(1, 4, 5, 5, 5), w=(6, 4, 3, 3, 3))
    with pytest.raises(
        LoweringError,
        match=r"Conv 'Conv_y': 'x' has rank 5; .* one or two spatial axes .*in float: convert for ONNX Runtime or OpenVINO",
    ):
        float_payload(case, tmp_path)


@given(
    kernel=st.integers(1, 5), stride=st.integers(1, 4), dilation=st.integers(1, 3), begin=st.integers(0, 3), end=st.integers(0, 3), size=st.integers(1, 20)
)  # fmt: skip
def test_schemes_pad_as_tflite_computes_them(kernel, stride, dilation, begin, end, size) -> None:
    """Source: tflite/kernels/padding.h, ComputeOutSize and ComputePaddingWithOffset, written out here."""
    extent = (kernel - 1) * dilation + 1
    out = (size + begin + end - extent) // stride + 1
    if out < 1:
        return
    window = Window(kernel=kernel, stride=stride, dilation=dilation, begin=begin, end=end, size=size, out=out)
    found = scheme([window])
    if found == "VALID":
        assert (begin, (size + stride - extent) // stride) == (0, out)
    elif found == "SAME":
        total = max((out - 1) * stride + extent - size, 0)
        assert ((size + stride - 1) // stride, total // 2) == (out, begin)
    else:
        assert begin > 0 or window.needed_end > 0
