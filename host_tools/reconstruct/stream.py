"""`Stream`: samples on their way through the steps, float and quantized side by side, as many as fit into memory.

What later steps still read of a sample is kept, and nothing else. Where maps are large few samples fit, but each has thousands of places;
where they are small more samples are taken in: a new one is run through all steps before, which are finished and do not change any more.
When no more are to come the steps behind are let go: each holds its weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.plan.codes import codes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.model.topology import Network
    from host_tools.observe.calibration_set import CalibrationSet, Sample
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from host_tools.reconstruct.steps import Step, StepRunner
    from targets.profile import Rounding

    Arrays = dict[str, NDArray[np.generic]]

MEMORY_BYTES: Final = 384 << 20
"""Of what is kept of all samples together."""


@dataclass(slots=True, kw_only=True, eq=False)
class Traveller:
    """One sample: what is still needed of it.

    Attributes:
        id: Of the sample, for messages.
        exact: Float values by name.
        quantized: Codes, or floats where a value is not quantized, by name.
    """

    id: str
    exact: Arrays
    quantized: Arrays


@dataclass(slots=True, kw_only=True, eq=False)
class Stream:
    """All samples that are on their way.

    Attributes:
        steps: All steps.
        data: Where samples come from.
        inputs: Parameters of each model input that is quantized.
        sizes: How many samples may be on their way at each step.
        rounding: What becomes of halves where an input is quantized.
        travellers: The samples.
    """

    steps: Sequence[Step]
    data: CalibrationSet
    inputs: Mapping[str, QParams]
    sizes: Sequence[int]
    rounding: Rounding = "half_even"
    travellers: list[Traveller] = field(default_factory=list)
    _finished: int = 0
    _finished_runners: list[tuple[StepRunner, StepRunner]] = field(default_factory=list)
    _last_reads: dict[str, int] = field(default_factory=dict)
    _waiting: Iterator[Sample] | None = None

    def __post_init__(self) -> None:
        for index, step in enumerate(self.steps):
            self._last_reads.update(dict.fromkeys(step.reads, index))

    def fill(self) -> None:
        """Take in as many samples as the next step has room for.

        Raises:
            DataError: A sample cannot be read.
            ModelError: ONNX Runtime failed.
        """
        if self._waiting is None:
            self._waiting = iter(self.data)
        while len(self.travellers) < self.sizes[self._finished]:
            sample = next(self._waiting)
            traveller = Traveller(
                id=sample.id,
                exact=dict(sample.arrays),
                quantized={name: self._taken_in(name, array) for name, array in sample.arrays.items()},
            )
            for index, (exact, quantized) in enumerate(self._finished_runners):
                self._advance(traveller, index, exact, quantized)
            self.travellers.append(traveller)

    def exact_results(self, exact: StepRunner) -> Iterator[tuple[Traveller, Arrays]]:
        """Run the next step in float on every sample; `finish` will not do it again.

        Yields:
            Each sample, with what it had before the step, and what the step gives, inner values included.

        Raises:
            ModelError: ONNX Runtime failed.
        """
        for traveller in self.travellers:
            found = exact.run(traveller.exact)
            yield traveller, found
            traveller.exact.update((name, found[name]) for name in self.steps[self._finished].writes)

    def finish(self, exact: StepRunner, quantized: StepRunner) -> None:
        """Run all samples through the next step, which is what it will be from now on.

        Raises:
            ModelError: ONNX Runtime failed.
        """
        for traveller in self.travellers:
            self._advance(traveller, self._finished, exact, quantized)
        self._finished += 1
        if len(self.travellers) < self.sizes[-1]:
            self._finished_runners.append((exact, quantized))
        else:
            self._finished_runners.clear()

    def _advance(self, traveller: Traveller, index: int, exact: StepRunner, quantized: StepRunner) -> None:
        written = self.steps[index].writes
        if any(name not in traveller.exact for name in written):
            found = exact.run(traveller.exact)
            traveller.exact.update((name, found[name]) for name in written)
        traveller.quantized.update(quantized.run(traveller.quantized))
        for side in (traveller.exact, traveller.quantized):
            for name in [name for name in side if self._last_reads.get(name, -1) <= index]:
                del side[name]

    def _taken_in(self, name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
        qparams = self.inputs.get(name)
        if qparams is None:
            return array
        codes = codes_of(np.asarray(array, np.float64), qparams, self.rounding)
        return codes.astype(qparams.dtype)


def sizes_of(
    steps: Sequence[Step],
    network: Network,
    plan: QuantizationPlan,
    samples: int,
    *,
    memory: int = MEMORY_BYTES,
) -> tuple[int, ...]:
    """Return how many samples may be on their way at each step: never fewer than before, at least one.

    Args:
        steps: All steps.
        network: For the values' shapes.
        plan: Which values are codes.
        samples: How many there are.
        memory: Bytes that may be kept of all samples.
    """
    last_reads: dict[str, int] = {}
    for index, step in enumerate(steps):
        last_reads.update(dict.fromkeys(step.reads, index))
    live = {name: _bytes(name, network, plan) for name in network.inputs}
    room: list[int] = []
    for index, step in enumerate(steps):
        live.update((name, _bytes(name, network, plan)) for name in step.writes)
        room.append(max(1, min(samples, memory // max(1, sum(live.values())))))
        live = {name: size for name, size in live.items() if last_reads.get(name, -1) > index}
    return tuple(min(room[index:]) for index in range(len(room)))


def _bytes(name: str, network: Network, plan: QuantizationPlan) -> int:
    value = network.values[name]
    elements = math.prod(value.shape.numpy()) if value.shape is not None else 1
    qparams = plan.tensors[name].qparams
    return elements * (4 + (4 if qparams is None else np.dtype(qparams.dtype).itemsize))
