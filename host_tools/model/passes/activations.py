"""Relu, Clip, HardSigmoid and HardSwish are recognised in whatever form an exporter wrote them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.errors import UnsupportedOperatorError
from host_tools.model.admission import label
from host_tools.model.graph_editor import constant_of, scalar_of, sole_consumer, static_shape

if TYPE_CHECKING:
    from host_tools.model.graph_editor import GraphEditor

_HARD_ALPHA, _HARD_BETA = 1 / 6, 0.5  # ONNX HardSwish: x * max(0, min(1, x / 6 + 0.5))
_TOLERANCE = 1e-6  # relative; an exporter writes 1/6 as the nearest float32


def canonical_activations(editor: GraphEditor) -> str | None:
    """Recognise HardSigmoid and HardSwish, then make every clamp a Clip with constant bounds, a Relu, or a Max and a Min of computed ones.

    Returns:
        A note with the count of hard activations recognised, or None.

    Raises:
        UnsupportedOperatorError: A Clip bound is computed from data, and is no number that broadcasts.
    """
    for node in editor.nodes("Clip"):
        _part_computed_bounds(editor, node)
    for node in editor.nodes("Min", "Max"):
        _clip_from_min_max(editor, node)
    for node in editor.nodes("Clip"):
        _write_bounds(editor, node)
    hard = _hard_sigmoids(editor) + _hard_swishes(editor)
    for node in editor.nodes("Clip", "Relu"):
        _merge_into_consumer(editor, node)
    for node in editor.nodes("Clip"):
        _simplify_clip(editor, node)
    return (
        f"Recognised {hard} hard activations (HardSigmoid, HardSwish) written as arithmetic."
        if hard
        else None
    )


def _is_float(node: ir.Node) -> bool:
    source = node.inputs[0]
    return source is not None and source.dtype == ir.DataType.FLOAT


def _part_computed_bounds(editor: GraphEditor, node: ir.Node) -> None:
    """Clip(x, low, high) is Min(Max(x, low), high), which takes bounds that are computed."""
    data, bounds = node.inputs[0], node.inputs[1:3]
    if (
        data is None
        or not _is_float(node)
        or all(one is None or scalar_of(one) is not None for one in bounds)
    ):
        return
    shapes = [static_shape(one) for one in bounds if one is not None]
    rank = len(static_shape(data) or ())
    if any(shape is None or len(shape) > rank or math.prod(shape) != 1 for shape in shapes):
        return
    result, parts = node.outputs[0], list[ir.Node]()
    for op_type, bound in zip(("Max", "Min"), bounds, strict=False):
        if bound is not None:
            parts.append(ir.node(op_type, [data, bound]))
            data = parts[-1].outputs[0]
            data.shape, data.type = result.shape, result.type
    parts[-1].name = node.name
    editor.replace(node, parts)


def _clip_from_min_max(editor: GraphEditor, node: ir.Node) -> None:
    """Min(x, c) and Max(x, c) with a one-element c of no higher rank are Clip."""
    if len(node.inputs) != 2 or not _is_float(node):
        return
    for data, other in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        bound = scalar_of(other)
        if (
            bound is None
            or data is None
            or constant_of(data) is not None
            or data.shape != node.outputs[0].shape
        ):
            continue
        low, high = (-math.inf, bound) if node.op_type == "Min" else (bound, math.inf)
        _put_clip(editor, node, data, low, high)
        return


def _put_clip(editor: GraphEditor, node: ir.Node, data: ir.Value, low: float, high: float) -> None:
    base = node.outputs[0].name
    bounds = [
        editor.constant(f"{base}/{side}", np.asarray(value, dtype=np.float32))
        for side, value in (("min", low), ("max", high))
    ]
    editor.replace(node, [ir.node("Clip", [data, *bounds], name=node.name)])


def clip_bounds(node: ir.Node) -> tuple[float, float]:
    """Return (low, high) of a Relu or of a Clip with constant bounds; absent ones are infinite.

    Raises:
        UnsupportedOperatorError: A bound is computed from data.
    """
    if node.op_type == "Relu":
        return 0.0, math.inf
    found = [-math.inf, math.inf]
    for index, value in enumerate(node.inputs[1:3]):
        if value is None:
            continue
        bound = scalar_of(value)
        if bound is None:
            raise UnsupportedOperatorError(
                f"{label(node)}: bound {value.name!r} is computed from data.",
                hint="Export the model with constant Clip bounds.",
            )
        found[index] = bound
    return found[0], found[1]


def _write_bounds(editor: GraphEditor, node: ir.Node) -> None:
    data = node.inputs[0]
    if data is None or not _is_float(node):
        return
    low, high = clip_bounds(node)
    if len(node.inputs) != 3 or None in node.inputs:
        _put_clip(editor, node, data, low, high)


def _near(value: float | None, wanted: float) -> bool:
    return value is not None and math.isclose(value, wanted, rel_tol=_TOLERANCE)


def _split_scalar(node: ir.Node | None, op_type: str) -> tuple[ir.Value, float] | None:
    """Return (data, constant) of a commutative two-input node with one one-element constant."""
    if node is None or node.op_type != op_type:
        return None
    for data, other in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        number = scalar_of(other)
        if number is not None and data is not None and data.shape == node.outputs[0].shape:
            return data, number
    return None


def _sixth_of(node: ir.Node) -> ir.Value | None:
    """Return x of x / 6 or x * (1/6)."""
    if node.op_type == "Div" and _near(scalar_of(node.inputs[1]), 6.0):
        return node.inputs[0]
    product = _split_scalar(node, "Mul")
    return product[0] if product is not None and _near(product[1], _HARD_ALPHA) else None


def _clamped_three(value: ir.Value | None) -> ir.Value | None:
    """Return x of Clip(x + 3, 0, 6)."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "Clip" or clip_bounds(node) != (0.0, 6.0) or node.inputs[0] is None:
        return None
    shifted = _split_scalar(node.inputs[0].producer(), "Add")
    return shifted[0] if shifted is not None and _near(shifted[1], 3.0) else None


