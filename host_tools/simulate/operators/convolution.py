"""Conv and ConvTranspose over any number of spatial axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import integers, shape_of
from host_tools.simulate.operators.weighted import Accumulator, centred_weight
from host_tools.simulate.products import SINGLE, ConstantMatrix, require_double
from host_tools.simulate.windows import WHOLE, Window, columns, inner, padded, taps, windows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.simulate.operators.kernel import Array, Codes, Kernel
    from host_tools.simulate.reading import IntegerNode


_CACHED = 2**16
"""Numbers that a processor's cache holds, so that adding up tap after tap does not wait for memory."""


def conv(node: IntegerNode) -> Kernel:
    """Prepare a Conv: windows as columns, one product; a depthwise one tap by tap."""
    weight = centred_weight(node)
    windows = windows_of(node.node, weight.shape[2:])
    groups = integers(node.node, "group", (1,))[0]
    grid, accumulator = node.grid(0), Accumulator.of(node, channel_axis=1, channels=weight.shape[0])
    if weight.shape[1] == 1 and groups > 1:
        return _depthwise(node, weight, windows)
    matrix = ConstantMatrix.of(
        weight.reshape(groups, weight.shape[0] // groups, -1), grid.largest, where=node.where
    )

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        data = padded(grid.centred(inputs[0], np.float32), windows, 0)
        sums = matrix.times(columns(data, windows, groups))
        return [
            accumulator.write(sums.reshape(data.shape[0], weight.shape[0], *(one.out for one in windows)))
        ]

    return run


def _depthwise(node: IntegerNode, weight: NDArray[np.int64], windows: tuple[Window, ...]) -> Kernel:
    """Prepare a Conv whose groups have one input channel: there is nothing to sum but the taps."""
    grid, accumulator = node.grid(0), Accumulator.of(node, channel_axis=1, channels=weight.shape[0])
    groups = integers(node.node, "group", (1,))[0]
    bound = int(np.abs(weight).reshape(weight.shape[0], -1).sum(axis=1).max()) * grid.largest
    require_double(bound, where=node.where)
    dtype = np.float32 if bound < SINGLE else np.float64
    outs = [window.out for window in windows]
    multiplier = weight.shape[0] // groups
    block = max(1, _CACHED // (multiplier * math.prod(outs)))
    factors = weight.astype(dtype).reshape(groups, multiplier, *weight.shape[2:], *[1] * len(outs))

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        data = padded(grid.centred(inputs[0], dtype), windows, 0)[:, :, np.newaxis]
        sums = np.zeros((data.shape[0], groups, multiplier, *outs), dtype)
        for first in range(0, groups, block):
            some = slice(first, first + block)
            part = np.empty_like(sums[:, some])
            for tap, index in taps(windows, (*WHOLE, slice(None))):
                np.multiply(data[:, some][index], factors[some][tap], out=part)
                sums[:, some] += part
        return [accumulator.write(sums.reshape(data.shape[0], -1, *outs))]

    return run


def conv_transpose(node: IntegerNode) -> Kernel:
    """Prepare a ConvTranspose: one product gives what each input element adds at each tap; then all is added up, and cropped."""
    weight = centred_weight(node)
    groups = integers(node.node, "group", (1,))[0]
    inward, outward, kernel = weight.shape[0] // groups, weight.shape[1], weight.shape[2:]
    channels = outward * groups
    grid, accumulator = node.grid(0), Accumulator.of(node, channel_axis=1, channels=channels)
    windows = _transposed(node, kernel)
    by_group = weight.reshape(groups, inward, -1).transpose(0, 2, 1)
    matrix = ConstantMatrix.of(by_group, grid.largest, where=node.where)
    require_double(float(np.abs(weight).sum()) * grid.largest, where=node.where)
    extents = [max(window.reach, window.begin + window.size) for window in windows]
    crop = inner(windows)

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        data = grid.centred(inputs[0], np.float32)
        batch = data.shape[0]
        parts = matrix.times(data.reshape(batch, groups, inward, -1))
        parts = parts.reshape(batch, channels, *kernel, *data.shape[2:])
        sums: Array = np.zeros((batch, channels, *extents))
        for tap, index in taps(windows):
            sums[index] += parts[tap]
        return [accumulator.write(np.ascontiguousarray(sums[crop]))]

    return run


def _transposed(node: IntegerNode, kernel: Sequence[int]) -> tuple[Window, ...]:
    """Return the windows of the convolution that this one is the transpose of: they slide over the output.

    Source:
        ONNX operator ConvTranspose: total = stride * (in - 1) + output_padding + extent - out, split by auto_pad; explicit pads otherwise.
    """
    count = len(kernel)
    size, out = node.operand(0).shape[2:], shape_of(node.node.outputs[0])[2:]
    strides, dilations = (integers(node.node, name, (1,) * count) for name in ("strides", "dilations"))
    extra, pads = (
        integers(node.node, "output_padding", (0,) * count),
        integers(node.node, "pads", (0,) * (2 * count)),
    )
    automatic = node.node.attributes.get_string("auto_pad", "NOTSET")
    is_explicit = automatic == "NOTSET" and "output_shape" not in node.node.attributes
    found = []
    for axis in range(count):
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        total = max(strides[axis] * (size[axis] - 1) + extra[axis] + extent - out[axis], 0)
        begin = total // 2 if automatic == "SAME_UPPER" else total - total // 2
        found.append(
            Window(
                kernel=kernel[axis],
                stride=strides[axis],
                dilation=dilations[axis],
                begin=pads[axis] if is_explicit else begin,
                end=0,
                size=out[axis],
                out=size[axis],
            )
        )
    return tuple(found)
