"""The noise that quantizing adds to a network's outputs, as a function of the factors: what equalization makes small.

A tensor with one scale has rounding errors of one size in all its channels, however small a channel's own values are. To first order each
error reaches the outputs by itself: its power is the square of the scale over 12, times how strongly the network passes it on.

- A weight's errors meet its inputs: scale**2 / 12 * sum of E[x**2] over an output's inputs, for each output channel.
- An activation's errors are scale**2 / 12 for each channel.
- A scale is the largest absolute value over the largest code, where the largest is taken as a power mean, so that it has a gradient.
- How strongly a channel's error is passed on (its gain) comes from the squares of all weights behind it: `host_tools.equalize.gains`.

Scaling a channel by s divides its errors by s, as seen from behind. With s = exp(u), every term is a product of exponentials of sums of
u: the logarithm of the noise is convex in u, so there is one best equalization and descent finds it.

Source: the setting of factors between two layers goes back to M. Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction", ICCV 2019, section 4.1; here all layers and activations are set at once, by what they do to the outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]
    Indices = NDArray[np.intp]

_POWER: Final = 12.0
"""Of the power mean that stands for a largest value: within a factor of 1.5 of it for a hundred equal ones, and smooth."""


class Term(Protocol):
    """One source of noise."""

    def add(self, logs: Float64, gradient: Float64) -> float:
        """Return the noise at the logarithms of the factors, and add its derivative to ``gradient``; both of shape (factors,)."""


def total(terms: Sequence[Term], logs: Float64) -> tuple[float, Float64]:
    """Return the logarithm of the noise, minus infinity if there is none, and its gradient, shape (factors,).

    Args:
        terms: The sources of noise.
        logs: Natural logarithms of the factors, shape (factors,); the first belongs to the factor that is 1.
    """
    gradient = np.zeros_like(logs)
    noise = sum(term.add(logs, gradient) for term in terms)
    gradient[0] = 0.0
    if not noise > 0.0:
        return -np.inf, np.zeros_like(logs)
    return float(np.log(noise)), gradient / noise


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DenseWeight:
    """A weight of which every output reads every input, with one scale for all.

    Attributes:
        powered: Largest absolute tap of each entry, over the largest of all, to the power of `_POWER`; shape (outputs, inputs).
        largest: The largest absolute value.
        squares: E[x**2] of each input times taps, shape (inputs,).
        gains: Of each output, shape (outputs,).
        rows: Factor of each output, shape (outputs,).
        columns: Factor of each input, shape (inputs,).
        levels: Largest code.
    """

    powered: Float64
    largest: float
    squares: Float64
    gains: Float64
    rows: Indices
    columns: Indices
    levels: float

    @classmethod
    def of(
        cls,
        sizes: Float64,
        *,
        squares: Float64,
        gains: Float64,
        rows: Indices,
        columns: Indices,
        levels: float,
    ) -> DenseWeight:
        """Make a term from the largest absolute taps, shape (outputs, inputs), not all zero."""
        largest = float(sizes.max())
        return cls(
            powered=np.power(sizes / largest, _POWER),
            largest=largest,
            squares=squares,
            gains=gains,
            rows=rows,
            columns=columns,
            levels=levels,
        )

    def add(self, logs: Float64, gradient: Float64) -> float:
        """See `Term`."""
        up, down = logs[self.rows], logs[self.columns]
        row_powers, column_powers = np.exp(_POWER * up), np.exp(-_POWER * down)
        by_column = row_powers @ self.powered
        mass = float(by_column @ column_powers)
        met, passed = self.squares * np.exp(2 * down), self.gains * np.exp(-2 * up)
        met_sum, passed_sum = float(met.sum()), float(passed.sum())
        if mass <= 0.0 or met_sum <= 0.0 or passed_sum <= 0.0:
            return 0.0
        scale = self.largest * mass ** (1 / _POWER) / self.levels
        noise = float(scale * scale / 12 * met_sum * passed_sum)
        row_share = row_powers * (self.powered @ column_powers) / mass
        column_share = by_column * column_powers / mass
        _collect(gradient, self.rows, 2 * noise * (row_share - passed / passed_sum))
        _collect(gradient, self.columns, 2 * noise * (met / met_sum - column_share))
        return noise


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupedWeight:
    """A weight whose outputs read different inputs (depthwise, grouped), with one scale for all.

    Attributes:
        logs: Logarithm of the largest absolute tap of each entry, shape (outputs, inputs of one output).
        squares: E[x**2] of the input of each entry times taps, same shape.
        gains: Of each output, shape (outputs,).
        rows: Factor of each output, shape (outputs,).
        columns: Factor of each entry's input, shape (outputs, inputs of one output).
        levels: Largest code.
    """

    logs: Float64
    squares: Float64
    gains: Float64
    rows: Indices
    columns: Indices
    levels: float

    def add(self, logs: Float64, gradient: Float64) -> float:
        """See `Term`."""
        up, down = logs[self.rows][:, np.newaxis], logs[self.columns]
        log_scale, share = _soft_largest(self.logs + up - down)
        passed = self.squares * np.exp(2 * down - 2 * up) * self.gains[:, np.newaxis]
        passed_sum = float(passed.sum())
        noise = float(np.exp(2 * log_scale)) / self.levels**2 / 12 * passed_sum
        if not noise > 0.0:
            return 0.0
        change = 2 * noise * (share - passed / passed_sum)
        _collect(gradient, self.rows, change.sum(axis=1))
        _collect(gradient, self.columns, -change)
        return noise


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelWeight:
    """A weight with a scale for each output: its rows do not disturb one another, only the inputs of one row do.

    Attributes:
        powered: Largest absolute tap of each entry, over the largest of its row, to the power of `_POWER`;
            shape (groups, outputs of one group, inputs of one group).
        squares: E[x**2] of each input times taps, shape (groups, inputs of one group).
        weights: Noise of each output were its inputs' squares and its powers each 1 in sum, shape (groups, outputs of one group).
        columns: Factor of each input, shape (groups, inputs of one group).
    """

    powered: Float64
    squares: Float64
    weights: Float64
    columns: Indices

    @classmethod
    def of(
        cls,
        sizes: Float64,
        *,
        squares: Float64,
        gains: Float64,
        columns: Indices,
        groups: int,
        levels: float,
    ) -> ChannelWeight:
        """Make a term from the largest absolute taps, shape (outputs, inputs of one output); a row of zeros has no noise."""
        largest = sizes.max(axis=1)
        rows = sizes / np.where(largest > 0.0, largest, 1.0)[:, np.newaxis]
        return cls(
            powered=np.power(rows, _POWER).reshape(groups, -1, sizes.shape[1]),
            squares=squares.reshape(groups, -1),
            weights=(np.square(largest / levels) / 12 * gains).reshape(groups, -1),
            columns=columns.reshape(groups, -1),
        )

    def add(self, logs: Float64, gradient: Float64) -> float:
        """See `Term`. A row's own factor enlarges its scale and shrinks its errors alike."""
        down = logs[self.columns]
        powers, met = np.exp(-_POWER * down), self.squares * np.exp(2 * down)
        mass = np.matmul(self.powered, powers[:, :, np.newaxis])[:, :, 0]
        met_sum = met.sum(axis=1, keepdims=True)
        each = self.weights * np.power(mass, 2 / _POWER) * met_sum
        by_mass = np.divide(each, mass, out=np.zeros_like(each), where=mass > 0.0)
        largest_share = powers * np.matmul(by_mass[:, np.newaxis, :], self.powered)[:, 0, :]
        met_share = met / met_sum * each.sum(axis=1, keepdims=True)
        _collect(gradient, self.columns, 2 * (met_share - largest_share))
        return float(each.sum())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Activation:
    """An activation with one scale.

    Attributes:
        logs: Logarithm of the largest absolute value of each channel, shape (channels,).
        gains: Of each channel, shape (channels,).
        factors: Factor of each channel, shape (channels,).
        levels: Largest code.
    """

    logs: Float64
    gains: Float64
    factors: Indices
    levels: float

    def add(self, logs: Float64, gradient: Float64) -> float:
        """See `Term`."""
        own = logs[self.factors]
        log_scale, share = _soft_largest(self.logs + own)
        passed = self.gains * np.exp(-2 * own)
        passed_sum = float(passed.sum())
        noise = float(np.exp(2 * log_scale)) / self.levels**2 / 12 * passed_sum
        if not noise > 0.0:
            return 0.0
        _collect(gradient, self.factors, 2 * noise * (share - passed / passed_sum))
        return noise


def _soft_largest(logs: Float64) -> tuple[float, Float64]:
    """Return the logarithm of the power mean without its division by the count, and each entry's share in its derivative."""
    top = float(logs.max())
    powers = np.exp(_POWER * (logs - top))
    mass = float(powers.sum())
    return top + float(np.log(mass)) / _POWER, powers / mass


def _collect(gradient: Float64, indices: Indices, values: Float64) -> None:
    gradient += np.bincount(indices.reshape(-1), weights=values.reshape(-1), minlength=gradient.size)
