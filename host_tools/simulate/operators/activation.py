"""Relu, Clip, LeakyRelu, PRelu, HardSwish, HardSigmoid, Sigmoid, Tanh and Softmax.

An operator of one input is a table with an entry per code. Where the function is piecewise rational its entries are exact; Sigmoid and
Tanh are the real function in float64, rounded: their values at rational points other than 0 are never half way between codes.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from host_tools.plan.fusion import bounds_of
from host_tools.simulate.curves import curve_of
from host_tools.simulate.quantizer import look_up
from host_tools.simulate.rounding import Term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.simulate.operators.kernel import Array, Codes, Kernel
    from host_tools.simulate.reading import IntegerNode


def clip(node: IntegerNode) -> Kernel:
    """Prepare a Relu or Clip that no other operator absorbs."""
    grid, bounds = node.grid(0), bounds_of(node.node)
    output = node.output if bounds is None else node.output.clipped(*bounds)

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        return [output.write_codes(inputs[0], grid)]

    return run


def leaky_relu(node: IntegerNode) -> Kernel:
    """Prepare a LeakyRelu: two factors, by the sign."""
    grid, output = node.grid(0), node.output
    alpha = Fraction(float(node.node.attributes.get_float("alpha", 0.01) or 0.0))
    numbers = grid.centred(grid.every_code())
    factors = output.factors([grid.scale, alpha * grid.scale])
    return _table(output.write([Term(numbers=numbers, factors=factors, which=(numbers < 0).astype(np.intp))]))


def prelu(node: IntegerNode) -> Kernel:
    """Prepare a PRelu; a negative number is multiplied by the slope's code."""
    grid, slope, output = node.grid(0), node.grid(1), node.output
    factors = output.factors([grid.scale, grid.scale * slope.scale])

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        numbers = grid.centred(inputs[0])
        below = numbers < 0
        terms = [
            Term(
                numbers=np.where(below, numbers * slope.centred(inputs[1]), numbers),
                factors=factors,
                which=below.astype(np.intp),
            )
        ]
        return [output.write(terms)]

    return run


def hard_swish(node: IntegerNode) -> Kernel:
    """Prepare a HardSwish: 0 up to -3, x from 3, between them x * (x + 3) / 6."""
    grid, output = node.grid(0), node.output
    numbers = grid.centred(grid.every_code())
    three = math.ceil(Fraction(3) / grid.scale)  # the first number that is not below 3
    region = np.where(numbers <= -three, 0, np.where(numbers >= three, 2, 1)).astype(np.intp)
    zero = Fraction(0)
    squares = output.factors([zero, grid.scale**2 / 6, zero])
    straight = output.factors([zero, grid.scale / 2, grid.scale])
    terms = [
        Term(numbers=numbers * numbers, factors=squares, which=region),
        Term(numbers=numbers, factors=straight, which=region),
    ]
    return _table(output.write(terms))


def hard_sigmoid(node: IntegerNode) -> Kernel:
    """Prepare a HardSigmoid: alpha * x + beta, clipped to [0, 1]."""
    grid, output = node.grid(0), node.output.clipped(0.0, 1.0)
    alpha, beta = (
        Fraction(float(node.node.attributes.get_float(name, default) or 0.0))
        for name, default in (("alpha", 0.2), ("beta", 0.5))
    )
    numbers = grid.centred(grid.every_code())
    terms = [
        Term(numbers=numbers, factors=output.factors([alpha * grid.scale])),
        Term(numbers=np.ones(1, np.int64), factors=output.factors([beta])),
    ]
    return _table(output.write(terms))


def transcendental(node: IntegerNode) -> Kernel:
    """Prepare a Sigmoid or Tanh."""
    grid = node.grid(0)
    return _table(node.output.write_real(curve_of(node.node)(grid.real(grid.every_code()))))


def softmax(node: IntegerNode) -> Kernel:
    """Prepare a Softmax: the real function of the real numbers, rounded once."""
    grid, output = node.grid(0), node.output
    axis = node.node.attributes.get_int("axis", -1)

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        codes = inputs[0].astype(np.int64)
        powers = np.exp((codes - codes.max(axis=axis, keepdims=True)) * float(grid.scale))
        return [output.write_real(powers / powers.sum(axis=axis, keepdims=True))]

    return run


def _table(entries: Codes) -> Kernel:
    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        return [look_up(entries, inputs[0])]

    return run
