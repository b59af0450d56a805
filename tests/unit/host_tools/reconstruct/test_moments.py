"""`Moments` are those of float64 arithmetic, however large single numbers are, and whichever came first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.reconstruct.moments import Moments

COLUMNS, OUTPUTS, PLACES = 3, 2, 700


def gathered(batches) -> Moments:
    moments = Moments(1, COLUMNS, OUTPUTS)
    for inputs, outputs in batches:
        moments.add(inputs[np.newaxis], outputs[np.newaxis])
    return moments


def ordinary(seed: int, count: int = 4):
    rng = np.random.default_rng(seed)
    sizes = ((COLUMNS, PLACES), (OUTPUTS, PLACES))
    return [tuple(rng.normal(size=size).astype(np.float32) for size in sizes) for _ in range(count)]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1 << 16),
    outlier=st.floats(1e3, float(np.float32(1e37)), width=32),
    at=st.integers(0, 3),
    sign=st.sampled_from([-1.0, 1.0]),
)
def test_one_large_number_spoils_no_sum(seed, outlier, at, sign):
    batches = ordinary(seed)
    batches[at][0][1, 5] = batches[at][1][0, 5] = sign * outlier
    with np.errstate(all="raise"):
        found = gathered(batches)
        moments = (found.input_moments, found.output_moments, found.input_means, found.output_means)
    inputs, outputs = (
        np.concatenate(parts, axis=1).astype(np.float64) for parts in zip(*batches, strict=True)
    )
    about = [one - one.mean(axis=1, keepdims=True) for one in (inputs, outputs)]
    exact = (about[0] @ about[0].T, about[1] @ about[0].T)
    for moment, wanted in zip(moments[:2], exact, strict=True):
        largest = np.abs(wanted).max() / inputs.shape[1]
        np.testing.assert_allclose(moment[0], wanted / inputs.shape[1], rtol=1e-3, atol=1e-5 * largest)
    np.testing.assert_allclose(moments[2][0], inputs.mean(axis=1), rtol=1e-4, atol=1e-6 * outlier)
    np.testing.assert_allclose(moments[3][0], outputs.mean(axis=1), rtol=1e-4, atol=1e-6 * outlier)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_a_constant_far_from_zero_hides_no_small_differences(size):
    batches = [(inputs + np.float32(1e4 * size), outputs) for inputs, outputs in ordinary(1)]
    inputs = np.concatenate([one for one, _ in batches], axis=1).astype(np.float64)
    np.testing.assert_allclose(
        gathered(batches).input_moments[0], np.cov(inputs, bias=True), rtol=1e-3, atol=1e-3
    )
