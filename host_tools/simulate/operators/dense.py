"""Gemm and MatMul."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import shape_of
from host_tools.simulate.operators.weighted import Accumulator, centred_weight
from host_tools.simulate.products import ConstantMatrix, product, require_accumulator
from host_tools.simulate.rounding import Term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.simulate.operators.kernel import Array, Codes, Kernel
    from host_tools.simulate.reading import IntegerNode


def gemm(node: IntegerNode) -> Kernel:
    """Prepare a Gemm with its constant weight of shape (outputs, inputs)."""
    weight = centred_weight(node)
    grid, accumulator = node.grid(0), Accumulator.of(node, channel_axis=1, channels=weight.shape[0])
    matrix = ConstantMatrix.of(weight[np.newaxis], grid.largest, where=node.where)

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        rows = grid.centred(inputs[0], np.float32)[:, np.newaxis, :, np.newaxis]
        return [accumulator.write(matrix.times(rows)[:, 0, :, 0])]

    return run


def matmul(node: IntegerNode) -> Kernel:
    """Prepare a MatMul, whose right side may be a constant with one scale a column, and either side a stack of matrices."""
    if node.operand(1).constant is None:
        return _of_activations(node)
    weight = centred_weight(node)
    grid, rank = node.grid(0), len(shape_of(node.node.outputs[0]))
    accumulator = Accumulator.of(node, channel_axis=rank - 1, channels=weight.shape[-1], rank=rank)
    largest = grid.largest * int(np.abs(weight).max(initial=0))

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        return [accumulator.write(product(grid.centred(inputs[0]), weight, largest, where=node.where))]

    return run


def _of_activations(node: IntegerNode) -> Kernel:
    left, right, output = node.grid(0), node.grid(1), node.output
    factors = output.factors([left.scale * right.scale])

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        sums = product(
            left.centred(inputs[0]), right.centred(inputs[1]), left.largest * right.largest, where=node.where
        )
        require_accumulator(sums, node.accumulator_bits, where=node.where)
        return [output.write([Term(numbers=sums, factors=factors)])]

    return run
