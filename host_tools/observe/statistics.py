"""`Statistics`: what the observers saw, without any decision in it.

A histogram has one bin per value of the upper 16 bits of an IEEE float32 (sign, exponent, seven bits of fraction). So its bins are the
same for every tensor and every run: no range is needed before the first sample, counts of any two runs add up, and the order of
samples does not matter. A bin is at most 1/128 of its magnitude wide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

SCHEMA_VERSION = "3.1"
GATHERING = 5
"""Counts the changes of how statistics are gathered from samples; what was cached by another way is gathered anew."""

PEAKS = 21
"""How many of the samples' largest values are kept of each channel."""

Method = Literal["minmax", "moving_average", "percentile", "mse", "entropy", "cosine", "search"]
"""How a range is chosen from statistics; see `host_tools.observe.ranges`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """Counts by the upper 16 bits of float32.

    Attributes:
        bins: Upper halves that occurred, shape (k,), uint16, strictly increasing.
        counts: How often, shape (k,), int64, all positive.
        share: Share of the tensor's elements that was counted, in (0, 1]: large tensors are counted on a fixed stride.
    """

    bins: NDArray[np.uint16]
    counts: NDArray[np.int64]
    share: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TensorStatistics:
    """What was seen of one float tensor over all samples.

    Attributes:
        minimum: Smallest value; exact.
        maximum: Largest value; exact.
        mean_minimum: Mean over samples of each sample's smallest value (the order-free moving average).
        mean_maximum: Mean over samples of each sample's largest value.
        channel_axis: Axis of the per-channel arrays, see `host_tools.model.channel_axes`, or None for a scalar.
        channel_minimum: float32, shape (channels,).
        channel_maximum: float32, shape (channels,).
        channel_mean: float64, shape (channels,).
        channel_mean_square: Mean of squares, float64, shape (channels,); of tensors that an operator with weights reads, else None.
        histogram: None when only ranges were asked for.
        channel_peaks: Of the largest values that a channel had in each sample the `PEAKS` largest, falling: float32, shape
            (min(PEAKS, samples), channels); of tensors that a Clip reads, else None.
    """

    minimum: float
    maximum: float
    mean_minimum: float
    mean_maximum: float
    channel_axis: int | None
    channel_minimum: NDArray[np.float32]
    channel_maximum: NDArray[np.float32]
    channel_mean: NDArray[np.float64]
    channel_mean_square: NDArray[np.float64] | None
    histogram: Histogram | None
    channel_peaks: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statistics:
    """Observations of every float activation of a canonical model (constants excluded).

    Attributes:
        model_digest: `FloatModel.digest`.
        data_digest: Digest over the samples as fed, independent of their order.
        sample_count: How many samples were run; at least 1.
        tensors: By value name of the canonical graph: all graph inputs and all float node outputs.
        far_samples: By graph input and end of its range, the one sample that reaches there and so much further than all others, where there
            is one. In no file, since the same samples may be called otherwise tomorrow.
    """

    model_digest: str
    data_digest: str
    sample_count: int
    tensors: Mapping[str, TensorStatistics]
    far_samples: Mapping[tuple[str, float], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "far_samples", MappingProxyType(dict(self.far_samples)))
