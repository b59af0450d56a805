"""What the device itself should output, for targets that are not on the desk: the simulator beside the engine that stands in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from host_tools.simulate import simulate
from host_tools.verify.metrics import OutputComparison
from host_tools.verify.verification_report import Simulation

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from host_tools.verify.candidate import Candidate

    Arrays = Mapping[str, NDArray[np.generic]]
    RealArrays = Mapping[str, NDArray[np.float64]]

SAMPLES: Final = 16
"""Exact integer arithmetic in NumPy takes ten to a hundred times as long as an engine."""


class SimulatedContestant:
    """Takes the first samples beside a contestant's engine."""

    def __init__(self, candidate: Candidate) -> None:
        """Prepare the simulation.

        Raises:
            VerificationError: The plan has what the simulator does not know.
        """
        self._simulator = simulate(candidate.model, candidate.plan, candidate.profile)
        self._against_float = OutputComparison()
        self._against_engine = OutputComparison()
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
        for name, values in self._simulator.run(arrays).items():
            self._against_float.add(expected[name], values.reshape(expected[name].shape))
            self._against_engine.add(engine[name], values.reshape(engine[name].shape))

    def result(self) -> Simulation:
        """Return what was seen so far."""
        return Simulation(
            sample_count=self._taken,
            sqnr_db=self._against_float.sqnr_db,
            same_top_class=self._against_float.same_top_class,
            engine_sqnr_db=self._against_engine.sqnr_db,
        )
