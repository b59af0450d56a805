"""`Histogram`: base-2 exponential histogram of durations. Fixed memory, O(1) recording, exact merging.

Buckets are those of the OpenTelemetry exponential histogram at one fixed scale: index *i* holds durations in
``(base**i, base**(i + 1)]`` seconds with ``base = 2 ** (1 / 32)``. One scale for every window, artifact and device
makes merging an addition of integers: exact, associative, commutative. Quantiles come from merged buckets and are
never averaged.

It is not thread-safe: whoever shares one holds a lock (`device_agent.inference` does).

Source:
    OpenTelemetry metrics data model, "ExponentialHistogram": ``base = 2 ** (2 ** -scale)``, bucket bounds exclusive
    below and inclusive above.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SCALE: Final = 5
"""OpenTelemetry scale: 32 buckets an octave."""

RELATIVE_ERROR: Final = (2 ** (2**-SCALE) - 1) / (2 ** (2**-SCALE) + 1)
"""Largest relative error of a quantile: 1.083 %. Durations that were clamped (over 4,096 s) are excepted; `max_ns` stays true."""

_PER_OCTAVE: Final = 1 << SCALE
_LOG2_NS: Final = math.log2(1e-9)
_LOWEST: Final = math.ceil(_LOG2_NS * _PER_OCTAVE) - 1
"""Index of 1 ns."""
_HIGHEST: Final = 12 * _PER_OCTAVE - 1
"""Index of 2**12 = 4,096 s: no inference is watched for longer."""
_SIZE: Final = _HIGHEST - _LOWEST + 1
_SHIFT: Final = _LOG2_NS * _PER_OCTAVE - 1 - _LOWEST
_ZEROS: Final = bytes(8 * _SIZE)


class Histogram:
    """Counts of durations, with their exact count, sum, smallest and largest.

    Attributes:
        count: Number of durations recorded.
        sum_ns: Their sum in nanoseconds.
        min_ns: The smallest in nanoseconds; 0 when empty.
        max_ns: The largest in nanoseconds; 0 when empty.
    """

    __slots__ = ("_counts", "count", "max_ns", "min_ns", "sum_ns")

    def __init__(self) -> None:
        self._counts = array("Q", _ZEROS)
        self.count = 0
        self.sum_ns = 0
        self.min_ns = 0
        self.max_ns = 0

    def record(self, duration_ns: int) -> None:
        """Count one duration, in nanoseconds. Below 1 ns it counts as 1 ns (a coarse clock reads 0)."""
        self.record_all((duration_ns,))

    def record_all(self, durations_ns: Sequence[int]) -> None:
        """Count some durations, each as `record` does; many at once take a third of the time."""
        if not durations_ns:
            return
        smallest, largest = min(durations_ns), max(durations_ns)
        if smallest < 1:
            durations_ns = [max(duration_ns, 1) for duration_ns in durations_ns]
            smallest, largest = 1, max(largest, 1)
        counts, ceil, log2 = self._counts, math.ceil, math.log2
        for duration_ns in durations_ns:
            slot = ceil(log2(duration_ns) * _PER_OCTAVE + _SHIFT)
            counts[slot if slot < _SIZE else _SIZE - 1] += 1
        self.min_ns = min(self.min_ns, smallest) if self.count else smallest
        self.max_ns = max(self.max_ns, largest)
        self.sum_ns += sum(durations_ns)
        self.count += len(durations_ns)

    def merge(self, other: Histogram) -> None:
        """Add everything that ``other`` counted; exact."""
        if not other.count:
            return
        mine = self._counts
        for slot, count in enumerate(other._counts):
            if count:
                mine[slot] += count
        self.min_ns = min(self.min_ns, other.min_ns) if self.count else other.min_ns
        self.max_ns = max(self.max_ns, other.max_ns)
        self.sum_ns += other.sum_ns
        self.count += other.count

    def clear(self) -> None:
        """Forget everything, keeping the memory."""
        memoryview(self._counts).cast("B")[:] = _ZEROS
        self.count = self.sum_ns = self.min_ns = self.max_ns = 0

    def quantile_seconds(self, share: float) -> float | None:
        """Return the nearest-rank quantile in seconds, within `RELATIVE_ERROR` of the true one; None when empty.

        Args:
            share: 0 to 1; 0.95 for p95.

        Raises:
            ValueError: ``share`` is outside 0 to 1.
        """
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share must be within 0 and 1, got {share}")
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for slot, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return min(max(_middle_seconds(slot), self.min_ns * 1e-9), self.max_ns * 1e-9)
        return self.max_ns * 1e-9

    def buckets(self) -> tuple[tuple[int, int], ...]:
        """Return ``(index, count)`` of every bucket that is not empty, by rising index, as OpenTelemetry numbers them."""
        return tuple((slot + _LOWEST, count) for slot, count in enumerate(self._counts) if count)

    @classmethod
    def from_buckets(
        cls, buckets: Iterable[tuple[int, int]], *, sum_ns: int, min_ns: int, max_ns: int
    ) -> Histogram:
        """Make a histogram of what `buckets` gave, for merging and quantiles.

        Raises:
            ContractError: An index is out of range or a count is not positive.
        """
        made = cls()
        for index, count in buckets:
            if not _LOWEST <= index <= _HIGHEST or count < 1:
                raise ContractError(
                    f"histogram bucket: expected an index from {_LOWEST} to {_HIGHEST} and a count of 1 or more, "
                    f"got index {index}, count {count}."
                )
            made._counts[index - _LOWEST] += count
            made.count += count
        made.sum_ns, made.min_ns, made.max_ns = sum_ns, min_ns, max_ns
        return made


def _middle_seconds(slot: int) -> float:
    """The value whose relative distance to both bounds of the bucket is the same: the harmonic mean of the bounds."""
    low: float = 2.0 ** ((slot + _LOWEST) / _PER_OCTAVE)
    high: float = 2.0 ** ((slot + _LOWEST + 1) / _PER_OCTAVE)
    return 2.0 * low * high / (low + high)
