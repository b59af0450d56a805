"""`rounded`: integers of least squared error, against rounding to nearest, against one pass alone, and against trying all of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.reconstruct.rounding import rounded

DAMPING = 0.01


def problem(seed, *, groups=1, rows=2, columns=4, samples=64, correlated=0.7, noise=0.05, bits=4, size=1.0):
    """Return weights, scales and moments of an operator on correlated inputs whose wanted outputs differ from its own by some noise."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 1, (groups, rows, columns)) * size
    scales = np.abs(weights).max(axis=2) / (2 ** (bits - 1) - 1)
    scales = np.where(scales > 0, scales, 1.0)
    common = rng.normal(0, 1, (groups, 1, samples))
    inputs = correlated * common + rng.normal(0, 1, (groups, columns, samples))
    outputs = weights @ inputs
    outputs = outputs + noise * outputs.std() * rng.normal(0, 1, outputs.shape)
    inputs = inputs - inputs.mean(axis=2, keepdims=True)
    return (
        weights,
        scales,
        inputs @ inputs.swapaxes(1, 2) / samples,
        outputs @ inputs.swapaxes(1, 2) / samples,
    )


def cost(codes, weights, scales, inputs, outputs, damping=DAMPING):
    """Return the damped quadratic objective of every row, without its constant, shape (groups, rows)."""
    share = damping * np.einsum("gkk->gk", inputs).mean(axis=1)[:, np.newaxis, np.newaxis]
    moments = inputs + share * np.eye(inputs.shape[1])
    wanted = outputs + share * weights
    real = codes * scales[:, :, np.newaxis]
    return ((real @ moments) * real).sum(axis=2) - 2 * (real * wanted).sum(axis=2)


def nearest(weights, scales, low, high):
    return np.clip(np.rint(weights / scales[:, :, np.newaxis]), low, high)


def one_pass(weights, scales, inputs, outputs, low, high):
    """Return what one pass gives that rounds an input after the other and solves for those still free, by elimination as written in books."""
    groups, rows, columns = weights.shape
    share = DAMPING * np.einsum("gkk->gk", inputs).mean(axis=1)
    codes = np.zeros(weights.shape)
    for group, row in itertools.product(range(groups), range(rows)):
        moments = inputs[group] + share[group] * np.eye(columns)
        wanted = outputs[group, row] + share[group] * weights[group, row]
        order = list(np.argsort(-np.diag(moments), kind="stable"))
        real = np.zeros(columns)
        for at in range(columns):
            free, taken = order[at:], order[:at]
            rest = wanted[free] - moments[np.ix_(free, taken)] @ real[taken]
            best = np.linalg.solve(moments[np.ix_(free, free)], rest)[0]
            code = np.clip(np.rint(best / scales[group, row]), low, high)
            codes[group, row, order[at]] = code
            real[order[at]] = code * scales[group, row]
    return codes


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    groups=st.integers(1, 3),
    rows=st.integers(1, 4),
    columns=st.integers(1, 9),
    samples=st.integers(2, 60),
    correlated=st.sampled_from([0.0, 0.7, 5.0]),
    bits=st.integers(2, 8),
    clipped=st.booleans(),
)
def test_it_is_never_worse_than_to_nearest_and_than_one_pass(
    seed, groups, rows, columns, samples, correlated, bits, clipped
):
    made = problem(
        seed, groups=groups, rows=rows, columns=columns, samples=samples, correlated=correlated, bits=bits
    )
    weights, scales, inputs, outputs = made
    if clipped:
        scales = scales / 3
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    codes = rounded(weights, scales, inputs, outputs, low=low, high=high, damping=DAMPING)
    assert codes.shape == weights.shape
    assert (codes == np.rint(codes)).all()
    assert low <= codes.min() <= codes.max() <= high
    found = cost(codes, weights, scales, inputs, outputs)
    slack = 1e-6 * (1 + np.abs(found))
    for name, other in (
        ("nearest", nearest(weights, scales, low, high)),
        ("one pass", one_pass(weights, scales, inputs, outputs, low, high)),
    ):
        assert (found <= cost(other, weights, scales, inputs, outputs) + slack).all(), name


