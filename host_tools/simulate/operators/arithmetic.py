"""Add, Sub, Mul, Div, Min and Max."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import VerificationError
from host_tools.simulate.rounding import Factors, Term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.simulate.operators.kernel import Array, Codes, Kernel
    from host_tools.simulate.reading import IntegerNode


def add(node: IntegerNode) -> Kernel:
    """Prepare Add or Sub: both operands at their own scale, one rounding."""
    left, right, output = node.grid(0), node.grid(1), node.output
    sign = -1 if node.node.op_type == "Sub" else 1
    left_factor, right_factor = output.factors([left.scale]), output.factors([sign * right.scale])

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        terms = [
            Term(numbers=left.centred(inputs[0]), factors=left_factor),
            Term(numbers=right.centred(inputs[1]), factors=right_factor),
        ]
        return [output.write(terms)]

    return run


def mul(node: IntegerNode) -> Kernel:
    """Prepare Mul: the product of the codes, one rounding."""
    left, right, output = node.grid(0), node.grid(1), node.output
    factors = output.factors([left.scale * right.scale])

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        product = left.centred(inputs[0]) * right.centred(inputs[1])
        return [output.write([Term(numbers=product, factors=factors)])]

    return run


def div(node: IntegerNode) -> Kernel:
    """Prepare Div: each divisor is a factor of its own. By zero the codes saturate towards the dividend's sign.

    Raises:
        VerificationError: When it runs: zero is divided by zero.
    """
    left, right, output = node.grid(0), node.grid(1), node.output
    divisors = right.centred(right.every_code())
    factors: Factors = output.factors(
        [left.scale / (right.scale * int(n)) if n else left.scale * 0 for n in divisors]
    )
    lowest = int(np.iinfo(right.dtype).min)

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        numbers, divisor = left.centred(inputs[0]), right.centred(inputs[1])
        by_zero = np.broadcast_to(divisor == 0, np.broadcast_shapes(numbers.shape, divisor.shape))
        signs = np.broadcast_to(np.sign(numbers), by_zero.shape)
        if (by_zero & (signs == 0)).any():
            raise VerificationError(
                f"{node.where}: zero is divided by zero.",
                hint="Keep this node in float, or the divisor away from zero.",
            )
        which = inputs[1].astype(np.int64) - lowest
        codes = output.write([Term(numbers=numbers, factors=factors, which=which)])
        return [np.where(by_zero, np.where(signs > 0, output.high, output.low), codes).astype(codes.dtype)]

    return run


def extremum(node: IntegerNode) -> Kernel:
    """Prepare Min or Max of any number of operands, each taken to the output's codes first: rounding is monotone, so it commutes."""
    grids, output = [node.grid(index) for index in range(len(node.inputs))], node.output
    choose = np.minimum if node.node.op_type == "Min" else np.maximum

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        return [
            reduce(
                choose, (output.write_codes(codes, grid) for codes, grid in zip(inputs, grids, strict=True))
            )
        ]

    return run
