"""Real numbers to codes and back: what must hold for every value, scale and rounding."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.errors import LoweringError
from host_tools.lower.integers import dequantize_array, quantize_array, quantize_bias, rebased
from host_tools.plan.quantization_plan import IntegerType, QParams

LIMITS: dict[IntegerType, tuple[int, int]] = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "int32": (-(2**31), 2**31 - 1),
}
ROUNDINGS = ("half_even", "half_up", "half_away_from_zero")


def per_tensor(
    scale: float = 0.5,
    zero_point: int = 0,
    dtype: IntegerType = "int8",
    limits: tuple[int, int] | None = None,
) -> QParams:
    low, high = limits or LIMITS[dtype]
    return QParams(
        scale=(scale,), zero_point=(zero_point,), dtype=dtype, quant_min=low, quant_max=high, axis=None
    )


def per_channel(scales: tuple[float, ...], axis: int) -> QParams:
    return QParams(
        scale=scales,
        zero_point=(0,) * len(scales),
        dtype="int8",
        quant_min=-127,
        quant_max=127,
        axis=axis,
    )


scales = st.floats(1e-30, 1e30)
values = st.floats(-1e30, 1e30, width=64)
parameters = st.builds(
    lambda scale, code, dtype: per_tensor(scale, LIMITS[dtype][0] + code, dtype),
    scales,
    st.integers(0, 255),
    st.sampled_from(["int8", "uint8"]),
)


@given(values, parameters, st.sampled_from(ROUNDINGS))
@settings(max_examples=200)
def test_a_value_inside_the_range_comes_back_within_half_a_scale(
    value: float, qparams: QParams, rounding: str
) -> None:
    codes = quantize_array(np.array([value]), qparams, rounding)
    assert qparams.quant_min <= codes[0] <= qparams.quant_max
    scale, zero_point = qparams.scale[0], qparams.zero_point[0]
    low, high = (qparams.quant_min - zero_point) * scale, (qparams.quant_max - zero_point) * scale
    expected = min(max(value, low), high)
    assert abs(dequantize_array(codes, qparams)[0] - expected) <= scale / 2 * (1 + 1e-9)


@given(parameters, st.sampled_from(ROUNDINGS))
def test_zero_is_exact_and_every_code_comes_back(qparams: QParams, rounding: str) -> None:
    codes = np.arange(qparams.quant_min, qparams.quant_max + 1).astype(qparams.dtype)
    real = dequantize_array(codes, qparams)
    assert real[qparams.zero_point[0] - qparams.quant_min] == 0.0
    np.testing.assert_array_equal(quantize_array(real, qparams, rounding), codes)


@given(st.lists(values, min_size=2, max_size=20), parameters, st.sampled_from(ROUNDINGS))
def test_order_is_kept(numbers: list[float], qparams: QParams, rounding: str) -> None:
    codes = quantize_array(np.array(sorted(numbers)), qparams, rounding).astype(int)
    assert (np.diff(codes) >= 0).all()


@given(st.floats(-1e6, 1e6), st.sampled_from(ROUNDINGS))
@settings(max_examples=300)
def test_rounding_is_what_exact_arithmetic_says(quotient: float, rounding: str) -> None:
    exact = Fraction(quotient)
    below = math.floor(exact)
    half = exact - below == Fraction(1, 2)
    if not half:
        expected = below if exact - below < Fraction(1, 2) else below + 1
    elif rounding == "half_even":
        expected = below if below % 2 == 0 else below + 1
    elif rounding == "half_up":
        expected = below + 1
    else:
        expected = below + 1 if exact > 0 else below
    assert quantize_array(np.array([quotient]), per_tensor(1.0, 0, "int32"), rounding)[0] == expected


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("half_even", [-2, -2, 0, 0, 0, 2, 2]),
        ("half_up", [-2, -1, 0, 0, 1, 2, 3]),
        ("half_away_from_zero", [-3, -2, -1, 0, 1, 2, 3]),
    ],
)
def test_halves(rounding: str, expected: list[int]) -> None:
    halves = np.array([-2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5])
    assert quantize_array(halves, per_tensor(1.0), rounding).tolist() == expected


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_the_largest_number_below_a_half_is_zero(rounding: str) -> None:
    below = np.nextafter(0.5, 0.0)
    assert quantize_array(np.array([below, -below]), per_tensor(1.0), rounding).tolist() == [0, 0]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_infinities_saturate(rounding: str) -> None:
    codes = quantize_array(np.array([-np.inf, np.inf]), per_tensor(0.1, 3), rounding)
    assert codes.tolist() == [-128, 127]


def test_channels_have_their_own_scales_along_any_axis() -> None:
    array = np.array([[1.0, 2.0, 4.0], [-1.0, -2.0, -4.0]], np.float32)
    along_columns = quantize_array(array, per_channel((1.0, 2.0, 4.0), 1), "half_even")
    assert along_columns.tolist() == [[1, 1, 1], [-1, -1, -1]]
    along_rows = quantize_array(array, per_channel((1.0, 0.5), 0), "half_even")
    assert along_rows.tolist() == [[1, 2, 4], [-2, -4, -8]]


def test_narrow_range_is_kept() -> None:
    codes = quantize_array(np.array([-1e9, 1e9]), per_tensor(1.0, limits=(-127, 127)), "half_even")
    assert codes.tolist() == [-127, 127]
    assert codes.dtype == np.int8


@given(st.integers(-(2**31), 2**31 - 1), st.floats(1e-20, 1e3))
def test_a_bias_that_fits_is_exact(code: int, scale: float) -> None:
    assert quantize_bias(np.array([code * scale]), per_tensor(scale, 0, "int32"), "half_even")[
        0
    ] == pytest.approx(code, abs=1)


@given(st.integers(2**31 + 1, 2**40), st.sampled_from([-1, 1]))
def test_a_bias_that_overflows_is_refused_by_name_and_element(code: int, sign: int) -> None:
    with pytest.raises(LoweringError, match=r"stem: the code of element 1 is .*1 of 2 overflow"):
        quantize_bias(
            np.array([0.0, sign * code * 0.25]), per_tensor(0.25, 0, "int32"), "half_even", where="stem"
        )


@given(st.integers(0, 255), st.integers(0, 255))
def test_the_other_signedness_means_the_same(code: int, zero_point: int) -> None:
    unsigned = per_tensor(0.3, zero_point, "uint8")
    signed = rebased(unsigned, "int8")
    assert dequantize_array(np.array([code - 128], np.int8), signed) == dequantize_array(
        np.array([code], np.uint8), unsigned
    )
    assert rebased(signed, "uint8") == unsigned
    assert rebased(signed, "int8") is signed


def test_only_bytes_can_be_rebased() -> None:
    with pytest.raises(LoweringError, match="int16"):
        rebased(per_tensor(1.0, 0, "int16"), "uint8")


@pytest.mark.parametrize(
    ("qparams", "message"),
    [
        (per_tensor(limits=(-129, 127)), "do not fit int8"),
        (per_tensor(0.0), "finite scales above 0"),
        (per_tensor(float("nan")), "finite scales above 0"),
        (per_channel((1.0, 1.0), 0), "do not fit shape"),
        (per_channel((1.0, 1.0, 1.0), 1), "do not fit shape"),
        (
            QParams(scale=(1.0, 2.0), zero_point=(0, 0), dtype="int8", quant_min=-1, quant_max=1, axis=None),
            "axis",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_name(qparams: QParams, message: str) -> None:
    with pytest.raises(LoweringError, match=rf"weights: .*{message}"):
        quantize_array(np.zeros(3), qparams, "half_even", where="weights")


def test_nan_is_refused_by_name() -> None:
    with pytest.raises(LoweringError, match="weights: a value is NaN"):
        quantize_array(np.array([np.nan]), per_tensor(), "half_even", where="weights")
