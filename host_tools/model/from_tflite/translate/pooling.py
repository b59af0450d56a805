"""AVERAGE_POOL_2D, MAX_POOL_2D and L2_POOL_2D."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from host_tools.model.from_tflite.session import CHANNELS_FIRST
from host_tools.model.from_tflite.windows import pads_of, strides_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.model.from_tflite.call import Call


def max_pool(call: Call) -> None:
    """Write a MAX_POOL_2D."""
    call.write_activated(_pool(call, "MaxPool", call.image(0)), CHANNELS_FIRST)


def average_pool(call: Call) -> None:
    """Write an AVERAGE_POOL_2D, which divides by the taps inside the image."""
    call.write_activated(_pool(call, "AveragePool", call.image(0), count_include_pad=0), CHANNELS_FIRST)


def l2_pool(call: Call) -> None:
    """Write an L2_POOL_2D: the root of the mean of squares."""
    data = call.image(0)
    mean = _pool(call, "AveragePool", call.node("Mul", data, data), count_include_pad=0)
    call.write_activated(call.node("Sqrt", mean), CHANNELS_FIRST)


def _pool(call: Call, op_type: str, data: str, **attributes: object) -> str:
    kernel, strides = (call.positive("FilterHeight"), call.positive("FilterWidth")), strides_of(call)
    pads = pads_of(call, call.shape(0)[1:3], kernel, strides, (1, 1))
    return call.node(op_type, data, kernel_shape=kernel, strides=strides, pads=pads, **attributes)


TRANSLATORS: Mapping[str, Callable[[Call], None]] = MappingProxyType(
    {"AVERAGE_POOL_2D": average_pool, "L2_POOL_2D": l2_pool, "MAX_POOL_2D": max_pool}
)
