"""Qparams of weights of which nothing but the weight is known: one scale a group of elements, or one an output channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.plan.codes import group_grid
from host_tools.plan.quantization_plan import QParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]

_CLIPS: Final = tuple(1.0 - 0.03 * step for step in range(14))
"""Shares of a group's range that the search tries. Below six tenths an outlier costs more than what the others gain, for normal weights."""
_SEARCHED_BITS: Final = 4
"""From 8 bits on the step is so fine that clipping buys nothing."""
_ROWS_AT_ONCE: Final = 1 << 15
_SMALLEST: Final = float(np.finfo(np.float32).tiny)


def choose_groups(values: Float64, *, axis: int, size: int, bits: int, symmetric: bool) -> QParams:
    """Choose one scale for each run of ``size`` elements along ``axis``: that of least squared error among clipped ranges.

    Args:
        values: The weight.
        axis: The axis that is summed over, along which groups lie.
        size: Elements of a group, at least 1; the last of an axis may have fewer.
        bits: 4 or 8.
        symmetric: Whether zero points are 0 and codes as far below it as above; else codes are unsigned, with any zero point.

    Returns:
        Parameters whose scales are float32 numbers, as every format stores them.
    """
    grid = group_grid(values.shape, axis, size)
    padding = [(0, 0)] * values.ndim
    padding[axis] = (0, grid[axis] * size - values.shape[axis])
    # Zeros lie on every grid exactly, so that they disturb no error.
    rows = np.moveaxis(np.pad(values, padding), axis, -1).reshape(-1, size)
    scale, zero_point = _rows(rows, bits=bits, symmetric=symmetric)
    moved = (*grid[:axis], *grid[axis + 1 :], grid[axis])
    in_place = (np.moveaxis(one.reshape(moved), -1, axis).reshape(-1) for one in (scale, zero_point))
    return _qparams(*in_place, bits=bits, symmetric=symmetric, axis=None, group=(axis, size))


def choose_channels(values: Float64, *, axis: int, bits: int, symmetric: bool = True) -> QParams:
    """Choose one scale for each index of ``axis``.

    Args:
        values: The weight.
        axis: The axis of channels.
        bits: 4 to 8.
        symmetric: As of `choose_groups`.
    """
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    scale, zero_point = _rows(rows, bits=bits, symmetric=symmetric)
    return _qparams(scale, zero_point, bits=bits, symmetric=symmetric, axis=axis, group=None)


def chosen_again(values: Float64, qparams: QParams) -> QParams:
    """Choose parameters for other values in the place of a weight: the same codes, groups or channels, with scales of their own.

    Args:
        values: The values, in the weight's shape.
        qparams: Of the weight, from `choose_groups` or `choose_channels`.
    """
    bits, symmetric = bits_of(qparams), qparams.dtype in ("int4", "int8")
    if qparams.group_axis is None or qparams.group_size is None:
        return choose_channels(values, axis=qparams.axis or 0, bits=bits, symmetric=symmetric)
    return choose_groups(
        values, axis=qparams.group_axis, size=qparams.group_size, bits=bits, symmetric=symmetric
    )


def stored_bytes(shape: tuple[int, ...], qparams: QParams) -> int:
    """Return what a weight takes on disk: codes, whole groups of them, float32 scales, and zero points where there are any."""
    scales, bits = len(qparams.scale), bits_of(qparams)
    elements = int(np.prod(shape, dtype=np.int64))
    if qparams.group_size is not None:
        elements = scales * qparams.group_size
    points = scales * bits if any(qparams.zero_point) else 0
    return (elements * bits + points + 7) // 8 + 4 * scales


def bits_of(qparams: QParams) -> int:
    """Return how many bits a code of a weight is stored in."""
    return 4 if qparams.dtype in ("int4", "uint4") else 8


def _rows(rows: Float64, *, bits: int, symmetric: bool) -> tuple[Float64, Float64]:
    """Return scale and zero point of each row, some rows at a time so that memory stays flat."""
    found = [
        _searched(rows[start : start + _ROWS_AT_ONCE], bits=bits, symmetric=symmetric)
        for start in range(0, max(len(rows), 1), _ROWS_AT_ONCE)
    ]
    scales, points = zip(*found, strict=True)
    return np.concatenate(scales), np.concatenate(points)


def _searched(rows: Float64, *, bits: int, symmetric: bool) -> tuple[Float64, Float64]:
    clips = _CLIPS if bits <= _SEARCHED_BITS else _CLIPS[:1]
    best_scale, best_point = _grid(rows, clips[0], bits=bits, symmetric=symmetric)
    if len(clips) == 1:
        return best_scale, best_point
    least = _error(rows, best_scale, best_point, bits=bits, symmetric=symmetric)
    for clip in clips[1:]:
        scale, point = _grid(rows, clip, bits=bits, symmetric=symmetric)
        error = _error(rows, scale, point, bits=bits, symmetric=symmetric)
        is_better = error < least
        least = np.where(is_better, error, least)
        best_scale, best_point = (
            np.where(is_better, scale, best_scale),
            np.where(is_better, point, best_point),
        )
    return best_scale, best_point


def _grid(rows: Float64, clip: float, *, bits: int, symmetric: bool) -> tuple[Float64, Float64]:
    """Return the grid that spans a share of each row's range, zero included."""
    low, high = np.minimum(rows.min(axis=1), 0.0) * clip, np.maximum(rows.max(axis=1), 0.0) * clip
    lowest, highest = _limits(bits, symmetric=symmetric)
    width = np.maximum(-low, high) / highest if symmetric else (high - low) / (highest - lowest)
    # A row of zeros has any scale; a subnormal one is flushed to zero on many CPUs.
    scale = np.where(width == 0.0, 1.0, np.maximum(width, _SMALLEST)).astype(np.float32).astype(np.float64)
    point = np.zeros_like(scale) if symmetric else np.clip(np.rint(-low / scale), lowest, highest)
    return scale, point


def _error(rows: Float64, scale: Float64, point: Float64, *, bits: int, symmetric: bool) -> Float64:
    lowest, highest = _limits(bits, symmetric=symmetric)
    codes = np.clip(np.rint(rows / scale[:, None]) + point[:, None], lowest, highest)
    error: Float64 = np.square((codes - point[:, None]) * scale[:, None] - rows).sum(axis=1)
    return error


def _limits(bits: int, *, symmetric: bool) -> tuple[int, int]:
    highest = (1 << (bits - 1)) - 1
    return (-highest, highest) if symmetric else (0, (1 << bits) - 1)


def _qparams(
    scale: Float64,
    zero_point: Float64,
    *,
    bits: int,
    symmetric: bool,
    axis: int | None,
    group: tuple[int, int] | None,
) -> QParams:
    lowest, highest = _limits(bits, symmetric=symmetric)
    is_narrow = bits <= _SEARCHED_BITS
    return QParams(
        scale=tuple(scale.tolist()),
        zero_point=tuple(zero_point.astype(int).tolist()),
        dtype=("int4" if is_narrow else "int8") if symmetric else ("uint4" if is_narrow else "uint8"),
        quant_min=lowest,
        quant_max=highest,
        axis=axis,
        group_axis=None if group is None else group[0],
        group_size=None if group is None else group[1],
    )
