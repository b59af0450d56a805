"""`store_in_float16`: weights that exist as floats, stored in float16: half the bytes. Pure.

It is storage. An engine makes float32 of the numbers, once or as it goes, and computes as it does with any; what computes in float16 by itself
(many GPUs and NPUs) is spared a conversion. Biases stay in float32: they are few, and are added to sums of float32.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.errors import CapabilityError
from host_tools.model.topology import constant, network_of
from host_tools.plan.stored_weights import reader_in_the_way, told, weights_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.recipe import Recipe
    from targets.profile import CapabilityProfile

PRECISION: Final = "weights-float16"
LARGEST: Final = float(np.finfo(np.float16).max)
MOST_NOISE: Final = 2.0**-8
"""Largest length of a weight's rounding error, as a share of the weight's own: -48 dB.

With the 11 bits of float16 it is at most 2^-11. More means that most of the weight is below 6e-5, where float16 has ever fewer bits, or even
below 3e-8, where it has none.
"""
MOST_ZEROS: Final = 0.001
"""Share of a weight's numbers that may become 0 without a word."""


def rounded(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return what is left in float16 of numbers that fit into it, to nearest, halves to even; as float32."""
    return np.asarray(values, np.float32).astype(np.float16).astype(np.float32)


def stored_as_asked(
    plan: QuantizationPlan, model: FloatModel, profile: CapabilityProfile, recipe: Recipe
) -> QuantizationPlan:
    """Return a plan whose weights in float are stored as the recipe says (``float_weights``).

    Raises:
        CapabilityError: See `store_in_float16`.
    """
    return plan if recipe.float_weights == "float32" else store_in_float16(model, plan, profile)


def store_in_float16(
    model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile, *, kept: Collection[str] = ()
) -> QuantizationPlan:
    """Store every weight that has no codes in float16 where the target reads it so and its numbers fit; the others stay, each with the reason.

    Args:
        model: The canonical float model.
        plan: A plan for it, of any precision.
        profile: The target.
        kept: Nodes whose weights stay in float32 all the same.

    Raises:
        CapabilityError: The target does not read weights in float16.
    """
    if PRECISION not in profile.uncalibrated:
        having = ", ".join(profile.uncalibrated) or "none of the others"
        raise CapabilityError(
            f"{profile.id!r} reads no weights in float16 (its profile has no [{PRECISION}]); beside int8 it has {having}.",
            hint="Leave float_weights out, or choose another target: docs/precisions.md has a table.",
        )
    network = network_of(model.graph)
    tensors, notes, left = dict(plan.tensors), [], []
    for name, nodes in weights_of(network).items():
        planned = tensors[name]
        if planned.qparams is not None or planned.codebook is not None:
            continue
        is_kept = not set(kept).isdisjoint(nodes)
        why = "the recipe keeps it so (keep_float)" if is_kept else _obstacle(network, name, nodes, profile)
        if why:
            left.append(f"{network.nodes[nodes[0]].op_type} {nodes[0]!r}")
            reason = f"{planned.reason}; stays in float32: {why}"
            tensors[name] = dataclasses.replace(planned, reason=reason)
            continue
        share = _share_of_zeros(constant(network.values[name]))
        lost = f", of which {share:.2%} are too small for it and become 0" if share > MOST_ZEROS else ""
        if lost:
            notes.append(f"weight {name!r} is stored in float16: its numbers{lost}.")
        reason = f"{planned.reason}; its numbers are stored in float16{lost}"
        tensors[name] = dataclasses.replace(planned, reason=reason, float_type="float16")
    return dataclasses.replace(plan, tensors=tensors, warnings=(*plan.warnings, *notes, *told(left)))


def broken_storage(plan: QuantizationPlan, network: Network, profile: CapabilityProfile) -> Iterator[str]:
    """Yield a sentence for each value that a plan stores in float16 and must not.

    Args:
        plan: A plan that names every value of the graph.
        network: The canonical graph.
        profile: The target.
    """
    weights = weights_of(network)
    for name, planned in plan.tensors.items():
        if planned.float_type == "float32":
            continue
        what = f"value {name!r} is stored in float16"
        if planned.qparams is not None:
            yield f"{what} and as codes"
        elif planned.codebook is not None:
            yield f"{what} and as numbers of a codebook"
        elif name not in weights:
            yield f"{what}, but no node multiplies by it or looks rows of it up"
        elif PRECISION not in profile.uncalibrated:
            yield f"{what}, which {profile.id} does not read (its profile has no [{PRECISION}])"
        elif why := _obstacle(network, name, weights[name], profile):
            yield f"{what}, but {why}"


def _obstacle(network: Network, weight: str, nodes: Collection[str], profile: CapabilityProfile) -> str:
    """Return why a weight of these nodes cannot be stored in float16; empty when it can."""
    if why := reader_in_the_way(network, weight, nodes, profile, PRECISION):
        return why
    numbers = np.asarray(constant(network.values[weight]), np.float64)
    largest = float(np.abs(numbers).max(initial=0.0))
    if not largest <= LARGEST:
        return f"its largest magnitude is {largest:.6g}, and that of float16 {LARGEST:g}"
    length = float(np.linalg.norm(numbers))
    noise = float(np.linalg.norm(rounded(numbers) - numbers))
    if noise > MOST_NOISE * length:
        return f"its numbers are too small for float16: {noise / length:.1%} of its length would be lost"
    return ""


def _share_of_zeros(values: NDArray[np.generic]) -> float:
    """Return the share of numbers that are not 0, and would be."""
    return float(np.count_nonzero(values) - np.count_nonzero(rounded(values))) / max(values.size, 1)
