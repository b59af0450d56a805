"""`Yardstick`: what a plan is worth, on samples that are kept from every fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.mixed_precision.costs import multiplications_of
from host_tools.model.reference import FloatRunner
from host_tools.verify.contestant import plan_arithmetic
from host_tools.verify.output_parts import OutputParts, OutputsComparison

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile

_MOST_SAMPLES: Final = 24
_LEAST_SHARE: Final = 5
"""At most one sample in so many is kept from the fits."""
_QUICK_MULTIPLICATIONS: Final = 10_000_000_000
"""Multiply-accumulates of all calibration samples together: 200 of MobileNet-0.25 at 96 x 96 take 1.5e9, 200 of EfficientNet-Lite0 80e9."""
_MOST_DECIBELS: Final = 60.0
"""What a sample without any noise counts as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What a plan does to the outputs.

    Attributes:
        sqnr_db: Of the worst output, or part that a Concat joined to an output: boxes in pixels would hide what becomes of scores. None where
            nothing differs.
        same_top_class: Share of samples with the float model's top class; None where outputs are no classes.
        by_sample_db: Signal-to-noise ratio of each sample by itself, at most `_MOST_DECIBELS`; in the yardstick's order.
    """

    sqnr_db: float | None
    same_top_class: float | None
    by_sample_db: tuple[float, ...] = ()

    def is_better_than(self, other: Worth) -> bool:
        """Tell whether less noise is left than with another plan."""
        return self.decibels > other.decibels

    def gains(self, decibels: float, *, over: Worth) -> bool:
        """Tell whether so much less noise is left than with another plan."""
        return self.decibels >= over.decibels + decibels

    @property
    def decibels(self) -> float:
        """``sqnr_db`` as a number: infinite where nothing differs."""
        return np.inf if self.sqnr_db is None else self.sqnr_db

    def is_worse_than(self, other: Worth) -> bool:
        """Tell whether there is more noise than with another plan, sample by sample, and not by the chance of few samples.

        One sample near a boundary between classes can make most of all noise; so samples count alike, and a mean loss within one standard error
        counts as none.
        """
        losses = np.subtract(other.by_sample_db, self.by_sample_db)
        return bool(losses.mean() > losses.std() / np.sqrt(losses.size)) if losses.size else False

    def reaches(self, sqnr_db: float) -> bool:
        """Tell whether at least a signal-to-noise ratio is reached on these samples."""
        return self.decibels >= sqnr_db

    def surely_reaches(self, sqnr_db: float) -> bool:
        """Tell whether at least a signal-to-noise ratio is reached, and not by the chance of few samples: by one standard error or more."""
        return self.decibels >= sqnr_db + self.standard_error_db

    @property
    def standard_error_db(self) -> float:
        """How far chance puts a mean of so many samples off, one standard error; 0 where fewer than two samples tell nothing of it."""
        count = len(self.by_sample_db)
        return float(np.std(self.by_sample_db, ddof=1) / np.sqrt(count)) if count > 1 else 0.0


class Yardstick:
    """A few samples with the float model's outputs; the same for all targets and stages.

    Attributes:
        fitting: The samples that may be fitted to: all others, or all where there are too few to keep any.
        is_quick: Whether the model is so small that trying every stage takes seconds.
        caution: What a reader of the figures must know, to be put behind another note; mostly empty.
    """

    def __init__(self, model: FloatModel, data: CalibrationSet, *, threads: int) -> None:
        kept = min(_MOST_SAMPLES, len(data) // _LEAST_SHARE)
        self.fitting = data.without_spread(kept)
        self.caution = (
            ""
            if kept
            else f"; measured on the samples that everything is fitted to, since {len(data)} are too few to keep any back"
        )
        self.is_quick = multiplications_of(model) * len(data) <= _QUICK_MULTIPLICATIONS
        self._measured = data.spread(kept or _MOST_SAMPLES)
        self._model = model
        self._parts = OutputParts(model)
        self._threads = threads
        self._expected: list[tuple[Mapping[str, NDArray[np.generic]], dict[str, NDArray[np.float64]]]] = []

    def measure(self, model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> Worth:
        """Run a plan's own arithmetic beside the float model.

        Args:
            model: The model that the plan is for; it computes what the yardstick's does.
            plan: The plan.
            profile: Its target.

        Raises:
            DataError: A sample cannot be read.
            LoweringError: The plan cannot be written.
            ModelError: ONNX Runtime fails on the float model.
            VerificationError: ONNX Runtime refuses the plan's graph.
        """
        whole, by_sample = OutputsComparison(self._parts), []
        arithmetic = plan_arithmetic(model, plan, profile, threads=self._threads)
        for arrays, expected in self._floats():
            found = arithmetic.run(arrays)
            shared = {name: values for name, values in expected.items() if name in found}
            alone = OutputsComparison(self._parts)
            for comparison in (whole, alone):
                comparison.add(shared, found)
            by_sample.append(_MOST_DECIBELS if alone.sqnr_db is None else min(alone.sqnr_db, _MOST_DECIBELS))
        return Worth(
            sqnr_db=whole.sqnr_db,
            same_top_class=whole.same_top_class,
            by_sample_db=tuple(by_sample),
        )

    def _floats(self) -> list[tuple[Mapping[str, NDArray[np.generic]], dict[str, NDArray[np.float64]]]]:
        if not self._expected:
            runner = FloatRunner(self._model, threads=self._threads)
            self._expected = [
                (
                    sample.arrays,
                    {
                        name: np.asarray(array, np.float64)
                        for name, array in runner.run(sample.arrays).items()
                    },
                )
                for sample in self._measured
            ]
        return self._expected
