"""The measures of error: exact on what can be worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from host_tools.verify.metrics import (
    LOWEST_SQNR_DB,
    CodeComparison,
    OutputComparison,
    is_class_vector,
    sqnr_db,
    top_classes,
)


def test_sqnr_of_a_tenth_of_the_amplitude_is_20_db() -> None:
    assert sqnr_db(100.0, 1.0) == pytest.approx(20.0)


def test_sqnr_without_noise_is_none_and_without_signal_minus_infinity() -> None:
    assert sqnr_db(1.0, 0.0) is None
    assert sqnr_db(0.0, 1.0) == LOWEST_SQNR_DB == sqnr_db(1e-30, 1e30)


def test_ties_go_to_the_lower_class() -> None:
    assert top_classes(np.array([1.0, 3.0, 3.0, 2.0]), 3) == (1, 2, 3)


def test_more_classes_than_there_are_is_all_of_them() -> None:
    assert top_classes(np.array([[2.0, 1.0]]), 5) == (0, 1)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 1000), True), ((1, 1), False), ((1, 3, 8, 8), False), ((10,), True), ((1, 5, 1, 1), True)],
)
def test_class_vectors_are_told_by_shape(shape: tuple[int, ...], expected: bool) -> None:
    assert is_class_vector(shape) is expected


def test_comparison_counts_what_differs() -> None:
    comparison = OutputComparison()
    comparison.add(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 2.0, 2.5]]))
    comparison.add(np.array([[3.0, 0.0, 0.0]]), np.array([[0.0, 4.0, 0.0]]))
    assert comparison.sample_count == 2
    assert comparison.same_top_class == 0.5
    assert comparison.absolute_max == 4.0
    assert comparison.mean_absolute == pytest.approx(7.5 / 6)
    assert comparison.sqnr_db == pytest.approx(10 * math.log10(23.0 / 25.25))


def test_a_dead_model_does_not_look_perfect() -> None:
    comparison = OutputComparison()
    comparison.add(np.zeros((1, 4)), np.full((1, 4), np.nan))
    assert comparison.nonfinite_count == 4


def test_the_found_array_is_left_alone() -> None:
    found = np.array([[np.nan, 1.0]])
    OutputComparison().add(np.zeros((1, 2)), found)
    assert np.isnan(found[0, 0])


@given(arrays(np.float64, (1, 7), elements=st.floats(-1e6, 1e6)))
def test_a_run_agrees_with_itself(values: np.ndarray) -> None:
    comparison = OutputComparison()
    comparison.add(values, values.copy())
    assert comparison.same_top_class == 1.0
    assert comparison.sqnr_db is None
    assert comparison.absolute_max == 0.0


@given(arrays(np.int8, 20), arrays(np.int8, 20))
def test_codes_are_compared_without_wrapping(a: np.ndarray, b: np.ndarray) -> None:
    comparison = CodeComparison()
    comparison.add(a, b)
    distances = [abs(int(x) - int(y)) for x, y in zip(a, b, strict=True)]
    assert comparison.largest == max(distances)
    assert comparison.equal == distances.count(0)
    assert comparison.within_one == sum(distance <= 1 for distance in distances)
    assert comparison.absolute_sum == sum(distances)