def test_it_is_mostly_the_best_there_is_and_never_far_from_it():
    equal, far = 0, 0.0
    for seed in range(60):
        weights, scales, inputs, outputs = problem(seed, rows=1, columns=4, bits=3)
        codes = rounded(weights, scales, inputs, outputs, low=-4, high=3, damping=DAMPING)
        every = np.array(list(itertools.product(range(-4, 4), repeat=4)), np.float64)[np.newaxis]
        alike = (weights, np.broadcast_to(scales, (1, len(every[0]))), inputs, outputs)
        costs = cost(every, np.broadcast_to(weights, every.shape), *alike[1:])
        plain = cost(nearest(weights, scales, -4, 3), weights, scales, inputs, outputs)[0, 0]
        found = cost(codes, weights, scales, inputs, outputs)[0, 0]
        equal += found <= costs.min() + 1e-9
        far = max(far, (found - costs.min()) / max(plain - costs.min(), 1e-9))
    assert equal >= 48
    assert far <= 1.0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    columns=st.integers(1, 12),
    bits=st.integers(2, 8),
    share=st.floats(0.05, 1.0),
)
def test_sums_of_codes_stay_within_their_limit_and_are_never_worse_than_to_nearest(
    seed, columns, bits, share
):
    weights, scales, inputs, outputs = problem(seed, groups=2, rows=3, columns=columns, bits=bits)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    plain = nearest(weights, scales, low, high)
    limit = max(1, int(share * np.abs(plain).sum(axis=2).max()))
    codes = rounded(weights, scales, inputs, outputs, low=low, high=high, damping=DAMPING, largest_sum=limit)
    assert low <= codes.min() <= codes.max() <= high
    assert np.abs(codes).sum(axis=2).max() <= limit
    fits = np.abs(plain).sum(axis=2) <= limit
    found, other = (cost(one, weights, scales, inputs, outputs)[fits] for one in (codes, plain))
    assert (found <= other + 1e-6 * (1 + np.abs(found))).all()


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [(np.zeros((1, 4, 4)), np.zeros((1, 2, 4))), (np.ones((1, 4, 4)), np.full((1, 2, 4), 0.5))],
    ids=["zero", "singular"],
)
def test_moments_that_say_nothing_leave_codes_near_the_weights(inputs, outputs):
    weights, scales, _, _ = problem(3)
    codes = rounded(weights, scales, inputs, outputs, low=-8, high=7, damping=DAMPING)
    assert -8 <= codes.min() <= codes.max() <= 7
    if not inputs.any():
        assert (codes == nearest(weights, scales, -8, 7)).all()


def test_one_sample_leaves_what_it_does_not_tell_to_the_weights():
    rng = np.random.default_rng(1)
    weights, scales, _, _ = problem(1, rows=3, columns=6)
    seen = rng.normal(0, 1, 6)
    inputs = np.outer(seen, seen)[np.newaxis]
    outputs = weights @ inputs
    codes = rounded(weights, scales, inputs, outputs, low=-8, high=7, damping=30.0)
    assert np.abs(codes - weights / scales[:, :, np.newaxis]).max() <= 1.01


@pytest.mark.parametrize("size", [1e-300, 1e-40, 1e-20, 1e20, 1e30])
def test_the_size_of_inputs_does_not_matter(size):
    weights, scales, inputs, outputs = problem(5, rows=3, columns=6)
    square = min(size * size, 1e300)
    codes = rounded(weights, scales, inputs * square, outputs * square, low=-8, high=7, damping=DAMPING)
    usual = rounded(weights, scales, inputs, outputs, low=-8, high=7, damping=DAMPING)
    assert np.isfinite(codes).all()
    if size >= 1e-3:
        assert (codes == usual).all()
    else:  # below what any float32 output could show, the weights alone decide
        assert np.abs(codes - weights / scales[:, :, np.newaxis]).max() <= 1.01


@pytest.mark.parametrize("size", [1e-30, 1e-10, 1e10, 1e30])
def test_the_size_of_weights_does_not_matter(size):
    weights, scales, inputs, outputs = problem(6, rows=3, columns=6)
    codes = rounded(weights * size, scales * size, inputs, outputs * size, low=-8, high=7, damping=DAMPING)
    assert (codes == rounded(weights, scales, inputs, outputs, low=-8, high=7, damping=DAMPING)).all()


def test_a_filter_of_zeros_whose_output_is_zero_stays_zero():
    weights, scales, inputs, outputs = problem(7, rows=3, columns=6)
    weights[0, 1], outputs[0, 1], scales[0, 1] = 0.0, 0.0, 0.05
    codes = rounded(weights, scales, inputs, outputs, low=-8, high=7, damping=DAMPING)
    assert not codes[0, 1].any()


def test_a_dead_group_is_rounded_to_nearest_and_the_others_are_not_disturbed():
    weights, scales, inputs, outputs = problem(8, groups=3, rows=2, columns=5)
    alone = rounded(weights, scales, inputs, outputs, low=-8, high=7, damping=DAMPING)
    inputs[1], outputs[1] = 0.0, 0.0
    codes = rounded(weights, scales, inputs, outputs, low=-8, high=7, damping=DAMPING)
    assert (codes[[0, 2]] == alone[[0, 2]]).all()
    assert (codes[1] == nearest(weights, scales, -8, 7)[1]).all()


def test_groups_are_solved_as_if_each_were_alone():
    weights, scales, inputs, outputs = problem(9, groups=4, rows=3, columns=5)
    together = rounded(weights, scales, inputs, outputs, low=-8, high=7, damping=DAMPING)
    for group in range(4):
        part = slice(group, group + 1)
        alone = rounded(
            weights[part], scales[part], inputs[part], outputs[part], low=-8, high=7, damping=DAMPING
        )
        assert (together[part] == alone).all()


def test_the_same_again_and_what_was_given_stays_as_it_was():
    made = problem(10, groups=2, rows=3, columns=7)
    before = [array.copy() for array in made]
    first = rounded(*made, low=-8, high=7, damping=DAMPING)
    again = rounded(*made, low=-8, high=7, damping=DAMPING)
    assert (first == again).all()
    assert all((one == other).all() for one, other in zip(made, before, strict=True))
