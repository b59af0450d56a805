"""Operators that move codes: Reshape and its kin, Transpose, Concat, Split, Slice and Pad.

Where the output has other parameters than the input, the codes change scale on the way.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import shape_of
from host_tools.simulate.rounding import rounded_fraction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from host_tools.simulate.operators.kernel import Array, Codes, Kernel
    from host_tools.simulate.reading import IntegerNode


def reshape(node: IntegerNode) -> Kernel:
    """Prepare Reshape, Flatten, Squeeze, Unsqueeze or Identity: the shape of the output is known."""
    shape = shape_of(node.node.outputs[0])
    return _moved(node, lambda codes: codes.reshape(shape))


def transpose(node: IntegerNode) -> Kernel:
    """Prepare a Transpose; without ``perm`` the axes are reversed."""
    order = node.node.attributes.get_ints("perm", None)
    return _moved(node, lambda codes: codes.transpose(order))


def slice_(node: IntegerNode) -> Kernel:
    """Prepare a Slice."""
    rank = len(node.operand(0).shape)
    starts, stops = (node.setting(index).reshape(-1).tolist() for index in (1, 2))
    axes = node.setting(3).reshape(-1).tolist() if node.has(3) else list(range(len(starts)))
    steps = node.setting(4).reshape(-1).tolist() if node.has(4) else [1] * len(starts)
    taken = [slice(None)] * rank
    for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True):
        extent = node.operand(0).shape[axis % rank]
        chosen = range(*slice(start, stop, step).indices(extent))
        # A range that runs down to element 0 ends at -1, which a slice would read as the last element.
        taken[axis % rank] = slice(chosen.start, chosen.stop if chosen.stop >= 0 else None, chosen.step)
    return _moved(node, lambda codes: codes[tuple(taken)])


def concat(node: IntegerNode) -> Kernel:
    """Prepare a Concat; every input is taken to the output's codes first."""
    grids, output = [node.grid(index) for index in range(len(node.inputs))], node.output
    axis = node.node.attributes.get_int("axis", 0)

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        parts = [output.write_codes(codes, grid) for codes, grid in zip(inputs, grids, strict=True)]
        return [np.concatenate(parts, axis=axis)]

    return run


def split(node: IntegerNode) -> Kernel:
    """Prepare a Split; the shapes of the outputs say where."""
    grid, axis = node.grid(0), node.node.attributes.get_int("axis", 0)
    cuts = np.cumsum([shape_of(output)[axis] for output in node.node.outputs])[:-1]
    writers = [node.written(index) for index in range(len(node.node.outputs))]

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        parts = np.split(inputs[0], cuts, axis=axis)
        return [writer.write_codes(part, grid) for writer, part in zip(writers, parts, strict=True)]

    return run


def pad(node: IntegerNode) -> Kernel:
    """Prepare a Pad in any of ONNX's modes; negative amounts cut elements off.

    Raises:
        LoweringError: The value to pad with is computed.
    """
    shape = node.operand(0).shape
    rank = len(shape)
    amounts = node.setting(1).reshape(-1).tolist()
    axes = node.setting(3).reshape(-1).tolist() if node.has(3) else list(range(rank))
    before, after = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        before[axis % rank], after[axis % rank] = amounts[place], amounts[place + len(axes)]
    kept = tuple(
        slice(max(-front, 0), extent - max(-back, 0))
        for front, back, extent in zip(before, after, shape, strict=True)
    )
    widths = [(max(front, 0), max(back, 0)) for front, back in zip(before, after, strict=True)]
    mode = str(node.node.attributes.get_string("mode", "constant"))
    fill = _fill(node) if mode == "constant" else 0

    def move(codes: Array) -> Array:
        if mode == "constant":
            return np.pad(codes[kept], widths, constant_values=fill)
        if mode == "edge":
            return np.pad(codes[kept], widths, mode="edge")
        return np.pad(codes[kept], widths, mode="wrap" if mode == "wrap" else "reflect")

    return _moved(node, move)


def _fill(node: IntegerNode) -> int:
    """Return the code, in the input's parameters, of the value to pad with: the zero point by default."""
    grid = node.grid(0)
    if not node.has(2):
        return grid.zero_point
    value, rounding = node.setting(2).reshape(-1)[0], node.output.rounding
    if node.operand(2).qparams is not None:
        own = node.grid(2)
        real = own.scale * (int(value) - own.zero_point)
    else:
        real = Fraction(float(value))
    code = rounded_fraction(real / grid.scale, rounding) + grid.zero_point
    return min(max(code, grid.low), grid.high)


def _moved(node: IntegerNode, move: Callable[[Array], Array]) -> Kernel:
    grid, output = node.grid(0), node.output

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        return [output.write_codes(move(inputs[0]), grid)]

    return run
