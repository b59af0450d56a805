"""What an operator with weights sees at some of its output's places: inputs as rows, one column a weight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.plan.topology import integers, shape_of, weight_of

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]
    Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patches:
    """Gathers the inputs of Conv, Gemm or MatMul at chosen output places.

    Attributes:
        groups: Groups of outputs that read the same inputs.
        columns: Inputs of one output, taps included.
        outputs: Outputs of a group.
        places: How many places one sample's output has.
    """

    groups: int
    columns: int
    outputs: int
    places: int
    _node: ir.Node

    @classmethod
    def of(cls, node: ir.Node) -> Patches | None:
        """Return the patches of a node with a constant weight; None for those whose inputs are not gathered (ConvTranspose, batched MatMul)."""
        weight = shape_of(weight_of(node))
        result = shape_of(node.outputs[0])
        if node.op_type == "Conv":
            group = integers(node, "group", (1,))[0]
            return cls(
                groups=group,
                columns=math.prod(weight[1:]),
                outputs=weight[0] // group,
                places=result[0] * math.prod(result[2:]),
                _node=node,
            )
        if node.op_type == "Gemm":
            return cls(groups=1, columns=weight[1], outputs=weight[0], places=result[0], _node=node)
        if node.op_type == "MatMul" and len(weight) == 2:
            return cls(
                groups=1, columns=weight[0], outputs=weight[1], places=math.prod(result[:-1]), _node=node
            )
        return None

    def inputs_at(self, source: Float32, places: Indices) -> Float32:
        """Return the inputs at some places.

        Args:
            source: The node's input, its own shape.
            places: Indices of output places, shape (n,), each in [0, places).

        Returns:
            Shape (groups, columns, n).
        """
        if self._node.op_type != "Conv":
            rows = source.reshape(-1, source.shape[-1])[places]
            return np.ascontiguousarray(rows.T)[np.newaxis]
        return self._convolved(source, places)

    def outputs_at(self, result: Float32, places: Indices) -> Float32:
        """Return the outputs at some places, shape (groups, outputs of a group, n).

        Args:
            result: The node's output, its own shape.
            places: As for `inputs_at`.
        """
        if self._node.op_type != "Conv":
            return np.ascontiguousarray(result.reshape(-1, result.shape[-1])[places].T)[np.newaxis]
        flat = np.moveaxis(result, 1, 0).reshape(result.shape[1], -1)
        return flat[:, places].reshape(self.groups, self.outputs, places.size)

    def weights(self, values: Float64) -> Float64:
        """Return a weight as (groups, outputs of a group, columns)."""
        if self._node.op_type == "MatMul":
            values = values.T
        return values.reshape(self.groups, self.outputs, self.columns)

    def as_weight(self, rows: Float64) -> Float64:
        """Return (groups, outputs of a group, columns) in the shape of the node's weight."""
        shape = shape_of(weight_of(self._node))
        return rows[0].T if self._node.op_type == "MatMul" else rows.reshape(shape)

    def _convolved(self, source: Float32, places: Indices) -> Float32:
        node = self._node
        kernel = shape_of(weight_of(node))[2:]
        spatial = len(kernel)
        strides = integers(node, "strides", (1,) * spatial)
        dilations = integers(node, "dilations", (1,) * spatial)
        pads = integers(node, "pads", (0,) * (2 * spatial))
        margins = [(pads[axis], pads[axis + spatial]) for axis in range(spatial)]
        padded = np.pad(source, [(0, 0), (0, 0), *margins])
        extents = padded.shape[2:]
        batch, *at = np.unravel_index(places, (source.shape[0], *shape_of(node.outputs[0])[2:]))
        taps = np.indices(kernel).reshape(spatial, -1)
        index = np.zeros((taps.shape[1], places.size), np.intp)
        for axis in range(spatial):
            along = at[axis] * strides[axis] + (taps[axis] * dilations[axis])[:, np.newaxis]
            index = index * extents[axis] + along
        flat = padded.reshape(padded.shape[0], padded.shape[1], -1)
        found = np.moveaxis(flat[batch[np.newaxis, :], :, index], 2, 0)  # (channels, taps, places)
        return found.reshape(self.groups, self.columns, places.size)
