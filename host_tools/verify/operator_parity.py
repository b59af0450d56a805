"""`OperatorMeter`: every operator of a payload by itself, on the inputs that the engine really had, beside the plan's exact arithmetic.

A network magnifies a single code until its outputs say nothing of where it came from. One operator magnifies nothing: engines that compute
what was planned are within one code everywhere, and a wrong scale, zero point or rounding is far outside.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.errors import LoweringError, ModelError, VerificationError
from host_tools.model.topology import network_of
from host_tools.plan.left_in_float import left_in_float
from host_tools.simulate import simulate
from host_tools.simulate.known_differences import KNOWN_DIFFERENCES
from host_tools.verify.metrics import CodeComparison
from host_tools.verify.verification_report import OperatorParity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from host_tools.simulate.known_differences import KnownDifference
    from host_tools.simulate.simulator import OneOperator, Simulator
    from host_tools.verify.candidate import Candidate
    from targets.profile import Format

SAMPLES: Final = 2
"""Few, since every operator has many outputs, and exact arithmetic takes ten to a hundred times as long as an engine."""

_WORST: Final = 8
_LEAST_EQUAL: Final = 0.999
_ROOM: Final = 0.15
"""How much fewer codes may be equal than on the random networks that known differences were seen on; rounding down leaves half of them."""

_LEAST_WITHIN_ONE: Final = 0.99
_SURE: Final = 3.0
"""Standard deviations by which few codes may miss a share by chance."""

_NARROW_BITS: Final = 8
_NARROW_STEP: Final = 256
_UNKNOWN = (LoweringError, ModelError, VerificationError)
"""What the simulator says of what it cannot compute."""

_KERNELS: Mapping[Format, tuple[str, str]] = MappingProxyType(
    {
        "onnx_qdq": ("x86_64-onnxruntime", "ONNX Runtime"),
        "openvino_ir": ("x86_64-openvino", "OpenVINO"),
        "tflite": ("cortex-a-tflite", "LiteRT built-in"),
    }
)
"""Whose kernels show their tensors, and the target in the table of known differences that runs on them."""


class OperatorMeter:
    """Takes the first samples of one payload, with the tensors inside.

    Attributes:
        inputs: Inputs of the model whose codes the payload shows.
        note: Why operators were not compared, for people; empty where they were.
    """

    def __init__(self, candidate: Candidate) -> None:
        self.note = ""
        self.inputs = tuple(
            spec.name for spec in candidate.model.inputs if spec.name in candidate.payload.tensor_names
        )
        self._candidate = candidate
        self._floats = _never_codes(candidate)
        self._taken = 0
        self._operators: dict[str, str] = {}
        self._codes: dict[str, CodeComparison] = {}
        self._simulator: Simulator | None = None
        try:
            self._simulator = simulate(
                candidate.model,
                candidate.plan,
                candidate.profile,
                requantization=None if candidate.payload.format == "tflite" else "half_even",
            )
        except _UNKNOWN as error:
            self.note = f"Its operators were not compared one by one: {error}"

    @property
    def is_full(self) -> bool:
        """Whether it has all samples that it wants."""
        return self._simulator is None or self._taken == SAMPLES

    def add(self, found: Iterable[tuple[str, NDArray[np.float64]]]) -> None:
        """Take one sample.

        Args:
            found: Names and real values of inputs and activations as the engine had them, in the canonical layout.
        """
        if self._simulator is None:
            return
        self._taken += 1
        try:
            for one in self._simulator.one_by_one(self._comparable(found)):
                self._count(one)
        except _UNKNOWN as error:
            self._simulator, self.note = None, f"Its operators were not compared one by one: {error}"
            self._codes.clear()

    def _comparable(
        self, found: Iterable[tuple[str, NDArray[np.float64]]]
    ) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Leave out what has no codes: floats of the payload, and NaN or infinities, which are told elsewhere."""
        return (
            (name, values) for name, values in found if name not in self._floats and np.isfinite(values).all()
        )

    def _count(self, one: OneOperator) -> None:
        qparams = self._candidate.plan.tensors[one.value].qparams
        is_wide = qparams is not None and qparams.dtype == "int16"
        expected, found = (codes.astype(np.int64) for codes in (one.codes, one.found))
        if is_wide and self._candidate.profile.activations.bits == _NARROW_BITS:
            found = expected + np.trunc((found - expected) / _NARROW_STEP).astype(np.int64)
        self._operators[one.value] = one.operator
        self._codes.setdefault(one.value, CodeComparison()).add(expected, found)

    @property
    def count(self) -> int:
        """Operators compared."""
        return len(self._codes)

    def result(self) -> tuple[OperatorParity, ...]:
        """Return the operators that are off, and others whose codes differ, at most `_WORST`; the worst first."""
        seen = [self._parity(value, codes) for value, codes in self._codes.items()]
        differing = [one for one in seen if one.equal_share < 1.0]
        return tuple(sorted(differing, key=lambda one: (not one.is_off, one.equal_share))[:_WORST])

    def _parity(self, value: str, codes: CodeComparison) -> OperatorParity:
        operator = self._operators[value]
        equal, within_one = codes.equal / codes.count, codes.within_one / codes.count
        known = self._known(operator)
        least_equal = (known.least_equal if known else _LEAST_EQUAL) - _ROOM
        least_within = (
            known.least_within_one - _ROOM
            if known and known.least_within_one < _LEAST_WITHIN_ONE
            else _LEAST_WITHIN_ONE
        )
        return OperatorParity(
            value=value,
            operator=operator,
            code_count=codes.count,
            max_lsb=codes.largest,
            equal_share=equal,
            within_one_share=within_one,
            is_off=_is_below(equal, least_equal, codes.count)
            or _is_below(within_one, least_within, codes.count),
        )

    def _known(self, operator: str) -> KnownDifference | None:
        target, kernels = _KERNELS[self._candidate.payload.format]
        return next(
            (
                known
                for known in KNOWN_DIFFERENCES
                if (known.target, known.kernels) == (target, kernels)
                and operator in {name.partition(" ")[0] for name in known.operators}
            ),
            None,
        )


def _is_below(share: float, limit: float, count: int) -> bool:
    """Tell whether a share of so many codes is below a limit by more than chance."""
    return share < limit - _SURE * math.sqrt(limit * (1.0 - limit) / count)


def _never_codes(candidate: Candidate) -> frozenset[str]:
    """Return the values that the plan has as codes and the payload as floats."""
    nodes = candidate.plan.nodes
    return left_in_float(
        network_of(candidate.model.graph),
        candidate.profile,
        lambda name: nodes[name].precision in ("int8", "int16"),
    )
