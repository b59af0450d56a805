"""Run the samples: local error of every layer, and what each layer costs at the network's outputs."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from host_tools.diagnose.layer_runner import LayerRunner
from host_tools.diagnose.layers import layers_of
from host_tools.diagnose.local_error import local_error
from host_tools.diagnose.output_noise import OutputNoise
from host_tools.diagnose.propagation import FLOAT, QUANTIZED, Propagation, Setting
from host_tools.errors import DataError
from host_tools.model.channel_axes import channel_axes
from host_tools.model.graph_editor import static_shape
from host_tools.model.reference import FloatRunner
from host_tools.observe.parallel import side_by_side

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.diagnose.layers import Layer
    from host_tools.diagnose.local_error import LocalError
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet, Sample
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from targets.profile import Rounding

    Values = Mapping[str, NDArray[np.generic]]

MOST_RUNS = 512
"""Half runs of the network that one target may cost; of deeper networks fewer samples are run."""

MOST_SAMPLES = 4
FEWEST_SAMPLES = 2
_WORKSPACE_BYTES = 1 << 30
_RUNS_HELD = 3  # all values in float, all quantized, and what one layer changes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Sums over the samples.

    Attributes:
        sample_count: Samples.
        signal: Power of the original model's outputs, every part of them by its own weight (`OutputNoise`).
        noise: Power of the errors of the outputs with everything quantized, weighted likewise.
        alone: The same with one layer alone quantized, against the plan's own model, by rank.
        without: The same with every layer quantized but one, by rank.
        local: Error of each value, by name.
    """

    sample_count: int
    signal: float
    noise: float
    alone: Mapping[int, float]
    without: Mapping[int, float]
    local: Mapping[str, LocalError]


