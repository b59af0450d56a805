"""Codes of weights as bytes: two 4-bit codes in one, the first in the low half."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    UInt8 = NDArray[np.uint8]


def packed(codes: NDArray[np.uint8], *, bits: int) -> UInt8:
    """Return codes as bytes, packed along the last axis, which a zero fills up where its extent is odd.

    Args:
        codes: Unsigned codes below ``2 ** bits``; at least one axis.
        bits: 4 or 8.
    """
    if bits == 8:
        return codes
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros_like(codes[..., :1])], axis=-1)
    return np.bitwise_or(codes[..., 0::2], np.left_shift(codes[..., 1::2], 4)).astype(np.uint8)


def unpacked(data: NDArray[np.uint8], count: int, *, bits: int) -> UInt8:
    """Return the first ``count`` codes of each last axis; the reverse of `packed`."""
    if bits == 8:
        return data[..., :count]
    codes = np.stack([data & 0x0F, data >> 4], axis=-1).reshape(*data.shape[:-1], -1)
    return codes[..., :count]
