"""`scale_by_activations`: input channels of matrices scaled by how large activations are, before weights are rounded (AWQ).

A channel that is large where it is read makes the rounding of its weights cost more. So its weights are multiplied by s and what they read is
divided by s, with s a power of the channel's mean magnitude; the power is searched for, by the squared error that the matrices' outputs then
have. The division goes into the constants of what stands before (a normalization, a matrix, a product with a constant), by the same rules as
equalization, so that the model computes the same with no node more. Where something else reads the channels too, nothing is scaled.

Source: J. Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", MLSys 2024, section 3.2; s normalised
by its extremes, and a grid of 20 powers, as in the authors' code.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.equalize.channels import ONE, channels_of
from host_tools.equalize.rewriting import rewritten
from host_tools.errors import InputError
from host_tools.model.topology import constant, named, network_of, weight_of
from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.weight_groups import chosen_again
from host_tools.reconstruct.read_moments import moments_of_reads
from host_tools.reconstruct.stored_matrices import stored_matrices

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from host_tools.reconstruct.read_moments import ReadMoments
    from host_tools.reconstruct.stored_matrices import StoredMatrix

    Float64 = NDArray[np.float64]
    Indices = NDArray[np.intp]

_POWERS: Final = tuple(step / 20 for step in range(20))
_LEAST_SHARE: Final = 1e-4
"""Of the largest magnitude: what a channel that is next to nothing counts as, so that no factor grows without bounds."""
_LARGEST: Final = float(np.finfo(np.float32).max)
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Site:
    """Matrices whose input channels share factors, and the indices of these, ascending."""

    matrices: tuple[StoredMatrix, ...]
    factors: Indices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scaling:
    """What multiplies a site's weights, one number a factor, the power that it comes from, and the squared error that is left of ``plain``."""

    scales: Float64
    power: float
    error: float
    plain: float


def scale_by_activations(
    model: FloatModel,
    plan: QuantizationPlan,
    data: CalibrationSet,
    *,
    planned_again: Callable[[FloatModel], QuantizationPlan],
    threads: int,
    progress: Progress,
) -> tuple[FloatModel, QuantizationPlan]:
    """Scale the input channels of every matrix of a plan of weights alone, where that is exact.

    Args:
        model: The float model that the plan is for; not changed.
        plan: Of weights alone.
        data: Calibration samples.
        planned_again: Makes the plan of the scaled model, by the recipe that ``plan`` is of.
        threads: Threads of one inference.
        progress: Told of samples and matrices.

    Returns:
        A float model that computes the same, up to rounding to float32, and its plan, which says of every matrix whether it was scaled, or why
        not. On the samples, with weights at their nearest codes, the outputs of matrices that share factors together have no more error than
        unscaled.

    Raises:
        InputError: The plan stores no matrix as codes, nothing stands before any that takes up factors, or a scaled constant is too large for
            float32.
        DataError: A sample cannot be read, does not fit, or makes numbers inside the model that are not finite.
        ModelError: ONNX Runtime failed.
    """
    network = network_of(model.graph)
    matrices = stored_matrices(network, plan)
    if not matrices:
        raise InputError(
            f"--scaling awq: none of the weights that are stored on {plan.target} is a matrix (Gemm, MatMul).",
            hint="Leave --scaling out.",
        )
    channels = channels_of(network)
    sites = _sites(matrices, channels)
    obstacles = _obstacles(network, channels, matrices, sites)
    sites = [site for site in sites if site.matrices[0].weight not in obstacles]
    if not sites:
        first = matrices[0]
        raise InputError(
            f"--scaling awq: none of the {len(matrices)} matrices can be scaled; of {first.node!r}: {obstacles[first.weight]}.",
            hint="Leave --scaling out; --rounding gptq changes nothing before a matrix.",
        )
    found: list[tuple[_Site, _Scaling]] = []
    data_digest = plan.data_digest
    reads = [{one.read: one.length for one in site.matrices} for site in sites]
    for seen in moments_of_reads(model, reads, data, threads=threads, progress=progress):
        data_digest = seen.data_digest
        here = [site for site in sites if site.matrices[0].read in seen.second]
        progress.stage("Scaling by activations", len(here))
        for site in here:
            found.append((site, _searched(site, seen, channels, network)))
            progress.step()
    factors = np.ones(channels.count)
    for site, scaling in found:
        factors[site.factors] = 1.0 / scaling.scales
    try:
        scaled, _ = rewritten(model, channels, factors, clips="bounded")
    except OverflowError as problem:
        raise InputError(f"--scaling awq: {problem}.", hint="Leave --scaling out.") from problem
    explained = _explained(planned_again(scaled), matrices, obstacles, found, samples=len(data))
    return scaled, dataclasses.replace(explained, data_digest=data_digest)


