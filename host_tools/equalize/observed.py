"""What was observed of the channels that factors belong to; both sides take their axis from `host_tools.model.channel_axes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.observe.statistics import Statistics

    Float64 = NDArray[np.float64]

LEAST: Final = 1e-12
"""What a channel counts at least, as a share of the largest one: one that is always 0 has no logarithm."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observed:
    """Of one activation, each of shape (channels,).

    Attributes:
        minimum: Smallest value.
        maximum: Largest value.
        reach: Largest absolute value; may be 0.
        squares: E[x**2], above 0; as of values spread evenly over the range where it was not gathered.
        active: Share of values above 0 if these are distributed exponentially, 2 E[x]**2 / E[x**2]; 1 where that is not known.
    """

    minimum: Float64
    maximum: Float64
    reach: Float64
    squares: Float64
    active: Float64


def observed(name: str, channels: Channels, statistics: Statistics) -> Observed:
    """Return what was observed of an activation, by channel."""
    seen, count = statistics.tensors[name], channels.factors[name].size
    low, high = (np.asarray(ends, np.float64) for ends in (seen.channel_minimum, seen.channel_maximum))
    squares, active = (low * low + low * high + high * high) / 3, np.ones(count)
    if seen.channel_mean_square is not None:
        squares = np.asarray(seen.channel_mean_square, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            active = np.nan_to_num(2 * np.square(seen.channel_mean) / squares)
    least = LEAST * max(float(squares.max(initial=0.0)), LEAST)
    return Observed(
        minimum=low,
        maximum=high,
        reach=np.maximum(np.abs(low), np.abs(high)),
        squares=np.maximum(squares, least),
        active=np.clip(active, 0.0, 1.0),
    )
