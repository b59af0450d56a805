"""Terms of the noise: derivatives against finite differences, convexity along random lines, and the minimum that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from host_tools.equalize.noise import Activation, ChannelWeight, DenseWeight, GroupedWeight, total

if TYPE_CHECKING:
    from collections.abc import Callable

    from host_tools.equalize.noise import Term

FACTORS = 7
POWER = 12


def indices(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return indices of factors; some are that of 1, some occur twice."""
    return rng.integers(0, FACTORS, shape).astype(np.intp)


def sizes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.exp(rng.normal(0, 2, shape))


def dense(rng: np.random.Generator) -> DenseWeight:
    return DenseWeight.of(
        sizes(rng, 5, 4),
        squares=sizes(rng, 4),
        gains=sizes(rng, 5),
        rows=indices(rng, 5),
        columns=indices(rng, 4),
        levels=127,
    )


def grouped(rng: np.random.Generator) -> GroupedWeight:
    return GroupedWeight(
        logs=np.log(sizes(rng, 6, 2)),
        squares=sizes(rng, 6, 2),
        gains=sizes(rng, 6),
        rows=indices(rng, 6),
        columns=indices(rng, 6, 2),
        levels=127,
    )


def by_channel(rng: np.random.Generator, groups: int = 2) -> ChannelWeight:
    values = sizes(rng, 6, 3)
    values[1] = 0
    values[2, 1:] = 0
    return ChannelWeight.of(
        values,
        squares=sizes(rng, 3 * groups),
        gains=sizes(rng, 6),
        columns=indices(rng, 3 * groups),
        groups=groups,
        levels=127,
    )


def activation(rng: np.random.Generator) -> Activation:
    return Activation(logs=np.log(sizes(rng, 6)), gains=sizes(rng, 6), factors=indices(rng, 6), levels=255)


TERMS: dict[str, Callable[[np.random.Generator], Term]] = {
    "dense": dense,
    "grouped": grouped,
    "by channel": by_channel,
    "by channel, one group": lambda rng: by_channel(rng, 1),
    "activation": activation,
}
SEEDS = st.integers(0, 9999)
NAMES = st.sampled_from(sorted(TERMS))


def logs_of(rng: np.random.Generator, spread: float = 2.0) -> np.ndarray:
    logs = rng.uniform(-spread, spread, FACTORS)
    logs[0] = 0
    return logs