def _hard_sigmoids(editor: GraphEditor) -> int:
    """Clip(x + 3, 0, 6) / 6 is HardSigmoid; x times Clip(x + 3, 0, 6), then / 6, is HardSwish."""
    count = 0
    for node in editor.nodes("Div", "Mul"):
        inner = _sixth_of(node)
        if inner is None or not _is_float(node):
            continue
        data = _clamped_three(inner)
        producer = inner.producer()
        if data is not None:
            editor.replace(node, [_hard_sigmoid(data, node.name)])
            count += 1
        elif producer is not None and producer.op_type == "Mul":
            for left, right in (
                (producer.inputs[0], producer.inputs[1]),
                (producer.inputs[1], producer.inputs[0]),
            ):
                if left is not None and _clamped_three(right) is left:
                    editor.replace(node, [ir.node("HardSwish", [left], name=node.name)])
                    count += 1
                    break
    return count


def _hard_sigmoid(data: ir.Value, name: str | None) -> ir.Node:
    return ir.node("HardSigmoid", [data], {"alpha": _HARD_ALPHA, "beta": _HARD_BETA}, name=name)


def _hard_swishes(editor: GraphEditor) -> int:
    """X * HardSigmoid(x; 1/6, 1/2) is HardSwish."""
    count = 0
    for node in editor.nodes("Mul"):
        for data, gate in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
            producer = None if gate is None else gate.producer()
            if (
                data is None
                or producer is None
                or producer.op_type != "HardSigmoid"
                or producer.inputs[0] is not data
            ):
                continue
            alpha = producer.attributes.get_float("alpha", 0.2)  # ONNX defaults
            beta = producer.attributes.get_float("beta", 0.5)
            if _near(alpha, _HARD_ALPHA) and _near(beta, _HARD_BETA):
                editor.replace(node, [ir.node("HardSwish", [data], name=node.name)])
                count += 1
                break
    return count


def _merge_into_consumer(editor: GraphEditor, node: ir.Node) -> None:
    """Clip(Clip(x)) is one Clip with composed bounds, when nothing else reads the inner one."""
    consumer, data = sole_consumer(node.outputs[0]), node.inputs[0]
    if consumer is None or data is None or consumer.op_type not in ("Clip", "Relu") or not _is_float(node):
        return
    if consumer.inputs[0] is not node.outputs[0]:
        return
    (low, high), (outer_low, outer_high) = clip_bounds(node), clip_bounds(consumer)
    new_low = min(max(low, outer_low), outer_high)
    new_high = min(max(high, outer_low), outer_high)
    _put_clip(editor, consumer, data, new_low, new_high)
    editor.graph.remove(node, safe=True)


def _simplify_clip(editor: GraphEditor, node: ir.Node) -> None:
    if not _is_float(node) or node.inputs[0] is None:
        return
    bounds = clip_bounds(node)
    if bounds == (0.0, math.inf):
        editor.replace(node, [ir.node("Relu", [node.inputs[0]], name=node.name)])
    elif bounds == (-math.inf, math.inf):
        editor.bypass(node)
