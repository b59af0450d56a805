"""Measures of error between two runs: streaming, exact about what is not finite, pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.floating]


LOWEST_SQNR_DB = -200.0
"""Also what noise without a signal is given: JSON has no infinity, and null means exact."""


def sqnr_db(signal_power: float, noise_power: float) -> float | None:
    """Return 10 log10(signal / noise) in decibels, at least `LOWEST_SQNR_DB`; None when there is no noise.

    Args:
        signal_power: Sum of squares of the reference; finite and >= 0.
        noise_power: Sum of squares of the difference; finite and >= 0.
    """
    if noise_power == 0.0:
        return None
    if signal_power == 0.0:
        return LOWEST_SQNR_DB
    return max(LOWEST_SQNR_DB, 10.0 * math.log10(signal_power / noise_power))


def top_classes(scores: FloatArray, count: int) -> tuple[int, ...]:
    """Return the indices of the ``count`` highest scores, best first; ties go to the lower index.

    Args:
        scores: Shape (classes,) or any shape with one sample; flattened.
        count: How many; cut to the number of classes.
    """
    order = np.argsort(-scores.reshape(-1), kind="stable")
    return tuple(int(index) for index in order[:count])


def is_class_vector(shape: tuple[int, ...]) -> bool:
    """Say whether an output of this shape is one sample's vector of class scores: one axis longer than 1, all others 1."""
    return sum(extent > 1 for extent in shape) == 1


@dataclass(slots=True)
class OutputComparison:
    """Accumulates the difference between reference outputs and a payload's, sample by sample, in constant memory."""

    sample_count: int = 0
    element_count: int = 0
    same_class_count: int = 0
    class_samples: int = 0
    nonfinite_count: int = 0
    signal_power: float = 0.0
    noise_power: float = 0.0
    absolute_sum: float = 0.0
    absolute_max: float = 0.0

    def add(self, reference: FloatArray, found: FloatArray) -> None:
        """Take one sample's output.

        Args:
            reference: The float model's output; finite.
            found: The payload's output, dequantized, same shape; elements that are not finite are counted and left out of the sums.
        """
        exact = reference.astype(np.float64, copy=False)
        finite = np.isfinite(found)
        self.nonfinite_count += int(found.size - np.count_nonzero(finite))
        difference = np.where(finite, found.astype(np.float64, copy=False), 0.0) - np.where(
            finite, exact, 0.0
        )
        self.signal_power += float(np.sum(exact * exact))
        self.noise_power += float(np.sum(difference * difference))
        magnitude = np.abs(difference)
        self.absolute_sum += float(magnitude.sum())
        self.absolute_max = max(self.absolute_max, float(magnitude.max(initial=0.0)))
        self.element_count += found.size
        self.sample_count += 1
        if is_class_vector(reference.shape):
            self.class_samples += 1
            self.same_class_count += top_classes(reference, 1) == top_classes(found, 1)

    @property
    def same_top_class(self) -> float | None:
        """Share of samples with the same top class; None when no output was a class vector."""
        return self.same_class_count / self.class_samples if self.class_samples else None

    @property
    def sqnr_db(self) -> float | None:
        """See `sqnr_db`."""
        return sqnr_db(self.signal_power, self.noise_power)

    @property
    def mean_absolute(self) -> float:
        """Mean absolute difference, in output units."""
        return self.absolute_sum / self.element_count if self.element_count else 0.0


@dataclass(slots=True)
class CodeComparison:
    """Accumulates the difference of integer codes, in LSB."""

    count: int = 0
    equal: int = 0
    within_one: int = 0
    absolute_sum: int = 0
    largest: int = 0

    def add(self, reference: NDArray[np.integer], found: NDArray[np.integer]) -> None:
        """Take one output; both arrays hold codes on the same scale and zero point, any integer type, same shape."""
        distance = np.abs(reference.astype(np.int64) - found.astype(np.int64))
        self.count += distance.size
        self.equal += int(np.count_nonzero(distance == 0))
        self.within_one += int(np.count_nonzero(distance <= 1))
        self.absolute_sum += int(distance.sum())
        self.largest = max(self.largest, int(distance.max(initial=0)))
