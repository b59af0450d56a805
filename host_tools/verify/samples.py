"""Sample by sample: which ones the payload answers worst, and which classes it takes for which; in bounded memory."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from host_tools.verify.metrics import OutputComparison, is_class_vector, top_classes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    RealArrays = Mapping[str, NDArray[np.float64]]

WORST = 20
CHANGED = 50
SWAPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleError:
    """One sample's outputs against the float model's.

    Attributes:
        id: File name or index.
        sqnr_db: Over all outputs; None when nothing differs.
        float_class: The float model's top class, None when no output is a vector of classes.
        payload_class: The payload's.
        label: The right class, None when it is not known.
    """

    id: str
    sqnr_db: float | None
    float_class: int | None
    payload_class: int | None
    label: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSwap:
    """Samples that one class took from another.

    Attributes:
        float_class: What the float model says.
        payload_class: What the payload says instead.
        count: Of so many samples.
        float_class_count: Of so many that the float model gives this class.
        float_right: Samples where the float model was right; None without labels.
        payload_right: Samples where the payload is right; None without labels.
    """

    float_class: int
    payload_class: int
    count: int
    float_class_count: int
    float_right: int | None
    payload_right: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleErrors:
    """Where among the samples the error is.

    Attributes:
        sample_count: Samples compared.
        class_samples: Those with a vector of classes to compare.
        changed_count: Those whose top class changed.
        worst: At most `WORST`, lowest SQNR first.
        changed: At most `CHANGED` whose top class changed, lowest SQNR first.
        swaps: At most `SWAPS` pairs of classes, most frequent first.
    """

    sample_count: int
    class_samples: int
    changed_count: int
    worst: tuple[SampleError, ...]
    changed: tuple[SampleError, ...]
    swaps: tuple[ClassSwap, ...]


@dataclass(slots=True)
class SampleLedger:
    """Takes one sample after another and keeps the worst."""

    _taken: int = 0
    _class_samples: int = 0
    _worst: list[tuple[float, int, SampleError]] = field(default_factory=list)
    _changed: list[tuple[float, int, SampleError]] = field(default_factory=list)
    _changed_count: int = 0
    _float_classes: Counter[int] = field(default_factory=Counter)
    _swaps: Counter[tuple[int, int]] = field(default_factory=Counter)
    _right: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    _is_labelled: bool = False

    def add(self, sample_id: str, expected: RealArrays, found: RealArrays, label: int | None) -> None:
        """Take one sample.

        Args:
            sample_id: Its id.
            expected: The float model's outputs by name; finite.
            found: The payload's, dequantized.
            label: The right class, where it is known.
        """
        comparison = OutputComparison()
        for name, exact in expected.items():
            comparison.add(exact, found[name])
        scores = next((name for name, exact in expected.items() if is_class_vector(exact.shape)), None)
        before, after = (
            (None, None)
            if scores is None
            else (top_classes(expected[scores], 1)[0], top_classes(found[scores], 1)[0])
        )
        error = SampleError(
            id=sample_id,
            sqnr_db=comparison.sqnr_db,
            float_class=before,
            payload_class=after,
            label=label if before is not None else None,
        )
        _keep(self._worst, error, self._taken, WORST)
        self._taken += 1
        if before is not None and after is not None:
            self._count_classes(error, before, after)

    def _count_classes(self, error: SampleError, before: int, after: int) -> None:
        self._class_samples += 1
        self._float_classes[before] += 1
        self._is_labelled = self._is_labelled or error.label is not None
        if before == after:
            return
        self._changed_count += 1
        _keep(self._changed, error, self._taken, CHANGED)
        self._swaps[before, after] += 1
        self._right[before, after, "float"] += error.label == before
        self._right[before, after, "payload"] += error.label == after

    def result(self) -> SampleErrors:
        """Return what was seen so far."""
        ordered = sorted(self._swaps.items(), key=lambda item: (-item[1], item[0]))
        return SampleErrors(
            sample_count=self._taken,
            class_samples=self._class_samples,
            changed_count=self._changed_count,
            worst=_worst_first(self._worst),
            changed=_worst_first(self._changed),
            swaps=tuple(
                ClassSwap(
                    float_class=before,
                    payload_class=after,
                    count=count,
                    float_class_count=self._float_classes[before],
                    float_right=self._right[before, after, "float"] if self._is_labelled else None,
                    payload_right=self._right[before, after, "payload"] if self._is_labelled else None,
                )
                for (before, after), count in ordered[:SWAPS]
            ),
        )


def _keep(heap: list[tuple[float, int, SampleError]], error: SampleError, order: int, count: int) -> None:
    """Keep the ``count`` samples of lowest SQNR; of equal ones the first."""
    if error.sqnr_db is None:
        return
    entry = (-error.sqnr_db, -order, error)
    if len(heap) < count:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)


def _worst_first(heap: list[tuple[float, int, SampleError]]) -> tuple[SampleError, ...]:
    return tuple(error for _, _, error in sorted(heap, key=lambda entry: entry[:2], reverse=True))
