"""Layer normalization is recognised where an exporter wrote it as arithmetic, as all did before opset 17.

In pieces it would be quantized in pieces: a mean of squares, from which a root is taken, in 256 steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.model.graph_editor import constant_of, scalar_of, sole_consumer, static_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from host_tools.model.graph_editor import GraphEditor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Normalization:
    """(data - mean) / sqrt(variance + epsilon), over the last axes.

    Attributes:
        data: What is normalized.
        axes: How many of its axes.
        epsilon: At least 0.
        scale: What the quotient is multiplied by; shape of those axes. None: by nothing.
        shift: What is added then.
        last: The node whose result it is.
    """

    data: ir.Value
    axes: int
    epsilon: float
    scale: NDArray[np.float32] | None
    shift: NDArray[np.float32] | None
    last: ir.Node


def canonical_normalization(editor: GraphEditor) -> str | None:
    """Write mean, difference, squares, their mean, root and quotient as one LayerNormalization, with the scale and the shift behind it.

    Returns:
        A note with the count, or None.
    """
    count = 0
    for node in editor.nodes("Div", "Mul", "Add"):
        found = _of_product(node) if node.op_type == "Add" else _of_quotient(node)
        if found is not None:
            _write(editor, found)
            count += 1
    return f"Recognised {count} LayerNormalization written as arithmetic." if count else None


def _of_quotient(node: ir.Node) -> _Normalization | None:
    """Read ``centred / deviation`` or ``centred * (1 / deviation)``, and the constants behind it."""
    for centred, spread in _operands(node):
        source = _centred(centred)
        root = None if source is None else _only_read(spread)
        epsilon = None if source is None else _epsilon(root, source, is_reciprocal=node.op_type == "Mul")
        if source is None or epsilon is None:
            continue
        data, axes = source
        shape, last = (static_shape(data) or ())[-axes:], node
        scale = _behind(last, "Mul", shape)
        last = last if scale is None else scale[0]
        shift = _behind(last, "Add", shape)
        last = last if shift is None else shift[0]
        return _Normalization(
            data=data,
            axes=axes,
            epsilon=epsilon,
            scale=None if scale is None else scale[1],
            shift=None if shift is None else shift[1],
            last=last,
        )
    return None


def _of_product(node: ir.Node) -> _Normalization | None:
    """Read ``data * factor + (shift - mean * factor)`` with ``factor = scale / deviation``, as Keras writes it."""
    for product, rest in _operands(node):
        for data, factor in _factors(product):
            source = _shifted_mean(rest, factor, data)
            if source is None:
                continue
            mean, shift = source
            root, scale = factor.producer(), None
            for inner, other in _factors(factor):
                if constant_of(other) is not None:
                    root, scale = _only_read(inner), constant_of(other)
            epsilon = _epsilon(root, mean, is_reciprocal=True)
            shape = (static_shape(data) or ())[-mean[1] :]
            numbers = [None if one is None else _along(one, shape) for one in (scale, shift)]
            is_known = all(
                (one is None) == (is_absent is None)
                for one, is_absent in zip(numbers, (scale, shift), strict=True)
            )
            if epsilon is not None and is_known:
                return _Normalization(
                    data=data, axes=mean[1], epsilon=epsilon, scale=numbers[0], shift=numbers[1], last=node
                )
    return None


def _shifted_mean(
    rest: ir.Value, factor: ir.Value, data: ir.Value
) -> tuple[tuple[ir.Value, int], NDArray[np.generic] | None] | None:
    """Return the mean of ``data`` and the shift of ``shift - mean * factor``; either order, with a negated mean too, and without a shift."""
    node = _only_read(rest)
    if node is None:
        return None
    is_difference = node.op_type == "Sub"
    shift = constant_of(node.inputs[0]) if is_difference else None
    product: ir.Value | None = node.inputs[1] if is_difference else rest
    if node.op_type == "Add":
        for summand, other in _operands(node):
            if constant_of(other) is not None:
                product, shift = summand, constant_of(other)
    if product is None or (is_difference and shift is None):
        return None
    for operand, other in _factors(product):
        negated = None if is_difference else operand.producer()
        mean = negated.inputs[0] if negated is not None and negated.op_type == "Neg" else operand
        found = None if mean is None or other is not factor else _mean(mean)
        if found is not None and found[0] is data and is_difference == (mean is operand):
            return found, shift
    return None


def _factors(value: ir.Value) -> Iterator[tuple[ir.Value, ir.Value]]:
    node = value.producer()
    if node is not None and node.op_type == "Mul":
        yield from _operands(node)


def _epsilon(root: ir.Node | None, source: tuple[ir.Value, int], *, is_reciprocal: bool) -> float | None:
    """Return the number under the root, where the rest under it is the variance of ``source``: of its data over so many axes."""
    variance = None if root is None else _inside_root(root, is_reciprocal=is_reciprocal)
    parts = None if variance is None else _sum_with_number(variance)
    if parts is None or parts[1] < 0.0:
        return None
    mean = _mean(parts[0])
    base = None if mean is None else _squared(mean[0])
    centred = None if base is None else _centred(base)
    is_variance = (
        mean is not None
        and centred is not None
        and centred[0] is source[0]
        and centred[1] == mean[1] == source[1]
    )
    return parts[1] if is_variance else None


def _operands(node: ir.Node) -> Iterator[tuple[ir.Value, ir.Value]]:
    left, right = node.inputs
    if left is None or right is None:
        return
    yield left, right
    if node.op_type != "Div":
        yield right, left


def _inside_root(node: ir.Node, *, is_reciprocal: bool) -> ir.Value | None:
    """Return v of sqrt(v), or of 1 / sqrt(v), however it is written, where nothing else reads what leads there."""
    if is_reciprocal and node.op_type == "Pow":
        return node.inputs[0] if scalar_of(node.inputs[1]) == -0.5 else None
    if is_reciprocal:
        is_one_over = node.op_type == "Reciprocal" or (
            node.op_type == "Div" and scalar_of(node.inputs[0]) == 1.0
        )
        inner = node.inputs[-1]
        root = _only_read(inner) if is_one_over and inner is not None else None
        return None if root is None else _inside_root(root, is_reciprocal=False)
    if node.op_type == "Sqrt":
        return node.inputs[0]
    return node.inputs[0] if node.op_type == "Pow" and scalar_of(node.inputs[1]) == 0.5 else None


def _sum_with_number(value: ir.Value) -> tuple[ir.Value, float] | None:
    node = _only_read(value)
    if node is None or node.op_type != "Add":
        return None
    for summand, other in _operands(node):
        number = scalar_of(other)
        if number is not None:
            return summand, number
    return None


def _mean(value: ir.Value) -> tuple[ir.Value, int] | None:
    """Return what a mean over the last axes is taken of, and how many they are; the mean keeps them, with one element."""
    node = value.producer()
    if node is None or node.op_type not in ("ReduceMean", "GlobalAveragePool"):
        return None
    data = node.inputs[0]
    shape = static_shape(data)
    if node.op_type == "GlobalAveragePool":  # as tf2onnx writes a mean over all axes but two
        return None if data is None or shape is None else (data, len(shape) - 2)
    if not node.attributes.get_int("keepdims", 1):
        return None
    listed = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if data is None or shape is None or listed is None or listed.size == 0:
        return None
    axes = sorted(int(axis) % len(shape) for axis in listed.reshape(-1))
    return (data, len(axes)) if axes == list(range(len(shape) - len(axes), len(shape))) else None


def _centred(value: ir.Value) -> tuple[ir.Value, int] | None:
    """Return x and the number of axes of x - mean(x)."""
    node = value.producer()
    if node is None or node.op_type != "Sub" or node.inputs[1] is None or value.is_graph_output():
        return None
    mean = _mean(node.inputs[1])
    return mean if mean is not None and mean[0] is node.inputs[0] else None


def _squared(value: ir.Value) -> ir.Value | None:
    node = _only_read(value)
    if node is None:
        return None
    is_power = node.op_type == "Pow" and scalar_of(node.inputs[1]) == 2.0
    is_product = node.op_type == "Mul" and node.inputs[0] is node.inputs[1]
    return node.inputs[0] if is_power or is_product else None


def _only_read(value: ir.Value) -> ir.Node | None:
    """Return the node that writes a value which one node alone reads: with other readers it would be computed all the same."""
    return value.producer() if sole_consumer(value) is not None else None


def _behind(
    node: ir.Node, op_type: str, shape: tuple[int, ...]
) -> tuple[ir.Node, NDArray[np.float32]] | None:
    """Return the only reader of a node's result and its constant, where that is a number for each element of the normalized axes."""
    value = node.outputs[0]
    reader = sole_consumer(value)
    if reader is None or reader.op_type != op_type:
        return None
    constant = constant_of(reader.inputs[1] if reader.inputs[0] is value else reader.inputs[0])
    numbers = None if constant is None else _along(constant, shape)
    return None if numbers is None else (reader, numbers)


def _along(constant: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Return a constant that is the same along all axes before those of ``shape`` as one of that shape."""
    leading = constant.shape[: max(0, constant.ndim - len(shape))]
    own = constant.shape[len(leading) :]
    is_of_the_axes = all(extent in (1, whole) for extent, whole in zip(own[::-1], shape[::-1], strict=False))
    if constant.dtype != np.float32 or any(extent != 1 for extent in leading) or not is_of_the_axes:
        return None
    return np.array(np.broadcast_to(constant.reshape(own), shape), np.float32)


def _write(editor: GraphEditor, found: _Normalization) -> None:
    stem = found.last.name or found.last.outputs[0].name
    shape = (static_shape(found.data) or ())[-found.axes :]
    scale = np.ones(shape, np.float32) if found.scale is None else found.scale
    inputs = [found.data, editor.constant(f"{stem}/scale", scale)]
    if found.shift is not None:
        inputs.append(editor.constant(f"{stem}/shift", found.shift))
    attributes = {"axis": -found.axes, "epsilon": found.epsilon}
    editor.replace(found.last, [ir.node("LayerNormalization", inputs, attributes, name=found.last.name)])
