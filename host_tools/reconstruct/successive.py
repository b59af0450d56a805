"""`rounded_successively`: a matrix of weights rounded one input at a time, the error of each made good by the inputs that are still to come.

Source: that of `compensation`, with the inputs in the order of their second moments, and scales that are fixed beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.reconstruct.compensation import compensated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]

_DAMPINGS: Final = (0.01, 0.1, 1.0)
"""Shares of the mean second moment that are added to each, until the matrix can be inverted: few samples leave inputs that follow others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Successive:
    """What a matrix was rounded to.

    Attributes:
        values: The real numbers that its codes stand for.
        error: Squared error of its outputs, summed over the samples.
        nearest_error: The same with every weight at its nearest code.
    """

    values: NDArray[np.floating]
    error: float
    nearest_error: float


def rounded_successively(
    weight: Float64, scale: Float64, zero_point: Float64, limits: tuple[int, int], second: Float64
) -> Successive:
    """Round a matrix so that what it gives changes least.

    Args:
        weight: Shape (outputs, inputs).
        scale: One an element, same shape.
        zero_point: One an element, same shape.
        limits: Lowest and highest code.
        second: Sum over samples of the products of each two inputs, shape (inputs, inputs).

    Returns:
        Values of the same shape. An output that the walk makes worse than its nearest codes are has those.
    """
    nearest = _on_grid(weight, scale, zero_point, limits)
    plain = _errors(nearest - weight, second)
    order = np.argsort(-np.diag(second), kind="stable")
    factor = _inverse_factor(second[np.ix_(order, order)])
    if factor is None:
        return Successive(values=nearest, error=float(plain.sum()), nearest_error=float(plain.sum()))
    ordered = (weight[:, order], scale[:, order], zero_point[:, order])
    found = np.empty_like(weight)
    (found[:, order],) = _walked(*ordered, limits, factor)
    errors = _errors(found - weight, second)
    is_better = errors < plain
    return Successive(
        values=np.where(is_better[:, np.newaxis], found, nearest),
        error=float(np.where(is_better, errors, plain).sum()),
        nearest_error=float(plain.sum()),
    )


def _walked(
    weight: Float64, scale: Float64, zero_point: Float64, limits: tuple[int, int], factor: Float64
) -> Float64:
    """Round input after input; the result has one group."""

    def on_grid(column: Float64, at: int) -> Float64:
        return _on_grid(column, scale[:, at], zero_point[:, at], limits)

    return compensated(weight[np.newaxis], factor[np.newaxis], on_grid)


def _on_grid(values: Float64, scale: Float64, zero_point: Float64, limits: tuple[int, int]) -> Float64:
    codes = np.clip(np.rint(values / scale) + zero_point, *limits)
    real: Float64 = (codes - zero_point) * scale
    return real


def _errors(delta: Float64, second: Float64) -> Float64:
    """Return each output's squared error, summed over the samples that ``second`` was summed over."""
    errors: Float64 = np.einsum("oi,oi->o", delta @ second, delta)
    return np.maximum(errors, 0.0)


def _inverse_factor(second: Float64) -> Float64 | None:
    """Return the upper factor U of the inverse, U'U, of the damped matrix; None where no damping is enough."""
    for damped in _damped(second):
        try:
            factor: Float64 = np.linalg.cholesky(np.linalg.inv(damped)).T
        except np.linalg.LinAlgError:
            continue
        if np.isfinite(factor).all() and (np.diag(factor) > 0.0).all():
            return factor
    return None


def _damped(second: Float64) -> Iterator[Float64]:
    mean = float(np.diag(second).mean())
    for damping in _DAMPINGS:
        yield second + np.eye(len(second)) * (damping * mean or 1.0)
