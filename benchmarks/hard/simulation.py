"""A target's plan in the simulator, as a contestant: for devices that round as no engine here does."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model import load
from host_tools.plan.plan_file import decode
from host_tools.simulate import simulate
from host_tools.target_profiles import load_profiles

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from host_tools.simulate import Simulator


class SimulationContestant:
    """A `Contestant` that computes what hardware should output."""

    doors = "float32 → float32"

    def __init__(self, simulator: Simulator, name: str) -> None:
        self._simulator = simulator
        self._name = name
        self._feeds: dict[str, NDArray[np.float32]] = {}
        self._output: dict[str, NDArray[np.float64]] = {}

    def feed(self, sample: NDArray[np.float32]) -> None:
        """See `Contestant.feed`."""
        self._feeds = {self._name: sample}

    def run(self) -> None:
        """See `Contestant.run`."""
        self._output = self._simulator.run(self._feeds)

    def scores(self) -> NDArray[np.float64]:
        """See `Contestant.scores`."""
        return np.asarray(next(iter(self._output.values())), np.float64).reshape(-1)


def open_simulation(folder: Path, target: str) -> SimulationContestant:
    """Load what a conversion wrote for a target: its plan, and the float model beside it (``model_float.onnx``), which the plan is for.

    Raises:
        EdgewrightError: A file is absent, or the two do not belong together.
    """
    [profile] = load_profiles([target])
    plan = decode((folder / "plan.json").read_bytes(), where="plan.json")
    # The plan names the model in memory, which the stages may have rewritten; written to a file it has another digest.
    model = dataclasses.replace(load(folder / "model_float.onnx"), digest=plan.model_digest)
    return SimulationContestant(simulate(model, plan, profile), model.inputs[0].name)
