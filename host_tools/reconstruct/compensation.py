"""`compensated`: numbers put on a grid one input after the other, the error of each made good by the inputs that are still to come.

Source: E. Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR 2023, algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]

_BLOCK: Final = 64
"""Inputs whose errors are handed on to all later ones in one product."""


def compensated(free: Float64, upper: Float64, on_grid: Callable[[Float64, int], Float64]) -> Float64:
    """Return the numbers on their grid, same shape.

    Args:
        free: What is best without a grid, shape (groups, outputs, inputs), the input that comes first at the front; it is used up.
        upper: Upper factor U of the inverse, U'U, of the inputs' second moments, shape (groups, inputs, inputs).
        on_grid: Puts one input's numbers, shape (groups, outputs), on the grid; told which input it is.
    """
    found = np.empty_like(free)
    for start in range(0, free.shape[2], _BLOCK):
        stop = min(start + _BLOCK, free.shape[2])
        lost = np.empty((*free.shape[:2], stop - start))
        for index in range(start, stop):
            found[:, :, index] = on_grid(free[:, :, index], index)
            error = (free[:, :, index] - found[:, :, index]) / upper[:, np.newaxis, index, index]
            free[:, :, index + 1 : stop] -= (
                error[:, :, np.newaxis] * upper[:, np.newaxis, index, index + 1 : stop]
            )
            lost[:, :, index - start] = error
        free[:, :, stop:] -= lost @ upper[:, start:stop, stop:]  # what lies behind the block, in one product
    return found
