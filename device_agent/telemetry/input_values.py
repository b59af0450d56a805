"""Values of a model's inputs, counted in real units and in buckets that are the same for every payload."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from device_agent.contract.telemetry.measurements import INPUT_BUCKETS, InputSketch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor

MOST_VALUES: Final = 4096
"""Of one input of one frame; they lie equally far apart."""
_SIDE: Final = len(INPUT_BUCKETS)


class InputValues:
    """Counts of one input.

    Attributes:
        tensor: The input.
        count: Values that were counted.
        buckets: int64[129]: counts of values, ascending.
    """

    __slots__ = ("_highest", "_lowest", "_saturated", "_squares", "_sum", "buckets", "count", "tensor")

    def __init__(self, tensor: PayloadTensor) -> None:
        self.tensor = tensor
        self.count = self._saturated = 0
        self._sum = self._squares = 0.0
        self._lowest, self._highest = math.inf, -math.inf
        self.buckets = np.zeros(2 * _SIDE + 1, dtype=np.int64)

    def anew(self) -> InputValues:
        """Return one of the same input with nothing in it."""
        return InputValues(self.tensor)

    def add(self, array: NDArray[np.generic]) -> None:
        """Count the values of a frame, or a part of them; what is not finite is left out."""
        flat = array.reshape(-1)
        raw = flat[:: _stride(flat.size)]
        values = self._real(raw)
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        if not values.size:
            return
        if "int" in self.tensor.dtype:
            ends = np.iinfo(self.tensor.dtype)
            self._saturated += int(np.count_nonzero((raw == ends.min) | (raw == ends.max)))
        self.count += values.size
        self._sum += float(values.sum())
        self._squares += float(values @ values)
        self._lowest = min(self._lowest, float(values.min()))
        self._highest = max(self._highest, float(values.max()))
        self.buckets += np.bincount(bucket_of(values), minlength=2 * _SIDE + 1)

    def sketch(self) -> InputSketch:
        """Return what was seen; of at least one value."""
        mean = self._sum / self.count
        counts = self.buckets.tolist()
        first = INPUT_BUCKETS[0]
        return InputSketch(
            name=self.tensor.source_name,
            value_count=self.count,
            mean=mean,
            deviation=math.sqrt(max(self._squares / self.count - mean * mean, 0.0)),
            minimum=self._lowest,
            maximum=self._highest,
            saturated_ratio=self._saturated / self.count if "int" in self.tensor.dtype else None,
            zero_count=counts[_SIDE],
            negative={first + place: count for place, count in enumerate(reversed(counts[:_SIDE])) if count},
            positive={first + place: count for place, count in enumerate(counts[_SIDE + 1 :]) if count},
        )

    def _real(self, raw: NDArray[np.generic]) -> NDArray[np.float64]:
        values = raw.astype(np.float64)
        if self.tensor.scale is None or self.tensor.zero_point is None:
            return values
        return np.asarray((values - self.tensor.zero_point) * self.tensor.scale)


def bucket_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the place of each value's bucket, ascending with the value: negative ones, 0, positive ones."""
    magnitudes = np.abs(values)
    with np.errstate(divide="ignore"):
        index = np.ceil(2.0 * np.log2(magnitudes)) - 1.0
    above = np.clip(index - INPUT_BUCKETS[0], -1, _SIDE - 1) + 1  # 0: nearer to 0 than the smallest bucket
    return np.asarray(_SIDE + np.copysign(above, values).astype(np.int64))


def _stride(size: int) -> int:
    """Return how far apart values are looked at: no multiple of 2 or 3, so that no channel or row is left out."""
    stride = -(-size // MOST_VALUES)
    while stride > 1 and (stride % 2 == 0 or stride % 3 == 0):
        stride += 1
    return max(stride, 1)
