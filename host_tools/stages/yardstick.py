"""`Yardstick`: what a plan is worth, on samples that are kept from every fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.model.reference import FloatRunner
from host_tools.verify.contestant import plan_arithmetic
from host_tools.verify.metrics import OutputComparison

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What a plan does to the outputs.

    Attributes:
        sqnr_db: Over all outputs; None where nothing differs.
        same_top_class: Share of samples with the float model's top class; None where outputs are no classes.
    """

    sqnr_db: float | None
    same_top_class: float | None

    def is_better_than(self, other: Worth) -> bool:
        """Tell whether less noise is left than with another plan."""
        return (np.inf if self.sqnr_db is None else self.sqnr_db) > (
            np.inf if other.sqnr_db is None else other.sqnr_db
        )

    def reaches(self, sqnr_db: float) -> bool:
        """Tell whether at least a signal-to-noise ratio is reached."""
        return self.sqnr_db is None or self.sqnr_db >= sqnr_db


class Yardstick:
    """A few samples with the float model's outputs; the same for all targets and stages.

    Attributes:
        fitting: The samples that may be fitted to: all others, or all where there are too few to keep any.
        caution: What a reader of the figures must know, to be put behind another note; mostly empty.
    """

    def __init__(self, model: FloatModel, data: CalibrationSet, *, threads: int) -> None:
        kept = min(_MOST_SAMPLES, len(data) // _LEAST_SHARE)
        self.fitting = data.after(kept) if kept else data
        self.caution = (
            ""
            if kept
            else f"; measured on the samples that everything is fitted to, since {len(data)} are too few to keep any back"
        )
        self._measured = data.first(kept or _MOST_SAMPLES)
        self._model = model
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
        comparison = OutputComparison()
        arithmetic = plan_arithmetic(model, plan, profile, threads=self._threads)
        for arrays, expected in self._floats():
            found = arithmetic.run(arrays)
            for name, values in expected.items():
                if name in found:
                    comparison.add(values, found[name].reshape(values.shape))
        return Worth(sqnr_db=comparison.sqnr_db, same_top_class=comparison.same_top_class)

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
