"""`store_in_codebooks`: weights as indices into the few numbers that stand for theirs, one codebook a weight. Pure.

Others call it palettization, or weight clustering. It is storage: 4 or 8 bits a number and a codebook of up to 16 or 256. An engine looks the
numbers up, when it loads the file or as it goes, and computes in float32. The numbers are where the weight's own are dense, on no even grid;
so one codebook serves a whole weight.
"""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.model.topology import constant, network_of, shape_of
from host_tools.plan.clustering import choose_centroids, nearest
from host_tools.plan.stored_weights import reader_in_the_way, told, weights_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile, PlanPrecision

ENTRIES: Final[Mapping[PlanPrecision, int]] = MappingProxyType(
    {"weights-kmeans4": 16, "weights-kmeans8": 256}
)
"""Most numbers of a codebook, by precision."""
_NARROW: Final = 16
_FLOAT_BYTES: Final = 4


def index_bits(entries: int) -> int:
    """Return how many bits an index into a codebook takes."""
    return 4 if entries <= _NARROW else 8


def clustered(entries: int) -> PlanPrecision:
    """Return the precision that a codebook of so many numbers speaks of."""
    return "weights-kmeans4" if entries <= _NARROW else "weights-kmeans8"


def looked_up(values: NDArray[np.generic], codebook: tuple[float, ...]) -> NDArray[np.float32]:
    """Return the number of a codebook that is nearest to each value: what is left of a weight."""
    numbers = np.asarray(codebook, np.float32)
    return numbers[nearest(values, numbers)]


def store_in_codebooks(
    model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile, *, kept: Collection[str] = ()
) -> QuantizationPlan:
    """Give every weight a codebook where the target reads it so and it becomes smaller; the others stay, each with the reason.

    Args:
        model: The canonical float model.
        plan: A plan for it without codes, of a precision in `ENTRIES`.
        profile: A target that has the precision.
        kept: Nodes whose weights stay in float32 all the same.
    """
    network, most = network_of(model.graph), ENTRIES[plan.precision]
    tensors, left = dict(plan.tensors), []
    for name, nodes in weights_of(network).items():
        is_kept = not set(kept).isdisjoint(nodes)
        why = (
            "the recipe keeps it so (keep_float)"
            if is_kept
            else reader_in_the_way(network, name, nodes, profile, plan.precision)
        )
        values = constant(network.values[name])
        codebook: tuple[float, ...] = ()
        if not why and values.size:
            codebook = tuple(choose_centroids(values, most=most).astype(float).tolist())
        if not why:
            why = _no_gain(values.shape, len(codebook))
        planned = tensors[name]
        if why:
            left.append(f"{network.nodes[nodes[0]].op_type} {nodes[0]!r}")
            reason = f"{planned.reason}; stays in float32: {why}"
            tensors[name] = dataclasses.replace(planned, reason=reason)
            continue
        reason = f"float32: weight stored as indices of {index_bits(len(codebook))} bits into {len(codebook)} numbers"
        tensors[name] = dataclasses.replace(planned, reason=reason, codebook=codebook)
    return dataclasses.replace(plan, tensors=tensors, warnings=(*plan.warnings, *told(left)))


def broken_codebooks(plan: QuantizationPlan, network: Network, profile: CapabilityProfile) -> Iterator[str]:
    """Yield a sentence for each codebook that a plan must not have.

    Args:
        plan: A plan that names every value of the graph.
        network: The canonical graph.
        profile: The target.
    """
    weights = weights_of(network)
    for name, planned in plan.tensors.items():
        if planned.codebook is None:
            continue
        what, entries = f"value {name!r} has a codebook", len(planned.codebook)
        if plan.precision not in ENTRIES:
            yield f"{what}, which {plan.precision} never has"
        elif plan.precision not in profile.uncalibrated:
            return  # told for the plan as a whole
        elif planned.qparams is not None:
            yield f"{what} and parameters of codes"
        elif name not in weights:
            yield f"{what}, but no node multiplies by it or looks rows of it up"
        elif why := reader_in_the_way(network, name, weights[name], profile, plan.precision):
            yield f"{what}, but {why}"
        elif entries > ENTRIES[plan.precision]:
            yield f"{what} of {entries} numbers, {plan.precision} has at most {ENTRIES[plan.precision]}"
        elif why := _no_gain(shape_of(network.values[name]), entries):
            yield f"{what}, but {why}"


def _no_gain(shape: tuple[int, ...], entries: int) -> str:
    """Return why a codebook would not make a weight smaller; empty when it would."""
    count = int(np.prod(shape, dtype=np.int64))
    stored = (count * index_bits(entries) + 7) // 8 + entries * _FLOAT_BYTES
    in_float = count * _FLOAT_BYTES
    return (
        f"its indices and codebook would take {stored} bytes instead of {in_float}"
        if stored >= in_float
        else ""
    )
