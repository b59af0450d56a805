"""The canonical model with its tensors' reductions as its one output: ONNX Runtime reduces, and only a small vector is copied out.

A tensor is reduced by nodes that stand right after the one that makes it. Run in that order (`EXECUTION_ORDER`), it is reduced while it
is still in the cache, and forgotten before the next ones are made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from device_agent.engines.onnxruntime_library import onnxruntime as ort
from host_tools.model.channel_axes import channel_axes
from host_tools.model.export import serialize
from host_tools.model.graph_editor import static_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel

SUBSET_ELEMENTS: Final = 8192
"""Most elements of one tensor that one sample adds to a histogram; of a larger tensor some are counted, see `counted_elements`."""

EXECUTION_ORDER: Final = ort.ExecutionOrder.PRIORITY_BASED
"""ONNX Runtime's default walks back from the output, and would keep every tensor until the end."""

REDUCTIONS: Final = "edgewright_reductions"

_REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceMean", "ReduceSumSquare")
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_EXTREMES = ("ReduceMin", "ReduceMax")
_INCREASING = ("Relu", "Clip")
"""What a constant clamp does to the smallest and largest of a channel is what it does to the channel's smallest and largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One tensor among those observed.

    Attributes:
        name: Value name in the canonical graph.
        shape: Static shape.
        channel_axis: Axis of the per-channel numbers; None for a scalar.
        minima: Where the smallest value of each channel stands in the vector of reductions.
        maxima: Where the largest ones stand.
        means: Where the means stand.
        squares: Where the sums of squares stand; empty unless an operator with weights reads the tensor.
        subset: Where the counted elements stand; empty without histograms.
        is_clipped: Whether a Clip reads the tensor.
    """

    name: str
    shape: tuple[int, ...]
    channel_axis: int | None
    minima: slice
    maxima: slice
    means: slice
    squares: slice
    subset: slice
    is_clipped: bool

    @property
    def has_squares(self) -> bool:
        """Whether sums of squares are gathered."""
        return bool(self.squares.stop > self.squares.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentedModel:
    """A serialized model whose only output, `REDUCTIONS`, is float32 of shape (1, everything about ``tensors``)."""

    content: bytes
    tensors: tuple[Observed, ...]


def instrument(model: FloatModel, *, histograms: bool) -> InstrumentedModel:
    """Replace the outputs by the reductions of every float activation.

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
    builder = _Builder(graph)
    axes = channel_axes([value for value in graph.inputs if not value.is_initializer()], list(graph))
    tensors: list[Observed] = []
    parts: list[ir.Value] = []
    start = 0
    for value in values:
        tensor = _layout(value, axes[str(value.name)], start, histograms=histograms)
        tensors.append(tensor)
        builder.go_to(value)
        parts += [
            builder.reduced(value, op, tensor)
            for op in (_REDUCTIONS if tensor.has_squares else _REDUCTIONS[:3])
        ]
        if histograms:
            parts.append(builder.subset(value, tensor))
        start = tensor.subset.stop
    graph.outputs.clear()
    graph.outputs.append(builder.joined(parts, start))
    return InstrumentedModel(content=serialize(clone), tensors=tuple(tensors))


def _layout(value: ir.Value, axis: int | None, start: int, *, histograms: bool) -> Observed:
    shape = static_shape(value) or ()
    channels = 1 if axis is None else shape[axis]
    size = math.prod(shape)
    counted = counted_elements(size).size if histograms else 0
    minima, maxima, means = (slice(start + at * channels, start + (at + 1) * channels) for at in range(3))
    is_weighed = any(use.node.op_type in _WEIGHTED and use.idx == 0 for use in value.uses())
    squares = slice(means.stop, means.stop + (channels if is_weighed else 0))
    return Observed(
        name=str(value.name),
        shape=shape,
        channel_axis=axis,
        minima=minima,
        maxima=maxima,
        means=means,
        squares=squares,
        subset=slice(squares.stop, squares.stop + counted),
        is_clipped=any(use.node.op_type == "Clip" and use.idx == 0 for use in value.uses()),
    )


def counted_elements(size: int) -> NDArray[np.int64]:
    """Return which elements of a tensor of ``size`` elements are counted: one of each run of equal length, at a scattered place in it.

    With a fixed step the places would line up with rows and columns: a step of 49 over maps of 112 by 112 sees 16 of the 112 columns, the
    same ones in every channel and sample.

    Returns:
        Ascending, all different; at most `SUBSET_ELEMENTS`.
    """
    run = max(1, -(-size // SUBSET_ELEMENTS))
    starts = np.arange(0, size, run, dtype=np.int64)
    places = _scattered(starts.size) * np.minimum(run, size - starts) >> 32
    return starts + places


def _scattered(count: int) -> NDArray[np.int64]:
    """Return numbers in [0, 2**32) that look random and are the same everywhere, which NumPy's generators do not promise.

    Source: the 32-bit finalizer of MurmurHash3, A. Appleby, public domain.
    """
    mixed: NDArray[np.uint32] = np.arange(1, count + 1, dtype=np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    scattered: NDArray[np.int64] = (mixed ^ (mixed >> np.uint32(16))).astype(np.int64)
    return scattered


class _Builder:
    """Adds nodes to a graph under names that a model does not use; everything it returns has shape (1, some)."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._first = graph[0]
        self._latest: ir.Node | None = None
        self._count = 0
        self._constants: dict[tuple[int, ...], ir.Value] = {}
        self._reduced: dict[tuple[str, str], ir.Value] = {}

    def go_to(self, value: ir.Value) -> None:
        """Put the next nodes right behind the one that makes ``value``."""
        self._latest = value.producer()

    def reduced(self, value: ir.Value, op_type: str, tensor: Observed) -> ir.Value:
        """Reduce a tensor to one number a channel."""
        clamp = value.producer()
        inner = None if clamp is None or clamp.op_type not in _INCREASING else clamp.inputs[0]
        known = None if inner is None else self._reduced.get((str(inner.name), op_type))
        if clamp is not None and known is not None and op_type in _EXTREMES:
            result = self._node(clamp.op_type, [known, *clamp.inputs[1:]])
        else:
            result = self._over_axes(value, op_type, tensor)
        self._reduced[tensor.name, op_type] = result
        return result

    def _over_axes(self, value: ir.Value, op_type: str, tensor: Observed) -> ir.Value:
        shape, channel = tensor.shape, tensor.channel_axis
        if len(shape) >= 2 and shape[0] == 1:
            # The first axis stays, to be the first of what is joined: no copy, and ONNX Runtime's quickest case.
            axes = tuple(axis for axis in range(1, len(shape)) if axis != channel)
            return (
                self._node(op_type, [value, self._constant(axes)], keepdims=0)
                if axes
                else self._alone(value, op_type)
            )
        axes = tuple(axis for axis in range(len(shape)) if axis != channel)
        vector = (
            self._node(op_type, [value, self._constant(axes)], keepdims=0)
            if axes
            else self._alone(value, op_type)
        )
        return self._node("Reshape", [vector, self._constant((1, -1))])

    def _alone(self, value: ir.Value, op_type: str) -> ir.Value:
        """Reduce over no axes: one element a channel."""
        return self._node("Mul", [value, value]) if op_type == "ReduceSumSquare" else value

    def subset(self, value: ir.Value, tensor: Observed) -> ir.Value:
        """Take the elements that are counted."""
        row = self._node("Reshape", [value, self._constant((1, -1))])
        size = math.prod(tensor.shape)
        counted = counted_elements(size)
        return (
            row
            if counted.size == size
            else self._node("Gather", [row, self._constant(tuple(counted.tolist()))], axis=1)
        )

    def joined(self, parts: Sequence[ir.Value], size: int) -> ir.Value:
        """Return the output, made by the last node of the graph."""
        self._latest = self._graph[-1]
        result = self._node("Concat", parts, axis=1)
        result.name, result.dtype, result.shape = REDUCTIONS, ir.DataType.FLOAT, ir.Shape([1, size])
        return result

    def _node(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: int) -> ir.Value:
        self._count += 1
        node = ir.node(op_type, inputs, attributes=attributes, name=f"edgewright_node_{self._count}")
        node.outputs[0].name = f"edgewright_value_{self._count}"
        if self._latest is None:  # what reduces a graph input stands before everything else
            self._graph.insert_before(self._first, node)
        else:
            self._graph.insert_after(self._latest, node)
        self._latest = node
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
