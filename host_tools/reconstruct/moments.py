"""`Moments`: means and second moments of an operator's inputs and wanted outputs, summed over samples in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]


class Moments:
    """Sums over places; memory depends on the operator's size alone."""

    def __init__(self, groups: int, columns: int, outputs: int) -> None:
        self._count = 0
        self._inputs: Float64 = np.zeros((groups, columns))
        self._outputs: Float64 = np.zeros((groups, outputs))
        self._squares: Float64 = np.zeros((groups, columns, columns))
        self._products: Float64 = np.zeros((groups, outputs, columns))

    def add(self, inputs: Float32, outputs: Float32) -> None:
        """Take the inputs, shape (groups, columns, n), and wanted outputs, shape (groups, outputs, n), at n places."""
        transposed = inputs.swapaxes(1, 2)
        self._count += inputs.shape[2]
        self._inputs += inputs.sum(axis=2, dtype=np.float64)
        self._outputs += outputs.sum(axis=2, dtype=np.float64)
        self._squares += inputs @ transposed
        self._products += outputs @ transposed

    @property
    def input_means(self) -> Float64:
        """Shape (groups, columns)."""
        return self._inputs / self._count

    @property
    def output_means(self) -> Float64:
        """Shape (groups, outputs)."""
        return self._outputs / self._count

    @property
    def input_moments(self) -> Float64:
        """Second moments of the inputs about their means, shape (groups, columns, columns)."""
        means = self.input_means
        return self._squares / self._count - means[:, :, np.newaxis] * means[:, np.newaxis, :]

    @property
    def output_moments(self) -> Float64:
        """Moments of outputs and inputs about their means, shape (groups, outputs, columns)."""
        return (
            self._products / self._count
            - self.output_means[:, :, np.newaxis] * self.input_means[:, np.newaxis, :]
        )
