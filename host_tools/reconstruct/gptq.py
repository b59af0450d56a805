"""`round_by_outputs`: the weights that a plan stores in groups or channels, rounded by what their matrices give on calibration data (GPTQ).

Scales stay as the plan has them. What comes back is a float model whose weights lie on the grid of the plan already: rounding them to the
nearest code, as every lowering does, gives the codes that were found. Inputs are those of the float model; errors of earlier layers are not
made good by later ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from host_tools.errors import DataError, InputError
from host_tools.model.reference import FloatRunner
from host_tools.model.topology import constant, constant_weight, named, network_of
from host_tools.observe.observer import digest_of_samples
from host_tools.plan.codes import aligned
from host_tools.plan.uncalibrated import summed_axis
from host_tools.reconstruct.successive import Successive, rounded_successively

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from host_tools.progress import Progress

    Float64 = NDArray[np.float64]

_MATRICES: Final = ("Gemm", "MatMul")
_MOST_BYTES: Final = 512 << 20
"""Of second moments that are held at a time; a model of more runs over the samples several times."""
_REASON: Final = "; rounded by what the matrix gives (GPTQ)"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Matrix:
    """A weight to round: its name, what it is multiplied with, its axis that is summed over, and that one's extent."""

    weight: str
    read: str
    axis: int
    length: int
    qparams: QParams


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """Matrices, the second moments of what they read by its name, each (inputs, inputs), and the digest of the samples."""

    matrices: Sequence[_Matrix]
    second: Mapping[str, Float64]
    data_digest: str


def round_by_outputs(
    model: FloatModel, plan: QuantizationPlan, data: CalibrationSet, *, threads: int, progress: Progress
) -> tuple[FloatModel, QuantizationPlan]:
    """Round every matrix of a plan of weights alone.

    Args:
        model: The float model that the plan is for; not changed.
        plan: Of weights alone.
        data: Calibration samples.
        threads: Threads of one inference.
        progress: Told of samples and matrices.

    Returns:
        Both anew, with the digests of the rounded model and of the samples. Tables that are looked up, and weights of other operators,
        stay at their nearest codes.

    Raises:
        InputError: The plan stores no matrix as codes.
        DataError: A sample cannot be read, does not fit, or makes numbers inside the model that are not finite.
        ModelError: ONNX Runtime failed.
    """
    matrices = _matrices(model, plan)
    if not matrices:
        raise InputError(
            f"--rounding gptq: none of the weights that are stored on {plan.target} is a matrix (Gemm, MatMul).",
            hint="Leave --rounding out.",
        )
    graph = model.graph.clone()
    tensors, data_digest = dict(plan.tensors), plan.data_digest
    left = nearest = 0.0
    for seen in _moments(model, matrices, data, threads=threads, progress=progress):
        data_digest = seen.data_digest
        progress.stage("Rounding by outputs", len(seen.matrices))
        for matrix in seen.matrices:
            weight = graph.graph.initializers[matrix.weight]
            found = _rounded(constant(weight), matrix, seen.second[matrix.read])
            weight.const_value = ir.tensor(found.values, name=matrix.weight)
            left, nearest = left + found.error, nearest + found.nearest_error
            entry = tensors[matrix.weight]
            tensors[matrix.weight] = dataclasses.replace(entry, reason=entry.reason + _REASON)
            progress.step()
    digest = _digest(model, matrices, graph)
    share = left / nearest if nearest else 1.0
    planned = dataclasses.replace(
        plan,
        model_digest=digest,
        data_digest=data_digest,
        tensors=tensors,
        method_reason=f"{plan.precision}: scales of least squared error; matrices rounded by what they give on {len(data)} calibration "
        f"samples (GPTQ), which leaves {share:.1%} of the squared error of their outputs that nearest codes have",
    )
    return dataclasses.replace(model, graph=graph, digest=digest), planned


def _digest(model: FloatModel, matrices: Sequence[_Matrix], graph: ir.Model) -> str:
    state = hashlib.sha256(f"{model.digest} gptq ".encode())
    for matrix in matrices:
        state.update(constant(graph.graph.initializers[matrix.weight]).tobytes())
    return f"sha256:{state.hexdigest()}"


def _matrices(model: FloatModel, plan: QuantizationPlan) -> list[_Matrix]:
    found = []
    for node in network_of(model.graph).nodes.values():
        weight, read = constant_weight(node), node.inputs[0]
        qparams = None if weight is None else plan.tensors[named(weight)].qparams
        if node.op_type in _MATRICES and weight is not None and read is not None and qparams is not None:
            axis = summed_axis(node)
            length = int(constant(weight).shape[axis])
            found.append(
                _Matrix(weight=named(weight), read=named(read), axis=axis, length=length, qparams=qparams)
            )
    return found


def _moments(
    model: FloatModel, matrices: Sequence[_Matrix], data: CalibrationSet, *, threads: int, progress: Progress
) -> Iterator[_Seen]:
    """Yield second moments of what matrices read, for as many of them at a time as memory is for.

    Raises:
        DataError: A sample cannot be read or does not fit, or makes numbers inside the model that are not finite.
    """
    lengths = {matrix.read: matrix.length for matrix in matrices}
    fed = {spec.name for spec in model.inputs}
    for names in _passes(lengths):
        computed = [name for name in names if name not in fed]
        runner = FloatRunner(model, threads=threads, extra_outputs=computed)
        second = {name: np.zeros((lengths[name], lengths[name])) for name in names}
        digests = []
        progress.stage("Observing what matrices read", len(data))
        for sample in data:
            digests.append(sample.digest())
            values = {**sample.arrays, **runner.run(sample.arrays)}
            for name in names:
                rows = values[name].reshape(-1, lengths[name]).astype(np.float64)
                if not np.isfinite(rows).all():
                    raise DataError(
                        f"{data.where}: sample {sample.id}: {name!r} inside the model becomes NaN or infinite.",
                        hint="Leave the sample out or mend it.",
                    )
                second[name] += rows.T @ rows
            progress.step()
        of_these = [matrix for matrix in matrices if matrix.read in second]
        yield _Seen(matrices=of_these, second=second, data_digest=digest_of_samples(digests))


def _passes(lengths: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield names whose second moments together take no more than `_MOST_BYTES`, at least one at a time."""
    names: list[str] = []
    held = 0
    for name, length in lengths.items():
        size = 8 * length * length
        if names and held + size > _MOST_BYTES:
            yield names
            names, held = [], 0
        names.append(name)
        held += size
    if names:
        yield names


def _rounded(weight: NDArray[np.generic], matrix: _Matrix, second: Float64) -> Successive:
    """Round a weight; the result has its shape and type."""
    qparams, real = matrix.qparams, weight.astype(np.float64)
    parts = [real, *(np.broadcast_to(part, real.shape) for part in aligned(qparams, real.shape))]
    values, scale, zero_point = (part.T if matrix.axis == 0 else part for part in parts)
    limits = (qparams.quant_min, qparams.quant_max)
    found = rounded_successively(values, scale, zero_point, limits, second)
    in_place = found.values.T if matrix.axis == 0 else found.values
    return dataclasses.replace(found, values=np.ascontiguousarray(in_place, dtype=np.float32))
