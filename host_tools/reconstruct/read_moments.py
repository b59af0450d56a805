"""`moments_of_reads`: first absolute and second moments of what matrices read on calibration data, within a memory limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.errors import DataError
from host_tools.model.reference import FloatRunner
from host_tools.observe.observer import digest_of_samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.progress import Progress

    Float64 = NDArray[np.float64]

_MOST_BYTES: Final = 512 << 20
"""Of second moments that are held at a time; a model of more runs over the samples several times."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadMoments:
    """Moments by the name of what is read; its rows are all that a matrix multiplies, of all samples.

    Attributes:
        second: Sum over rows of the products of each two inputs, shape (inputs, inputs).
        magnitude: Mean over rows of each input's magnitude, shape (inputs,).
        data_digest: Of the samples.
    """

    second: Mapping[str, Float64]
    magnitude: Mapping[str, Float64]
    data_digest: str


def moments_of_reads(
    model: FloatModel,
    together: Sequence[Mapping[str, int]],
    data: CalibrationSet,
    *,
    threads: int,
    progress: Progress,
) -> Iterator[ReadMoments]:
    """Yield the moments of values inside the model, for as many at a time as memory is for.

    Args:
        model: The float model.
        together: Values with their numbers of inputs; those of one mapping come at the same time, and no value is in two.
        data: Calibration samples.
        threads: Threads of one inference.
        progress: Told of samples.

    Raises:
        DataError: A sample cannot be read or does not fit, or makes numbers inside the model that are not finite.
        ModelError: ONNX Runtime failed.
    """
    fed = {spec.name for spec in model.inputs}
    for lengths in _passes(together):
        runner = FloatRunner(
            model, threads=threads, extra_outputs=[name for name in lengths if name not in fed]
        )
        second = {name: np.zeros((length, length)) for name, length in lengths.items()}
        magnitude = {name: np.zeros(length) for name, length in lengths.items()}
        counts = dict.fromkeys(lengths, 0)
        digests = []
        progress.stage("Observing what matrices read", len(data))
        for sample in data:
            digests.append(sample.digest())
            values = {**sample.arrays, **runner.run(sample.arrays)}
            for name, length in lengths.items():
                rows = values[name].reshape(-1, length).astype(np.float64)
                if not np.isfinite(rows).all():
                    raise DataError(
                        f"{data.where}: sample {sample.id}: {name!r} inside the model becomes NaN or infinite.",
                        hint="Leave the sample out or mend it.",
                    )
                second[name] += rows.T @ rows
                magnitude[name] += np.abs(rows).sum(axis=0)
                counts[name] += len(rows)
            progress.step()
        yield ReadMoments(
            second=second,
            magnitude={name: total / max(counts[name], 1) for name, total in magnitude.items()},
            data_digest=digest_of_samples(digests),
        )


def _passes(together: Sequence[Mapping[str, int]]) -> Iterator[dict[str, int]]:
    """Yield values whose second moments together take no more than `_MOST_BYTES`, at least one mapping at a time."""
    lengths: dict[str, int] = {}
    held = 0
    for one in together:
        size = sum(8 * length * length for length in one.values())
        if lengths and held + size > _MOST_BYTES:
            yield lengths
            lengths, held = {}, 0
        lengths |= one
        held += size
    if lengths:
        yield lengths
