"""`with_states`: what a network with a state has in it when a sample comes, as the float model leaves it behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.options import THREADS
from host_tools.model.reference import FloatRunner

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.models.feeding import Arrays
    from benchmarks.models.zoo import Entry


def with_states(entry: Entry, folder: Path, samples: Arrays) -> Arrays:
    """Return samples, which follow one another in time, with the state before each; as they are for a network without one.

    Args:
        entry: The model.
        folder: Where its file is.
        samples: By input, the first axis the samples'.
    """
    if not entry.states:
        return samples
    model = entry.load(folder)
    runner = FloatRunner(model, threads=THREADS)
    shapes = {spec.name: spec.shape for spec in model.inputs}
    state = {given: np.zeros(shapes[given], np.float32) for given in entry.states.values()}
    before: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]] = {name: [] for name in state}
    for index in range(len(next(iter(samples.values())))):
        for name, array in state.items():
            before[name].append(array)
        found = runner.run({**{name: array[index] for name, array in samples.items()}, **state})
        state = {given: np.asarray(found[left], np.float32) for left, given in entry.states.items()}
    return {**samples, **{name: np.stack(arrays) for name, arrays in before.items()}}
