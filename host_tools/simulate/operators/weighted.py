"""What Conv, ConvTranspose, Gemm and MatMul share: centred weights, the bias, the accumulator, and one factor an output channel."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from host_tools.simulate.products import require_accumulator
from host_tools.simulate.quantizer import published_scales
from host_tools.simulate.rounding import Factors, Term

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.simulate.operators.kernel import Codes
    from host_tools.simulate.quantizer import Quantizer
    from host_tools.simulate.reading import IntegerNode

_BIAS = 2


def centred_weight(node: IntegerNode) -> NDArray[np.int64]:
    """Return a constant weight's codes less their zero points, in the canonical layout.

    Raises:
        LoweringError: It is computed, or planned as float.
    """
    operand = node.operand(1)
    codes = node.setting(1)
    if operand.qparams is None:
        raise node.refuse(f"runs in integers, but its weight {operand.name!r} is planned as float.")
    zeros = np.asarray(operand.qparams.zero_point, np.int64)
    shape = [1] * codes.ndim
    if operand.qparams.axis is not None:
        shape[operand.qparams.axis] = zeros.size
    centred: NDArray[np.int64] = codes.astype(np.int64) - zeros.reshape(shape)
    return centred


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Accumulator:
    """Takes sums of products to output codes.

    Attributes:
        output: What writes them.
        bits: Width of the target's accumulator.
        factors: One, or one an output channel.
        which: Index of each channel's factor, shaped to broadcast with the sums; None for one factor.
        bias: Codes to add, shaped likewise; None without a bias.
        real_bias: What a bias that the plan keeps in float adds behind the accumulator; None without one.
        where: The node, for messages.
    """

    output: Quantizer
    bits: int
    factors: Factors
    which: NDArray[np.integer] | None
    bias: NDArray[np.float64] | None
    real_bias: Term | None
    where: str

    @classmethod
    def of(
        cls, node: IntegerNode, *, channel_axis: int, channels: int, rank: int | None = None
    ) -> Accumulator:
        """Read bias and scales of a weighted node.

        Args:
            node: Its input 1 is the weight, its input 2 the bias.
            channel_axis: Axis of the output that holds the channels.
            channels: How many.
            rank: Of the output; the input's when None.

        Raises:
            LoweringError: The plan's parameters do not fit.
        """
        shape = [1] * (len(node.operand(0).shape) if rank is None else rank)
        shape[channel_axis] = channels
        weight = node.operand(1).qparams
        if weight is None:
            raise node.refuse(
                f"runs in integers, but its weight {node.operand(1).name!r} is planned as float."
            )
        scales, read = published_scales(weight), node.grid(0).scale
        repeats = channels // len(scales)  # 1 but for one scale for all
        bias, real_bias = _bias(node, shape)
        return cls(
            output=node.output,
            bits=node.accumulator_bits,
            factors=node.output.factors([read * scale for scale in scales]),
            which=None if len(scales) == 1 else np.arange(channels).reshape(shape) // repeats,
            bias=bias,
            real_bias=real_bias,
            where=node.where,
        )

    def write(self, sums: NDArray[np.floating]) -> Codes:
        """Return the output codes.

        Args:
            sums: Sums of products, whole numbers, in the output's shape.

        Raises:
            VerificationError: With the bias, one overflows the accumulator.
        """
        full = sums if self.bias is None else sums + self.bias
        require_accumulator(full, self.bits, where=self.where)
        terms = [Term(numbers=full, factors=self.factors, which=self.which)]
        return self.output.write(terms if self.real_bias is None else [*terms, self.real_bias])


def _bias(node: IntegerNode, shape: list[int]) -> tuple[NDArray[np.float64] | None, Term | None]:
    """Return the bias as codes in the accumulator's own scale, or as the real numbers that the target adds behind it."""
    if not node.has(_BIAS):
        return None, None
    values = node.setting(_BIAS).reshape(-1)
    size = [extent if values.size > 1 else 1 for extent in shape]
    if node.operand(_BIAS).qparams is not None:
        return values.astype(np.float64).reshape(size), None
    factors = node.output.factors([Fraction(float(value)) for value in values])
    return None, Term(
        numbers=np.ones(size, np.int64), factors=factors, which=np.arange(values.size).reshape(size)
    )
