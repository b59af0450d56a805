"""`Assignment`: which layers run in a wider precision than the target's usual integers."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from host_tools.model.topology import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from host_tools.diagnose.layers import Layer
    from targets.profile import Precision


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Move:
    """Layers that change their precision together.

    Attributes:
        precisions: The new precision of each, by its rank.
        layers: By rank.
    """

    precisions: Mapping[int, Precision]
    layers: Mapping[int, Layer]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assignment:
    """The layers that have moved.

    Attributes:
        precisions: ``int16`` or a float precision of each that has moved, by its rank, in order of execution.
        layers: By rank.
    """

    precisions: Mapping[int, Precision] = field(default_factory=dict)
    layers: Mapping[int, Layer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Put the layers in order, and make the mappings read-only."""
        ordered = {rank: self.precisions[rank] for rank in sorted(self.precisions)}
        object.__setattr__(self, "precisions", MappingProxyType(ordered))
        object.__setattr__(self, "layers", MappingProxyType({rank: self.layers[rank] for rank in ordered}))

    @classmethod
    def after(cls, moves: Iterable[Move]) -> Assignment:
        """Return what moves come to; the last word on a layer holds."""
        precisions: dict[int, Precision] = {}
        layers: dict[int, Layer] = {}
        for move in moves:
            precisions |= move.precisions
            layers |= move.layers
        return cls(precisions=precisions, layers=layers)

    def with_layer(self, rank: int, precision: Precision | None) -> Assignment:
        """Return the assignment with one layer in another precision; None: in the usual one again."""
        rest = {one: kept for one, kept in self.precisions.items() if one != rank}
        return Assignment(
            precisions=rest if precision is None else {**rest, rank: precision}, layers=self.layers
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all that have moved."""
        return tuple(layer.name for layer in self.layers.values())

    @property
    def floats(self) -> tuple[str, ...]:
        """Names of those in float."""
        return tuple(self.layers[rank].name for rank, to in self.precisions.items() if to != "int16")

    @property
    def wide(self) -> tuple[str, ...]:
        """Names of those on 16-bit activations."""
        return tuple(self.layers[rank].name for rank, to in self.precisions.items() if to == "int16")

    @property
    def wide_nodes(self) -> frozenset[str]:
        """Names of those on 16-bit activations and of what they absorb, which may run by itself once saturation does not do it any more."""
        wide = (self.layers[rank] for rank, to in self.precisions.items() if to == "int16")
        return frozenset(named(node) for layer in wide for node in layer.nodes)
