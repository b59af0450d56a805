"""Sliding windows over any number of spatial axes of (batch, channels, ...) arrays: which elements each tap reads."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from host_tools.model.topology import integers, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Index = tuple[slice | int, ...]

WHOLE = (slice(None), slice(None))
"""All of the batch and all channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One spatial axis.

    Attributes:
        kernel: Taps.
        stride: Step in input elements.
        dilation: Distance of taps.
        begin: Padding in front.
        end: Padding behind, as the model declares it; with ``ceil_mode`` windows may reach further.
        size: Extent of the input.
        out: Extent of the output.
    """

    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int
    size: int
    out: int

    @property
    def reach(self) -> int:
        """Input elements, padding included, from the first tap of the first window to the last tap of the last."""
        return (self.out - 1) * self.stride + (self.kernel - 1) * self.dilation + 1

    def tap(self, index: int) -> slice:
        """Return where tap ``index`` of all windows lies in the padded input."""
        start = index * self.dilation
        return slice(start, start + (self.out - 1) * self.stride + 1, self.stride)

    def counted(self, *, padding: bool) -> NDArray[np.int64]:
        """Return, for each window, how many of its taps lie in the input, or in input and declared padding."""
        taps = np.arange(self.out)[:, np.newaxis] * self.stride + np.arange(self.kernel) * self.dilation
        first, last = (
            (0, self.begin + self.size + self.end) if padding else (self.begin, self.begin + self.size)
        )
        inside: NDArray[np.int64] = np.count_nonzero((taps >= first) & (taps < last), axis=1)
        return inside


def windows_of(node: ir.Node, kernel: Sequence[int]) -> tuple[Window, ...]:
    """Read the geometry of a Conv, MaxPool or AveragePool, one window a spatial axis.

    Source:
        ONNX operator Conv: with auto_pad SAME the total is max((out - 1) * stride + extent - in, 0), the smaller half in front for
        SAME_UPPER and behind for SAME_LOWER.
    """
    count = len(kernel)
    size, out = shape_of(node.inputs[0])[2:], shape_of(node.outputs[0])[2:]
    strides, dilations = integers(node, "strides", (1,) * count), integers(node, "dilations", (1,) * count)
    pads = integers(node, "pads", (0,) * (2 * count))
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    found = []
    for axis in range(count):
        begin, end = pads[axis], pads[axis + count]
        if automatic != "NOTSET":
            extent = (out[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
            total = 0 if automatic == "VALID" else max(extent - size[axis], 0)
            begin = total // 2 if automatic == "SAME_UPPER" else total - total // 2
            end = total - begin
        found.append(
            Window(
                kernel=kernel[axis],
                stride=strides[axis],
                dilation=dilations[axis],
                begin=begin,
                end=end,
                size=size[axis],
                out=out[axis],
            )
        )
    return tuple(found)


def padded(array: Array, windows: Sequence[Window], fill: int) -> Array:
    """Return the input with the padding that the windows reach, filled with ``fill``; the input itself where they reach none."""
    if all(window.begin == 0 and window.reach <= window.size for window in windows):
        return array
    extents = [max(window.reach, window.begin + window.size) for window in windows]
    result = np.full((*array.shape[:2], *extents), fill, array.dtype)
    result[inner(windows)] = array
    return result


def inner(windows: Sequence[Window]) -> Index:
    """Return the index of the input itself in what `padded` returns."""
    return (*WHOLE, *(slice(window.begin, window.begin + window.size) for window in windows))


def taps(windows: Sequence[Window], leading: Sequence[slice] = WHOLE) -> Iterator[tuple[Index, Index]]:
    """Yield for each tap the index of its weights, and the index of what it reads from a padded input.

    Args:
        windows: One a spatial axis.
        leading: One slice for every axis in front of those.
    """
    for position in itertools.product(*(range(window.kernel) for window in windows)):
        places = (window.tap(index) for window, index in zip(windows, position, strict=True))
        yield (*WHOLE, *position), (*leading, *places)


def columns(array: Array, windows: Sequence[Window], groups: int) -> Array:
    """Return what every window reads of a padded input: shape (batch, groups, channels of a group * taps, windows)."""
    batch, channels = array.shape[:2]
    outs = [window.out for window in windows]
    if all(
        window.kernel == window.stride == 1 and window.out == size
        for window, size in zip(windows, array.shape[2:], strict=True)
    ):
        return array.reshape(batch, groups, channels // groups, -1)
    kernel = [window.kernel for window in windows]
    gathered = np.empty((batch, channels, *kernel, *outs), array.dtype)
    for tap, index in taps(windows):
        gathered[tap] = array[index]
    return gathered.reshape(batch, groups, channels // groups * int(np.prod(kernel)), -1)
