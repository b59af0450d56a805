"""Real values to codes and back: exact, saturating, in the payload's layout; what has no code is refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from device_agent.contract.manifest_codec import CODE_RANGE
from device_agent.sources.adapt import FrameError, source_shape, to_payload, to_source
from tests.unit.device_agent.sources.payload_tensors import tensor

SCALES = st.floats(2.0**-30, 2.0**20, width=32)
CODES = st.sampled_from(sorted(CODE_RANGE))
REALS = st.floats(-(2.0**60), 2.0**60)


@st.composite
def quantized(draw: st.DrawFn, shape: tuple[int, ...] = (1, 4), axes: tuple[int, ...] | None = None):
    dtype = draw(CODES)
    return tensor(
        shape, dtype, scale=draw(SCALES), zero_point=draw(st.integers(*CODE_RANGE[dtype])), axes=axes
    )


@settings(max_examples=200, deadline=None)
@given(quantized(), st.lists(REALS, min_size=4, max_size=4))
def test_codes_are_the_nearest_and_saturate(payload, values) -> None:
    """Against exact arithmetic on the quotient that float64 gives: rounded half to even, clipped."""
    real = np.array([values])
    (codes,) = to_payload({"x": real}, [payload])
    assert codes.dtype == payload.dtype
    low, high = CODE_RANGE[payload.dtype]
    for value, code in zip(values, codes[0], strict=True):
        wanted = round(Fraction(value / payload.scale)) + payload.zero_point
        assert int(code) == min(max(wanted, low), high)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_codes_survive_becoming_real_and_back(data: st.DataObject) -> None:
    payload = data.draw(quantized())
    codes = data.draw(arrays(payload.dtype, payload.shape, elements=st.integers(*CODE_RANGE[payload.dtype])))
    real = to_source([codes], [payload])["x"]
    assert real.dtype == np.float64
    (again,) = to_payload({"x": real}, [payload])
    np.testing.assert_array_equal(again, codes)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_layout_and_back_is_where_it_was(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 4), max_size=5)))
    axes = tuple(data.draw(st.permutations(range(len(shape)))))
    payload = tensor(shape, axes=axes)
    source = np.arange(np.prod(source_shape(payload), dtype=int), dtype=np.float32).reshape(
        source_shape(payload)
    )
    (moved,) = to_payload({"x": source}, [payload])
    assert moved.shape == shape
    assert moved.flags.c_contiguous
    np.testing.assert_array_equal(moved, source.transpose(axes))
    back = to_source([moved], [payload])["x"]
    np.testing.assert_array_equal(back, source)


def test_nchw_pictures_become_nhwc_codes() -> None:
    payload = tensor((1, 2, 2, 3), "int8", scale=0.5, zero_point=-3, axes=(0, 2, 3, 1))
    assert source_shape(payload) == (1, 3, 2, 2)
    source = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    (codes,) = to_payload({"x": source}, [payload])
    assert codes[0, 0, 1].tolist() == [2 * 1 - 3, 2 * 5 - 3, 2 * 9 - 3]


@pytest.mark.parametrize("dtype", sorted(CODE_RANGE))
def test_values_beyond_every_code_saturate(dtype) -> None:
    payload = tensor((1, 4), dtype, scale=1.401298464324817e-45, zero_point=0)
    real = np.array([[1e308, -1e308, 1e-300, 0.0]])
    (codes,) = to_payload({"x": real}, [payload])
    assert codes[0].tolist() == [CODE_RANGE[dtype][1], CODE_RANGE[dtype][0], 0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "payload",
    [tensor((1, 4), "int8", scale=0.1, zero_point=0), tensor((1, 4), "float32")],
    ids=["int8", "float"],
)
def test_values_that_are_not_finite_are_refused(payload, dtype, value) -> None:
    array = np.zeros((1, 4), dtype)
    array[0, 2] = value
    with pytest.raises(FrameError, match=r"input 'x': values that are NaN.* infinite"):
        to_payload({"x": array}, [payload])


def test_values_that_float32_cannot_hold_are_refused() -> None:
    with pytest.raises(FrameError, match="beyond float32"):
        to_payload({"x": np.full((1, 4), 1e300)}, [tensor()])


def test_a_float_output_keeps_its_planned_scale_out_of_its_values() -> None:
    """It is the unit of the self-test's tolerance and nothing else."""
    array = np.array([[1.5, -2.0, 0.25, 0.0]], np.float32)
    np.testing.assert_array_equal(to_source([array], [tensor(scale=0.5)])["x"], array)
    np.testing.assert_array_equal(to_payload({"x": array}, [tensor(scale=0.5)])[0], array)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.int64, np.bool_, np.float16, np.float64, ">f4", ">i2"]
)
def test_every_type_of_number_can_be_quantized(dtype) -> None:
    payload = tensor((1, 4), "int8", scale=0.5, zero_point=1)
    (codes,) = to_payload({"x": np.array([[0, 1, 1, 0]]).astype(dtype)}, [payload])
    assert codes.tolist() == [[1, 3, 3, 1]]


