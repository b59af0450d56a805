"""`Edits`: how a clone of a model is changed: constants in the place of others, and a bound for each channel in the place of a Clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.model.graph_editor import GraphEditor, constant_of
from host_tools.model.topology import named, shape_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]


class Edits:
    """Edits one graph in place.

    Attributes:
        editor: Of the graph.
        bounded: Names of the Clips that became a Relu and an upper bound for each channel.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.editor = GraphEditor(graph)
        self.bounded: list[str] = []
        self._names = {named(node) for node in graph}

    def replace(self, node: ir.Node, value: ir.Value | None, values: Float64) -> None:
        """Put a constant of its own in the place of the one that a node reads; the old one stays for other readers.

        Raises:
            OverflowError: A number is too large for float32.
        """
        if value is None:
            return
        array = _rounded(values)
        if len(value.uses()) == 1 and not value.is_graph_output():
            value.const_value, value.shape = ir.tensor(array, name=named(value)), ir.Shape(array.shape)
            return
        fresh = self.editor.constant(f"{named(value)}/{named(node)}", array)
        for index in [at for at, one in enumerate(node.inputs) if one is value]:
            node.replace_input_with(index, fresh)

    def bound(self, clip: ir.Node, bounds: Float64) -> ir.Value:
        """Write Clip(0, high) as Relu and Min with an upper bound for each channel.

        Args:
            clip: The node.
            bounds: The bounds, in a shape that broadcasts against its output.

        Returns:
            What the Relu makes.

        Raises:
            OverflowError: A bound is too large for float32.
        """
        result, source = clip.outputs[0], clip.inputs[0]
        relu = ir.node("Relu", [source], name=self.fresh(f"{named(clip)}/relu"))
        bound = self.editor.constant(f"{named(result)}/bound", _rounded(bounds))
        bounded = ir.node("Min", [relu.outputs[0], bound], name=named(clip))
        relu.outputs[0].shape, relu.outputs[0].type = result.shape, source.type if source else result.type
        self.editor.replace(clip, [relu, bounded])
        self.bounded.append(named(bounded))
        return relu.outputs[0]

    def fresh(self, name: str) -> str:
        """Reserve a node name that nothing in the graph has, beginning with ``name``."""
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def values_of(value: ir.Value | None) -> Float64:
    """Return a constant in float64."""
    return np.asarray(constant_of(value), np.float64)


def along(numbers: Float64, value: ir.Value, axis: int) -> Float64:
    """Shape one number a channel so that it broadcasts against a value whose channels lie along ``axis``."""
    shape = [1] * len(shape_of(value))
    if shape:
        shape[axis] = numbers.size
    return numbers.reshape(shape)


def _rounded(values: Float64) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        array = values.astype(np.float32)
    if (np.isinf(array) & np.isfinite(values)).any():
        raise OverflowError(f"{np.abs(values[np.isinf(array)]).max():g} is too large for float32")
    return array
