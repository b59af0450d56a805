"""`OutputNoise`: the noise of all outputs as one number, in which every part of them counts by its own signal.

Boxes in pixels have a million times the power of scores: in one plain sum no layer that only the scores need would cost anything. The parts
are those that verification judges by (`OutputParts`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from host_tools.verify.output_parts import OutputParts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel

    Values = Mapping[str, NDArray[np.generic]]


class OutputNoise:
    """Sums of squares over the outputs, weighted so that each part with a signal has the same share of the whole signal.

    One part alone has weight 1: its noise is the plain sum of squared errors.
    """

    def __init__(self, model: FloatModel, outputs: Sequence[str], samples: Iterable[Values]) -> None:
        """Weigh the parts by what they are in float.

        Args:
            model: The float model.
            outputs: Names of its outputs to look at.
            samples: Their values in float, sample by sample; not asked for where there is one part only.
        """
        self._outputs = tuple(outputs)
        self._parts = OutputParts(model)
        self._weights: dict[str, float] = {}
        if len(self._outputs) > 1 or self._parts.is_joined(self._outputs):
            self._weights = _weights(self._powers(samples))

    def signal(self, values: Values) -> float:
        """Return the weighted power of the outputs of one sample; infinite where a value is not finite."""
        return sum(self._weight(part) * _power(array) for part, (array,) in self._cut(values))

    def noise(self, expected: Values, found: Values) -> float:
        """Return the weighted power of the difference; infinite where a value is not finite."""
        return sum(
            self._weight(part) * _power(found_part - expected_part)
            for part, (expected_part, found_part) in self._cut(expected, found)
        )

    def _cut(self, *runs: Values) -> Iterator[tuple[str, list[NDArray[np.float64]]]]:
        for name in self._outputs:
            yield from self._parts.cut(name, *(np.asarray(run[name], np.float64) for run in runs))

    def _weight(self, part: str) -> float:
        return self._weights.get(part, 1.0)

    def _powers(self, samples: Iterable[Values]) -> dict[str, float]:
        powers: dict[str, float] = {}
        for values in samples:
            for part, (array,) in self._cut(values):
                powers[part] = powers.get(part, 0.0) + _power(array)
        return powers


def _weights(powers: Mapping[str, float]) -> dict[str, float]:
    """Return weights that give every part with a signal the mean power of those, and 0 to the others; none where that cannot be said."""
    seen = {part: power for part, power in powers.items() if power > 0.0}
    if not seen or not all(map(math.isfinite, seen.values())):
        return {}
    mean = math.fsum(seen.values()) / len(seen)
    return {part: mean / seen[part] if part in seen else 0.0 for part in powers}


def _power(array: NDArray[np.float64]) -> float:
    """Return the sum of squares; infinite where it is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        power = float(np.sum(np.square(array)))
    return power if np.isfinite(power) else math.inf
