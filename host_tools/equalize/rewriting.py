"""`rewritten`: the model with its channels scaled, computing the same."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import numpy as np

from host_tools.equalize.bounds import upper_bound
from host_tools.equalize.edits import Edits, along, values_of
from host_tools.equalize.links import SCALABLE
from host_tools.equalize.weights import scaled
from host_tools.model.topology import bias_of, is_constant, named, shape_of, weight_of

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.equalize.factors import Clips
    from host_tools.model.float_model import FloatModel

    Float64 = NDArray[np.float64]


def rewritten(
    model: FloatModel,
    channels: Channels,
    factors: Float64,
    *,
    clips: Clips,
    shifts: Float64 | None = None,
) -> tuple[FloatModel, tuple[str, ...]]:
    """Return a model that computes the same with scaled channels; canonical like the model it comes from, and with a digest of its own.

    Args:
        model: The canonical model; not changed.
        channels: Which factor belongs to which channel.
        factors: The factors, shape (channels.count,), each above 0.
        clips: Whether a Clip whose channels have factors of their own is bounded channel by channel, or has one bound for all.
        shifts: What whole tensors, Clips' bounds included, are multiplied with besides, shape (channels.count,), the same for all channels of
            a tensor; None: nothing.

    Returns:
        The model, and the names of the Clips that became a Relu and an upper bound for each channel.

    Raises:
        OverflowError: A scaled constant is too large for float32.
    """
    graph = model.graph.clone()
    moved = np.ones(channels.count) if shifts is None else shifts
    writer = _Writer(graph=graph, channels=channels, factors=factors, shifts=moved, clips=clips)
    for node in list(graph.graph):
        writer.rewrite(node)
    writer.edits.editor.drop_unused_initializers()
    digest = hashlib.sha256(
        f"{model.digest} {clips} ".encode() + np.stack([factors, moved]).astype("<f8").tobytes()
    )
    made = dataclasses.replace(model, graph=graph, digest=f"sha256:{digest.hexdigest()}")
    return made, tuple(writer.edits.bounded)


class _Writer:
    """Edits a clone, node by node."""

    def __init__(
        self, *, graph: ir.Model, channels: Channels, factors: Float64, shifts: Float64, clips: Clips
    ) -> None:
        self.edits = Edits(graph.graph)
        self._channels = channels
        self._factors = factors * shifts
        self._shifts = shifts
        self._clips = clips

    def rewrite(self, node: ir.Node) -> None:
        """Give a node's constants the factors of the channels around them."""
        if named(node.outputs[0]) not in self._channels.factors:
            return
        if weight_of(node) is not None:
            self._rewrite_weights(node)
        elif node.op_type == "LayerNormalization":
            self._rewrite_normalization(node)
        elif node.op_type == "Clip" and upper_bound(node) is not None:
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
        values = scaled(node, values_of(weight), self._channels, self._factors)
        self.edits.replace(node, weight, values)
        if bias is not None:
            self.edits.replace(node, bias, values_of(bias) * rows.reshape(values_of(bias).shape))

    def _rewrite_normalization(self, node: ir.Node) -> None:
        factors = self._of(node.outputs[0])
        if (factors == 1.0).all():
            return
        for value in node.inputs[1:]:
            self.edits.replace(node, value, values_of(value) * factors)

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
            self.edits.replace(node, value, values_of(value) * self._along(factors, result))

    def _rewrite_clip(self, node: ir.Node) -> None:
        """Write Clip(0, high) as Relu and Min with an upper bound for each channel, unless one bound serves all or has to."""
        result, high = node.outputs[0], upper_bound(node) or 0.0
        if self._clips == "bounded":
            bounds = high * self._of(result)
            if not (bounds == high).all():
                self.edits.bound(node, self._along(bounds, result))
            return
        [shift] = set(self._shifts[self._channels.factors[named(result)]].tolist())
        if shift != 1.0:
            self.edits.replace(node, node.inputs[2], shift * values_of(node.inputs[2]))

    def _along(self, factors: Float64, result: ir.Value) -> Float64:
        return along(factors, result, self._channels.axes[named(result)])