@given(NAMES, SEEDS)
def test_the_gradient_is_that_of_finite_differences(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    term, logs, step = TERMS[name](rng), logs_of(rng), 1e-5
    gradient = np.zeros(FACTORS)
    noise = term.add(logs, gradient)
    assert noise > 0
    for at in range(FACTORS):
        aside = np.eye(FACTORS)[at] * step
        above, below = (term.add(logs + sign * aside, np.zeros(FACTORS)) for sign in (1, -1))
        assert gradient[at] / noise == pytest.approx((above - below) / (2 * step) / noise, abs=1e-6)


@given(NAMES, SEEDS)
def test_a_term_adds_to_the_gradient_there_is(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    term, logs = TERMS[name](rng), logs_of(rng)
    alone, more = np.zeros(FACTORS), np.full(FACTORS, 3.0)
    assert term.add(logs, alone) == term.add(logs, more)
    np.testing.assert_allclose(more, alone + 3.0)


@given(st.lists(NAMES, min_size=1, max_size=4), SEEDS)
def test_the_logarithm_of_the_noise_is_convex(names: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    terms = [TERMS[name](rng) for name in names]
    one, other = logs_of(rng, 6.0), logs_of(rng, 6.0)
    at_one, at_other = (total(terms, logs)[0] for logs in (one, other))
    share = rng.uniform()
    middle, gradient = total(terms, share * one + (1 - share) * other)
    assert middle <= share * at_one + (1 - share) * at_other + 1e-9
    away = one - (share * one + (1 - share) * other)
    assert at_one >= middle + gradient @ away - 1e-9  # above its tangent


@given(SEEDS)
def test_dense_and_grouped_agree_on_one_group(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, squares, gains = sizes(rng, 5, 4), sizes(rng, 4), sizes(rng, 5)
    rows, columns, logs = indices(rng, 5), indices(rng, 4), logs_of(rng)
    one = DenseWeight.of(values, squares=squares, gains=gains, rows=rows, columns=columns, levels=127)
    other = GroupedWeight(
        logs=np.log(values),
        squares=np.tile(squares, (5, 1)),
        gains=gains,
        rows=rows,
        columns=np.tile(columns, (5, 1)),
        levels=127,
    )
    assert total([one], logs)[0] == pytest.approx(total([other], logs)[0])
    np.testing.assert_allclose(total([one], logs)[1], total([other], logs)[1], atol=1e-9)


@given(SEEDS)
def test_scales_by_channel_are_a_term_for_each_row(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, squares, gains = sizes(rng, 4, 3), sizes(rng, 6), sizes(rng, 4)
    columns, logs, groups = indices(rng, 6), logs_of(rng), 2
    together = ChannelWeight.of(
        values, squares=squares, gains=gains, columns=columns, groups=groups, levels=127
    )
    read = [slice(0, 3), slice(0, 3), slice(3, 6), slice(3, 6)]
    rows = [
        DenseWeight.of(
            values[row : row + 1],
            squares=squares[read[row]],
            gains=gains[row : row + 1],
            rows=np.zeros(1, np.intp),
            columns=columns[read[row]],
            levels=127,
        )
        for row in range(4)
    ]
    assert total([together], logs)[0] == pytest.approx(total(rows, logs)[0])
    np.testing.assert_allclose(total([together], logs)[1], total(rows, logs)[1], atol=1e-9)


@given(SEEDS)
def test_the_noise_is_that_of_rounding(seed: int) -> None:
    """One large entry: its power mean is the largest; the scale's square over 12, times what is met and passed on."""
    rng = np.random.default_rng(seed)
    values = np.full((3, 2), 1e-3)
    values[1, 1] = 5.0
    squares, gains, ones = sizes(rng, 2), sizes(rng, 3), np.zeros(3, np.intp)
    term = DenseWeight.of(values, squares=squares, gains=gains, rows=ones, columns=ones[:2], levels=127)
    expected = (5.0 / 127) ** 2 / 12 * squares.sum() * gains.sum()
    assert term.add(np.zeros(1), np.zeros(1)) == pytest.approx(expected)


@settings(deadline=None)
@given(SEEDS)
def test_an_activation_alone_has_the_minimum_that_is_known(seed: int) -> None:
    """Least of (sum x**p)**(2/p) * sum(g r**2 / x**2), x = r s: x is proportional to (g r**2)**(1 / (p + 2)). Nearly even maxima."""
    rng = np.random.default_rng(seed)
    reach, gains = np.exp(rng.normal(0, 1, 5)), np.exp(rng.normal(0, 1, 5))
    term = Activation(logs=np.log(reach), gains=gains, factors=np.arange(5, dtype=np.intp), levels=127)
    ideal = (gains * reach**2) ** (1 / (POWER + 2)) / reach
    ideal /= ideal[0]
    value, gradient = total([term], np.log(ideal))
    assert np.abs(gradient[1:]).max() < 1e-9
    weights = (gains * reach**2) ** (POWER / (POWER + 2))
    least = weights.sum() ** ((POWER + 2) / POWER) / 127**2 / 12
    assert value == pytest.approx(np.log(least))
    found = minimize(lambda logs: total([term], logs), np.zeros(5), jac=True, method="L-BFGS-B")
    assert found.fun == pytest.approx(value, abs=1e-5)


def test_no_noise_is_minus_infinity_and_flat() -> None:
    silent = Activation(logs=np.zeros(2), gains=np.zeros(2), factors=np.asarray([1, 2], np.intp), levels=127)
    for terms in ([], [silent]):
        value, gradient = total(terms, np.zeros(3))
        assert value == -np.inf
        np.testing.assert_array_equal(gradient, np.zeros(3))
