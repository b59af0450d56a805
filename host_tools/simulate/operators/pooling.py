"""MaxPool, AveragePool, GlobalAveragePool and ReduceMean: sums of codes and one rounding of the quotient."""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import integers, shape_of
from host_tools.simulate.rounding import Term
from host_tools.simulate.windows import padded, taps, windows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.simulate.operators.kernel import Array, Codes, Kernel
    from host_tools.simulate.reading import IntegerNode


def max_pool(node: IntegerNode) -> Kernel:
    """Prepare a MaxPool; padding is below every code.

    Raises:
        LoweringError: Its indices are read.
    """
    if any(output.uses() or output.is_graph_output() for output in node.node.outputs[1:]):
        raise node.refuse("its second output (indices) is read, which is not simulated.")
    grid, output = node.grid(0), node.output
    windows = windows_of(node.node, integers(node.node, "kernel_shape", ()))
    lowest = int(np.iinfo(grid.dtype).min)

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        data = padded(inputs[0], windows, lowest)
        return [output.write_codes(reduce(np.maximum, (data[index] for _, index in taps(windows))), grid)]

    return run


def average_pool(node: IntegerNode) -> Kernel:
    """Prepare an AveragePool: each window's sum is divided by its own number of taps."""
    grid, output = node.grid(0), node.output
    windows = windows_of(node.node, integers(node.node, "kernel_shape", ()))
    is_padding_counted = bool(node.node.attributes.get_int("count_include_pad", 0))
    counts = reduce(np.multiply.outer, (window.counted(padding=is_padding_counted) for window in windows))
    different, which = np.unique(counts, return_inverse=True)
    factors = output.factors([grid.scale / max(int(count), 1) for count in different])
    places = which.reshape(counts.shape)

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        data = padded(grid.centred(inputs[0], np.int32), windows, 0)
        sums = reduce(np.add, (data[index] for _, index in taps(windows)))
        return [output.write([Term(numbers=sums, factors=factors, which=places)])]

    return run


def global_average_pool(node: IntegerNode) -> Kernel:
    """Prepare a GlobalAveragePool."""
    return _mean(node, tuple(range(2, len(node.operand(0).shape))))


def reduce_mean(node: IntegerNode) -> Kernel:
    """Prepare a ReduceMean; without axes it reduces all of them, or none where it is told so."""
    rank = len(node.operand(0).shape)
    axes = tuple(int(axis) % rank for axis in node.setting(1).reshape(-1)) if node.has(1) else ()
    if not axes and not node.node.attributes.get_int("noop_with_empty_axes", 0):
        axes = tuple(range(rank))
    return _mean(node, axes)


def _mean(node: IntegerNode, axes: tuple[int, ...]) -> Kernel:
    grid, output = node.grid(0), node.output
    shape = node.operand(0).shape
    factors = output.factors([grid.scale / math.prod(shape[axis] for axis in axes)])
    after = shape_of(node.node.outputs[0])

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        sums = grid.centred(inputs[0]).sum(axis=axes).reshape(after)
        return [output.write([Term(numbers=sums, factors=factors)])]

    return run
