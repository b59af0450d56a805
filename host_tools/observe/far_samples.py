"""One sample of an input that reaches much further than all others: it looks damaged, sets every scale, and is to be named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.model.float_model import TensorSpec
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.observe.statistics import Statistics, TensorStatistics

FAR: Final = 50
"""One sample's reach over that of the others on average, from which on the sample looks damaged: its values set every scale behind it."""

_PAIR: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FarEnd:
    """An end of an input's range that one sample set by itself.

    Attributes:
        value: The end, in input units.
        is_maximum: Whether it is the upper one.
    """

    value: float
    is_maximum: bool


def far_ends(seen: TensorStatistics, samples: int) -> tuple[FarEnd, ...]:
    """Return the ends that one sample of ``samples`` set by itself; of two samples neither is the odd one out."""
    if samples <= _PAIR:
        return ()
    ends = {seen.minimum: seen.mean_minimum, seen.maximum: seen.mean_maximum}
    usual = max(abs(mean * samples - end) / (samples - 1) for end, mean in ends.items())
    return tuple(FarEnd(value=end, is_maximum=end == seen.maximum) for end in ends if abs(end) > FAR * usual)


def with_far_samples(
    statistics: Statistics, data: CalibrationSet, inputs: Sequence[TensorSpec]
) -> Statistics:
    """Return the statistics with the names of samples that set an input's end by themselves; data are read again only if there are any.

    Args:
        statistics: Of these data.
        data: The calibration set.
        inputs: The model's.

    Raises:
        DataError: A sample cannot be read.
    """
    wanted = {
        (spec.name, end.value): end.is_maximum
        for spec in inputs
        if spec.name in statistics.tensors
        for end in far_ends(statistics.tensors[spec.name], statistics.sample_count)
    }
    found: dict[tuple[str, float], str] = {}
    for sample in data if wanted else ():
        for (name, value), is_maximum in wanted.items():
            array = sample.arrays[name]
            if np.float32(array.max() if is_maximum else array.min()) == np.float32(value):
                found.setdefault((name, value), sample.id)
    return replace(statistics, far_samples=found) if found else statistics


def reach_of(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """Return how far a sample's inputs reach, as a sentence's part."""
    return ", ".join(
        f"{name!r} from {float(array.min()):.4g} to {float(array.max()):.4g}"
        for name, array in arrays.items()
    )
