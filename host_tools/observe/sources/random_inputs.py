"""Made-up samples, for checks that need some input and no particular one: never for calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.model.quantized.saturation import real_range
from host_tools.model.topology import constant, is_constant, named, network_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel, TensorSpec

SAMPLES: Final = 16
_SEED: Final = 20261127


class RandomInputs:
    """Normal numbers for inputs of floats; for those of integers, rows of the tables that they look up, else 0 and 1.

    For an input that a quantized file codes, numbers spread evenly over the range that the file gives it.

    The same numbers every time.
    """

    where = "random inputs"

    def __init__(self, model: FloatModel, count: int = SAMPLES) -> None:
        self._inputs = model.inputs
        self._count = count
        self._rows = _rows_looked_up(model)
        self._ranges = _ranges_of(model)

    def __len__(self) -> int:
        return self._count

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        """See `SampleSource.samples`."""
        numbers = np.random.default_rng(_SEED)
        for index in range(self._count):
            yield str(index), {spec.name: self._array(numbers, spec) for spec in self._inputs}

    def ids(self) -> Iterator[str]:
        """See `SampleSource.ids`."""
        return map(str, range(self._count))

    def fingerprint(self, count: int) -> str | None:
        """See `SampleSource.fingerprint`."""
        return f"random inputs {_SEED}, {count}"

    def _array(self, numbers: np.random.Generator, spec: TensorSpec) -> NDArray[np.generic]:
        kind = np.dtype(spec.dtype)
        if spec.name in self._ranges:
            return numbers.uniform(*self._ranges[spec.name], spec.shape).astype(kind)
        if kind.kind == "f":
            return numbers.standard_normal(spec.shape).astype(kind)
        rows = self._rows.get(spec.name)
        if rows is None:
            # Masks come as integers too, and one that hides everything makes NaN of many networks.
            mask = numbers.integers(0, 2, spec.shape)
            mask.reshape(-1)[:1] = 1
            mask[..., :1] = 1
            return mask.astype(kind)
        return numbers.integers(0, rows, spec.shape).astype(kind)


def _ranges_of(model: FloatModel) -> dict[str, tuple[float, float]]:
    """Return the real range of each input that a quantized file codes."""
    codings = {} if model.quantization is None else model.quantization.activations
    found = {}
    for spec in model.inputs:
        if spec.name in codings:
            found[spec.name] = real_range(codings[spec.name])
    return found


def _rows_looked_up(model: FloatModel) -> dict[str, int]:
    """Return, for inputs that are rows of constant tables, how many rows the smallest of those has."""
    network = network_of(model.graph)
    found: dict[str, int] = {}
    for node in network.nodes.values():
        if node.op_type != "Gather" or not is_constant(node.inputs[0]):
            continue
        name, axis = named(node.inputs[1]), node.attributes.get("axis")
        source = network.nodes.get(network.writers.get(name, ""))
        while source is not None and source.op_type in (
            "Cast",
            "Reshape",
            "Squeeze",
            "Unsqueeze",
            "Identity",
        ):
            name = named(source.inputs[0])
            source = network.nodes.get(network.writers.get(name, ""))
        rows = constant(node.inputs[0]).shape[0 if axis is None else axis.as_int()]
        if name in network.inputs:
            found[name] = min(rows, found.get(name, rows))
    return found
