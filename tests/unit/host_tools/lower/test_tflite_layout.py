"""Layout: TFLite works channels last, and the file has no TRANSPOSE that some order of axes makes needless.

The networks are cubes (8 channels, 8 rows, 8 columns) wherever they can be, so that a wrong order of axes shows in numbers alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lowering_cases import CASES, TWO_ENDS, Case, _ints, _weights
from lowering_template import prepare
from plan_simulation import simulate
from tflite_file import assert_float_matches, every_value, float_payload, names_of

from host_tools import layouts
from host_tools.lower.tflite import axes
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

ALL = {case.name: case for case in (*CASES, TWO_ENDS)}


def cube(name: str, outputs: str, body: str, inputs: str = "float[1,8,8,8] x", **constants: object) -> Case:
    """Return a network between inputs and outputs that are declared in full; constants as in `between`."""
    shapes = {key: value for key, value in constants.items() if isinstance(value, tuple)}
    arrays = {key: np.asarray(value) for key, value in constants.items() if not isinstance(value, tuple)}
    return Case(name, f"net ({inputs}) => ({outputs}) {{ {body} }}", {**_weights(9, **shapes), **arrays})


W = (8, 8, 1, 1)
IMAGE = "float[1,8,8,8] y"

WITHOUT_TRANSPOSE = (
    cube("flatten_then_gemm", "float[1,5] y", "a = Conv(x, w) f = Flatten(a) y = Gemm<transB=1>(f, g)", w=W, g=(5, 512)),
    cube(
        "reshape_then_two_gemms",
        "float[2,5] y, float[2,3] z",
        "a = Conv(x, w) f = Reshape(a, s) y = Gemm<transB=1>(f, g) z = Gemm<transB=1>(f, h)",
        "float[2,8,8,8] x",
        w=W, g=(5, 512), h=(3, 512), s=_ints(2, 512),
    ),
    cube(
        "channels_last_at_both_ends",
        IMAGE,
        "n = Transpose<perm=[0,3,1,2]>(x) a = Conv(n, w) y = Transpose<perm=[0,2,3,1]>(a)",
        w=W,
    ),
    cube(
        "to_channels_last_and_back",
        IMAGE,
        "a = Conv(x, w) t = Transpose<perm=[0,2,3,1]>(a) r = Add(t, c) u = Transpose<perm=[0,3,1,2]>(r) y = Conv(u, v)",
        w=W, v=W, c=np.linspace(-1, 1, 8, dtype=np.float32),
    ),
    cube(
        "matmul_on_channels",
        IMAGE,
        "a = Conv(x, w) t = Transpose<perm=[0,2,3,1]>(a) r = MatMul(t, m) u = Transpose<perm=[0,3,1,2]>(r) y = Conv(u, v)",
        w=W, v=W, m=(8, 8),
    ),
    cube("softmax_over_channels", IMAGE, "a = Conv(x, w) y = Softmax<axis=1>(a)", w=W),
    cube("softmax_over_negative_axis", IMAGE, "a = Conv(x, w) y = Softmax<axis=-3>(a)", w=W),
    cube("mean_of_channels", "float[1,1,8,8] y", "a = Conv(x, w) y = ReduceMean<keepdims=1>(a, i)", w=W, i=_ints(1)),
    cube("mean_of_channels_dropped", "float[1,8,8] y", "a = Conv(x, w) y = ReduceMean<keepdims=0>(a, i)", w=W, i=_ints(1)),
    cube("mean_of_rows_dropped", "float[1,8,8] y", "a = Conv(x, w) y = ReduceMean<keepdims=0>(a, i)", w=W, i=_ints(2)),
    cube(
        "mean_then_gemm",
        "float[1,5] y",
        "a = Conv(x, w) p = ReduceMean<keepdims=0>(a, i) y = Gemm<transB=1>(p, g)",
        w=W, i=_ints(-1, -2), g=(5, 8),
    ),
    cube(
        "squeeze_and_excite",
        IMAGE,
        """a = Conv(x, w) p = GlobalAveragePool(a) f = Flatten(p) g = Gemm<transB=1>(f, m, n) r = Relu(g)
           h = Gemm<transB=1>(r, o) s = Sigmoid(h) u = Unsqueeze(s, i) q = Mul(a, u) y = Conv(q, v)""",
        w=W, v=W, m=(4, 8), n=(4,), o=(8, 4), i=_ints(2, 3),
    ),
    cube(
        "concat_and_split_of_channels",
        IMAGE,
        "a = Conv(x, w) b = Conv(x, v) c = Concat<axis=1>(a, b) p, q = Split<axis=1>(c, s) r = Sub(p, q) y = Conv(r, w2)",
        w=W, v=W, w2=W, s=_ints(8, 8),
    ),
    cube(
        "uneven_split_of_channels",
        IMAGE,
        "a = Conv(x, w) p, q = Split<axis=1>(a, s) c = Concat<axis=-3>(q, p) y = Conv(c, v)",
        w=W, v=W, s=_ints(3, 5),
    ),
    cube(
        "slice_of_channels_backwards",
        "float[1,4,8,8] y",
        "a = Conv(x, w) y = Slice(a, b, e, i, s)",
        w=W, b=_ints(7), e=_ints(-9), i=_ints(1), s=_ints(-2),
    ),
    cube("pad_of_channels", "float[1,11,8,9] y", "a = Conv(x, w) y = Pad(a, p)", w=W, p=_ints(0, 1, 0, 0, 0, 2, 0, 1)),
    cube("pad_reflected", "float[1,8,10,11] y", 'a = Conv(x, w) y = Pad<mode="reflect">(a, p)', w=W, p=_ints(0, 0, 1, 2, 0, 0, 1, 1)),
    cube("pad_negative", "float[1,8,7,9] y", "a = Conv(x, w) y = Pad(a, p)", w=W, p=_ints(0, 0, -1, 1, 0, 0, 0, 0)),
    cube(
        "resize_then_add",
        "float[1,8,16,16] y",
        'a = Conv(x, w) r = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(a, , s) y = Add(r, r)',
        w=W, s=np.asarray([1, 1, 2, 2], np.float32),
    ),
    cube(
        "boxes_of_a_detector",
        "float[1,128,4] y",
        """a = Conv(x, w) t = Transpose<perm=[0,2,3,1]>(a) y = Reshape(t, s)""",
        w=W, s=_ints(1, 128, 4),
    ),
    cube(
        "tokens_of_a_transformer",
        "float[1,64,6] y",
        "a = Conv(x, w) r = Reshape(a, s) t = Transpose<perm=[0,2,1]>(r) y = MatMul(t, m)",
        w=W, s=_ints(1, 8, 64), m=(8, 6),
    ),
    cube("tokens_out", "float[1,8,64] y", "a = Conv(x, w) y = Reshape(a, s)", w=W, s=_ints(1, 8, 64)),
    cube(
        "factor_for_each_channel",
        IMAGE,
        "a = Conv(x, w) m = Mul(a, c) n = Sigmoid(m) k = Add(d, n) p = PRelu(k, c) y = Conv(p, v)",
        w=W, v=W, c=np.linspace(0.5, 2, 8, dtype=np.float32).reshape(8, 1, 1), d=np.float32(0.25),
    ),
    cube(
        "one_dimension",
        "float[1,5] y",
        "a = Conv<pads=[1,1]>(x, w) r = Relu(a) m = MaxPool<kernel_shape=[2], strides=[2]>(r) p = GlobalAveragePool(m) f = Flatten(p) y = Gemm<transB=1>(f, g)",
        "float[1,8,8] x",
        w=(8, 8, 3), g=(5, 8),
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", WITHOUT_TRANSPOSE, ids=lambda case: case.name)
def test_no_transpose_where_none_is_needed(case: Case, tmp_path: Path) -> None:
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)
    assert names_of(payload).count("TRANSPOSE") == 0, payload.notes
    assert not any("TRANSPOSE" in note for note in payload.notes)


WITH_ONE = (
    cube(
        "channel_shuffle",
        IMAGE,
        "a = Conv(x, w) r = Reshape(a, s) t = Transpose<perm=[0,2,1,3,4]>(r) u = Reshape(t, q) y = Conv(u, v)",
        w=W, v=W, s=_ints(1, 2, 4, 8, 8), q=_ints(1, 8, 8, 8),
    ),
    cube("channels_from_rows", "float[1,16,4,8] y", "a = Conv(x, w) r = Reshape(a, s) y = Conv(r, v)", w=W, v=(16, 16, 1, 1), s=_ints(1, 16, 4, 8)),
    cube("rows_for_columns", IMAGE, "a = Conv(x, w) t = Transpose<perm=[0,1,3,2]>(a) y = Conv(t, v)", w=W, v=W),
    cube("flat_to_image", IMAGE, "r = Reshape(x, s) y = Conv(r, w)", "float[1,512] x", w=W, s=_ints(1, 8, 8, 8)),
    cube("flat_as_output", "float[1,512] y", "a = Conv(x, w) y = Flatten(a)", w=W),
    cube(
        "flattened_for_another_reader",
        "float[1,5] y",
        "a = Conv(x, w) f = Flatten(a) r = Sigmoid(f) y = Gemm<transB=1>(r, g)",
        w=W, g=(5, 512),
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", WITH_ONE, ids=lambda case: case.name)
def test_one_transpose_where_the_meaning_depends_on_the_order(case: Case, tmp_path: Path) -> None:
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)
    assert names_of(payload).count("TRANSPOSE") == 1, names_of(payload)


def test_softmax_over_columns_goes_there_and_back_and_says_so(tmp_path: Path) -> None:
    model, payload = float_payload(
        cube("softmax_over_columns", IMAGE, "a = Conv(x, w) y = Softmax<axis=3>(a)", w=W), tmp_path
    )
    assert_float_matches(model, payload)
    assert names_of(payload) == ["CONV_2D", "TRANSPOSE", "SOFTMAX", "TRANSPOSE"]
    assert len(payload.notes) == 2
    assert all("Softmax" in note and "[1, 8, 8, 8]" in note for note in payload.notes)


def test_a_transpose_of_the_model_is_no_note_of_ours(tmp_path: Path) -> None:
    case = cube(
        "rows_for_columns", IMAGE, "a = Conv(x, w) t = Transpose<perm=[0,1,3,2]>(a) y = Conv(t, v)", w=W, v=W
    )
    assert float_payload(case, tmp_path)[1].notes == ()


def test_a_transpose_of_ours_is_shared_by_its_readers(tmp_path: Path) -> None:
    case = cube(
        "two_flat_readers",
        "float[1,512] y, float[1,8,64] z",
        "a = Conv(x, w) s = Sigmoid(a) y = Reshape(s, i) r = Reshape(s, j) z = Softmax<axis=2>(r)",
        w=W,
        i=_ints(1, 512),
        j=_ints(1, 8, 64),
    )
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)
    assert names_of(payload).count("TRANSPOSE") == 1


def test_axes_are_told_for_every_value_that_lies_otherwise_and_no_other(tmp_path: Path) -> None:
    case = ALL["gemm_relu"]
    _, payload = float_payload(case, tmp_path)
    assert dict(payload.tensor_axes) == {"a": (0, 2, 3, 1), "x": (0, 2, 3, 1)}
    assert "f" not in payload.tensor_names, (
        "its columns are in file order, which no permutation of axes describes"
    )
    assert {"g", "y"} <= set(payload.tensor_names)


def test_the_door_says_its_axes(tmp_path: Path) -> None:
    _, images = float_payload(ALL["conv"], tmp_path)
    assert [tensor.source_axes for tensor in (*images.inputs, *images.outputs)] == [(0, 2, 3, 1)] * 2
    _, lines = float_payload(next(case for case in WITHOUT_TRANSPOSE if case.name == "tokens_out"), tmp_path)
    assert lines.outputs[0].source_axes == (0, 2, 1)
    assert lines.outputs[0].shape == (1, 64, 8)


@pytest.mark.parametrize(
    "name", ["several_readers", "mul_of_channels", "concat", "slice", "transpose", "max_pool", "reshape"]
)
def test_integer_values_lie_as_the_axes_say(name: str, tmp_path: Path) -> None:
    prepared = prepare(ALL[name], tmp_path, catalog.load("cortex-a-tflite"))
    payload = prepared.lower()
    sample = prepared.samples()[0]
    expected = simulate(prepared.model, prepared.plan, sample)
    found = every_value(payload, sample, payload.tensor_axes)
    assert len(found) >= 4
    for value, array in found.items():
        unit = prepared.plan.tensors[value].qparams.scale[0]
        assert np.abs(array - expected[value]).max() / unit <= 5, value


def test_an_output_that_is_an_input_or_another_output_gets_a_tensor_of_its_own(tmp_path: Path) -> None:
    case = cube(
        "doors",
        "float[1,8,8,8] y, float[1,8,8,8] z, float[1,8,8,8] a",
        "a = Conv(x, w) y = Transpose<perm=[0,2,3,1]>(x) z = Transpose<perm=[0,2,3,1]>(a)",
        w=W,
    )
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)
    assert [tensor.name for tensor in payload.outputs] == ["y", "z", "a"]
    assert names_of(payload) == ["CONV_2D", "RESHAPE", "RESHAPE"]


FACTORS = st.lists(st.integers(1, 3), min_size=1, max_size=5)


@st.composite
def reshapes(draw):
    """Two ways to cut the same elements into axes, each in an order of its own."""
    factors = draw(FACTORS)

    def cut():
        shape, rest = [], list(factors)
        while rest:
            count = draw(st.integers(1, len(rest)))
            shape.append(int(np.prod(rest[:count])))
            rest = rest[count:]
        return tuple(shape)

    before, after = cut(), cut()
    return (
        before,
        tuple(draw(st.permutations(range(len(before))))),
        after,
        tuple(draw(st.permutations(range(len(after))))),
    )


@settings(max_examples=200, deadline=None)
@given(reshapes())
def test_layout_arithmetic_moves_elements_as_numpy_does(given_reshape) -> None:
    before, layout, after, wanted = given_reshape
    source = np.arange(np.prod(before)).reshape(before)
    payload, goal = source.transpose(layout), source.reshape(after).transpose(wanted)
    assert layouts.permuted(before, layout) == payload.shape
    if axes.reshape_is_free(before, layout, after, wanted):
        np.testing.assert_array_equal(payload.ravel(), goal.ravel())
    one = axes.by_one_transpose(before, layout, after, wanted)
    if one is not None:
        shape, permutation = one
        np.testing.assert_array_equal(payload.reshape(shape).transpose(permutation).ravel(), goal.ravel())
        moved = [axis for axis in permutation if shape[axis] != 1]
        assert (moved == sorted(moved)) == np.array_equal(payload.ravel(), goal.ravel())
    carried = axes.carried(before, layout, after)
    if carried is not None:
        np.testing.assert_array_equal(payload.ravel(), source.reshape(after).transpose(carried).ravel())


def test_cuts_that_do_not_nest_have_no_single_transpose(tmp_path: Path) -> None:
    assert axes.by_one_transpose((6, 4), (1, 0), (4, 6), (1, 0)) is None
    case = cube(
        "cuts_cross",
        "float[1,4,6,8] y",
        "a = Conv(x, w) r = Reshape(a, s) y = Conv(r, v)",
        "float[1,6,4,8] x",
        w=(6, 6, 1, 1),
        v=(4, 4, 1, 1),
        s=_ints(1, 4, 6, 8),
    )
    model, payload = float_payload(case, tmp_path)
    assert_float_matches(model, payload)
    assert names_of(payload).count("TRANSPOSE") == 2
