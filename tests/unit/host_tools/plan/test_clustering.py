"""k-means on a line, against the plain dynamic programme over every split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from host_tools.plan.clustering import EXACT_POINTS, EXACT_WORK, choose_centroids, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = st.floats(-1000.0, 1000.0, width=32)


def error_of(values: np.ndarray, centroids: np.ndarray) -> float:
    """Return the squared distances to the nearest centroid, by comparing with each."""
    flat = values.reshape(-1, 1).astype(np.float64)
    return float(np.square(flat - centroids.astype(np.float64)).min(axis=1).sum())


def least_error(values: np.ndarray, most: int) -> float:
    """Return the least error that there is: every run from every beginning to every end, without sums that cancel."""
    ordered = np.sort(values.reshape(-1).astype(np.float64))
    size = len(ordered)
    run = np.zeros((size + 1, size + 1))
    for begin in range(size):
        for end in range(begin + 1, size + 1):
            run[begin, end] = np.square(ordered[begin:end] - ordered[begin:end].mean()).sum()
    least = run[0]
    for _ in range(1, most):
        least = np.array(
            [min(least[begin] + run[begin, end] for begin in range(end + 1)) for end in range(size + 1)]
        )
    return float(least[-1])


@settings(max_examples=150, deadline=None)
@given(arrays.arrays(np.float32, st.integers(1, 24), elements=NUMBERS), st.integers(1, 6))
def test_few_numbers_get_the_best_centroids_there_are(values: np.ndarray, most: int) -> None:
    found = choose_centroids(values, most=most)
    assert found.dtype == np.float32
    assert 1 <= len(found) <= min(most, len(np.unique(values)))
    assert (np.diff(found) > 0).all()
    # Centroids are float32, so that each number may be half a step of that further away; below its normal numbers steps stay as large.
    step = max(float(np.abs(values).max()) * 2.0**-20, 2.0**-149)
    room = 1e-5 * least_error(values, most) + values.size * step**2
    assert error_of(values, found) <= least_error(values, most) + room


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(np.float32, st.integers(1, 300), elements=NUMBERS), st.sampled_from([1, 2, 16, 256]))
def test_the_index_is_that_of_the_nearest_and_centroids_stay(values: np.ndarray, most: int) -> None:
    centroids = choose_centroids(values, most=most)
    found = nearest(values, centroids)
    assert (found.dtype, found.shape) == (np.uint8, values.shape)
    distance = np.abs(values[:, None].astype(np.float64) - centroids.astype(np.float64))
    assert np.array_equal(np.abs(values.astype(np.float64) - centroids[found]), distance.min(axis=1))
    assert np.array_equal(nearest(centroids, centroids), np.arange(len(centroids)))
    if len(np.unique(values)) <= most:
        assert np.array_equal(centroids[found], values)


@pytest.mark.parametrize("order", ["C", "reversed", "shuffled"])
def test_the_order_and_shape_of_numbers_do_not_matter(order: str) -> None:
    values = np.random.default_rng(0).standard_normal((6, 7, 3)).astype(np.float32)
    other = {
        "C": values.reshape(-1),
        "reversed": values[::-1],
        "shuffled": np.random.default_rng(1).permutation(values.reshape(-1)),
    }[order]
    assert np.array_equal(choose_centroids(values, most=16), choose_centroids(other, most=16))


DRAWS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda numbers, size: numbers.standard_normal(size),
    "laplace": lambda numbers, size: numbers.laplace(size=size),
    "uniform": lambda numbers, size: numbers.uniform(-1, 1, size),
    "an outlier": lambda numbers, size: np.append(numbers.standard_normal(size - 1) * 0.01, 100.0),
    "two heaps": lambda numbers, size: (
        numbers.standard_normal(size) * 0.1 + numbers.choice([-5.0, 5.0], size)
    ),
    "mostly zeros": lambda numbers, size: numbers.standard_normal(size) * (numbers.random(size) < 0.2),
}


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_as_many_numbers_as_are_taken_one_by_one_are_split_best(name: str) -> None:
    values = DRAWS[name](np.random.default_rng(2), 300).astype(np.float32)
    assert len(np.unique(values)) * 16 <= EXACT_WORK
    assert error_of(values, choose_centroids(values, most=16)) <= least_error(values, 16) * (1 + 1e-4)


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_many_numbers_are_split_nearly_as_well(name: str) -> None:
    values = DRAWS[name](np.random.default_rng(3), 40_000).astype(np.float32)
    found = error_of(values, choose_centroids(values, most=16))
    # Every tenth number, split exactly, is as good a guide to the best centroids as numbers one by one can be had.
    sample = np.sort(values)[:: 40_000 // EXACT_POINTS + 1]
    assert len(sample) <= EXACT_POINTS
    assert found <= error_of(values, choose_centroids(sample, most=16)) * 1.01


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_of_many_centroids_the_error_is_near_the_least(name: str) -> None:
    values = DRAWS[name](np.random.default_rng(4), EXACT_WORK // 64).astype(np.float32)
    exact = choose_centroids(values, most=64)
    finer = choose_centroids(values, most=256)  # beyond what is split exactly
    assert len(finer) <= 256
    # Four times the centroids leave a sixteenth of the error or less, as the numbers run out.
    assert error_of(values, finer) < error_of(values, exact) / 12


@pytest.mark.parametrize("size", [1, 3.4e38, 1e-45])
def test_numbers_at_the_ends_of_float32(size: float) -> None:
    values = (np.linspace(-1, 1, 5000) * size).astype(np.float32)
    found = choose_centroids(values, most=16)
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()
    assert error_of(values, found) <= error_of(values, np.linspace(-size, size, 16))


def test_one_number_is_its_own_centroid() -> None:
    assert choose_centroids(np.full((3, 3), 2.5), most=16).tolist() == [2.5]
    assert choose_centroids(np.asarray([0.0, -0.0]), most=16).tolist() == [0.0]
