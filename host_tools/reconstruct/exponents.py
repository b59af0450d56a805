"""Exponents of power-of-two weight scales, chosen by what the operator gives: `Exponents`.

The plan chose each by the squared error of the weights. That is not what counts: weights that are multiplied with large inputs matter more,
so it may be better to clip a few that hardly do. A power of two has few candidates, here half and double, so they are tried: by rounding to
nearest first, and where another one wins, by the integers that can be found for it. No gradient is needed, where methods that train the
threshold (S. R. Jain et al., "Trained Quantization Thresholds for Accurate and Efficient Fixed-Point Inference", MLSys 2020) need one
because they train it together with the network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.model.topology import bias_of, constant, named
from host_tools.plan.qparams import SMALLEST_SCALE
from host_tools.plan.settling import bias_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from host_tools.reconstruct.steps import Step
    from targets.profile import CapabilityProfile

    Float64 = NDArray[np.float64]

FACTORS: Final = (0.5, 1.0, 2.0)
"""What a scale may be multiplied with."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exponents:
    """The exponents that one operator's weight may have.

    Attributes:
        step: The operator and what it absorbs.
        weight: Parameters that the plan has for the weight.
        plan: The plan.
        profile: The target.
    """

    step: Step
    weight: QParams
    plan: QuantizationPlan
    profile: CapabilityProfile

    def others(self) -> Iterator[tuple[QParams, NDArray[np.bool_]]]:
        """Yield other parameters for the weight, and which of their scales are legal; none where scales are no powers of two."""
        if self.profile.scale.kind != "power_of_two":
            return
        for factor in FACTORS:
            if factor != 1.0:
                other = with_scales(self.weight, np.asarray(self.weight.scale) * factor)
                is_legal = self._is_legal(np.asarray(other.scale))
                if is_legal.any():
                    yield other, is_legal

    def _is_legal(self, scales: Float64) -> NDArray[np.bool_]:
        """Tell which scales the target takes, and leave room for their biases."""
        legal: NDArray[np.bool_] = scales >= max(self.profile.scale.minimum, SMALLEST_SCALE)
        bias = bias_of(self.step.head)
        read = self._read_scale()
        if bias is not None and read is not None and (self.profile.bias.quantized or scales.size > 1):
            sizes = np.abs(np.asarray(constant(bias), np.float64)).reshape(-1)
            largest = sizes if scales.size > 1 else sizes.max(keepdims=True)
            legal &= largest <= bias_limit(self.profile) * read * scales
        support = self.profile.ops.get(self.step.head.op_type)
        if support is not None and support.requantization_ratio is not None:
            low, high = support.requantization_ratio
            for ratio in self._ratios(scales):
                legal &= (low <= ratio) & (ratio < high)
        return legal

    def _ratios(self, scales: Float64) -> Iterator[Float64]:
        """Yield the kernel's rescale factors, one array for each value that is written."""
        read = self._read_scale()
        for name in self.step.writes:
            written = self.plan.tensors[name].qparams
            if read is not None and written is not None:
                yield read * scales / written.scale[0]

    def _read_scale(self) -> float | None:
        """Return the scale in which the operator reads its input; None where that is no codes."""
        head = self.step.head
        read = self.plan.tensors[named(head.inputs[0])].qparams
        for edge in self.plan.requantize:
            if (edge.node, edge.input_index) == (named(head), 0):
                read = edge.qparams
        return None if read is None else read.scale[0]


def better(
    first: QParams,
    first_errors: Float64,
    second: QParams,
    second_errors: Float64,
) -> tuple[QParams, Float64, NDArray[np.bool_]]:
    """Return the parameters with the smaller error, scale by scale, their errors, and where they are the second ones; ties keep the first.

    Args:
        first: Parameters.
        first_errors: Error with each of their scales, shape (scales,).
        second: Other scales for the same weight.
        second_errors: Likewise.
    """
    is_second = second_errors < first_errors
    chosen = with_scales(first, np.where(is_second, second.scale, first.scale))
    return chosen, np.where(is_second, second_errors, first_errors), is_second


def with_scales(qparams: QParams, scales: Float64) -> QParams:
    """Return parameters with other scales."""
    return replace(qparams, scale=tuple(scales.tolist()))
