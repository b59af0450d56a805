"""Nodes, tensors and edges of a plan as they stand in ``plan.json``."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from host_tools.plan.quantization_plan import NodePlan, QParams, Requantize, TensorPlan

_PACKED = ("<f4", "u1")


def node_table(node: NodePlan) -> dict[str, object]:
    """Return a node as it is written."""
    scheme = {} if node.activations == "planned" else {"activations": node.activations}
    return {
        **scheme,
        "name": node.name,
        "op_type": node.op_type,
        "precision": node.precision,
        "fused_into": node.fused_into,
        "reason": node.reason,
    }


def tensor_table(tensor: TensorPlan) -> dict[str, object]:
    """Return a tensor as it is written."""
    qparams = None if tensor.qparams is None else qparams_table(tensor.qparams)
    table: dict[str, object] = {
        "name": tensor.name,
        "role": tensor.role,
        "qparams": qparams,
        "reason": tensor.reason,
    }
    if tensor.values is not None:
        table["values"] = list(tensor.values)
    if tensor.codes is not None:
        table["codes"] = base64.b64encode(tensor.codes).decode()
    if tensor.float_type != "float32":
        table["float_type"] = tensor.float_type
    if tensor.codebook is not None:
        table["codebook"] = list(tensor.codebook)
    return table


def edge_table(edge: Requantize) -> dict[str, object]:
    """Return an edge as it is written."""
    return {
        "node": edge.node,
        "input_index": edge.input_index,
        "qparams": qparams_table(edge.qparams),
        "reason": edge.reason,
    }


def qparams_table(qparams: QParams) -> dict[str, object]:
    """Return parameters as they are written."""
    if qparams.group_axis is not None:
        return _grouped_table(qparams)
    return {
        "scale": list(qparams.scale),
        "zero_point": list(qparams.zero_point),
        "dtype": qparams.dtype,
        "quant_min": qparams.quant_min,
        "quant_max": qparams.quant_max,
        "axis": qparams.axis,
    }


def _grouped_table(qparams: QParams) -> dict[str, object]:
    """Return parameters of groups: there are hundreds of thousands, and their scales are float32 numbers, so they are written packed."""
    scales, points = (
        np.asarray(numbers).astype(kind).tobytes()
        for numbers, kind in zip((qparams.scale, qparams.zero_point), _PACKED, strict=True)
    )
    return {
        "scale": base64.b64encode(scales).decode(),
        "zero_point": base64.b64encode(zlib.compress(points, 9)).decode(),
        "dtype": qparams.dtype,
        "quant_min": qparams.quant_min,
        "quant_max": qparams.quant_max,
        "axis": None,
        "group_axis": qparams.group_axis,
        "group_size": qparams.group_size,
    }
