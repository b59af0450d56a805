"""Error layer by layer: the payload's tensors beside the float model's, on a few samples."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from device_agent.sources.adapt import to_payload
from host_tools.model.reference import FloatRunner
from host_tools.verify.metrics import sqnr_db
from host_tools.verify.probes import PROBES
from host_tools.verify.verification_report import LayerError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.verify.candidate import Candidate

SAMPLES = 4


def layer_errors(
    model: FloatModel,
    candidate: Candidate,
    data: CalibrationSet,
    *,
    threads: int,
) -> tuple[tuple[LayerError, ...], tuple[str, ...]]:
    """Compare every float activation that exists in the payload, in the graph's order.

    Returns:
        One entry a value, and a sentence for every value whose shape in the payload could not be matched.

    Raises:
        VerificationError: The engine does not show its tensors.
    """
    op_types = {
        output.name: node.op_type for node in model.graph.graph for output in node.outputs if output.name
    }
    values = [name for name in op_types if name in candidate.payload.tensor_names]
    runner = FloatRunner(model, threads=threads, extra_outputs=tuple(values))
    read = PROBES[candidate.payload.format].open_layers(candidate.payload, values, threads=threads)
    signal, noise = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
    unseen: set[str] = set()
    for sample in islice(iter(data), SAMPLES):
        expected = runner.run(sample.arrays)
        found = read(to_payload(sample.arrays, candidate.payload.inputs))
        for name in values:
            reference = np.asarray(expected[name], dtype=np.float64)
            matched = _in_source_layout(found[name], reference.shape)
            if matched is None:
                unseen.add(name)
                continue
            signal[name] += float(np.sum(reference**2))
            noise[name] += float(np.sum((matched - reference) ** 2))
    errors = tuple(
        LayerError(value=name, op_type=op_types[name], sqnr_db=sqnr_db(signal[name], noise[name]))
        for name in values
        if name not in unseen
    )
    return errors, tuple(
        f"Tensor {name!r} has another shape in the payload and was not compared." for name in sorted(unseen)
    )


def _in_source_layout(found: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Bring a payload tensor to the canonical layout: as it is, or with the channels moved back from the last axis."""
    if found.shape == shape:
        return found
    if found.ndim == len(shape) > 2:
        moved = np.moveaxis(found, -1, 1)
        if moved.shape == shape:
            return moved
    return found.reshape(shape) if found.size == np.prod(shape) else None
