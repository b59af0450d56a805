"""What the device itself should output, for targets that are not on the desk: the simulator beside the engine that stands in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from host_tools.simulate import simulate
from host_tools.verify.output_parts import OutputsComparison
from host_tools.verify.verification_report import Simulation

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from host_tools.verify.candidate import Candidate
    from host_tools.verify.output_parts import OutputParts

    Arrays = Mapping[str, NDArray[np.generic]]
    RealArrays = Mapping[str, NDArray[np.float64]]

SAMPLES: Final = 16
"""Exact integer arithmetic in NumPy takes ten to a hundred times as long as an engine."""


class SimulatedContestant:
    """Takes the first samples beside a contestant's engine."""

    def __init__(self, candidate: Candidate, parts: OutputParts) -> None:
        """Prepare the simulation.

        Args:
            candidate: What is simulated.
            parts: What of its outputs is measured by itself.

        Raises:
            VerificationError: The plan has what the simulator does not know.
        """
        self._simulator = simulate(candidate.model, candidate.plan, candidate.profile)
        self._against_float = OutputsComparison(parts)
        self._against_engine = OutputsComparison(parts)
        self._taken = 0

    def add(self, arrays: Arrays, expected: RealArrays, engine: RealArrays) -> None:
        """Simulate one sample, if it is among the first.

        Args:
            arrays: The sample.
            expected: The float model's outputs.
            engine: The engine's.

        Raises:
            DataError: An input does not fit.
            VerificationError: A sum does not fit the target's accumulator.
        """
        if self._taken == SAMPLES:
            return
        self._taken += 1
        found = self._simulator.run(arrays)
        self._against_float.add({name: expected[name] for name in found}, found)
        self._against_engine.add({name: engine[name].reshape(expected[name].shape) for name in found}, found)

    def result(self) -> Simulation:
        """Return what was seen so far."""
        return Simulation(
            sample_count=self._taken,
            sqnr_db=self._against_float.sqnr_db,
            same_top_class=self._against_float.same_top_class,
            engine_sqnr_db=self._against_engine.sqnr_db,
        )
