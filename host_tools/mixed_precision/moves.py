"""In which order layers move to wider precisions: most gain per cost first.

A layer on 16-bit activations writes a finer output. A layer in float computes with exact weights besides. What a layer writes is finer only
once all that read it are moved as well, since an operator on 8-bit activations reads 8 bits: such a group is one move, in which each goes to
16 bits, or in which each goes to float; one that cannot goes to the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from host_tools.mixed_precision.assignment import Assignment, Move
from host_tools.model.topology import named, network_of
from host_tools.plan.placement import float_precision, wide_finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from host_tools.diagnose.layers import Layer
    from host_tools.mixed_precision.costs import Costs
    from host_tools.mixed_precision.sensitivity import Sensitivity
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile, Precision

    Ranks = frozenset[int]
    Targets = tuple[tuple[int, Precision], ...]

Choices = dict[int, "tuple[Precision, ...]"]
"""By rank of a layer: the precisions to which it may move, the narrowest first."""


def choices_of(
    layers: Sequence[Layer], model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile
) -> Choices:
    """Return to which precisions layers may move; those that may to none are absent."""
    network = network_of(model.graph)
    found: Choices = {}
    for layer in layers:
        if not layer.nodes or plan.nodes[layer.name].precision not in ("int8", "int16"):
            continue
        head, last = named(layer.nodes[0]), named(layer.nodes[-1])
        wide: tuple[Precision, ...] = ()
        if plan.nodes[head].precision == "int8" and all(
            wide_finding(network, profile, named(node), last) is None for node in layer.nodes
        ):
            wide = ("int16",)
        exact = float_precision(plan.nodes[head].op_type, profile)
        if wide or exact is not None:
            found[layer.rank] = wide if exact is None else (*wide, exact)
    return found


def moves_of(
    sensitivity: Sensitivity,
    choices: Choices,
    costs: Costs,
    model: FloatModel,
    plan: QuantizationPlan,
    is_allowed: Callable[[Assignment], bool],
) -> Iterator[Move]:
    """Yield what moves next, until nothing is left that may.

    Args:
        sensitivity: What each layer costs the outputs.
        choices: Where each may go.
        costs: What it costs there.
        model: The model.
        plan: The plan that was measured.
        is_allowed: Whether the target accepts an assignment.
    """
    layers = {layer.rank: layer for layer in sensitivity.layers}
    board = _Board.of(sensitivity, choices, costs, model, plan)
    now = Assignment()
    while True:
        for targets in board.ranked():
            move = Move(precisions=dict(targets), layers={rank: layers[rank] for rank, _ in targets})
            after = Assignment(
                precisions={**now.precisions, **move.precisions}, layers={**now.layers, **move.layers}
            )
            if is_allowed(after):
                break
        else:
            return
        now = after
        board.precisions.update(move.precisions)
        yield move


@dataclass(slots=True, kw_only=True, eq=False)
class _Board:
    """Which layers have moved, and what every further move would bring.

    Attributes:
        sensitivity: What each layer costs the outputs.
        choices: Where each layer may go.
        costs: What it costs there.
        edges: By rank of a layer whose output is in codes: all that must have moved for it to be finer. Absent where that cannot be.
        touching: By rank: the edges that wait for it.
        precisions: Where each layer is that has moved, by rank.
    """

    sensitivity: Sensitivity
    choices: Choices
    costs: Costs
    edges: Mapping[int, Ranks]
    touching: Mapping[int, list[int]]
    precisions: dict[int, Precision] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        sensitivity: Sensitivity,
        choices: Choices,
        costs: Costs,
        model: FloatModel,
        plan: QuantizationPlan,
    ) -> _Board:
        """Return the board before the first move."""
        layers = sensitivity.layers
        edges = {
            rank: waiting
            for rank in sensitivity.output
            if (waiting := _waiting(layers[rank], layers, model, plan, costs.profile)) is not None
            and waiting <= choices.keys()
        }
        touching: dict[int, list[int]] = {rank: [] for rank in choices}
        for edge, waiting in edges.items():
            for rank in waiting:
                touching[rank].append(edge)
        return cls(sensitivity=sensitivity, choices=choices, costs=costs, edges=edges, touching=touching)

    def ranked(self) -> list[Targets]:
        """Return the moves that are left, most gain per cost first; of equals the cheaper, then the earlier one."""
        groups = {frozenset({rank}) for rank in self.choices} | {*self.edges.values()}
        moves = {self._moved(group, place) for group in groups for place in (0, -1)} - {()}
        return sorted(
            moves, key=lambda move: (-self._gain(move) / self._cost(move), self._cost(move), sorted(move))
        )

    def _moved(self, group: Ranks, place: int) -> Targets:
        """Return the move of a group to the narrowest (place 0) or the widest (place -1) precision of each, less what is there already."""
        wanted = {rank: self.choices[rank][place] for rank in group}
        return tuple((rank, wanted[rank]) for rank in sorted(group) if self._is_wider(rank, wanted[rank]))

    def _is_wider(self, rank: int, precision: Precision) -> bool:
        here = self.precisions.get(rank)
        order = self.choices[rank]
        return here is None or order.index(precision) > order.index(here)

    def _cost(self, move: Targets) -> float:
        before = sum(self._price(rank, self.precisions.get(rank, "int8")) for rank, _ in move)
        return max(1.0, sum(self._price(rank, precision) for rank, precision in move) - before)

    def _price(self, rank: int, precision: Precision) -> float:
        return self.costs.of(self.sensitivity.layers[rank], precision)

    def _gain(self, move: Targets) -> float:
        before = self.precisions.keys()
        after = before | {rank for rank, _ in move}
        freed = {
            edge
            for rank, _ in move
            for edge in self.touching[rank]
            if self.edges[edge] <= after and not self.edges[edge] <= before
        }
        exact = sum(self.sensitivity.arithmetic.get(rank, 0.0) for rank, to in move if to != "int16")
        return exact + sum(self.sensitivity.output[edge] for edge in sorted(freed))


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
    coded = {spec.name for spec in model.outputs if plan.tensors[spec.name].qparams is not None}
    if profile.interface.output_type != "float32" and values & coded:
        return None
    if profile.interface.input_type != "float32" and not layer.nodes:
        return None
    readers = [
        one for one in layers if any(named(value) in values for node in one.nodes for value in node.inputs)
    ]
    return frozenset(
        one.rank
        for one in (*copies, *readers)
        if one.nodes and plan.nodes[one.name].precision in ("int8", "int16")
    )
