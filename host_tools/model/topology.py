"""`Network`: the canonical graph by names: nodes and values by name, who reads what, and which input plays which part."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import onnx_ir as ir

from host_tools.model.graph_editor import constant_of, static_shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that may have a constant weight and, but for MatMul, a bias."""

_DATA_INPUTS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"Clip": (0,), "Resize": (0,), "Pad": (0, 2), "BatchNormalization": (0,)}
)
"""Operators with float inputs that are settings, not data: bounds, scales, moments. Of every other operator each float input is data."""

_WEIGHT, _BIAS = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInput:
    """Input ``index`` of the node named ``node``."""

    node: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """A canonical graph by names.

    Attributes:
        nodes: By node name, in topological order.
        values: By value name: graph inputs, initializers, then node outputs in topological order.
        readers: For every value the node inputs that read it, in topological order.
        writers: For every node output the node's name.
        inputs: Names of the graph inputs that are fed.
        outputs: Names of the graph outputs.
    """

    nodes: Mapping[str, ir.Node]
    values: Mapping[str, ir.Value]
    readers: Mapping[str, tuple[NodeInput, ...]]
    writers: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: frozenset[str]


def network_of(model: ir.Model) -> Network:
    """Read a canonical model's graph."""
    graph = model.graph
    nodes = {named(node): node for node in graph}
    fed = [value for value in graph.inputs if not value.is_initializer()]
    written = [value for node in nodes.values() for value in node.outputs if value.name]
    values = {named(value): value for value in (*fed, *graph.initializers.values(), *written)}
    readers: dict[str, list[NodeInput]] = {name: [] for name in values}
    for name, node in nodes.items():
        for index, value in enumerate(node.inputs):
            if value is not None:
                readers[named(value)].append(NodeInput(node=name, index=index))
    return Network(
        nodes=MappingProxyType(nodes),
        values=MappingProxyType(values),
        readers=MappingProxyType({name: tuple(node_inputs) for name, node_inputs in readers.items()}),
        writers=MappingProxyType(
            {named(value): name for name, node in nodes.items() for value in outputs_of(node)}
        ),
        inputs=tuple(named(value) for value in fed),
        outputs=frozenset(named(value) for value in graph.outputs),
    )


def named(thing: ir.Node | ir.Value | None) -> str:
    """Return a node's or value's name; canonical form gives every one a name."""
    return "" if thing is None or thing.name is None else thing.name


def outputs_of(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the outputs that exist: an optional one that is left out has no name."""
    return tuple(value for value in node.outputs if value.name)


def is_float(value: ir.Value | None) -> bool:
    """Tell whether a value is a float32 tensor; no other type is ever quantized."""
    return value is not None and value.dtype == ir.DataType.FLOAT


def is_constant(value: ir.Value | None) -> bool:
    """Tell whether a value is an initializer."""
    return value is not None and value.is_initializer()


def constant(value: ir.Value | None) -> NDArray[np.generic]:
    """Return an initializer's array.

    Raises:
        ValueError: The value is not an initializer.
    """
    array = constant_of(value)
    if array is None:
        raise ValueError(f"{named(value)!r} is not an initializer")
    return array


def shape_of(value: ir.Value | None) -> tuple[int, ...]:
    """Return a value's static shape.

    Raises:
        ValueError: The shape is not static, which canonical form excludes.
    """
    shape = static_shape(value)
    if shape is None:
        raise ValueError(f"{named(value)!r} has no static shape")
    return shape


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """Return input ``index``, or None when it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def weight_of(node: ir.Node) -> ir.Value | None:
    """Return the constant weight of Conv, ConvTranspose, Gemm or MatMul; None when there is none.

    MatMul's weight is its second input only: the output's channels run along the last axis of that one.
    """
    value = input_at(node, _WEIGHT) if node.op_type in WEIGHTED else None
    return value if is_constant(value) else None


def bias_of(node: ir.Node) -> ir.Value | None:
    """Return the constant bias of Conv, ConvTranspose or Gemm; None when there is none."""
    value = input_at(node, _BIAS) if node.op_type in WEIGHTED else None
    return value if is_constant(value) else None


def constant_weight(node: ir.Node) -> ir.Value | None:
    """Return the float constant that a node multiplies by, or looks rows up in (Gather); None when there is none."""
    value = input_at(node, 0) if node.op_type == "Gather" else weight_of(node)
    return value if is_constant(value) and is_float(value) else None


def data_indices(node: ir.Node) -> tuple[int, ...]:
    """Return the indices of the inputs that are float data: activations and constant operands, not weight, bias or settings."""
    allowed = _DATA_INPUTS.get(node.op_type, tuple(range(len(node.inputs))))
    others = {named(weight_of(node)), named(bias_of(node))} - {""}
    return tuple(
        index
        for index in allowed
        if is_float(input_at(node, index)) and named(node.inputs[index]) not in others
    )


def data_inputs(node: ir.Node) -> Iterator[tuple[int, str]]:
    """Yield index and value name of every float data input."""
    for index in data_indices(node):
        yield index, named(node.inputs[index])


def float_outputs(node: ir.Node) -> tuple[str, ...]:
    """Return the names of a node's float outputs."""
    return tuple(named(value) for value in outputs_of(node) if is_float(value))


def integers(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Return an attribute that is an integer or a list of them."""
    attribute = node.attributes.get(name)
    if attribute is None:
        return default
    if attribute.type == ir.AttributeType.INT:
        return (attribute.as_int(),)
    return tuple(attribute.as_ints()) if attribute.type == ir.AttributeType.INTS else default


def channel_axis(node: ir.Node) -> int | None:
    """Return the axis of a weight along which one scale per output channel is possible, in the canonical layout; None when none is.

    Source:
        ONNX operator specification, weight layouts: Conv (M, C/group, ...), ConvTranspose (C, M/group, ...), Gemm with transB=1 (N, K),
        MatMul (..., K, N). A grouped ConvTranspose holds M/group channels only, so no axis has one entry per output channel.
    """
    if node.op_type in ("Conv", "Gemm"):
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if integers(node, "group", (1,)) == (1,) else None
    return len(shape_of(weight_of(node))) - 1
