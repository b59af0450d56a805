"""Error layer by layer: the payload's tensors beside the float model's, on a few samples."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from device_agent.sources.adapt import to_payload
from host_tools.model.reference import FloatRunner
from host_tools.verify.metrics import LOWEST_SQNR_DB, sqnr_db
from host_tools.verify.probes import PROBES
from host_tools.verify.verification_report import LayerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet, Sample
    from host_tools.verify.candidate import Candidate
    from host_tools.verify.operator_parity import OperatorMeter

SAMPLES = 4


class FloatLayers:
    """The float model with every activation as an output that some payload has too; one for all payloads."""

    def __init__(self, model: FloatModel, candidates: Sequence[Candidate], *, threads: int) -> None:
        """Make a session.

        Raises:
            ModelError: ONNX Runtime refuses the model.
        """
        self.op_types = {
            output.name: node.op_type for node in model.graph.graph for output in node.outputs if output.name
        }
        named = [
            name for name in self.op_types if any(name in one.payload.tensor_names for one in candidates)
        ]
        self._runner = FloatRunner(model, threads=threads, extra_outputs=tuple(named))

    def run(self, sample: Sample) -> dict[str, NDArray[np.generic]]:
        """Return every such activation and every output, by name.

        Raises:
            ModelError: ONNX Runtime failed.
        """
        return self._runner.run(sample.arrays)


def layer_errors(
    exact: FloatLayers,
    candidate: Candidate,
    data: CalibrationSet,
    *,
    threads: int,
    operators: OperatorMeter,
) -> tuple[tuple[LayerError, ...], tuple[str, ...]]:
    """Compare every float activation that exists in the payload, in the graph's order.

    Args:
        exact: The float model.
        candidate: The payload.
        data: The samples.
        threads: Threads of one inference.
        operators: Shown the tensors of the first samples.

    Returns:
        One entry a value, and a sentence for every value whose shape in the payload could not be matched.

    Raises:
        VerificationError: The engine does not show its tensors.
    """
    values = [name for name in exact.op_types if name in candidate.payload.tensor_names]
    shown = [*operators.inputs, *values]
    axes = candidate.payload.tensor_axes
    read = PROBES[candidate.payload.format].open_layers(candidate.payload, shown, threads=threads)
    signal, noise = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
    unseen: set[str] = set()
    for sample in islice(iter(data), SAMPLES):
        expected = exact.run(sample)
        found = read(to_payload(sample.arrays, candidate.payload.inputs))
        for name in values:
            reference = np.asarray(expected.pop(name), dtype=np.float64)
            difference = _in_source_layout(found[name], axes.get(name))
            if difference.shape != reference.shape:
                unseen.add(name)
                continue
            with np.errstate(over="ignore", invalid="ignore"):  # the float model may have infinities inside
                # Of scalars NumPy makes a scalar, which cannot be written to.
                difference = np.asarray(difference - reference)
                signal[name] += float(np.sum(np.square(reference, out=reference)))
                noise[name] += float(np.sum(np.square(difference, out=difference)))
        if not operators.is_full:
            operators.add(
                (name, _in_source_layout(found[name], axes.get(name))) for name in shown if name not in unseen
            )
    errors = tuple(
        LayerError(value=name, op_type=exact.op_types[name], sqnr_db=_ratio(signal[name], noise[name]))
        for name in values
        if name not in unseen
    )
    return errors, tuple(
        f"Tensor {name!r} has another shape in the payload and was not compared." for name in sorted(unseen)
    )


def _ratio(signal: float, noise: float) -> float | None:
    return sqnr_db(signal, noise) if math.isfinite(signal) and math.isfinite(noise) else LOWEST_SQNR_DB


def _in_source_layout(found: NDArray[np.float64], axes: tuple[int, ...] | None) -> NDArray[np.float64]:
    """Bring a payload tensor back to the canonical layout."""
    return found if axes is None or len(axes) != found.ndim else found.transpose(np.argsort(axes))
