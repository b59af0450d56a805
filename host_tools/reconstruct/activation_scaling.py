"""`scale_by_activations`: input channels of matrices scaled by how large activations are, before weights are rounded (AWQ).

A channel that is large where it is read makes the rounding of its weights cost more. So its weights are multiplied by s and what they read is
divided by s, with s a power of the channel's mean magnitude; the power is searched for, by the squared error that the matrices' outputs then
have. The division goes into the constants of what stands before (a normalization, a matrix, a product with a constant), by the same rules as
equalization, so that the model computes the same with no node more. Where nothing takes it up, or something else reads the channels too (a
residual connection), it becomes a product with a constant in front of the matrices, if that saves enough.

Source: J. Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", MLSys 2024, section 3.2; s normalised
by its extremes, and a grid of 20 powers, as in the authors' code.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.equalize.rewriting import rewritten
from host_tools.errors import InputError
from host_tools.model.topology import constant, network_of
from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.weight_groups import chosen_again
from host_tools.reconstruct.products import remove_products, with_products
from host_tools.reconstruct.read_moments import moments_of_reads
from host_tools.reconstruct.scaling_sites import sites_of
from host_tools.reconstruct.stored_matrices import stored_matrices

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from host_tools.reconstruct.read_moments import ReadMoments
    from host_tools.reconstruct.scaling_sites import Site, Sites
    from host_tools.reconstruct.stored_matrices import StoredMatrix

    Float64 = NDArray[np.float64]

_POWERS: Final = tuple(step / 20 for step in range(20))
_LEAST_SHARE: Final = 1e-4
"""Of the largest magnitude: what a channel that is next to nothing counts as, so that no factor grows without bounds."""
_WORTH_A_PRODUCT: Final = 0.9
"""The share of squared error that may be left at most where scaling needs a product: half a decibel, for a pass over what is read."""
_LARGEST: Final = float(np.finfo(np.float32).max)
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scaling:
    """What multiplies a site's weights, one number a factor, the power that it comes from, and the squared error that is left of ``plain``."""

    scales: Float64
    power: float
    error: float
    plain: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Places:
    """A model with a place for the factors of every site; ``products`` has what each product reads that was put into it, by its output."""

    model: FloatModel
    sites: Sites
    products: Mapping[str, str]

    def pays(self, site: Site, scaling: _Scaling) -> bool:
        """Whether a site is to have its scaling: if it costs nothing, or saves what a product is worth."""
        costs = any(one.read in self.products for one in site.matrices)
        return not costs or (scaling.power > 0.0 and scaling.error <= _WORTH_A_PRODUCT * scaling.plain)

    def here(self, seen: ReadMoments) -> ReadMoments:
        """Return moments by the names of this model; those of the model without products are what messages name."""
        names = {read: product for product, read in self.products.items()}
        second, magnitude = (
            {names.get(name, name): array for name, array in arrays.items()}
            for arrays in (seen.second, seen.magnitude)
        )
        return dataclasses.replace(seen, second=second, magnitude=magnitude)


def scale_by_activations(
    model: FloatModel,
    plan: QuantizationPlan,
    data: CalibrationSet,
    *,
    planned_again: Callable[[FloatModel], QuantizationPlan],
    threads: int,
    progress: Progress,
) -> tuple[FloatModel, QuantizationPlan]:
    """Scale the input channels of every matrix of a plan of weights alone, where that costs nothing or saves enough.

    Args:
        model: The float model that the plan is for; not changed.
        plan: Of weights alone.
        data: Calibration samples.
        planned_again: Makes the plan of the scaled model, by the recipe that ``plan`` is of.
        threads: Threads of one inference.
        progress: Told of samples and matrices.

    Returns:
        A float model that computes the same, up to rounding to float32, with products before matrices whose scales nothing else takes up, and
        its plan, which says of every matrix whether it was scaled, or why not. On the samples, with weights at their nearest codes, the
        outputs of matrices that share factors together have no more error than unscaled.

    Raises:
        InputError: The plan stores no matrix as codes, the channels of none can be scaled, or a scaled constant is too large for float32.
        DataError: A sample cannot be read, does not fit, or makes numbers inside the model that are not finite.
        ModelError: ONNX Runtime failed.
    """
    matrices = stored_matrices(network_of(model.graph), plan)
    if not matrices:
        raise InputError(
            f"--scaling awq: none of the weights that are stored on {plan.target} is a matrix (Gemm, MatMul).",
            hint="Leave --scaling out.",
        )
    places = _places_for(model, matrices)
    if not places.sites.found:
        first = matrices[0]
        raise InputError(
            f"--scaling awq: none of the {len(matrices)} matrices can be scaled; of {first.node!r}: {places.sites.obstacles[first.weight]}.",
            hint="Leave --scaling out; --rounding gptq changes nothing before a matrix.",
        )
    found, data_digest = _scalings(model, places, data, threads=threads, progress=progress)
    paying = [(site, scaling) for site, scaling in found if places.pays(site, scaling)]
    factors = np.ones(places.sites.channels.count)
    for site, scaling in paying:
        factors[site.factors] = 1.0 / scaling.scales
    try:
        scaled, _ = rewritten(places.model, places.sites.channels, factors, clips="bounded")
    except OverflowError as problem:
        raise InputError(f"--scaling awq: {problem}.", hint="Leave --scaling out.") from problem
    used = {one.read for site, _ in paying for one in site.matrices}
    remove_products(scaled.graph.graph, places.products.keys() - used)
    left = dict(places.sites.obstacles) | {
        one.weight: _not_worth_it(scaling)
        for site, scaling in found
        if not places.pays(site, scaling)
        for one in site.matrices
    }
    explained = _explained(
        planned_again(scaled),
        matrices,
        left,
        paying,
        products=places.products.keys() & used,
        samples=len(data),
    )
    return scaled, dataclasses.replace(explained, data_digest=data_digest)


