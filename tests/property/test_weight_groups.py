"""Weights in groups: codes, grids and bytes, against arithmetic of their own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from host_tools.packing import packed, unpacked
from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.weight_groups import choose_channels, choose_groups, stored_bytes

SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 7))


@st.composite
def weights(draw: st.DrawFn) -> np.ndarray:
    shape = draw(SHAPES)
    numbers = np.random.default_rng(draw(st.integers(0, 1 << 16)))
    size = 10.0 ** draw(st.integers(-38, 36))
    values = numbers.standard_normal(shape) * size
    values[draw(st.integers(0, shape[0] - 1))] *= draw(st.sampled_from([0.0, 1.0, 10.0]))
    return values.astype(np.float32).astype(np.float64)


@given(
    values=weights(),
    axis=st.integers(0, 1),
    size=st.integers(1, 8),
    bits=st.sampled_from([4, 8]),
    symmetric=st.booleans(),
)
def test_a_group_is_never_worse_than_its_plain_range(
    values: np.ndarray, axis: int, size: int, bits: int, symmetric: bool
) -> None:
    qparams = choose_groups(values, axis=axis, size=size, bits=bits, symmetric=symmetric)
    codes = codes_of(values, qparams)
    assert qparams.quant_min <= codes.min() <= codes.max() <= qparams.quant_max
    found = values_of(codes, qparams)
    rows = values if axis == 1 else values.T
    seen = found if axis == 1 else found.T
    highest = (1 << (bits - 1)) - 1 if symmetric else (1 << bits) - 1
    scales = np.asarray(qparams.scale).reshape(
        *(
            (-(-values.shape[0] // size), values.shape[1])
            if axis == 0
            else (values.shape[0], -(-values.shape[1] // size))
        )
    )
    scales = scales.T if axis == 0 else scales
    for row, real, own in zip(rows, seen, scales, strict=True):
        for group, start in enumerate(range(0, len(row), size)):
            part, got = row[start : start + size], real[start : start + size]
            low, high = min(part.min(), 0.0), max(part.max(), 0.0)
            width = max(-low, high) if symmetric else high - low
            plain = max(width / highest, float(np.finfo(np.float32).tiny))
            assert np.float32(own[group]) == own[group]
            # A zero point is rounded, so that the ends of the plain range lie up to half a step outside its grid.
            most = len(part) * (plain * 1.01) ** 2
            assert np.square(got - part).sum() <= most


@given(values=weights(), axis=st.integers(0, 1), bits=st.integers(5, 8))
def test_channels_are_symmetric_and_within_half_a_step(values: np.ndarray, axis: int, bits: int) -> None:
    qparams = choose_channels(values, axis=axis, bits=bits)
    assert set(qparams.zero_point) == {0}
    error = np.abs(values_of(codes_of(values, qparams), qparams) - values)
    steps = np.expand_dims(np.asarray(qparams.scale), 1 - axis)
    assert (error <= steps * 0.5001).all()


@given(values=weights(), axis=st.integers(0, 1), bits=st.integers(5, 8))
def test_channels_with_zero_points_span_their_range_in_all_codes(
    values: np.ndarray, axis: int, bits: int
) -> None:
    qparams = choose_channels(values, axis=axis, bits=bits, symmetric=False)
    assert all(qparams.quant_min <= zero <= qparams.quant_max for zero in qparams.zero_point)
    low, high = np.minimum(values.min(1 - axis), 0.0), np.maximum(values.max(1 - axis), 0.0)
    levels = qparams.quant_max - qparams.quant_min
    scale = np.asarray(qparams.scale)
    assert (scale[low < high] <= np.maximum((high - low) / levels, 1.2e-38)[low < high] * 1.000001).all()
    error = np.abs(values_of(codes_of(values, qparams), qparams) - values)
    # The zero point is rounded, so that an end of the range lies up to half a step outside the grid.
    assert (error <= np.expand_dims(scale, 1 - axis) * 1.0001).all()


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9)),
    bits=st.sampled_from([4, 8]),
    seed=st.integers(0, 99),
)
def test_bytes_give_their_codes_back(shape: tuple[int, int, int], bits: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 1 << bits, shape).astype(np.uint8)
    data = packed(codes, bits=bits)
    assert data.nbytes == codes[..., 0].size * -(-shape[2] * bits // 8)
    assert np.array_equal(unpacked(data, shape[2], bits=bits), codes)


def test_stored_bytes_count_codes_scales_and_zero_points() -> None:
    values = np.random.default_rng(0).standard_normal((8, 40))
    grouped = choose_groups(values, axis=1, size=32, bits=4, symmetric=False)
    assert stored_bytes(values.shape, grouped) == 8 * 64 // 2 + 8 * 2 * 4 + 8 * 2 // 2
    channels = choose_channels(values, axis=0, bits=8)
    assert stored_bytes(values.shape, channels) == 8 * 40 + 8 * 4
