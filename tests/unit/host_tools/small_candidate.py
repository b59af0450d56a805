"""The small network as far as a payload, for tests that break one thing behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from host_tools.verify.candidate import Candidate
from targets import catalog
from tests.e2e.small_network import samples, write_network

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.model import FloatModel


def small_candidate(folder: Path, target: str, recipe: Recipe | None = None) -> tuple[FloatModel, Candidate]:
    """Return the float model and one target's plan and payload of it."""
    model = load(write_network(folder / "small.onnx"))
    np.save(folder / "data.npy", samples(4))
    data = open_data(folder / "data.npy", inputs=model.inputs)
    statistics = observe(model, data, histograms=False, threads=1, progress=Silent())
    profile = catalog.load(target)
    planned = plan(model, statistics, profile, recipe or Recipe(method="minmax"))
    return model, Candidate(
        profile=profile, model=model, plan=planned, payload=lower(model, planned, profile)
    )
