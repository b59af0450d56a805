"""`ParityMeter`: an engine beside the plan's own arithmetic: codes apart, and what of the outputs' accuracy the engine loses by it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.verify.metrics import CodeComparison
from host_tools.verify.output_parts import OutputsComparison
from host_tools.verify.verification_report import Parity
from targets.profile import CLUSTERED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from host_tools.verify.operator_parity import OperatorMeter
    from host_tools.verify.output_parts import OutputParts
    from targets.profile import CapabilityProfile, Rounding

    RealArrays = Mapping[str, NDArray[np.float64]]

SAMPLES: Final = 32
"""The unoptimized reference runs twenty times slower than the engines."""

_NARROW_STEP: Final = 256
_MOST_DECIBELS: Final = 60.0
"""What a sample without any noise counts as."""
_ROUNDED: Mapping[Rounding, str] = MappingProxyType(
    {"half_up": "up", "half_away_from_zero": "away from zero"}
)


class ParityMeter:
    """Takes the first samples of one payload."""

    def __init__(self, plan: QuantizationPlan, profile: CapabilityProfile, parts: OutputParts) -> None:
        self._plan = plan
        self._profile = profile
        self._parts = parts
        self._codes = CodeComparison()
        self._engine, self._arithmetic, self._apart = (OutputsComparison(parts) for _ in range(3))
        self._losses: list[float] = []
        self._max_unplanned: float | None = None

    @property
    def is_full(self) -> bool:
        """Whether it has all samples that it wants."""
        return len(self._losses) == SAMPLES

    def add(self, float_outputs: RealArrays, arithmetic: RealArrays, engine: RealArrays) -> None:
        """Take one sample.

        Args:
            float_outputs: The float model's outputs.
            arithmetic: Those of the plan's arithmetic, all or some.
            engine: The engine's, dequantized.
        """
        exact, found, expected = (
            {name: outputs[name] for name in arithmetic} for outputs in (float_outputs, engine, arithmetic)
        )
        self._engine.add(exact, found)
        self._arithmetic.add(exact, expected)
        self._apart.add({name: expected[name].reshape(exact[name].shape) for name in exact}, found)
        self._losses.append(self._decibels(exact, expected) - self._decibels(exact, found))
        for name, values in expected.items():
            qparams = self._plan.tensors[name].qparams
            if qparams is None:
                apart = np.abs(values.reshape(-1) - found[name].reshape(-1)).max(initial=0.0)
                self._max_unplanned = max(float(apart), self._max_unplanned or 0.0)
            else:
                step = qparams.scale[0] * (_NARROW_STEP if self._is_widened(qparams) else 1)
                codes = (
                    np.rint(array.reshape(-1) / step).astype(np.int64) for array in (values, found[name])
                )
                self._codes.add(*codes)

    def _decibels(self, exact: RealArrays, found: RealArrays) -> float:
        """SQNR of one sample by itself."""
        alone = OutputsComparison(self._parts)
        alone.add(exact, found)
        return _MOST_DECIBELS if alone.sqnr_db is None else min(alone.sqnr_db, _MOST_DECIBELS)

    def _is_widened(self, qparams: QParams) -> bool:
        """Tell whether a value has 16 bits where the target's tolerance speaks of 8: one code of an operator before it is 256 of its own."""
        return qparams.dtype == "int16" and self._profile.activations.bits == 8

    def result(self, operators: OperatorMeter) -> Parity | None:
        """Return what was seen so far, with each operator by itself; None when there was no sample."""
        seen, losses = self._codes, np.asarray(self._losses)
        if not losses.size:
            return None
        within_one = seen.within_one / seen.count if seen.count else None
        return Parity(
            reference=self._reference(),
            sample_count=losses.size,
            max_lsb=seen.largest if seen.count else None,
            mean_lsb=seen.absolute_sum / seen.count if seen.count else None,
            equal_share=seen.equal / seen.count if seen.count else None,
            within_one_share=within_one,
            engine_sqnr_db=self._engine.sqnr_db,
            plan_sqnr_db=self._arithmetic.sqnr_db,
            apart_sqnr_db=self._apart.sqnr_db,
            lost_db=float(losses.mean()),
            doubt_db=_standard_error(losses),
            within_tolerance=within_one is None or within_one >= self._profile.parity.min_share_within_one,
            operator_count=operators.count,
            operators=operators.result(),
            max_unplanned=self._max_unplanned,
        )

    def _reference(self) -> str:
        """Name what parity is measured against, and what of the target that reference does not imitate."""
        if self._plan.precision == "int8-dynamic":
            return f"the payload itself, unoptimized, in ONNX Runtime, on {len(self._losses)} samples"
        if self._plan.precision == "weights-float16":
            return f"the float graph with its weights rounded to float16, in ONNX Runtime, on {len(self._losses)} samples"
        if self._plan.precision in CLUSTERED:
            return f"the float graph with the numbers of its weights' codebooks, in ONNX Runtime, on {len(self._losses)} samples"
        if self._plan.precision != "int8":
            return f"the float graph with the numbers that the weights' codes stand for, in ONNX Runtime, on {len(self._losses)} samples"
        name = f"the plan's QDQ graph, unoptimized, in ONNX Runtime, on {len(self._losses)} samples"
        other = _ROUNDED.get(self._profile.rounding.requantization)
        return f"{name}; it rounds halves to even where the target rounds them {other}" if other else name


def _standard_error(values: NDArray[np.float64]) -> float | None:
    """Return that of the mean; None where one sample tells nothing of it."""
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else None