class Bench:
    """One plan, ready to be measured on samples."""

    def __init__(
        self,
        original: FloatModel,
        model: FloatModel,
        plan: QuantizationPlan,
        *,
        rounding: Rounding,
        data: CalibrationSet,
        threads: int,
    ) -> None:
        """Make a session a layer.

        Args:
            original: The float model that outputs are compared with.
            model: The model that the plan is about; inner values are compared with its own.
            plan: The plan.
            rounding: How the target rounds weights.
            data: Samples; the first few are used.
            threads: Samples that are run at the same time.

        Raises:
            DataError: A sample cannot be read.
            ModelError: ONNX Runtime refuses a layer or fails.
            LoweringError: A constant does not fit its parameters.
        """
        self.layers = layers_of(model, plan)
        graph = model.graph.graph
        self._axes = channel_axes([one for one in graph.inputs if not one.is_initializer()], list(graph))
        self.plan = plan
        self.switches = [layer for layer in self.layers if layer.copies is None and is_quantized(layer, plan)]
        self.sample_count = min(len(data), sample_count_for(len(self.switches)))
        self._runner = LayerRunner(model, plan, self.layers, rounding=rounding)
        self._propagation = Propagation(self._runner, self.layers, plan)
        self._original = FloatRunner(original, threads=1)
        computed = {name for layer in self.layers for name in layer.outputs}
        outputs = tuple(spec.name for spec in original.outputs if spec.name in computed)
        self._inputs = tuple(spec.name for spec in original.inputs)
        self._data = data
        self._at_outputs = OutputNoise(
            original, outputs, (self._original.run(sample.arrays) for sample in self._samples())
        )
        self._workers = max(1, min(threads, self.sample_count, _WORKSPACE_BYTES // _bytes_of_a_run(model)))

    def measure(self, progress: Progress) -> Measured:
        """Run every sample with each layer alone quantized, and with each alone exact.

        Raises:
            DataError: A sample cannot be read.
            ModelError: ONNX Runtime failed.
        """
        total: Measured | None = None
        with closing(side_by_side(self._samples(), self._measure_one, workers=self._workers)) as results:
            for _, found in results:
                total = found if total is None else _sum(total, found)
                progress.step()
        if total is None:
            raise DataError("The samples to diagnose are gone: there were some when they were opened.")
        return total

    def try_settings(self, settings: Sequence[Setting], progress: Progress) -> list[float]:
        """Return the noise of the outputs in each setting, summed over the samples that `measure` takes.

        Raises:
            DataError: A sample cannot be read.
            ModelError: ONNX Runtime failed.
        """

        def work(_: int, sample: Sample) -> list[float]:
            expected = self._original.run(sample.arrays)
            values = self._propagation.run(self._feeds(sample), QUANTIZED)
            return [
                self._at_outputs.noise(expected, self._propagation.change(values, sample.arrays, setting))
                for setting in settings
            ]

        total = np.zeros(len(settings))
        with closing(side_by_side(self._samples(), work, workers=self._workers)) as results:
            for _, noises in results:
                total += noises
                progress.step()
        return [float(noise) for noise in total]

    def _samples(self) -> islice[Sample]:
        return islice(iter(self._data), self.sample_count)

    def _feeds(self, sample: Sample) -> dict[str, NDArray[np.generic]]:
        return {name: sample.arrays[name] for name in self._inputs}

    def _measure_one(self, _: int, sample: Sample) -> Measured:
        feeds = self._feeds(sample)
        expected = self._original.run(sample.arrays)
        exact = self._propagation.run(feeds, FLOAT)
        local: dict[str, LocalError] = {}
        for layer in self.layers:
            if is_quantized(layer, self.plan):
                local |= self._local(layer, exact)
        alone = {}
        for layer in self.switches:
            setting = Setting(quantized=False, layers=frozenset({layer.rank}), weights=True, output=True)
            changed = self._propagation.change(exact, feeds, setting)
            alone[layer.rank] = self._at_outputs.noise(exact, changed)
        del exact
        quantized = self._propagation.run(feeds, QUANTIZED)
        without = {}
        for layer in self.switches:
            setting = Setting(quantized=True, layers=frozenset({layer.rank}))
            changed = self._propagation.change(quantized, feeds, setting)
            without[layer.rank] = self._at_outputs.noise(expected, changed)
        return Measured(
            sample_count=1,
            signal=self._at_outputs.signal(expected),
            noise=self._at_outputs.noise(expected, quantized),
            alone=alone,
            without=without,
            local=local,
        )

    def _local(self, layer: Layer, exact: Values) -> dict[str, LocalError]:
        shifted: Sequence[NDArray[np.generic] | None] = [None] * len(layer.outputs)
        if layer.weights:
            shifted = self._runner.run(
                layer, exact, quantized_weights=True, is_edge_quantized=lambda _: False
            )
        return {
            name: local_error(
                np.asarray(exact[name], np.float32),
                None if array is None else np.asarray(array, np.float32),
                self.plan.tensors[name].qparams,
                axis=self._axes[name],
            )
            for name, array in zip(layer.outputs, shifted, strict=True)
            if exact[name].dtype == np.float32
        }


def is_quantized(layer: Layer, plan: QuantizationPlan) -> bool:
    """Tell whether anything of a layer is in codes."""
    return bool(layer.weights) or any(plan.tensors[name].qparams is not None for name in layer.outputs)


def sample_count_for(layers: int) -> int:
    """Return on how many samples a network of so many layers is looked at, so that `MOST_RUNS` are not exceeded by much."""
    return max(FEWEST_SAMPLES, min(MOST_SAMPLES, MOST_RUNS // max(2 * layers, 1)))


def _bytes_of_a_run(model: FloatModel) -> int:
    """Return what a worker holds at most, at least 1."""
    elements = sum(
        math.prod(static_shape(value) or ()) for node in model.graph.graph for value in node.outputs
    )
    return max(1, _RUNS_HELD * 4 * elements)


def _sum(one: Measured, other: Measured) -> Measured:
    return Measured(
        sample_count=one.sample_count + other.sample_count,
        signal=one.signal + other.signal,
        noise=one.noise + other.noise,
        alone={rank: noise + other.alone[rank] for rank, noise in one.alone.items()},
        without={rank: noise + other.without[rank] for rank, noise in one.without.items()},
        local={name: error.plus(other.local[name]) for name, error in one.local.items()},
    )
