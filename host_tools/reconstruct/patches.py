"""What an operator with weights sees at some of its output's places: inputs as rows, one column a weight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.model.topology import integers, shape_of, weight_of

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]
    Indices = NDArray[np.intp]


_WINDOWED: Final = ("Conv", "ConvTranspose")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patches:
    """Gathers the inputs of Conv, ConvTranspose, Gemm or MatMul at chosen output places.

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
        """Return the patches of a node with a constant weight; None for those whose inputs are not gathered (batched MatMul)."""
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
        if node.op_type == "ConvTranspose":
            group = integers(node, "group", (1,))[0]
            return cls(
                groups=group,
                columns=weight[0] // group * math.prod(weight[2:]),
                outputs=weight[1],
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
        if self._node.op_type not in _WINDOWED:
            rows = source.reshape(-1, source.shape[-1])[places]
            return np.ascontiguousarray(rows.T)[np.newaxis]
        return self._met(source, places)

    def outputs_at(self, result: Float32, places: Indices) -> Float32:
        """Return the outputs at some places, shape (groups, outputs of a group, n).

        Args:
            result: The node's output, its own shape.
            places: As for `inputs_at`.
        """
        if self._node.op_type not in _WINDOWED:
            return np.ascontiguousarray(result.reshape(-1, result.shape[-1])[places].T)[np.newaxis]
        flat = np.moveaxis(result, 1, 0).reshape(result.shape[1], -1)
        return flat[:, places].reshape(self.groups, self.outputs, places.size)

    def weights(self, values: Float64) -> Float64:
        """Return a weight as (groups, outputs of a group, columns)."""
        if self._node.op_type == "ConvTranspose":  # (inputs, outputs of a group, taps...)
            split = values.reshape(self.groups, -1, self.outputs, math.prod(values.shape[2:]))
            values = split.swapaxes(1, 2)
        elif self._node.op_type == "MatMul":
            values = values.T
        return values.reshape(self.groups, self.outputs, self.columns)

    def as_weight(self, rows: Float64) -> Float64:
        """Return (groups, outputs of a group, columns) in the shape of the node's weight."""
        shape = shape_of(weight_of(self._node))
        if self._node.op_type == "ConvTranspose":
            split = rows.reshape(self.groups, self.outputs, -1, math.prod(shape[2:]))
            rows = split.swapaxes(1, 2)
        return rows[0].T if self._node.op_type == "MatMul" else rows.reshape(shape)

    def _met(self, source: Float32, places: Indices) -> Float32:
        """Return what each tap meets at each place, zeros where that is padding, or between two inputs of a transposed convolution."""
        kernel = shape_of(weight_of(self._node))[2:]
        extents = source.shape[2:]
        batch, *at = np.unravel_index(places, (source.shape[0], *shape_of(self._node.outputs[0])[2:]))
        taps = np.indices(kernel).reshape(len(kernel), -1)
        index = np.zeros((taps.shape[1], places.size), np.intp)
        is_there = np.ones(index.shape, np.bool_)
        for axis, extent in enumerate(extents):
            along, is_input = self._along(axis, at[axis], taps[axis][:, np.newaxis])
            is_there &= is_input & (along >= 0) & (along < extent)
            index = index * extent + along
        flat = source.reshape(source.shape[0], source.shape[1], -1)
        found = flat[batch[np.newaxis, :], :, np.where(is_there, index, 0)]  # (taps, places, channels)
        found = np.moveaxis(np.where(is_there[:, :, np.newaxis], found, np.float32(0.0)), 2, 0)
        return found.reshape(self.groups, self.columns, places.size)

    def _along(self, axis: int, at: Indices, taps: Indices) -> tuple[Indices, NDArray[np.bool_]]:
        """Return where along an input's spatial axis taps look from output places, shape (taps, places), and whether an input stands there.

        A transposed convolution adds input i to the places i * stride + tap * dilation - pad, so it sees inputs at whole quotients only.
        """
        spatial = len(shape_of(weight_of(self._node))) - 2
        stride = integers(self._node, "strides", (1,) * spatial)[axis]
        reach = taps * integers(self._node, "dilations", (1,) * spatial)[axis]
        pad = integers(self._node, "pads", (0,) * (2 * spatial))[axis]
        if self._node.op_type == "Conv":
            along = at * stride + reach - pad
            return along, np.ones(along.shape, np.bool_)
        along, rest = np.divmod(at + pad - reach, stride)
        return along, rest == 0
