"""A constant leaves the network before a Relu or Clip and enters it again behind what reads it: the edits of `takers.Site`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.equalize.edits import along, values_of
from host_tools.equalize.weights import matrix_of
from host_tools.model.topology import bias_of, is_constant, named, shape_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from host_tools.equalize.edits import Edits
    from host_tools.equalize.link import Axes
    from host_tools.equalize.takers import Site, Taker

    Float64 = NDArray[np.float64]


def give_away(edits: Edits, site: Site, amounts: Float64, axis: int) -> None:
    """Take the amounts off what the producer adds."""
    node = site.producer
    bias = bias_of(node)
    if bias is not None:
        edits.replace(node, bias, values_of(bias) - amounts.reshape(shape_of(bias)))
        return
    (addend,) = (value for value in node.inputs if is_constant(value))
    edits.replace(node, addend, values_of(addend) - along(amounts, node.outputs[0], axis))


def take_up(edits: Edits, taker: Taker, amounts: Float64, axes: Axes) -> None:
    """Add to what stands behind a weight what its inputs have lost, times the weight."""
    matrix, adding = matrix_of(taker.weighted), taker.bias
    lost: Float64 = (matrix.taps.sum(axis=2) * amounts[matrix.inputs]).sum(axis=1)
    bias = bias_of(adding)
    if bias is not None:
        edits.replace(adding, bias, values_of(bias) + lost.reshape(shape_of(bias)))
        return
    result = adding.outputs[0]
    (addend,) = (value for value in adding.inputs if is_constant(value))
    edits.replace(adding, addend, values_of(addend) + along(lost, result, axes[named(result)]))
