"""Other float widths become float32: the one width that observers, plans and lowerings know."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

OTHER_FLOATS = (ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def to_float32(graph: ir.Graph) -> str | None:
    """Turn float64, float16 and bfloat16 inputs, constants, casts and fills into float32.

    Returns:
        A note with the widths met at inputs and weights, or None when there were none.
    """
    met: set[ir.DataType] = set()
    for value in (*graph.inputs, *graph.initializers.values()):
        if value.dtype in OTHER_FLOATS:
            met.add(value.dtype)
            value.dtype = ir.DataType.FLOAT
        if value.const_value is not None and value.const_value.dtype in OTHER_FLOATS:
            met.add(value.const_value.dtype)
            value.const_value = _narrowed(value.const_value)
    for node in ir.traversal.RecursiveGraphIterator(graph):
        for output in node.outputs:
            if output.dtype in OTHER_FLOATS:
                output.dtype = ir.DataType.FLOAT
        for attribute in list(node.attributes.values()):
            _narrow_attribute(node, attribute)
    if not met:
        return None
    widths = ", ".join(sorted(kind.name.lower() for kind in met))
    return f"Converted from {widths} to float32; the original's own rounding is not reproduced."


def _narrowed(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused by name afterwards
        return ir.Tensor(np.asarray(tensor.numpy()).astype(np.float32), name=tensor.name)


def _narrow_attribute(node: ir.Node, attribute: ir.Attr) -> None:
    if attribute.is_ref():
        return
    if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in OTHER_FLOATS:
        node.attributes[attribute.name] = ir.AttrTensor(attribute.name, _narrowed(attribute.as_tensor()))
    elif (
        attribute.name in ("to", "dtype")
        and attribute.type == ir.AttributeType.INT
        and attribute.as_int() in OTHER_FLOATS
    ):
        node.attributes[attribute.name] = ir.AttrInt64(attribute.name, int(ir.DataType.FLOAT))
