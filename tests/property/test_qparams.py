"""Arithmetic of scales and zero points, for every rule, width and range that a profile can ask for."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.plan.codes import codes_of, rebased, values_of
from host_tools.plan.qparams import (
    SMALLEST_SCALE,
    best_power_of_two,
    choose,
    code_range,
    inside,
    power_of_two_ceiling,
    raised,
    real_range,
    saturates,
)
from targets.profile import ScaleRules

LARGEST = float(np.finfo(np.float32).max)
ROUNDINGS = ("half_even", "half_up", "half_away_from_zero")

examples = settings(max_examples=150, deadline=None)

reals = st.floats(-LARGEST, LARGEST, width=32, allow_subnormal=True)
ordinary = st.floats(-1e6, 1e6, width=32)
bounds = st.tuples(st.one_of(reals, ordinary, st.just(0.0)), st.one_of(reals, ordinary, st.just(0.0))).map(
    lambda pair: (min(pair), max(pair))
)
code_ranges = st.one_of(
    st.builds(
        lambda bits, narrow: code_range(bits, signed=True, narrow=narrow), st.integers(4, 16), st.booleans()
    ),
    st.builds(
        lambda bits, narrow: code_range(bits, signed=False, narrow=narrow), st.integers(4, 8), st.booleans()
    ),
)
rules = st.sampled_from(["symmetric", "midpoint", "asymmetric"])
scale_rules = st.builds(
    lambda kind, minimum, width: ScaleRules(kind=kind, minimum=minimum, minimum_range=width),
    st.sampled_from(["float32", "power_of_two"]),
    st.sampled_from([SMALLEST_SCALE, 1e-9, 0.01]),
    st.sampled_from([0.0, 1e-4, 0.5]),
)


def chosen(bound, codes, rule, scale):
    low, high = bound
    return choose(np.asarray([low]), np.asarray([high]), codes=codes, zero_point=rule, scale=scale)


@examples
@given(
    bounds,
    code_ranges,
    rules,
    scale_rules,
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
    st.sampled_from(ROUNDINGS),
)
def test_a_value_inside_the_range_is_at_most_half_a_scale_from_its_code(
    bound, codes, rule, scale, shares, rounding
):
    qparams = chosen(bound, codes, rule, scale)
    low, high = min(bound[0], 0.0), max(bound[1], 0.0)
    values = np.asarray([low + (high - low) * share for share in shares] + [low, high])
    error = np.abs(values_of(codes_of(values, qparams, rounding), qparams) - values)
    assert (error <= qparams.scale[0] * 0.5 * (1 + 1e-6)).all()


@examples
@given(bounds, code_ranges, rules, scale_rules, st.sampled_from(ROUNDINGS))
def test_zero_is_exact_and_every_number_is_legal(bound, codes, rule, scale, rounding):
    qparams = chosen(bound, codes, rule, scale)
    (step,), (zero,) = qparams.scale, qparams.zero_point
    assert values_of(codes_of(np.zeros(1), qparams, rounding), qparams)[0] == 0.0
    assert codes.low <= zero <= codes.high
    assert math.isfinite(step)
    assert step >= max(scale.minimum, SMALLEST_SCALE)
    assert np.isfinite(np.float32(step))
    assert rule != "symmetric" or zero == codes.middle
    assert rule != "midpoint" or zero in (codes.low, codes.middle)
    assert scale.kind != "power_of_two" or math.frexp(step)[0] == 0.5
    low, high = real_range(qparams)
    assert high - low >= scale.minimum_range * (1 - 1e-9)


@examples
@given(bounds, rules, scale_rules, st.lists(ordinary, min_size=1, max_size=20))
def test_int8_and_uint8_are_the_same_numbers(bound, rule, scale, values):
    if rule == "midpoint":
        rule = "asymmetric"  # 'lowest' is another code in each type; re-basing keeps the number, which is asked here
    signed = chosen(bound, code_range(8, signed=True), rule, scale)
    unsigned = chosen(bound, code_range(8, signed=False), rule, scale)
    assert rebased(signed, signed=False) == unsigned
    assert rebased(unsigned, signed=True) == signed
    array = np.asarray(values)
    assert (codes_of(array, signed) + 128 == codes_of(array, unsigned)).all()
    assert (
        values_of(codes_of(array, signed), signed) == values_of(codes_of(array, unsigned), unsigned)
    ).all()


@examples
@given(st.floats(SMALLEST_SCALE, LARGEST))
def test_power_of_two_ceiling_is_the_least_power_above(scale):
    (power,) = power_of_two_ceiling(np.asarray([scale]))
    assert math.frexp(power)[0] == 0.5
    assert power >= scale
    assert power / 2 < scale


@examples
@given(bounds, code_ranges, rules)
def test_a_power_of_two_scale_clips_nothing(bound, codes, rule):
    exact = chosen(bound, codes, rule, ScaleRules(kind="float32", minimum=SMALLEST_SCALE, minimum_range=0.0))
    power = chosen(
        bound, codes, rule, ScaleRules(kind="power_of_two", minimum=SMALLEST_SCALE, minimum_range=0.0)
    )
    assert exact.scale[0] <= power.scale[0] < exact.scale[0] * 2


@examples
@given(
    st.floats(-20, 0, width=32),
    st.floats(0, 20, width=32),
    st.floats(-20, 0, width=32),
    st.floats(0, 20, width=32),
    st.lists(st.floats(-40, 40), min_size=1, max_size=30),
    st.sampled_from(ROUNDINGS),
)
def test_where_saturation_is_promised_clipping_first_changes_no_code(
    low, high, clip_low, clip_high, values, rounding
):
    codes = code_range(8, signed=True)
    scale = ScaleRules(kind="float32", minimum=SMALLEST_SCALE, minimum_range=0.0)
    qparams = inside(chosen((low, high), codes, "asymmetric", scale), clip_low, clip_high, scale)
    array = np.asarray([*values, clip_low, clip_high])
    clipped = codes_of(np.clip(array, clip_low, clip_high), qparams, rounding)
    if saturates(qparams, clip_low, clip_high):
        assert (clipped == codes_of(array, qparams, rounding)).all()
    else:
        beyond = np.asarray([clip_low - 2 * qparams.scale[0], clip_high + 2 * qparams.scale[0]])
        assert (
            codes_of(np.clip(beyond, clip_low, clip_high), qparams, rounding)
            != codes_of(beyond, qparams, rounding)
        ).any()


@examples
@given(st.integers(-50000, 0).map(lambda n: n / 1000), st.integers(0, 50000).map(lambda n: n / 1000))
def test_a_range_chosen_inside_its_bounds_always_saturates(low, high):
    scale = ScaleRules(kind="float32", minimum=SMALLEST_SCALE, minimum_range=0.0)
    qparams = chosen((low, high), code_range(8, signed=True), "asymmetric", scale)
    if low == high == 0.0:
        high = 1.0  # a dead tensor gets a range of its own
    assert saturates(inside(qparams, low, high, scale), low, high)
    assert inside(qparams, low, high, scale).scale[0] >= qparams.scale[0] * (1 - 1e-4)
    published = inside(qparams, low, high, scale)
    rounded = type(published)(
        scale=(float(np.float32(published.scale[0])),),
        zero_point=published.zero_point,
        dtype=published.dtype,
        quant_min=published.quant_min,
        quant_max=published.quant_max,
        axis=None,
    )
    assert saturates(rounded, low, high)


def test_a_tie_of_the_zero_point_is_mended_by_a_hair():
    scale = ScaleRules(kind="float32", minimum=SMALLEST_SCALE, minimum_range=0.0)
    tied = chosen((-1.0, 1.0), code_range(8, signed=True), "asymmetric", scale)
    assert not saturates(tied, -1.0, 1.0)
    assert saturates(inside(tied, -1.0, 1.0, scale), -1.0, 1.0)


def test_symmetric_codes_after_relu_do_not_saturate():
    scale = ScaleRules(kind="float32", minimum=SMALLEST_SCALE, minimum_range=0.0)
    qparams = chosen((0.0, 6.0), code_range(8, signed=True), "symmetric", scale)
    assert not saturates(qparams, 0.0, math.inf)
    assert inside(qparams, 0.0, math.inf, scale) == qparams


@examples
@given(bounds, code_ranges, rules, scale_rules, st.floats(1, 100))
def test_raising_grows_the_range_about_zero(bound, codes, rule, scale, factor):
    before = chosen(bound, codes, rule, scale)
    after = raised(before, np.asarray(before.scale) * factor, scale)
    assert after.zero_point == before.zero_point
    assert before.scale[0] * factor <= after.scale[0]
    assert after.scale[0] <= before.scale[0] * factor * (2 if scale.kind == "power_of_two" else 1)


@examples
@given(st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=40), rules)
def test_the_searched_power_of_two_is_no_worse_than_the_one_that_clips_nothing(values, rule):
    scale = ScaleRules(kind="power_of_two", minimum=SMALLEST_SCALE, minimum_range=0.0)
    samples = np.asarray([values])
    low, high = samples.min(axis=1), samples.max(axis=1)
    arguments = {"codes": code_range(8, signed=True), "zero_point": rule, "scale": scale}
    plain = choose(low, high, **arguments)
    best = best_power_of_two(low, high, samples, np.ones((1, 1)), rounding="half_even", **arguments)

    def error(qparams):
        return float(((values_of(codes_of(samples, qparams), qparams) - samples) ** 2).sum())

    assert error(best) <= error(plain)
    assert math.frexp(best.scale[0])[0] == 0.5


@examples
@given(st.floats(-300, 300), st.sampled_from(ROUNDINGS))
def test_rounding_is_exact(value, rounding):
    qparams = chosen(
        (-127.0, 127.0),
        code_range(8, signed=True),
        "symmetric",
        ScaleRules(kind="float32", minimum=SMALLEST_SCALE, minimum_range=0.0),
    )
    exact = Fraction(value)
    floor = exact.numerator // exact.denominator
    fraction = exact - floor
    if fraction != Fraction(1, 2):
        expected = floor + (fraction > Fraction(1, 2))
    else:
        expected = {
            "half_even": floor + floor % 2,
            "half_up": floor + 1,
            "half_away_from_zero": floor + (floor >= 0),
        }[rounding]
    assert codes_of(np.asarray([value]), qparams, rounding)[0] == min(max(expected, -128), 127)


def test_misuse_is_refused():
    scale = ScaleRules(kind="float32", minimum=SMALLEST_SCALE, minimum_range=0.0)
    with pytest.raises(ValueError, match="low <= high"):
        chosen((2.0, 1.0), code_range(8, signed=True), "asymmetric", scale)
    with pytest.raises(ValueError, match="finite"):
        chosen((0.0, math.inf), code_range(8, signed=True), "asymmetric", scale)
    with pytest.raises(ValueError, match="bits"):
        code_range(16, signed=False)
    with pytest.raises(ValueError, match="re-based"):
        rebased(chosen((0.0, 1.0), code_range(16, signed=True), "symmetric", scale), signed=False)
