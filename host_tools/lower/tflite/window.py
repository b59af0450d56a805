"""Sliding windows along one axis: how ONNX pads become TFLite's SAME, VALID or an explicit PAD.

Source: LiteRT, tflite/kernels/padding.h, ComputePaddingWithOffset. SAME pads ``max((out - 1) * stride + extent - in, 0)`` in total,
the smaller half in front, with ``out = ceil(in / stride)``; VALID pads nothing, with ``out = floor((in - extent) / stride) + 1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

PaddingScheme = Literal["SAME", "VALID"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One spatial axis of a convolution or pool.

    Attributes:
        kernel: Taps.
        stride: Step in input elements.
        dilation: Distance of taps.
        begin: Padding in front, as ONNX says.
        end: Padding behind, as ONNX says.
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
    def extent(self) -> int:
        """Input elements from the first tap to the last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def needed_end(self) -> int:
        """Padding behind that some window really reaches; may be less than declared, or more with ``ceil_mode``."""
        return max((self.out - 1) * self.stride + self.extent - self.size - self.begin, 0)

    @property
    def is_valid(self) -> bool:
        """No window reaches into padding."""
        return self.begin == 0 and self.needed_end == 0

    @property
    def is_same(self) -> bool:
        """TFLite's SAME pads exactly where these windows reach."""
        total = max((self.out - 1) * self.stride + self.extent - self.size, 0)
        return (
            self.out == -(-self.size // self.stride)
            and self.begin == total // 2
            and self.needed_end == total - total // 2
        )


def windows(node: ir.Node, kernel: Sequence[int], size: Sequence[int], out: Sequence[int]) -> list[Window]:
    """Read a Conv, MaxPool or AveragePool node's attributes, one window per spatial axis.

    Args:
        node: The node.
        kernel: Taps per spatial axis.
        size: Input extent per spatial axis.
        out: Output extent per spatial axis.
    """
    count = len(kernel)
    stride = _ints(node, "strides", [1] * count)
    dilation = _ints(node, "dilations", [1] * count)
    pads = _ints(node, "pads", [0] * (2 * count))
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    result = []
    for axis in range(count):
        begin, end = pads[axis], pads[axis + count]
        if automatic == "VALID":
            begin = end = 0
        elif automatic in {"SAME_UPPER", "SAME_LOWER"}:
            extent = (kernel[axis] - 1) * dilation[axis] + 1
            total = max((out[axis] - 1) * stride[axis] + extent - size[axis], 0)
            begin = total // 2 if automatic == "SAME_UPPER" else total - total // 2
            end = total - begin
        result.append(
            Window(
                kernel=kernel[axis],
                stride=stride[axis],
                dilation=dilation[axis],
                begin=begin,
                end=end,
                size=size[axis],
                out=out[axis],
            )
        )
    return result


def scheme(spatial: Sequence[Window]) -> PaddingScheme | None:
    """Return the TFLite scheme that pads these windows, or None when only an explicit PAD does."""
    if all(window.is_valid for window in spatial):
        return "VALID"
    if all(window.is_same for window in spatial):
        return "SAME"
    return None


def _ints(node: ir.Node, name: str, default: Sequence[int]) -> list[int]:
    return [int(value) for value in node.attributes.get_ints(name, tuple(default)) or default]