def _places_for(model: FloatModel, matrices: Sequence[StoredMatrix]) -> _Places:
    """Find where factors go; of matrices before which nothing takes them up, into products that hold ones so far."""
    before = sites_of(network_of(model.graph), matrices)
    stuck = [one for one in matrices if one.weight in before.obstacles]
    if not stuck:
        return _Places(model=model, sites=before, products={})
    widened, products = with_products(model, stuck)
    moved = {one.weight: products[one.read] for one in stuck}
    after = sites_of(
        network_of(widened.graph),
        [dataclasses.replace(one, read=moved.get(one.weight, one.read)) for one in matrices],
    )
    reasons = {weight: before.obstacles.get(weight, why) for weight, why in after.obstacles.items()}
    return _Places(
        model=widened,
        sites=dataclasses.replace(after, obstacles=reasons),
        products={product: read for read, product in products.items()},
    )


def _scalings(
    model: FloatModel, places: _Places, data: CalibrationSet, *, threads: int, progress: Progress
) -> tuple[list[tuple[Site, _Scaling]], str]:
    """Search for the scaling of every site. Returns the digest of the samples too."""
    found: list[tuple[Site, _Scaling]] = []
    digest = ""
    network, sites = network_of(places.model.graph), places.sites
    reads = [
        {places.products.get(one.read, one.read): one.length for one in site.matrices} for site in sites.found
    ]
    for moments in moments_of_reads(model, reads, data, threads=threads, progress=progress):
        digest, seen = moments.data_digest, places.here(moments)
        here = [site for site in sites.found if site.matrices[0].read in seen.second]
        progress.stage("Scaling by activations", len(here))
        for site in here:
            found.append((site, _searched(site, seen, sites.channels, network)))
            progress.step()
    return found, digest


def _searched(site: Site, seen: ReadMoments, channels: Channels, network: Network) -> _Scaling:
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


def _magnitude(site: Site, seen: ReadMoments, channels: Channels) -> Float64:
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
    found: Sequence[tuple[Site, _Scaling]],
    *,
    products: Collection[str],
    samples: int,
) -> QuantizationPlan:
    """Return the plan of the scaled model, which says of every matrix what became of it."""
    reasons = {name: f"not scaled by activations (AWQ): {why}" for name, why in obstacles.items()}
    for site, scaling in found:
        reasons |= {one.weight: _reason(scaling, by_product=one.read in products) for one in site.matrices}
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
        f"those {sum(len(site.matrices) for site, _ in found)} that can be, or are worth a product",
        warnings=(
            *plan.warnings,
            *_added(len(products)),
            *_left([one for one in matrices if one.weight in obstacles], len(matrices)),
        ),
    )


def _reason(scaling: _Scaling, *, by_product: bool) -> str:
    if scaling.power == 0.0:
        return "not scaled by activations (AWQ): no power of their magnitude leaves less error"
    return (
        f"input channels scaled by the magnitude of activations to the power {scaling.power:g} (AWQ), "
        f"{'by a product put before it, ' if by_product else ''}which leaves {_share_left(scaling)} of the squared error of outputs"
    )


def _not_worth_it(scaling: _Scaling) -> str:
    return (
        f"nothing before it takes the scales up, and with a product for them {_share_left(scaling)} of the squared error of outputs would be "
        f"left; one is put in where that is at most {_WORTH_A_PRODUCT:.0%}"
    )


def _share_left(scaling: _Scaling) -> str:
    return f"{scaling.error / scaling.plain if scaling.plain else 1.0:.1%}"


def _added(products: int) -> Iterator[str]:
    if products:
        what = (
            "A product with a constant was" if products == 1 else f"{products} products with constants were"
        )
        yield f"{what} put into the network where nothing before matrices takes their scales up; each is one pass over what they read."


def _left(matrices: Sequence[StoredMatrix], count: int) -> Iterator[str]:
    if matrices:
        shown = ", ".join(repr(one.node) for one in matrices[:_SHOWN])
        more = f" and {len(matrices) - _SHOWN} more" if len(matrices) > _SHOWN else ""
        yield f"{len(matrices)} of {count} matrices are not scaled by activations: {shown}{more}; --explain says why."
