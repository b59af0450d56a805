"""`rewritten`: the model with its channels scaled, computing the same."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.equalize.bounds import upper_bound
from host_tools.equalize.links import SCALABLE
from host_tools.equalize.weights import scaled
from host_tools.model.graph_editor import GraphEditor, constant_of
from host_tools.plan.topology import bias_of, is_constant, named, shape_of, weight_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.equalize.factors import Clips
    from host_tools.model.float_model import FloatModel

    Float64 = NDArray[np.float64]


def rewritten(
    model: FloatModel, channels: Channels, factors: Float64, *, clips: Clips
) -> tuple[FloatModel, tuple[str, ...]]:
    """Return a model that computes the same with scaled channels; canonical like the model it comes from, and with a digest of its own.

    Args:
        model: The canonical model; not changed.
        channels: Which factor belongs to which channel.
        factors: The factors, shape (channels.count,), each above 0.
        clips: Whether a Clip whose channels have factors of their own is bounded channel by channel, or stays as it is.

    Returns:
        The model, and the names of the Clips that became a Relu and an upper bound for each channel.

    Raises:
        OverflowError: A scaled constant is too large for float32.
    """
    graph = model.graph.clone()
    writer = _Writer(graph=graph, channels=channels, factors=factors, clips=clips)
    for node in list(graph.graph):
        writer.rewrite(node)
    writer.editor.drop_unused_initializers()
    digest = hashlib.sha256(
        f"{model.digest} {clips} ".encode() + np.ascontiguousarray(factors, "<f8").tobytes()
    )
    made = dataclasses.replace(model, graph=graph, digest=f"sha256:{digest.hexdigest()}")
    return made, tuple(writer.bounded)


class _Writer:
    """Edits a clone, node by node."""

    def __init__(self, *, graph: ir.Model, channels: Channels, factors: Float64, clips: Clips) -> None:
        self.editor = GraphEditor(graph.graph)
        self._names = {named(node) for node in graph.graph}
        self._channels = channels
        self._factors = factors
        self._clips = clips
        self.bounded: list[str] = []

    def rewrite(self, node: ir.Node) -> None:
        """Give a node's constants the factors of the channels around them."""
        if named(node.outputs[0]) not in self._channels.factors:
            return
        if weight_of(node) is not None:
            self._rewrite_weights(node)
        elif node.op_type == "LayerNormalization":
            self._rewrite_normalization(node)
        elif node.op_type == "Clip" and upper_bound(node) is not None and self._clips == "bounded":
            self._rewrite_clip(node)
        elif node.op_type in SCALABLE:
            self._rewrite_operands(node)

    def _of(self, value: ir.Value | None) -> Float64:
        """Return the factor of each channel of a value."""
        return self._factors[self._channels.factors[named(value)]]

    def _rewrite_weights(self, node: ir.Node) -> None:
        rows, columns = self._of(node.outputs[0]), self._of(node.inputs[0])
        if (rows == 1.0).all() and (columns == 1.0).all():
            return
        weight, bias = weight_of(node), bias_of(node)
        values = scaled(node, _values(weight), self._channels, self._factors)
        self._replace(node, weight, values)
        if bias is not None:
            self._replace(node, bias, _values(bias) * rows.reshape(_values(bias).shape))

    def _rewrite_normalization(self, node: ir.Node) -> None:
        factors = self._of(node.outputs[0])
        if (factors == 1.0).all():
            return
        for value in node.inputs[1:]:
            self._replace(node, value, _values(value) * factors)

    def _rewrite_operands(self, node: ir.Node) -> None:
        """Scale the constant of an element-wise operator: a sum's as its output, a product's by what output and input differ."""
        result, factors = node.outputs[0], self._of(node.outputs[0])
        constants = [value for value in node.inputs if is_constant(value)]
        if node.op_type == "Mul" and constants:
            (data,) = (value for value in node.inputs if not is_constant(value))
            same = shape_of(data) == shape_of(result)  # else all of its factors are 1
            factors = factors / self._of(data) if same else factors
        if (factors == 1.0).all():
            return
        for value in constants:
            self._replace(node, value, _values(value) * self._along(factors, result))

    def _rewrite_clip(self, node: ir.Node) -> None:
        """Write Clip(0, high) as Relu and an upper bound for each channel, unless one bound serves all."""
        result, high = node.outputs[0], upper_bound(node)
        bounds = (high or 0.0) * self._of(result)
        if (bounds == high).all():
            return
        relu = ir.node("Relu", [node.inputs[0]], name=self._fresh(f"{named(node)}/relu"))
        bound = self.editor.constant(f"{named(result)}/bound", _rounded(self._along(bounds, result)))
        bounded = ir.node("Min", [relu.outputs[0], bound], name=named(node))
        source = node.inputs[0]
        relu.outputs[0].shape, relu.outputs[0].type = result.shape, source.type if source else result.type
        self.editor.replace(node, [relu, bounded])
        self.bounded.append(named(bounded))

    def _along(self, factors: Float64, result: ir.Value) -> Float64:
        """Shape one number a channel so that it broadcasts against a value."""
        shape = [1] * len(shape_of(result))
        if shape:
            shape[self._channels.axes[named(result)]] = factors.size
        return factors.reshape(shape)

    def _replace(self, node: ir.Node, value: ir.Value | None, values: Float64) -> None:
        """Put a constant of its own in the place of the one that a node reads; the old one stays for other readers."""
        if value is None:
            return
        array = _rounded(values)
        if len(value.uses()) == 1 and array.shape == shape_of(value) and not value.is_graph_output():
            value.const_value = ir.tensor(array, name=named(value))
            return
        fresh = self.editor.constant(f"{named(value)}/{named(node)}", array)
        for index in [at for at, one in enumerate(node.inputs) if one is value]:
            node.replace_input_with(index, fresh)

    def _fresh(self, name: str) -> str:
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def _values(value: ir.Value | None) -> Float64:
    return np.asarray(constant_of(value), np.float64)


def _rounded(values: Float64) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        array = values.astype(np.float32)
    if (np.isinf(array) & np.isfinite(values)).any():
        raise OverflowError(f"{np.abs(values[np.isinf(array)]).max():g} is too large for float32")
    return array
