"""Sums in a fixed order: `numpy.sum` has another with another version, memory layout or processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def ordered_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over the first axis: the first half is added to the second, element by element, until one is left.

    Args:
        values: Of any shape with at least one axis, at least one long.
    """
    while len(values) > 1:
        half = len(values) // 2
        halved = values[:half] + values[half : 2 * half]
        values = np.concatenate((halved, values[2 * half :])) if len(values) % 2 else halved
    total: NDArray[np.float64] = values[0]
    return total


def weighted_sums(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a matrix product whose terms are added one after another, from the first.

    Args:
        weights: Shape (results, terms).
        values: Shape (terms, columns).

    Returns:
        Shape (results, columns).
    """
    total = np.zeros((len(weights), values.shape[1]))
    term = np.empty_like(total)
    for column, row in zip(weights.T, values, strict=True):
        np.multiply(column[:, np.newaxis], row, out=term)
        np.add(total, term, out=total)
    return total