def _sites(matrices: Sequence[StoredMatrix], channels: Channels) -> list[_Site]:
    """Gather the matrices that read channels with factors, those that share any together."""
    sites: list[_Site] = []
    for matrix in matrices:
        own: Indices = np.setdiff1d(channels.factors[matrix.read], [ONE])
        if not own.size:
            continue
        tied = [site for site in sites if np.isin(own, site.factors).any()]
        joined = _Site(
            matrices=(*(one for site in tied for one in site.matrices), matrix),
            factors=np.unique(np.concatenate([own, *(site.factors for site in tied)])),
        )
        sites = [*(site for site in sites if site not in tied), joined]
    return sites


def _obstacles(
    network: Network, channels: Channels, matrices: Sequence[StoredMatrix], sites: Sequence[_Site]
) -> dict[str, str]:
    """Return why matrices cannot be scaled, by weight."""
    stored = {matrix.node for matrix in matrices}
    obstacles = {matrix.weight: _nothing_takes_it_up(network, matrix, stored) for matrix in matrices}
    for site in sites:
        stopping = next(_stopping(network, channels, site, stored), None)
        for matrix in site.matrices:
            if stopping is None:
                del obstacles[matrix.weight]
            else:
                obstacles[matrix.weight] = f"{stopping.op_type} {named(stopping)!r} reads its channels too"
    return obstacles


def _nothing_takes_it_up(network: Network, matrix: StoredMatrix, stored: Collection[str]) -> str:
    """Say of a matrix that reads channels without factors where they come from, and what else reads them."""
    writer = network.nodes.get(network.writers.get(matrix.read, ""))
    if writer is None:
        return f"it reads the model's input {matrix.read!r}"
    why = f"no factor folds into what {writer.op_type} {named(writer)!r} gives it"
    others = [one.node for one in network.readers[matrix.read] if one.node not in stored]
    return f"{why}, which {network.nodes[others[0]].op_type} {others[0]!r} reads too" if others else why


def _stopping(
    network: Network, channels: Channels, site: _Site, stored: Collection[str]
) -> Iterator[ir.Node]:
    """Yield what the channels of a site must not meet: a bound that would need a node of its own, and weights that are no stored matrix."""
    for name, node in network.nodes.items():
        read = channels.factors.get(named(node.inputs[0])) if node.inputs else None
        is_other = node.op_type == "Clip" or (weight_of(node) is not None and name not in stored)
        if is_other and read is not None and np.isin(read, site.factors).any():
            yield node


def _searched(site: _Site, seen: ReadMoments, channels: Channels, network: Network) -> _Scaling:
    """Try every power; the first, 0, leaves the weights as they are."""
    magnitude = _magnitude(site, seen, channels)
    tried: list[tuple[float, float, Float64]] = []
    for power in _POWERS:
        raised = magnitude**power
        scales = raised / np.sqrt(raised.max() * raised.min())
        every = np.ones(channels.count)
        every[site.factors] = scales
        errors = (
            _error(network, one, every[channels.factors[one.read]], seen.second[one.read])
            for one in site.matrices
        )
        tried.append((sum(errors), power, scales))
    error, power, scales = min(tried, key=lambda one: one[:2])
    return _Scaling(scales=scales, power=power, error=error, plain=tried[0][0])


