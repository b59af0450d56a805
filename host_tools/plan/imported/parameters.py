"""`Parameters`: what every value and weight of a quantized file becomes on one target, before operators tie values together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from host_tools.model.topology import WEIGHTED, float_outputs, named, weight_of
from host_tools.plan.grouping import fixed_values
from host_tools.plan.imported.known import reader_of
from host_tools.plan.imported.schemes import Obstacle, activation_in, weight_in
from host_tools.plan.weights import WeightChoice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.model.quantized import Coding, Quantization
    from host_tools.model.topology import Network, NodeInput
    from host_tools.plan.placement import Placement
    from host_tools.plan.quantization_plan import QParams
    from targets.profile import CapabilityProfile


@dataclass(slots=True, kw_only=True, eq=False)
class Parameters:
    """Parameters on one target, with what stands in their way.

    Attributes:
        network: The canonical graph.
        profile: The target.
        known: Codings of the file by value name.
        values: Parameters of activations and constant operands, by name.
        weights: Of weights of integer nodes, with the reason, by name.
        edges: Inputs that read in parameters of their own.
        fixed: Values that a kernel of the target writes in its own parameters.
        obstacles: Why values cannot be had, by name.
        warnings: What differs from the file, one sentence each.
    """

    network: Network
    profile: CapabilityProfile
    known: Mapping[str, Coding]
    values: dict[str, QParams] = field(default_factory=dict)
    weights: dict[str, WeightChoice] = field(default_factory=dict)
    edges: dict[NodeInput, QParams] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    obstacles: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def take_values(self, names: tuple[str, ...], placement: Placement) -> None:
        """Take the values that exist as integers on the target; what a kernel fixes is what it is."""
        fixed = fixed_values(self.network, placement, self.profile)
        for name in names:
            if name not in self.known:
                self.obstacles[name] = (
                    f"value {name!r}: the file has it in float; the target wants it in integers (interface of {self.profile.id!r})"
                )
                continue
            found = activation_in(self.known[name], self.profile)
            if name in fixed:
                self._fix(name, found, fixed[name])
            elif isinstance(found, Obstacle):
                self.obstacles[name] = f"value {name!r}: {found.text}"
            else:
                self.values[name] = found

    def _fix(self, name: str, found: QParams | Obstacle, fixed: QParams) -> None:
        self.values[name] = fixed
        self.fixed.add(name)
        if found == fixed:
            return
        coding = self.known[name]
        writer = self.network.nodes[self.network.writers[name]]
        self.warnings.append(
            f"{name!r}: the kernel of {writer.op_type} writes the scale {fixed.scale[0]:g} and the zero point {fixed.zero_point[0]} "
            f"(fixed_outputs of {self.profile.id!r}), where the file has {coding.scale[0]:g} and {coding.zero_point[0]}; "
            "its codes are not the file's."
        )

    def take_weights(self, placement: Placement) -> None:
        """Take the weights of integer nodes."""
        for name, node in self.network.nodes.items():
            weight = named(weight_of(node))
            if node.op_type not in WEIGHTED or not weight or not placement.is_integer(name):
                continue
            found = weight_in(node, self.known[weight], self.profile)
            if isinstance(found, Obstacle):
                self.obstacles[weight] = f"weight {weight!r} of {node.op_type} {name!r}: {found.text}"
            else:
                reason = f"{node.op_type} weight: {self.known[weight].scheme}, codes and scales of the file"
                self.weights[weight] = WeightChoice(qparams=found, reason=reason)

    def take_edges(self, quantization: Quantization, placement: Placement) -> None:
        """Take the inputs that read in another coding than their value has."""
        missed: dict[str, str] = {}
        for edge in quantization.edges:
            node_input = reader_of(self.network, edge)
            found = activation_in(edge.coding, self.profile)
            if node_input is None or not placement.is_integer(node_input.node):
                missed.setdefault(edge.output, edge.source)
            elif isinstance(found, Obstacle):
                self.obstacles[edge.source] = (
                    f"value {edge.source!r}, as {node_input.node!r} reads it: {found.text}"
                )
            elif found != self.values.get(edge.source):
                self.edges[node_input] = found
        read = {name for node_input in self.edges for name in self._written_behind(node_input, placement)}
        self.warnings += [
            f"{output!r}: the file re-quantizes {source!r} before it is read; here it is read as it is."
            for output, source in missed.items()
            if output not in read and output in self.network.values
        ]

    def _written_behind(self, node_input: NodeInput, placement: Placement) -> tuple[str, ...]:
        return float_outputs(self.network.nodes[placement.last_of(node_input.node)])
