"""SAME and VALID as explicit pads.

Source: LiteRT, tflite/kernels/padding.h, ComputePaddingWithOffset. SAME pads ``max((out - 1) * stride + extent - in, 0)`` in total,
the smaller half in front, with ``out = ceil(in / stride)``; VALID pads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.model.from_tflite.call import Call

_SAME: Final = 0
"""Code of Padding. Source: tflite/schema/schema.fbs."""


def strides_of(call: Call) -> tuple[int, int]:
    """Return rows and columns that a window moves by."""
    return call.positive("StrideH"), call.positive("StrideW")


def dilations_of(call: Call) -> tuple[int, int]:
    """Return the distance of taps; 1 where the file says nothing."""
    return call.positive("DilationHFactor", 1), call.positive("DilationWFactor", 1)


def is_same(call: Call) -> bool:
    """Tell whether windows may reach beyond the image."""
    return int(call.setting("Padding", _SAME)) == _SAME


def pads_of(
    call: Call, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Return ONNX's ``pads`` of a convolution or pool: rows above, columns to the left, rows below, columns to the right.

    Args:
        call: The operator.
        size: Rows and columns of the image.
        kernel: Taps.
        strides: Steps.
        dilations: Distances of taps.
    """
    begins, ends = [], []
    for extent, taps, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        reach = (taps - 1) * dilation + 1
        total = max((-(-extent // stride) - 1) * stride + reach - extent, 0) if is_same(call) else 0
        begins.append(total // 2)
        ends.append(total - total // 2)
    return [*begins, *ends]
