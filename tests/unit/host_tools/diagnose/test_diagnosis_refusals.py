"""What a diagnosis cannot go on with is named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from host_tools.diagnose.layer_runner import LayerRunner
from host_tools.diagnose.layers import layers_of
from host_tools.diagnose.measuring import FEWEST_SAMPLES, MOST_SAMPLES, Bench, sample_count_for
from host_tools.diagnose.propagation import FLOAT, Propagation
from host_tools.errors import DataError, LoweringError, ModelError
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.progress import Silent
from tests.unit.host_tools.diagnose.networks import Planned, planned
from tests.unit.host_tools.lower.lowering_cases import CASES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def network(tmp_path: Path) -> Planned:
    return planned(CASES[0].proto(), tmp_path, "x86_64-onnxruntime")


def test_a_bias_that_overflows(network: Planned) -> None:
    name, bias = next((name, one) for name, one in network.plan.tensors.items() if one.role == "bias")
    assert bias.qparams is not None
    fine = replace(bias.qparams, scale=tuple(1e-30 for _ in bias.qparams.scale))
    plan = replace(network.plan, tensors={**network.plan.tensors, name: replace(bias, qparams=fine)})
    with pytest.raises(LoweringError, match="overflow"):
        LayerRunner(network.model, plan, layers_of(network.model, plan), rounding="half_even")


def test_a_layer_that_fails_when_it_runs(network: Planned) -> None:
    layers = layers_of(network.model, network.plan)
    runner = LayerRunner(network.model, network.plan, layers, rounding="half_even")
    with pytest.raises(ModelError, match="failed while running"):
        Propagation(runner, layers, network.plan).run({"x": np.zeros((1, 4, 3, 3), np.float32)}, FLOAT)


class Vanishing:
    """A source of samples whose storage is emptied after it was opened."""

    where = "test"

    def __len__(self) -> int:
        return 4

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        return iter(())

    def ids(self) -> Iterator[str]:
        return iter(())

    def fingerprint(self, count: int) -> str | None:
        return None


def test_samples_that_are_gone(network: Planned) -> None:
    gone = CalibrationSet(Vanishing(), network.model.inputs)
    bench = Bench(network.model, network.model, network.plan, rounding="half_even", data=gone, threads=1)
    with pytest.raises(DataError):
        bench.measure(Silent())


def test_deep_networks_are_run_on_fewer_samples() -> None:
    assert sample_count_for(0) == sample_count_for(60) == MOST_SAMPLES
    assert sample_count_for(100) == FEWEST_SAMPLES
    assert sample_count_for(100_000) == FEWEST_SAMPLES