@pytest.mark.parametrize(
    "array",
    [np.zeros((1, 4), "U3"), np.zeros((1, 4), complex), np.zeros((1, 4), "M8[s]"), np.full((1, 4), None)],
)
@pytest.mark.parametrize(
    "payload", [tensor(), tensor((1, 4), "int8", scale=0.1, zero_point=0)], ids=["plain", "scaled"]
)
def test_what_is_no_number_is_refused(payload, array) -> None:
    with pytest.raises(FrameError, match="input 'x': expected numbers, got"):
        to_payload({"x": array}, [payload])


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (np.float32, "int64"),
        (np.float64, "int32"),
        (np.int64, "bool"),
        (np.int64, "uint8"),
        (np.float32, "bool"),
    ],
)
def test_integers_without_a_scale_are_not_made_of_other_kinds(found, wanted) -> None:
    with pytest.raises(FrameError, match=f"expected {wanted}, got {np.dtype(found)}"):
        to_payload({"x": np.zeros((1, 4), found)}, [tensor((1, 4), wanted)])


def test_ids_that_fit_are_narrowed_and_others_refused() -> None:
    ids = np.array([[0, 1, -(1 << 31), (1 << 31) - 1]])
    (narrow,) = to_payload({"x": ids}, [tensor((1, 4), "int32")])
    assert (narrow.dtype, narrow.tolist()) == (np.int32, ids.tolist())
    for wrong in (1 << 31, -(1 << 31) - 1):
        with pytest.raises(FrameError, match="values beyond the range of int32"):
            to_payload({"x": np.array([[0, 0, 0, wrong]])}, [tensor((1, 4), "int32")])


def test_the_input_is_only_read() -> None:
    array = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
    array.flags.writeable = False
    to_payload({"x": array}, [tensor((1, 4), "int8", scale=0.5, zero_point=0)])
    assert array.tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_missing_inputs_and_wrong_shapes_are_named() -> None:
    with pytest.raises(FrameError, match=r"input 'x' is missing; there are a, b\."):
        to_payload({"b": np.zeros(1), "a": np.zeros(1)}, [tensor()])
    with pytest.raises(FrameError, match=r"input 'x' is missing; there are none\."):
        to_payload({}, [tensor()])
    with pytest.raises(FrameError, match=r"input 'x': expected shape \(1, 3, 2, 2\), got \(1, 2, 2, 3\)"):
        to_payload({"x": np.zeros((1, 2, 2, 3))}, [tensor((1, 2, 2, 3), axes=(0, 2, 3, 1))])


def test_outputs_that_are_not_the_manifests_are_refused() -> None:
    with pytest.raises(FrameError, match="expected 1 outputs, got 2"):
        to_source([np.zeros((1, 4)), np.zeros((1, 4))], [tensor()])
    with pytest.raises(FrameError, match=r"output 'x_0': expected shape \(1, 4\), got \(4,\)"):
        to_source([np.zeros(4)], [tensor()])


def test_several_inputs_come_in_the_payloads_order() -> None:
    tensors = [tensor((1,), "int64", name="ids"), tensor((1,), name="image")]
    first, second = to_payload({"image": np.ones(1), "ids": np.array([7])}, tensors)
    assert (first.tolist(), second.tolist()) == ([7], [1.0])


@settings(max_examples=200, deadline=None)
@given(rows=st.integers(1, 100), numbers=st.lists(st.integers(-150, 150), min_size=4, max_size=4))
def test_a_number_that_names_no_row_of_the_models_table_is_refused_by_itself(
    rows: int, numbers: list[int]
) -> None:
    ids = replace(tensor((1, 4), "int64"), rows=rows)
    wrong = [number for number in numbers if not -rows <= number < rows]
    given_array = np.array([numbers])
    if not wrong:
        np.testing.assert_array_equal(to_payload({"x": given_array}, [ids])[0], given_array)
        return
    with pytest.raises(
        FrameError, match=rf"input 'x': expected numbers of rows .* has {rows}; got"
    ) as caught:
        to_payload({"x": given_array}, [ids])
    assert int(str(caught.value).rstrip(".").split()[-1]) in wrong
