"""`Moments`: means and second moments of an operator's inputs and wanted outputs, summed over samples in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]

_LARGEST_IN_FLOAT32: Final = 1e15
"""Products of larger numbers may pass what float32 holds when thousands are added up."""


_TOGETHER: Final = 1024
"""Places that are summed in float32, in one product, before the sums in float64 are touched."""


class Moments:
    """Sums over places; memory depends on the operator's size alone."""

    def __init__(self, groups: int, columns: int, outputs: int) -> None:
        self._count = 0
        self._input_origins: Float64 = np.zeros((groups, columns))
        self._output_origins: Float64 = np.zeros((groups, outputs))
        self._inputs: Float64 = np.zeros((groups, columns))
        self._outputs: Float64 = np.zeros((groups, outputs))
        self._squares: Float64 = np.zeros((groups, columns, columns))
        self._products: Float64 = np.zeros((groups, outputs, columns))
        self._waiting: list[tuple[Float32, Float32]] = []
        self._waiting_count = 0

    def add(self, inputs: Float32, outputs: Float32) -> None:
        """Take the inputs, shape (groups, columns, n), and wanted outputs, shape (groups, outputs, n), at n places."""
        self._waiting.append((inputs, outputs))
        self._waiting_count += inputs.shape[2]
        if self._waiting_count >= _TOGETHER:
            self._sum_waiting()

    def _sum_waiting(self) -> None:
        if not self._waiting:
            return
        inputs, outputs = (np.concatenate(parts, axis=2) for parts in zip(*self._waiting, strict=True))
        self._waiting.clear()
        self._waiting_count = 0
        if not self._count:
            self._input_origins = _middles(inputs)
            self._output_origins = _middles(outputs)
        seen, wanted = _about(inputs, self._input_origins), _about(outputs, self._output_origins)
        transposed = seen.swapaxes(1, 2)
        self._count += inputs.shape[2]
        self._inputs += seen.sum(axis=2, dtype=np.float64)
        self._outputs += wanted.sum(axis=2, dtype=np.float64)
        self._squares += seen @ transposed
        self._products += wanted @ transposed

    @property
    def input_means(self) -> Float64:
        """Shape (groups, columns)."""
        self._sum_waiting()
        return self._input_origins + self._inputs / self._count

    @property
    def output_means(self) -> Float64:
        """Shape (groups, outputs)."""
        self._sum_waiting()
        return self._output_origins + self._outputs / self._count

    @property
    def input_moments(self) -> Float64:
        """Second moments of the inputs about their means, shape (groups, columns, columns)."""
        self._sum_waiting()
        means = self._inputs / self._count
        return self._squares / self._count - _products(means, means)

    @property
    def output_moments(self) -> Float64:
        """Moments of outputs and inputs about their means, shape (groups, outputs, columns)."""
        self._sum_waiting()
        return self._products / self._count - _products(
            self._outputs / self._count, self._inputs / self._count
        )

    @property
    def input_moments_about_zero(self) -> Float64:
        """Second moments of the inputs, shape (groups, columns, columns): for an operator that has no bias to set a mean by."""
        return self.input_moments + _products(self.input_means, self.input_means)

    @property
    def output_moments_about_zero(self) -> Float64:
        """Moments of outputs and inputs, shape (groups, outputs, columns)."""
        return self.output_moments + _products(self.output_means, self.input_means)


def _middles(values: Float32) -> Float64:
    """Return a number near each row's mean, exact in float32: sums about it do not lose small differences of large numbers."""
    means: Float64 = values.mean(axis=2, dtype=np.float64).astype(np.float32).astype(np.float64)
    return means


def _about(values: Float32, origins: Float64) -> Float32 | Float64:
    if max(np.abs(values).max(initial=0.0), np.abs(origins).max(initial=0.0)) > _LARGEST_IN_FLOAT32:
        exact: Float64 = values - origins[:, :, np.newaxis]
        return exact
    return values - origins[:, :, np.newaxis].astype(np.float32)


def _products(left: Float64, right: Float64) -> Float64:
    products: Float64 = left[:, :, np.newaxis] * right[:, np.newaxis, :]
    return products
