"""RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR.

Sources: ONNX operator Resize; LiteRT, tflite/kernels/internal/reference/resize_bilinear.h and resize_nearest_neighbor.h.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from host_tools.model.from_tflite.session import CHANNELS_FIRST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.model.from_tflite.call import Call

_MOST_PIXELS: Final = 1 << 16
"""Along one side of an image."""


def bilinear(call: Call) -> None:
    """Write a RESIZE_BILINEAR."""
    _resize(call, mode="linear", coordinate_transformation_mode=_rule(call))


def nearest(call: Call) -> None:
    """Write a RESIZE_NEAREST_NEIGHBOR, which takes the pixel that a place is in, or with aligned corners the nearest."""
    rule = _rule(call)
    rounding = "floor" if rule == "asymmetric" else "round_prefer_ceil"
    _resize(call, mode="nearest", coordinate_transformation_mode=rule, nearest_mode=rounding)


def _rule(call: Call) -> str:
    aligned, half = call.flag("AlignCorners"), call.flag("HalfPixelCenters")
    if aligned and half:
        raise call.unsupported("it asks for aligned corners and half pixel centres at once.")
    return "align_corners" if aligned else "half_pixel" if half else "asymmetric"


def _resize(call: Call, **attributes: object) -> None:
    size = call.integers(1)
    if len(size) != 2 or not all(0 < extent <= _MOST_PIXELS for extent in size):
        raise ValueError(f"its size is {size}")
    image = call.image(0)
    sizes = call.numbers([*call.shape_of(image)[:2], *size])
    call.write(call.node("Resize", image, "", "", sizes, **attributes), CHANNELS_FIRST)


TRANSLATORS: Mapping[str, Callable[[Call], None]] = MappingProxyType(
    {"RESIZE_BILINEAR": bilinear, "RESIZE_NEAREST_NEIGHBOR": nearest}
)