def _magnitude(site: _Site, seen: ReadMoments, channels: Channels) -> Float64:
    """Return the mean magnitude of the channels that have each factor of a site, shape (factors,), above 0."""
    total, count = np.zeros(channels.count), np.zeros(channels.count)
    for read in dict.fromkeys(one.read for one in site.matrices):
        np.add.at(total, channels.factors[read], seen.magnitude[read])
        np.add.at(count, channels.factors[read], 1.0)
    mean = total[site.factors] / count[site.factors]
    largest = float(mean.max())
    return np.maximum(mean, _LEAST_SHARE * largest) if largest > 0.0 else np.ones_like(mean)


def _error(network: Network, matrix: StoredMatrix, scales: Float64, second: Float64) -> float:
    """Return the squared error, summed over samples, of a matrix's outputs with scaled weights at their nearest codes.

    It is infinite where a scaled weight is too large for float32.
    """
    weight = np.asarray(constant(network.values[matrix.weight]), np.float64)
    along = scales[:, np.newaxis] if matrix.axis == 0 else scales[np.newaxis, :]
    scaled = weight * along
    if np.abs(scaled).max(initial=0.0) > _LARGEST:
        return np.inf
    qparams = chosen_again(scaled, matrix.qparams)
    delta = values_of(codes_of(scaled, qparams), qparams) / along - weight
    rows = delta.T if matrix.axis == 0 else delta
    return max(float(np.einsum("oi,oi->", rows @ second, rows)), 0.0)


def _explained(
    plan: QuantizationPlan,
    matrices: Sequence[StoredMatrix],
    obstacles: Mapping[str, str],
    found: Sequence[tuple[_Site, _Scaling]],
    *,
    samples: int,
) -> QuantizationPlan:
    """Return the plan of the scaled model, which says of every matrix what became of it."""
    reasons = {name: f"not scaled by activations (AWQ): {why}" for name, why in obstacles.items()}
    for site, scaling in found:
        reasons |= {one.weight: _reason(scaling) for one in site.matrices}
    tensors = dict(plan.tensors)
    for weight, reason in reasons.items():
        tensors[weight] = dataclasses.replace(tensors[weight], reason=f"{tensors[weight].reason}; {reason}")
    scaled = sum(len(site.matrices) for site, scaling in found if scaling.power > 0.0)
    plain = sum(scaling.plain for _, scaling in found)
    share = sum(scaling.error for _, scaling in found) / plain if plain else 1.0
    return dataclasses.replace(
        plan,
        tensors=tensors,
        method_reason=f"{plan.precision}: scales of least squared error; input channels of {scaled} of {len(matrices)} matrices scaled by the "
        f"magnitude of activations on {samples} calibration samples (AWQ), which leaves {share:.1%} of the squared error of the outputs of "
        f"those {sum(len(site.matrices) for site, _ in found)} that can be",
        warnings=(
            *plan.warnings,
            *_left([one for one in matrices if one.weight in obstacles], len(matrices)),
        ),
    )


def _reason(scaling: _Scaling) -> str:
    if scaling.power == 0.0:
        return "not scaled by activations (AWQ): no power of their magnitude leaves less error"
    left = scaling.error / scaling.plain
    return (
        f"input channels scaled by the magnitude of activations to the power {scaling.power:g} (AWQ), "
        f"which leaves {left:.1%} of the squared error of outputs"
    )


def _left(matrices: Sequence[StoredMatrix], count: int) -> Iterator[str]:
    if matrices:
        shown = ", ".join(repr(one.node) for one in matrices[:_SHOWN])
        more = f" and {len(matrices) - _SHOWN} more" if len(matrices) > _SHOWN else ""
        yield f"{len(matrices)} of {count} matrices are not scaled by activations: {shown}{more}; --explain says why."
