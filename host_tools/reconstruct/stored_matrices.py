"""`stored_matrices`: the Gemm and MatMul whose weights a plan stores as codes, and what each multiplies them with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from host_tools.model.topology import constant_weight, named, shape_of
from host_tools.plan.uncalibrated_weights import summed_axis

if TYPE_CHECKING:
    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan

_MATRICES: Final = ("Gemm", "MatMul")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMatrix:
    """A matrix of weights.

    Attributes:
        node: Name of its Gemm or MatMul.
        weight: Its name.
        read: Name of what it is multiplied with.
        axis: Its axis that is summed over: 0 or 1.
        length: That axis' extent, at least 1.
        qparams: How the plan stores it.
    """

    node: str
    weight: str
    read: str
    axis: int
    length: int
    qparams: QParams


def stored_matrices(network: Network, plan: QuantizationPlan) -> list[StoredMatrix]:
    """Return the matrices that a plan of weights alone stores, in the order of the graph."""
    found = []
    for name, node in network.nodes.items():
        weight, read = constant_weight(node), node.inputs[0]
        qparams = None if weight is None else plan.tensors[named(weight)].qparams
        if node.op_type in _MATRICES and weight is not None and read is not None and qparams is not None:
            axis = summed_axis(node)
            found.append(
                StoredMatrix(
                    node=name,
                    weight=named(weight),
                    read=named(read),
                    axis=axis,
                    length=shape_of(weight)[axis],
                    qparams=qparams,
                )
            )
    return found
