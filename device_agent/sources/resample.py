"""Resizing 8-bit pictures with NumPy alone, to the very bytes that Pillow gives, for devices that have no Pillow.

Pillow filters rows, then columns; after each the sums, in fixed point of 22 fractional bits, are rounded to 8 bits again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Resample = Literal["nearest", "bilinear", "bicubic"]

_FRACTION_BITS: Final = 22
"""What a 32-bit sum leaves for the weights: 8 bits are the pixel's, one is the sign, one is for weights that add up to more than 1."""
_SUPPORT: Final = {"bilinear": 1.0, "bicubic": 2.0}
"""How far from its centre a filter reaches, in pixels of the result where that is the smaller picture."""
_SHARPNESS: Final = -0.5
"""Parameter a of the cubic filter; R. Keys, "Cubic convolution interpolation for digital image processing", 1981."""
_BLOCK: Final = 1 << 17
"""Sums that are held at a time: half a megabyte, which caches hold."""
_LUMINANCE: Final = (19595, 38470, 7471)
"""ITU-R BT.601: 0.299, 0.587 and 0.114 in units of 2**-16."""


def resize(pixels: NDArray[np.uint8], size: tuple[int, int], resample: Resample) -> NDArray[np.uint8]:
    """Resize a picture.

    Args:
        pixels: Shape (height, width, channels).
        size: (height, width) wanted, each at least 1.
        resample: Filter; where the result is smaller, bilinear and bicubic look at every pixel that goes into it.

    Returns:
        Shape (*size, channels).

    Source:
        Pillow, ``Image.resize`` of the modes L and RGB.
    """
    rows, columns = size
    if resample == "nearest":
        across: NDArray[np.uint8] = pixels.take(_nearest(pixels.shape[1], columns), axis=1)
        down: NDArray[np.uint8] = across.take(_nearest(pixels.shape[0], rows), axis=0)
        return down
    return _filtered(_filtered(pixels, columns, 1, resample), rows, 0, resample)


def to_luminance(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn (height, width, 3), red first, into (height, width, 1) of luminance, as Pillow does from RGB to L."""
    red, green, blue = (pixels[:, :, at : at + 1].astype(np.uint32) for at in range(3))
    weighted = red * _LUMINANCE[0] + green * _LUMINANCE[1] + blue * _LUMINANCE[2]
    return ((weighted + (1 << 15)) >> 16).astype(np.uint8)


def _nearest(extent: int, wanted: int) -> NDArray[np.int64]:
    """Return which pixel each of the result's is; places are added up one by one, as Pillow does, and not multiplied."""
    step = extent / wanted
    steps = np.full(wanted, step)
    steps[0] = step * 0.5
    return np.minimum(np.cumsum(steps).astype(np.int64), extent - 1)


def _filtered(pixels: NDArray[np.uint8], wanted: int, axis: int, resample: Resample) -> NDArray[np.uint8]:
    """Filter along rows (axis 1) or columns (axis 0), a block of the other axis at a time: sums take four times the room of pixels."""
    extents = list(pixels.shape)
    first, weights = _weights(extents[axis], wanted, resample)
    extents[axis] = wanted
    result = np.empty(extents, np.uint8)
    step = max(1, _BLOCK // (wanted * extents[2]))
    for start in range(0, extents[1 - axis], step):
        block = (slice(start, start + step),) if axis == 1 else (slice(None), slice(start, start + step))
        result[block] = _weighted(pixels[block], axis, first, weights)
    return result


def _weighted(
    pixels: NDArray[np.uint8], axis: int, first: NDArray[np.int64], weights: NDArray[np.int32]
) -> NDArray[np.uint8]:
    extents = list(pixels.shape)
    extents[axis] = len(first)
    along = (1, -1, 1) if axis == 1 else (-1, 1, 1)
    total: NDArray[np.int32] = np.full(extents, 1 << (_FRACTION_BITS - 1), np.int32)
    for tap in range(weights.shape[1]):
        places = np.minimum(first + tap, pixels.shape[axis] - 1)  # beyond the edge the weight is 0
        total += pixels.take(places, axis=axis) * weights[:, tap].reshape(along)
    rounded: NDArray[np.uint8] = np.clip(total >> _FRACTION_BITS, 0, 255).astype(np.uint8)
    return rounded


def _weights(extent: int, wanted: int, resample: Resample) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return for each pixel of the result the first one that it looks at, and the weights of that and the following ones.

    Returns:
        Shapes (wanted,) and (wanted, taps); weights in units of 2**-22, 0 beyond the filter's reach or the picture's edge.
    """
    scale = extent / wanted
    stretch = max(scale, 1.0)
    reach = _SUPPORT[resample] * stretch
    centres = (np.arange(wanted) + 0.5) * scale
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    end = np.minimum((centres + reach + 0.5).astype(np.int64), extent)
    taps = np.arange(math.ceil(reach) * 2 + 1)
    places = taps + first[:, np.newaxis]
    distances = (places - centres[:, np.newaxis] + 0.5) * (1.0 / stretch)
    values = np.where(places < end[:, np.newaxis], _filter(np.abs(distances), resample), 0.0)
    shares = values / np.cumsum(values, axis=1)[:, -1:]  # one after the other, in Pillow's order
    return first, np.trunc(np.copysign(0.5, shares) + shares * (1 << _FRACTION_BITS)).astype(np.int32)


def _filter(distance: NDArray[np.float64], resample: Resample) -> NDArray[np.float64]:
    if resample == "bilinear":
        return np.maximum(1.0 - distance, 0.0)
    a = _SHARPNESS
    near = ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0
    far = (((distance - 5.0) * distance + 8.0) * distance - 4.0) * a
    return np.where(distance < 1.0, near, np.where(distance < 2.0, far, 0.0))
