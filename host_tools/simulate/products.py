"""Sums of products of whole numbers, exact, on floating-point units: those are many times faster than numpy's integer ones.

A floating-point sum of whole numbers is exact, in any order and with fused operations, as long as every partial sum fits the
significand: 2^24 in float32, 2^53 in float64. What could become larger in float32 is cut into blocks along the summed axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import VerificationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]

SINGLE = 2**24
DOUBLE = 2**53
"""Up to here the type holds every whole number."""

_MOST_BLOCKS = 4
"""With more blocks in float32, one product in float64 is quicker."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConstantMatrix:
    """The constant left side of products.

    Attributes:
        blocks: Pieces along the summed axis, each of shape (groups, rows, part of the axis), in the type that holds its sums.
        dtype: That type.
    """

    blocks: tuple[NDArray[np.floating], ...]
    dtype: type[np.floating]

    @classmethod
    def of(cls, matrix: NDArray[np.number], largest: int, *, where: str) -> ConstantMatrix:
        """Cut a matrix of whole numbers so that its products are exact.

        Args:
            matrix: Shape (groups, rows, n).
            largest: Largest magnitude of what it will be multiplied with.
            where: The node, for the message.

        Raises:
            VerificationError: Not even float64 holds the sums.
        """
        sizes = np.abs(matrix.astype(np.float64)) * largest
        require_double(float(sizes.sum(axis=2).max(initial=0.0)), where=where)
        cuts = _cuts(sizes.reshape(-1, sizes.shape[2]))
        dtype: type[np.floating] = np.float32
        if cuts is None:
            cuts, dtype = [], np.float64
        pieces = np.split(matrix.astype(dtype), cuts, axis=2)
        return cls(blocks=tuple(np.ascontiguousarray(piece) for piece in pieces), dtype=dtype)

    def times(self, right: NDArray[np.floating]) -> Float64:
        """Return the product with an array of whole numbers of shape (batch, groups, n, columns), in float64."""
        begin = 0
        total: Float64 | None = None
        for block in self.blocks:
            end = begin + block.shape[2]
            part = np.matmul(block, right[:, :, begin:end].astype(self.dtype, copy=False))
            total = part.astype(np.float64) if total is None else total + part
            begin = end
        if total is None:
            raise ValueError("a matrix has at least one block")
        return total


def _cuts(sizes: Float64) -> list[int] | None:
    """Return where to cut the last axis so that each row's sum within a piece stays below 2^24; None for float64 instead."""
    cuts: list[int] = []
    running = np.zeros(sizes.shape[0])
    for place in range(sizes.shape[1]):
        running += sizes[:, place]
        if running.max(initial=0.0) >= SINGLE:
            cuts.append(place)
            running = sizes[:, place].copy()
            if len(cuts) >= _MOST_BLOCKS or running.max(initial=0.0) >= SINGLE:
                return None
    return cuts


def product(left: NDArray[np.number], right: NDArray[np.number], largest: int, *, where: str) -> Float64:
    """Return the matrix product of two arrays of whole numbers, in float64.

    Args:
        left: Shape (..., rows, n).
        right: Shape (..., n, columns).
        largest: Largest magnitude of a product of two elements.
        where: The node, for the message.

    Raises:
        VerificationError: Not even float64 holds the sums.
    """
    bound = largest * left.shape[-1]
    require_double(bound, where=where)
    dtype = np.float32 if bound < SINGLE else np.float64
    found: Float64 = np.matmul(left.astype(dtype), right.astype(dtype)).astype(np.float64)
    return found


def require_double(bound: float, *, where: str) -> None:
    """Refuse sums that may pass 2^53.

    Raises:
        VerificationError: They may.
    """
    if bound >= DOUBLE:
        raise VerificationError(
            f"{where}: sums of products may reach {bound:.3g}, beyond the 2^53 to which they are simulated exactly.",
            hint="No accumulator is that wide: plan the node with narrower weights or activations.",
        )


def require_accumulator(sums: NDArray[np.floating], bits: int, *, where: str) -> None:
    """Refuse sums that the target's accumulator does not hold: what hardware gives then is nobody's promise.

    Raises:
        VerificationError: A sum lies outside the accumulator; the message has how many and the farthest.
    """
    if not sums.size:
        return
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    smallest, largest = float(sums.min()), float(sums.max())
    if low <= smallest and largest <= high:
        return
    count = int(np.count_nonzero((sums < low) | (sums > high)))
    farthest = largest if largest - high > low - smallest else smallest
    raise VerificationError(
        f"{where}: {count} of {sums.size} sums overflow the accumulator of {bits} bits: {farthest:.0f} is outside [{low}, {high}].",
        hint="Give the node larger weight or input scales, or plan it in float.",
    )
