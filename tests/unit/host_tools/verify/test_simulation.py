"""The simulator in verification: only for targets that are not here, on the first samples, and an overflow is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from host_tools.errors import VerificationError
from host_tools.model.reference import FloatRunner
from host_tools.observe import open_data
from host_tools.progress import Silent
from host_tools.verify.candidate import Candidate, Evaluation
from host_tools.verify.output_parts import OutputParts
from host_tools.verify.simulation import SAMPLES, SimulatedContestant
from host_tools.verify.verification_report import Budget, TargetReport
from host_tools.verify.verifier import verify
from tests.e2e.small_network import samples
from tests.unit.host_tools.small_candidate import small_candidate

COUNT = SAMPLES + 4


def verified(folder: Path, target: str) -> tuple[Candidate, TargetReport]:
    model, candidate = small_candidate(folder, target)
    np.save(folder / "evaluation.npy", samples(COUNT, seed=3))
    data = open_data(folder / "evaluation.npy", inputs=model.inputs)
    found = verify(
        model,
        [candidate],
        evaluation=Evaluation(data=data, labels=None, metric=None, origin="evaluation.npy"),
        budget=Budget(min_agreement=0.0, min_sqnr_db=-20.0),
        calibration_samples=4,
        threads=1,
        latency=False,
        made_with={},
        progress=Silent(),
    )
    return candidate, found.report.targets[0]


def test_a_target_that_is_not_here_is_simulated_on_the_first_samples(tmp_path: Path) -> None:
    _, report = verified(tmp_path, "amd-vitis-dpu")
    assert report.simulation is not None
    assert report.simulation.sample_count == SAMPLES
    assert report.simulation.sqnr_db is not None
    assert report.agreement.sqnr_db is not None
    assert abs(report.simulation.sqnr_db - report.agreement.sqnr_db) < 3.0
    assert (
        report.simulation.engine_sqnr_db is None
        or report.simulation.engine_sqnr_db > report.simulation.sqnr_db
    )


def test_a_target_whose_engine_is_here_is_not(tmp_path: Path) -> None:
    _, report = verified(tmp_path, "cortex-a-tflite")
    assert report.simulation is None


def test_a_sum_beyond_the_accumulator_is_told_and_ends_the_simulation_alone(tmp_path: Path) -> None:
    model, candidate = small_candidate(tmp_path, "amd-vitis-dpu")
    narrow = dataclasses.replace(
        candidate.profile, accumulator=dataclasses.replace(candidate.profile.accumulator, bits=9)
    )
    candidate = dataclasses.replace(candidate, profile=narrow)
    simulated = SimulatedContestant(candidate, OutputParts(model))
    arrays = {"images": samples(1, seed=3)}
    expected = {
        name: np.asarray(array, np.float64)
        for name, array in FloatRunner(model, threads=1).run(arrays).items()
    }
    with pytest.raises(VerificationError, match="accumulator"):
        simulated.add(arrays, expected, expected)
    np.save(tmp_path / "evaluation.npy", samples(2, seed=3))
    found = verify(
        model,
        [candidate],
        evaluation=Evaluation(
            data=open_data(tmp_path / "evaluation.npy", inputs=model.inputs),
            labels=None,
            metric=None,
            origin="evaluation.npy",
        ),
        budget=Budget(min_agreement=0.0, min_sqnr_db=-20.0),
        calibration_samples=4,
        threads=1,
        latency=False,
        made_with={},
        progress=Silent(),
    )
    (report,) = found.report.targets
    assert report.simulation is None
    assert any("simulation of the target ended" in warning for warning in report.warnings)
