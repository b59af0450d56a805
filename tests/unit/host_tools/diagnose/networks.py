"""Networks as far as a diagnosis: planned, lowered and verified for one target, with samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx

from host_tools.diagnose.diagnoser import Subject, diagnose
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.plan.planner import needs_histograms, plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from host_tools.verify.candidate import Candidate, Evaluation
from host_tools.verify.verification_report import Budget
from host_tools.verify.verifier import verify
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from host_tools.diagnose.diagnosis import Diagnosis
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from targets.profile import CapabilityProfile

CALIBRATION = 8


@dataclass(frozen=True)
class Planned:
    """A network with its plan."""

    model: FloatModel
    statistics: Statistics
    profile: CapabilityProfile
    plan: QuantizationPlan
    data: CalibrationSet


def planned(
    network: onnx.ModelProto | Path,
    folder: Path,
    target: str,
    *,
    recipe: Recipe | None = None,
    samples: NDArray[np.generic] | None = None,
) -> Planned:
    """Observe and plan a network."""
    path = folder / "network.onnx"
    if isinstance(network, onnx.ModelProto):
        onnx.save(network, path)
    else:
        path = network
    model = load(path)
    if samples is None:
        np.savez(folder / "data.npz", **random_samples(model))
        data = open_data(folder / "data.npz", inputs=model.inputs)
    else:
        np.save(folder / "data.npy", samples)
        data = open_data(folder / "data.npy", inputs=model.inputs)
    chosen = recipe or Recipe()
    statistics = observe(model, data, histograms=needs_histograms(chosen), threads=1, progress=Silent())
    profile = catalog.load(target)
    return Planned(
        model=model,
        statistics=statistics,
        profile=profile,
        plan=plan(model, statistics, profile, chosen),
        data=data,
    )


def random_samples(model: FloatModel) -> dict[str, NDArray[np.generic]]:
    """Return samples of every input."""
    rng = np.random.default_rng(11)
    return {
        spec.name: rng.normal(0.1, 1.0, (CALIBRATION, *spec.shape)).astype(np.float32)
        for spec in model.inputs
    }


def diagnosed(network: Planned, *, evaluation: CalibrationSet | None = None) -> Diagnosis:
    """Verify and diagnose a planned network."""
    (found,) = diagnosed_together([network], evaluation=evaluation).values()
    return found


def diagnosed_together(
    networks: list[Planned], *, evaluation: CalibrationSet | None = None, progress: Progress | None = None
) -> dict[str, Diagnosis]:
    """Verify and diagnose several plans of one network."""
    model = networks[0].model
    evaluated = Evaluation(
        data=evaluation or networks[0].data, labels=None, metric=None, origin="samples of the test"
    )
    candidates = [
        Candidate(
            profile=one.profile, model=model, plan=one.plan, payload=lower(model, one.plan, one.profile)
        )
        for one in networks
    ]
    verified = verify(
        model,
        candidates,
        evaluation=evaluated,
        budget=Budget(min_agreement=0.0, min_sqnr_db=-100.0),
        calibration_samples=CALIBRATION,
        threads=1,
        latency=False,
        made_with={},
        progress=Silent(),
    )
    subjects = [
        Subject(
            model=model,
            candidate=candidate,
            statistics=one.statistics,
            report=report,
            samples=verified.samples[one.profile.id],
        )
        for one, candidate, report in zip(networks, candidates, verified.report.targets, strict=True)
    ]
    return diagnose(model, subjects, evaluation=evaluated, threads=1, progress=progress or Silent())


def without_codes(plan: QuantizationPlan, names: set[str]) -> QuantizationPlan:
    """Return a plan in which some values are as the float model has them."""
    tensors = {
        name: replace(tensor, qparams=None, values=None, codes=None) if name in names else tensor
        for name, tensor in plan.tensors.items()
    }
    return replace(plan, tensors=tensors)
