"""The simulator's arithmetic against Python's integers and fractions: every rounding, ties, saturation, extremes."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.plan.quantization_plan import QParams
from host_tools.simulate.products import ConstantMatrix, product
from host_tools.simulate.quantizer import Grid, Quantizer, look_up
from host_tools.simulate.rounding import Factors, Term, rounded, rounded_fraction, rounded_sum

ROUNDINGS = ["half_even", "half_up", "half_away_from_zero"]
TYPES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}

roundings = st.sampled_from(ROUNDINGS)
scales = st.one_of(
    st.integers(-20, 6).map(lambda exponent: 2.0**exponent),
    st.floats(1e-6, 50.0).map(lambda scale: float(np.float32(scale))),
    st.sampled_from([1 / 3, 0.1, 1.0, 1 / 255, 6 / 255]).map(lambda scale: float(np.float32(scale))),
)
fractions = st.one_of(
    st.builds(Fraction, scales),
    st.builds(lambda a, b, c: Fraction(a) * Fraction(b) / Fraction(c), scales, scales, scales),
    st.builds(
        Fraction, st.integers(-99, 99), st.integers(1, 99)
    ),  # quotients of small numbers: ties that float64 cannot hold
    st.builds(lambda odd, exponent: Fraction(odd, 2**exponent), st.integers(-9, 9), st.integers(0, 60)),
)
accumulators = st.one_of(
    st.integers(-(2**31), 2**31 - 1), st.integers(-600, 600), st.sampled_from([0, 2**31 - 1, -(2**31)])
)


@st.composite
def grids(draw) -> Grid:
    dtype = draw(st.sampled_from(sorted(TYPES)))
    low, high = TYPES[dtype]
    return Grid(
        scale=Fraction(draw(scales)), zero_point=draw(st.integers(low, high)), low=low, high=high, dtype=dtype
    )


def quantizer(grid: Grid, rounding: str) -> Quantizer:
    return Quantizer(grid=grid, rounding=rounding, low=grid.low, high=grid.high)


def code_of(real: Fraction, grid: Grid, rounding: str) -> int:
    return min(max(by_the_book(real / grid.scale, rounding) + grid.zero_point, grid.low), grid.high)


def by_the_book(value: Fraction, rounding: str) -> int:
    below = value.numerator // value.denominator
    rest = value - below
    if rest != Fraction(1, 2):
        return below + (rest > Fraction(1, 2))
    if rounding == "half_even":
        return below + below % 2
    if rounding == "half_up":
        return below + 1
    return below + 1 if value > 0 else below


@given(value=fractions, rounding=roundings)
def test_a_fraction(value: Fraction, rounding: str) -> None:
    assert rounded_fraction(value, rounding) == by_the_book(value, rounding)


@given(halves=st.integers(-(2**40), 2**40), rounding=roundings)
def test_a_tie(halves: int, rounding: str) -> None:
    wanted = by_the_book(Fraction(halves, 2), rounding)
    assert rounded_fraction(Fraction(halves, 2), rounding) == wanted
    assert rounded(np.array([halves / 2]), rounding)[0] == wanted


@pytest.mark.parametrize(
    ("rounding", "wanted"),
    [
        ("half_even", [-2, -2, -0.0, 0, 2, 2]),
        ("half_up", [-2, -1, 0, 1, 2, 3]),
        ("half_away_from_zero", [-3, -2, -1, 1, 2, 3]),
    ],
)
def test_ties_one_by_one(rounding: str, wanted: list[float]) -> None:
    halves = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
    assert rounded(np.array(halves), rounding).tolist() == wanted
    assert [rounded_fraction(Fraction(half), rounding) for half in halves] == [int(one) for one in wanted]


@settings(max_examples=300)
@given(
    numbers=st.lists(accumulators, min_size=1, max_size=20),
    factors=st.lists(fractions, min_size=1, max_size=4),
    rounding=roundings,
    seed=st.integers(0, 99),
)
def test_one_term(numbers: list[int], factors: list[Fraction], rounding: str, seed: int) -> None:
    which = np.random.default_rng(seed).integers(0, len(factors), len(numbers))
    term = Term(numbers=np.asarray(numbers, np.int64), factors=Factors(exact=tuple(factors)), which=which)
    wanted = [
        by_the_book(number * factors[place], rounding) for number, place in zip(numbers, which, strict=True)
    ]
    found = rounded_sum([term], rounding)
    small = [abs(one) < 2**50 for one in wanted]
    assert [int(one) for one, is_small in zip(found, small, strict=True) if is_small] == [
        one for one, is_small in zip(wanted, small, strict=True) if is_small
    ]
    assert all(
        math.isclose(one, exact, rel_tol=1e-12)
        for one, exact, is_small in zip(found, wanted, small, strict=True)
        if not is_small
    )


@settings(max_examples=300)
@given(
    pairs=st.lists(st.tuples(st.integers(-(2**17), 2**17), st.integers(-255, 255)), min_size=1, max_size=20),
    left=fractions,
    right=fractions,
    rounding=roundings,
)
def test_two_terms(pairs: list[tuple[int, int]], left: Fraction, right: Fraction, rounding: str) -> None:
    a, b = (np.asarray(column, np.int64) for column in zip(*pairs, strict=True))
    found = rounded_sum(
        [Term(numbers=a, factors=Factors(exact=(left,))), Term(numbers=b, factors=Factors(exact=(right,)))],
        rounding,
    )
    assert found.tolist() == [by_the_book(x * left + y * right, rounding) for x, y in pairs]


@given(
    divisor=st.integers(1, 2**10),
    odd=st.integers(-(2**20), 2**20),
    rounding=roundings,
    channels=st.integers(1, 3),
)
def test_ties_that_float64_cannot_hold(divisor: int, odd: int, rounding: str, channels: int) -> None:
    """(2k + 1) * n times 1 / (2n) is exactly half way, and 1 / (2n) is no float64."""
    numbers = np.full((channels, 2), (2 * odd + 1) * divisor, np.int64)
    factors = Factors(exact=tuple(Fraction(1, 2 * divisor) for _ in range(channels)))
    term = Term(numbers=numbers, factors=factors, which=np.arange(channels).reshape(-1, 1))
    assert (rounded_sum([term], rounding) == by_the_book(Fraction(2 * odd + 1, 2), rounding)).all()


@given(exponent=st.integers(0, 40), number=accumulators, rounding=roundings)
def test_a_power_of_two_is_a_shift(exponent: int, number: int, rounding: str) -> None:
    term = Term(numbers=np.array([number]), factors=Factors(exact=(Fraction(1, 2**exponent),)))
    half = 1 << (exponent - 1) if exponent else 0
    shifted = (number + half) >> exponent  # what hardware that rounds half up does
    if rounding == "half_up":
        assert rounded_sum([term], rounding)[0] == shifted
    assert rounded_sum([term], rounding)[0] == by_the_book(Fraction(number, 2**exponent), rounding)


@settings(max_examples=200)
@given(
    sums=st.lists(accumulators, min_size=1, max_size=12),
    input_scale=scales,
    weight_scale=scales,
    grid=grids(),
    rounding=roundings,
)
def test_a_weighted_operator_is_requantized(
    sums: list[int], input_scale: float, weight_scale: float, grid: Grid, rounding: str
) -> None:
    writer, scale = quantizer(grid, rounding), Fraction(input_scale) * Fraction(weight_scale)
    codes = writer.write([Term(numbers=np.asarray(sums), factors=writer.factors([scale]))])
    assert codes.dtype == grid.dtype
    assert codes.tolist() == [code_of(number * scale, grid, rounding) for number in sums]


@settings(max_examples=100)
@given(source=grids(), target=grids(), rounding=roundings, seed=st.integers(0, 99))
def test_codes_change_their_grid(source: Grid, target: Grid, rounding: str, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(source.low, source.high + 1, (3, 4)).astype(source.dtype)
    codes[0, :2] = source.low, source.high
    found = quantizer(target, rounding).write_codes(codes, source)
    wanted = [
        code_of(source.scale * (int(code) - source.zero_point), target, rounding)
        for code in codes.reshape(-1)
    ]
    assert found.reshape(-1).tolist() == wanted


@given(low=st.floats(-100, 1), high=st.floats(1, 100), grid=grids(), rounding=roundings, number=accumulators)
def test_clipping_codes_is_clipping_real_numbers(
    low: float, high: float, grid: Grid, rounding: str, number: int
) -> None:
    writer = quantizer(grid, rounding).clipped(low, high)
    (code,) = writer.write([Term(numbers=np.array([number]), factors=writer.factors([grid.scale / 7]))])
    real = min(max(number * grid.scale / 7, Fraction(low)), Fraction(high))
    assert code == code_of(real, grid, rounding)


@given(grid=grids(), infinite=st.sampled_from([math.inf, -math.inf]))
def test_infinite_numbers_saturate(grid: Grid, infinite: float) -> None:
    assert quantizer(grid, "half_up").write_real(np.array([infinite])).tolist() == [
        grid.high if infinite > 0 else grid.low
    ]
    assert quantizer(grid, "half_up").clipped(-math.inf, math.inf) == quantizer(grid, "half_up")


@given(
    value=st.floats(-1000, 1000, width=32),
    scale=scales,
    zero_point=st.integers(-128, 127),
    rounding=roundings,
)
def test_a_float_is_quantized(value: float, scale: float, zero_point: int, rounding: str) -> None:
    grid = Grid(scale=Fraction(scale), zero_point=zero_point, low=-128, high=127, dtype="int8")
    (code,) = quantizer(grid, rounding).write_real(np.array([value]))
    assert code == code_of(Fraction(value), grid, rounding)


@pytest.mark.parametrize("dtype", sorted(TYPES))
def test_a_table_is_read_by_code(dtype: str) -> None:
    low, high = TYPES[dtype]
    grid = Grid(scale=Fraction(1), zero_point=0, low=low, high=high, dtype=dtype)
    every = grid.every_code()
    assert every[0] == low
    assert every[-1] == high
    assert look_up(every, every[::-3]).tolist() == every[::-3].tolist()


@given(scale=st.floats(1e-30, 1e30))
def test_scales_are_those_of_the_file(scale: float) -> None:
    qparams = QParams(scale=(scale,), zero_point=(0,), dtype="int8", quant_min=-128, quant_max=127, axis=None)
    assert Grid.of(qparams, where="x").scale == Fraction(float(np.float32(scale)))


@pytest.mark.parametrize(("inner", "bits"), [(8, 8), (700, 8), (3000, 8), (40, 16)])
def test_products_are_those_of_integers(inner: int, bits: int) -> None:
    """Also where float32 alone would not do: extremes throughout, and sums beyond 2^24."""
    rng = np.random.default_rng(inner)
    largest = 2**bits - 1
    matrix = rng.integers(-127, 128, (2, 5, inner))
    matrix[:, 0], matrix[:, 1] = 127, -127
    right = rng.integers(-largest, largest + 1, (3, 2, inner, 4))
    right[..., 0] = largest
    constant = ConstantMatrix.of(matrix, largest, where="test")
    assert (constant.times(right.astype(np.float32)) == matrix @ right).all()
    assert (product(matrix, right, 127 * largest, where="test") == matrix @ right).all()
