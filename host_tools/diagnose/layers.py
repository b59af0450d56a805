"""`Layer`: what runs as one on the device: an operator with the ones fused into it, or a graph input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.model.topology import named, network_of, outputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx_ir as ir

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan

_COPIERS = frozenset(
    {
        "Flatten",
        "Identity",
        "MaxPool",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators that pass some of their first input's numbers on as they are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """One step of the network as the plan has it.

    Attributes:
        name: The operator's name, or the graph input's.
        op_type: The operator's type, or ``Input``.
        nodes: The operator and those fused into it, in order; empty for a graph input.
        outputs: Names of the values that it leaves behind; those between fused operators do not exist.
        weights: Names of the constants that it reads as integers.
        copies: Index of the layer whose numbers it passes on with the same codes; it can lose nothing by itself. None elsewhere.
        rank: What it is called in charts: its place in the order of execution, from 0.
    """

    name: str
    op_type: str
    nodes: tuple[ir.Node, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    copies: int | None
    rank: int


def layers_of(model: FloatModel, plan: QuantizationPlan) -> tuple[Layer, ...]:
    """Return the layers in an order in which they can run: graph inputs first, every other where its last operator stands."""
    network = network_of(model.graph)
    chains: dict[str, list[str]] = {}
    for name in network.nodes:
        chains.setdefault(plan.nodes[name].fused_into or name, []).append(name)
    last = {members[-1]: head for head, members in chains.items()}
    layers: list[Layer] = []
    owner: dict[str, int] = {}
    for layer in _drafts(network.inputs, network.nodes, chains, last, plan):
        rank = len(layers)
        source = named(layer.nodes[0].inputs[0]) if layer.nodes and layer.nodes[0].inputs else ""
        copied = owner.get(source) if _copies(layer, source, plan) else None
        if copied is not None and layers[copied].copies is not None:
            copied = layers[copied].copies
        owner |= dict.fromkeys(layer.outputs, rank)
        layers.append(
            Layer(
                name=layer.name,
                op_type=layer.op_type,
                nodes=layer.nodes,
                outputs=layer.outputs,
                weights=layer.weights,
                copies=copied,
                rank=rank,
            )
        )
    return tuple(layers)


def _drafts(
    inputs: tuple[str, ...],
    nodes: Mapping[str, ir.Node],
    chains: Mapping[str, list[str]],
    last: Mapping[str, str],
    plan: QuantizationPlan,
) -> Iterator[Layer]:
    for name in inputs:
        yield Layer(name=name, op_type="Input", nodes=(), outputs=(name,), weights=(), copies=None, rank=0)
    for name in nodes:
        if name not in last:
            continue
        members = tuple(nodes[member] for member in chains[last[name]])
        constants = dict.fromkeys(
            named(value)
            for node in members
            for value in node.inputs
            if value is not None and value.is_initializer()
        )
        yield Layer(
            name=last[name],
            op_type=members[0].op_type,
            nodes=members,
            outputs=tuple(named(value) for value in outputs_of(members[-1])),
            weights=tuple(constant for constant in constants if _is_quantized(constant, plan)),
            copies=None,
            rank=0,
        )


def _is_quantized(value: str, plan: QuantizationPlan) -> bool:
    planned = plan.tensors.get(value)
    return planned is not None and planned.qparams is not None


def _copies(layer: Layer, source: str, plan: QuantizationPlan) -> bool:
    """Tell whether a layer passes its first input's codes on: then quantizing its output again changes nothing."""
    if layer.op_type not in _COPIERS or len(layer.nodes) != 1 or source not in plan.tensors:
        return False
    qparams = plan.tensors[source].qparams
    return qparams is not None and all(plan.tensors[name].qparams == qparams for name in layer.outputs)
