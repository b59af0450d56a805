"""Percentiles of a latency from windows of telemetry: merged histograms, never averaged, and none that its count does not bear out.

A percentile is told only where both ends of its confidence interval are order statistics of the sample: of n values, the one at rank k is
above the p-quantile with the probability of a binomial variable, so that n must be at least ln((1 - confidence) / 2) / ln(p): 36 for the
90th percentile, 368 for the 99th. MLPerf asks for far more (24,576 and 270,336); `MLPERF_COUNTS` has those, and the page says which of them
a count reaches.

Source: H. A. David and H. N. Nagaraja, "Order Statistics", 3rd ed., 7.1 (distribution-free intervals for quantiles); MLPerf Inference rules,
"Number of queries" (sample sizes).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType
from typing import TYPE_CHECKING

from hil.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from device_agent.contract.telemetry.measurements import ExponentialHistogram, InferenceWindow

SHARES = (0.5, 0.9, 0.95, 0.99, 0.999)
CONFIDENCE = 0.95
MLPERF_COUNTS: Mapping[float, int] = MappingProxyType(
    {0.9: 24_576, 0.95: 57_344, 0.97: 90_112, 0.99: 270_336}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """One percentile, in seconds.

    Attributes:
        share: 0.9 for the 90th.
        value: Nearest rank; within half a bucket of the histogram (1.1 %).
        low: Lower end of its confidence interval.
        high: Upper end.
    """

    share: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What windows say together.

    Attributes:
        count: Inferences.
        percentiles: Those that the count bears out, by rising share.
        mean: Seconds.
        warm_up_count: Inferences that were left out before.
        meets_mlperf: Largest share whose MLPerf count was reached; 0: none.
    """

    count: int
    percentiles: tuple[Percentile, ...]
    mean: float
    warm_up_count: int
    meets_mlperf: float


def least_count(share: float, *, confidence: float = CONFIDENCE) -> int:
    """Return how many values the interval of a percentile needs.

    Args:
        share: Above 0 and below 1.
        confidence: Likewise.
    """
    farther = max(share, 1.0 - share)
    return math.ceil(math.log((1.0 - confidence) / 2.0) / math.log(farther))


def after_warm_up(
    windows: Sequence[InferenceWindow], *, count: int, seconds: float
) -> tuple[list[InferenceWindow], int]:
    """Leave out the first windows, until both so many inferences and so many seconds are in them.

    Returns:
        What is left, and the number of inferences that were left out.
    """
    done, elapsed = 0, 0.0
    for index, window in enumerate(windows):
        if done >= count and elapsed >= seconds:
            return list(windows[index:]), done
        done += window.latency_count
        elapsed += window.window_seconds
    return [], done


def latency_of(windows: Sequence[InferenceWindow], *, warm_up_count: int = 0) -> Latency:
    """Merge the windows' histograms and tell the percentiles that their count bears out.

    Raises:
        AgentError: There is no inference in them, or their histograms have different scales.
    """
    count = sum(window.latency_count for window in windows)
    if count == 0:
        raise AgentError("no inference was measured: the warm-up took all windows.")
    buckets, scale = _merged([window.hist for window in windows])
    return Latency(
        count=count,
        percentiles=tuple(
            _percentile(buckets, scale, share) for share in SHARES if count >= least_count(share)
        ),
        mean=sum(window.latency_sum_seconds for window in windows) / count,
        warm_up_count=warm_up_count,
        meets_mlperf=max((share for share, least in MLPERF_COUNTS.items() if count >= least), default=0.0),
    )


def _merged(histograms: Sequence[ExponentialHistogram]) -> tuple[Counter[int], int]:
    scales = {one.scale for one in histograms}
    if len(scales) != 1:
        raise AgentError(f"histograms of different scales cannot be merged exactly: {sorted(scales)}.")
    buckets = Counter[int]()
    for one in histograms:
        buckets.update(one.counts)
    return buckets, scales.pop()


def _percentile(buckets: Counter[int], scale: int, share: float) -> Percentile:
    count = sum(buckets.values())
    spread = _normal_quantile() * math.sqrt(count * share * (1.0 - share))
    low, middle, high = (
        min(max(math.ceil(rank), 1), count)
        for rank in (count * share - spread, count * share, count * share + spread + 1.0)
    )
    values = [_at_rank(buckets, scale, rank) for rank in (low, middle, high)]
    return Percentile(share=share, low=values[0], value=values[1], high=values[2])


def _normal_quantile() -> float:
    """Return how many standard deviations the interval is wide, each way."""
    return NormalDist().inv_cdf(0.5 + CONFIDENCE / 2.0)


def _at_rank(buckets: Counter[int], scale: int, rank: int) -> float:
    """Return the middle of the bucket that holds the value at a rank, 1 for the smallest."""
    base = 2.0 ** (2.0**-scale)
    seen = 0
    for index in sorted(buckets):
        seen += buckets[index]
        if seen >= rank:
            middle: float = 2.0 * base ** (index + 1) / (1.0 + base)
            return middle
    raise AgentError(f"rank {rank} is beyond the {seen} values of the histogram.")
