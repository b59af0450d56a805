"""In which order layers move to float: most gain per cost first.

A layer that moves computes with exact weights. What it writes stays in codes as long as an operator in integers reads it, so an output
becomes exact only when the layer that writes it and all that read it have moved: such a group is one move as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from host_tools.mixed_precision.costs import operations
from host_tools.plan.placement import float_precision
from host_tools.plan.topology import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from host_tools.diagnose.layers import Layer
    from host_tools.mixed_precision.sensitivity import Sensitivity
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile

    Ranks = frozenset[int]


def movable(layers: Sequence[Layer], plan: QuantizationPlan, profile: CapabilityProfile) -> tuple[Layer, ...]:
    """Return the layers that run in integers and have a float kernel that the target falls back to."""
    return tuple(
        layer
        for layer in layers
        if _is_integer(layer, plan) and float_precision(plan.nodes[layer.name].op_type, profile) is not None
    )


def moves_of(
    sensitivity: Sensitivity,
    model: FloatModel,
    plan: QuantizationPlan,
    profile: CapabilityProfile,
    is_allowed: Callable[[frozenset[str]], bool],
) -> Iterator[tuple[Layer, ...]]:
    """Yield what moves next, until nothing is left that may.

    Args:
        sensitivity: What each layer costs.
        model: The model.
        plan: The plan that was measured.
        profile: Its target.
        is_allowed: Whether the target accepts that the operators with these names, and no others of these, run in float.
    """
    board = _Board.of(sensitivity, model, plan, profile)
    names: frozenset[str] = frozenset()
    while True:
        for move in board.ranked():
            layers = tuple(sensitivity.layers[rank] for rank in sorted(move))
            wanted = names | {layer.name for layer in layers}
            if is_allowed(wanted):
                break
        else:
            return
        names = wanted
        board.moved |= move
        yield layers


def _is_integer(layer: Layer, plan: QuantizationPlan) -> bool:
    return bool(layer.nodes) and plan.nodes[layer.name].precision in ("int8", "int16")


@dataclass(slots=True, kw_only=True, eq=False)
class _Board:
    """Which layers have moved, and what every further move would bring.

    Attributes:
        sensitivity: What each layer costs.
        costs: By rank of each layer that may move.
        edges: By rank of a layer whose output is in codes: all that must be in float for it not to be. Absent where that cannot be.
        touching: By rank: the edges that wait for it.
        moved: What has moved.
    """

    sensitivity: Sensitivity
    costs: dict[int, int]
    edges: dict[int, Ranks]
    touching: dict[int, list[int]]
    moved: set[int] = field(default_factory=set)

    @classmethod
    def of(
        cls, sensitivity: Sensitivity, model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile
    ) -> _Board:
        """Return the board before the first move."""
        layers = sensitivity.layers
        costs = {layer.rank: operations(layer) for layer in movable(layers, plan, profile)}
        edges = {
            rank: waiting
            for rank in sensitivity.output
            if (waiting := _waiting(layers[rank], layers, model, plan, profile)) is not None
            and waiting <= costs.keys()
        }
        touching: dict[int, list[int]] = {rank: [] for rank in costs}
        for edge, waiting in edges.items():
            for rank in waiting:
                touching[rank].append(edge)
        return cls(sensitivity=sensitivity, costs=costs, edges=edges, touching=touching)

    def ranked(self) -> list[Ranks]:
        """Return the moves that are left, most gain per cost first; of equals the cheaper, then the earlier one."""
        single = {frozenset({rank}) for rank in self.costs if rank not in self.moved}
        groups = {waiting - self.moved for waiting in self.edges.values()} - {frozenset()}
        return sorted(
            single | groups,
            key=lambda move: (-self._gain(move) / self._cost(move), self._cost(move), sorted(move)),
        )

    def _cost(self, move: Ranks) -> int:
        return sum(self.costs[rank] for rank in move)

    def _gain(self, move: Ranks) -> float:
        after = self.moved | move
        freed = {edge for rank in move for edge in self.touching[rank] if self.edges[edge] <= after}
        return sum(self.sensitivity.arithmetic.get(rank, 0.0) for rank in sorted(move)) + sum(
            self.sensitivity.output[edge] for edge in sorted(freed)
        )


def _waiting(
    layer: Layer,
    layers: Sequence[Layer],
    model: FloatModel,
    plan: QuantizationPlan,
    profile: CapabilityProfile,
) -> Ranks | None:
    """Return the integer layers that write, copy or read a layer's output; None where the model's door has it in codes anyway."""
    copies = [layer, *(one for one in layers if one.copies == layer.rank)]
    values = {name for one in copies for name in one.outputs}
    if profile.interface.output_type != "float32" and values & {spec.name for spec in model.outputs}:
        return None
    if profile.interface.input_type != "float32" and not layer.nodes:
        return None
    readers = [
        one for one in layers if any(named(value) in values for node in one.nodes for value in node.inputs)
    ]
    return frozenset(one.rank for one in (*copies, *readers) if _is_integer(one, plan))
