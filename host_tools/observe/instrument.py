"""The canonical model with its tensors' reductions as outputs: ONNX Runtime reduces, and only small vectors are copied out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from host_tools.model.export import serialize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.model.float_model import FloatModel

SUBSET_ELEMENTS: Final = 8192
"""Most elements of one tensor that one sample adds to a histogram; larger tensors are counted on a fixed odd stride."""

MINIMA, MAXIMA, MEANS, SUBSETS = (
    "edgewright_minima",
    "edgewright_maxima",
    "edgewright_means",
    "edgewright_subsets",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One tensor among those observed.

    Attributes:
        name: Value name in the canonical graph.
        shape: Static shape.
        channel_axis: Axis of the per-channel numbers; None for a scalar.
        channels: Where its channels stand in the vectors of minima, maxima and means.
        subset: Where its counted elements stand in the vector of subsets.
        stride: Every how many elements are counted; 1 means all.
    """

    name: str
    shape: tuple[int, ...]
    channel_axis: int | None
    channels: slice
    subset: slice
    stride: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentedModel:
    """A serialized model with outputs `MINIMA`, `MAXIMA`, `MEANS` and, with histograms, `SUBSETS`; each a float32 vector."""

    content: bytes
    tensors: tuple[Observed, ...]
    outputs: tuple[str, ...]


def instrument(model: FloatModel, *, histograms: bool) -> InstrumentedModel:
    """Add the reductions of every float activation.

    Raises:
        ModelError: The model is too large to serialize.
    """
    clone = model.graph.clone()
    graph = clone.graph
    values = [
        value for value in graph.inputs if value.dtype == ir.DataType.FLOAT and not value.is_initializer()
    ]
    values += [
        value for node in graph for value in node.outputs if value.dtype == ir.DataType.FLOAT and value.name
    ]
    tensors = _layout(values)
    builder = _Builder(graph)
    parts: dict[str, list[ir.Value]] = {MINIMA: [], MAXIMA: [], MEANS: [], SUBSETS: []}
    for value, tensor in zip(values, tensors, strict=True):
        for output, op_type in ((MINIMA, "ReduceMin"), (MAXIMA, "ReduceMax"), (MEANS, "ReduceMean")):
            parts[output].append(builder.by_channel(value, op_type, tensor))
        if histograms:
            parts[SUBSETS].append(builder.subset(value, tensor))
    outputs = (MINIMA, MAXIMA, MEANS, SUBSETS) if histograms else (MINIMA, MAXIMA, MEANS)
    graph.outputs.clear()
    for output in outputs:
        graph.outputs.append(builder.concatenated(parts[output], output))
    return InstrumentedModel(content=serialize(clone), tensors=tensors, outputs=outputs)


def _layout(values: Sequence[ir.Value]) -> tuple[Observed, ...]:
    tensors: list[Observed] = []
    channel_start = subset_start = 0
    for value in values:
        shape = tuple(extent for extent in value.shape or () if isinstance(extent, int))
        axis = None if not shape else min(1, len(shape) - 1)
        channel_count = 1 if axis is None else shape[axis]
        size = int(np.prod(shape, dtype=np.int64))
        stride = max(1, -(-size // SUBSET_ELEMENTS)) | 1 if size > SUBSET_ELEMENTS else 1
        counted = -(-size // stride)
        tensors.append(
            Observed(
                name=str(value.name),
                shape=shape,
                channel_axis=axis,
                channels=slice(channel_start, channel_start + channel_count),
                subset=slice(subset_start, subset_start + counted),
                stride=stride,
            ),
        )
        channel_start += channel_count
        subset_start += counted
    return tuple(tensors)


class _Builder:
    """Appends nodes to a graph under names that a model does not use."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._count = 0
        self._constants: dict[tuple[int, ...], ir.Value] = {}

    def by_channel(self, value: ir.Value, op_type: str, tensor: Observed) -> ir.Value:
        axes = tuple(axis for axis in range(len(tensor.shape)) if axis != tensor.channel_axis)
        if not axes:
            return self._node("Reshape", [value, self._constant((-1,))])
        reduced = self._node(op_type, [value, self._constant(axes)], keepdims=0)
        return self._node("Reshape", [reduced, self._constant((-1,))])

    def subset(self, value: ir.Value, tensor: Observed) -> ir.Value:
        flat = self._node("Reshape", [value, self._constant((-1,))])
        if tensor.stride == 1:
            return flat
        ends = self._constant((np.iinfo(np.int64).max,))
        return self._node(
            "Slice",
            [flat, self._constant((0,)), ends, self._constant((0,)), self._constant((tensor.stride,))],
        )

    def concatenated(self, parts: Sequence[ir.Value], name: str) -> ir.Value:
        return self._node("Concat", parts, name=name, axis=0)

    def _node(
        self, op_type: str, inputs: Sequence[ir.Value], *, name: str | None = None, **attributes: int
    ) -> ir.Value:
        self._count += 1
        node = ir.node(op_type, inputs, attributes=attributes, name=f"edgewright_node_{self._count}")
        node.outputs[0].name = name or f"edgewright_value_{self._count}"
        if name is not None:
            node.outputs[0].dtype = ir.DataType.FLOAT
            node.outputs[0].shape = ir.Shape([None])
        self._graph.append(node)
        return node.outputs[0]

    def _constant(self, numbers: tuple[int, ...]) -> ir.Value:
        if numbers not in self._constants:
            name = f"edgewright_constant_{len(self._constants)}"
            tensor = ir.tensor(np.asarray(numbers, np.int64), name=name)
            value = ir.Value(
                name=name,
                shape=ir.Shape([len(numbers)]),
                type=ir.TensorType(ir.DataType.INT64),
                const_value=tensor,
            )
            self._graph.register_initializer(value)
            self._constants[numbers] = value
        return self._constants[numbers]
