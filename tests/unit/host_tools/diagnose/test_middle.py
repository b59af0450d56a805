"""The middle of a tensor's numbers, row by row as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.diagnose.histograms import middle, middle_of_rows


@given(
    rows=st.integers(1, 5),
    count=st.integers(0, 40) | st.sampled_from([999, 1000, 1001, 4001]),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_have_the_middle_that_each_has_alone(rows: int, count: int, seed: int) -> None:
    numbers = np.random.default_rng(seed).normal(size=(rows, count)).round(1)
    low, high = middle_of_rows(numbers)
    assert list(zip(low, high, strict=True)) == [middle(row) for row in numbers]


@pytest.mark.parametrize(("count", "kept"), [(1, (0.0, 0.0)), (1000, (0.0, 999.0)), (4000, (2.0, 3997.0))])
def test_the_thousandth_at_the_ends_is_left_out(count: int, kept: tuple[float, float]) -> None:
    numbers = np.arange(count, dtype=np.float64)[::-1]
    assert middle(numbers) == kept
