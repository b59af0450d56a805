"""What operators of opset 12 and older mean, said so that the converter of `onnx` cannot lose it: it only renames these.

Hardmax worked on a matrix, before opset 13: all axes from `axis` on were one. Upsample and Resize, before opset 11, put pixel 0 on pixel 0
("asymmetric", where later ones take pixels for areas unless they are told), and took the pixel before, or behind where they made smaller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import onnx_ir as ir

from host_tools.errors import UnsupportedOperatorError
from host_tools.model.admission import label
from host_tools.model.graph_editor import constant_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_HARDMAX_BY_AXIS: Final = 13
_RESIZE_TELLS_ITS_PIXELS: Final = 11
_DEFAULT_AXIS: Final = 1  # of Hardmax, before opset 13


def write_out_matrices(graph: onnx.GraphProto, declared: int) -> None:
    """Write every Hardmax of an opset before 13 as one over the rows of a matrix, which means the same in all of them.

    Args:
        graph: Changed in place, with the graphs in it; not yet converted.
        declared: Its opset.
    """
    if declared >= _HARDMAX_BY_AXIS:
        return
    nodes = [made for node in graph.node for made in _by_rows(node)]
    del graph.node[:]
    graph.node.extend(nodes)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                write_out_matrices(inner, declared)


def _by_rows(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    if node.op_type != "Hardmax" or node.domain not in ("", "ai.onnx"):
        yield node
        return
    axis = next((one.i for one in node.attribute if one.name == "axis"), _DEFAULT_AXIS)
    (source,), (result,) = node.input, node.output
    shape, rows, hard = (f"{result}/{part}" for part in ("shape", "rows", "hardmax"))
    yield onnx.helper.make_node("Shape", [source], [shape])
    yield onnx.helper.make_node("Flatten", [source], [rows], axis=axis)
    yield onnx.helper.make_node("Hardmax", [rows], [hard], name=node.name, axis=1)
    yield onnx.helper.make_node("Reshape", [hard, shape], [result])


def tell_pixels(graph: ir.Graph, declared: int) -> None:
    """Say of every Resize of an opset before 11 where its pixels lie.

    Called after conversion, for what is computed at once, and again after folding, when the scales are known.

    Args:
        graph: Changed in place, with the graphs in it; converted.
        declared: The opset that it had before.

    Raises:
        UnsupportedOperatorError: A Resize to the nearest pixel that makes one axis smaller and another larger.
    """
    if declared >= _RESIZE_TELLS_ITS_PIXELS:
        return
    for node in ir.traversal.RecursiveGraphIterator(graph):
        if node.op_type == "Resize":
            node.attributes["coordinate_transformation_mode"] = ir.AttrString(
                "coordinate_transformation_mode", "asymmetric"
            )
            node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", _nearest(node))


def _nearest(node: ir.Node) -> str:
    array = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if array is None:
        return "floor"
    scales = np.asarray(array, np.float64)
    if not bool((scales < 1).any()):
        return "floor"
    if node.attributes.get_string("mode", "nearest") == "nearest" and bool((scales > 1).any()):
        raise UnsupportedOperatorError(
            f"{label(node)} takes the nearest pixel, and makes one axis smaller and another larger: scales {scales.tolist()}. "
            "In an opset before 11 that is two ways of rounding in one operator.",
            hint="Export the model with opset 11 or newer.",
        )
    return "ceil"
