"""`Problem`: what the integers of one operator are found from, and finding them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.reconstruct.exponents import better
from host_tools.reconstruct.rounding import errors, rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QParams
    from host_tools.reconstruct.exponents import Exponents

    Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """Weights and moments of one operator.

    Attributes:
        weights: Real weights, shape (groups, outputs, inputs).
        inputs: Second moments of the inputs; see `rounded`.
        outputs: Moments of wanted outputs and inputs; see there.
        damping: See there.
        largest_sum: See there.
    """

    weights: Float64
    inputs: Float64
    outputs: Float64
    damping: float
    largest_sum: int | None

    def solved(self, exponents: Exponents) -> tuple[QParams, Float64, Float64]:
        """Return the weight's parameters, the real weights and the codes, zero points included."""
        first = exponents.weight
        real = self._rounded(first)
        chosen, least = first, self._errors(first, self._nearest(first))
        for other, is_legal in exponents.others():
            tried = np.where(is_legal, self._errors(other, self._nearest(other)), np.inf)
            chosen, least, _ = better(chosen, least, other, tried)
        if chosen != first:
            others = self._rounded(chosen)
            chosen, _, is_other = better(
                first, self._errors(first, real), chosen, self._errors(chosen, others)
            )
            real = np.where(_by_output(is_other, real)[:, :, np.newaxis] > 0.0, others, real)
        scales, zeros = self._grid(chosen)
        return chosen, real, np.rint(real / scales) + zeros

    def _rounded(self, qparams: QParams) -> Float64:
        scales, zeros = self._grid(qparams)
        codes = rounded(
            self.weights,
            scales[:, :, 0],
            self.inputs,
            self.outputs,
            low=(qparams.quant_min - zeros)[:, :, 0],
            high=(qparams.quant_max - zeros)[:, :, 0],
            damping=self.damping,
            largest_sum=self.largest_sum,
        )
        return codes * scales

    def _nearest(self, qparams: QParams) -> Float64:
        scales, zeros = self._grid(qparams)
        codes = np.rint(self.weights / scales)
        real: Float64 = np.clip(codes, qparams.quant_min - zeros, qparams.quant_max - zeros) * scales
        return real

    def _errors(self, qparams: QParams, real: Float64) -> Float64:
        """Return the error with each scale, shape (scales,)."""
        found = errors(real, self.weights, self.inputs, self.outputs, damping=self.damping)
        return found.reshape(-1) if len(qparams.scale) > 1 else found.sum(keepdims=True).reshape(-1)

    def _grid(self, qparams: QParams) -> tuple[Float64, Float64]:
        """Return scale and zero point of each output, shape (groups, outputs, 1)."""
        scales, zeros = (_by_output(numbers, self.weights) for numbers in (qparams.scale, qparams.zero_point))
        return scales[:, :, np.newaxis], zeros[:, :, np.newaxis]


def _by_output(numbers: Sequence[float] | NDArray[np.bool_], values: Float64) -> Float64:
    """Return one number for each output of a weight given as (groups, outputs, columns), shape (groups, outputs)."""
    array = np.asarray(numbers, np.float64)
    return np.full(values.shape[:2], array[0]) if array.size == 1 else array.reshape(values.shape[:2])
