"""Everything that ONNX lets a node leave out, or say in two ways, is written out: windows, padding, axes, sizes.

So a lowering reads one form: `kernel_shape`, `strides`, `dilations` (AveragePool: if given), `pads` and `group` are present and
`auto_pad` is not; axes are not negative; Reshape has the output's own extents; Squeeze, Unsqueeze, ReduceMean and
friends, Slice, Pad and Split have every input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.errors import UnsupportedOperatorError
from host_tools.model.admission import label
from host_tools.model.graph_editor import constant_of, static_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.model.graph_editor import GraphEditor

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_POOLS = ("AveragePool", "MaxPool", "LpPool")
_AXIS_ATTRIBUTE = ("Concat", "Softmax", "LogSoftmax", "Split", "Flatten", "Gather")
_DEFAULT_AXIS = {"Softmax": -1, "LogSoftmax": -1, "Flatten": 1, "Split": 0, "Gather": 0}
_REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum")


def write_out(editor: GraphEditor) -> None:
    """Make implicit values explicit on all nodes.

    Raises:
        UnsupportedOperatorError: An axis, size or pad is computed from data.
    """
    for node in editor.nodes():
        if node.op_type in (*_CONVOLUTIONS, *_POOLS):
            _write_window(node)
        elif node.op_type in (*_REDUCTIONS, "Squeeze", "Unsqueeze"):
            _write_axes(editor, node)
        elif node.op_type == "Reshape":
            _write_reshape(editor, node)
        elif node.op_type == "Slice":
            _write_slice(editor, node)
        elif node.op_type == "Pad":
            _write_pad(editor, node)
        if node.op_type in _AXIS_ATTRIBUTE:
            _write_axis(node)
        if node.op_type == "Split":
            _write_split(editor, node)


def _set(node: ir.Node, name: str, value: int | Sequence[int]) -> None:
    attribute = ir.AttrInt64(name, value) if isinstance(value, int) else ir.AttrInt64s(name, list(value))
    node.attributes[name] = attribute


def _require(node: ir.Node, index: int, what: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    array = constant_of(node.inputs[index] if index < len(node.inputs) else None)
    if array is None:
        raise UnsupportedOperatorError(
            f"{label(node)}: its {what} are computed from data.",
            hint=f"Export the model with constant {what}.",
        )
    return array


def _write_window(node: ir.Node) -> None:
    data = static_shape(node.inputs[0])
    result = static_shape(node.outputs[0])
    if data is None or result is None:
        return
    spatial = len(data) - 2
    weight = static_shape(node.inputs[1]) if node.op_type in _CONVOLUTIONS else None
    kernel = list(node.attributes.get_ints("kernel_shape") or (weight or data)[2:])
    strides = list(node.attributes.get_ints("strides") or [1] * spatial)
    dilations = list(node.attributes.get_ints("dilations") or [1] * spatial)
    pads = list(node.attributes.get_ints("pads") or [0] * (2 * spatial))
    auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
    extents = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    if node.op_type in _POOLS and auto_pad == "NOTSET" and node.attributes.get_int("ceil_mode", 0) != 0:
        _drop_windows_in_padding(node, data[2:], strides, extents, pads)
    if node.op_type == "ConvTranspose":
        pads = _transposed_pads(node, data, result, strides, extents, pads, auto_pad)
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max(0, (out - 1) * stride + extent - size)
            for out, stride, extent, size in zip(result[2:], strides, extents, data[2:], strict=True)
        ]
        pads = _halved(totals, upper=auto_pad == "SAME_UPPER")
    node.attributes.pop("auto_pad", None)
    for name, value in (("kernel_shape", kernel), ("strides", strides), ("pads", pads)):
        _set(node, name, value)
    if node.op_type != "AveragePool":  # which has dilations from opset 19 on only
        _set(node, "dilations", dilations)
    if node.op_type in _CONVOLUTIONS:
        _set(node, "group", node.attributes.get_int("group", 1))


def _drop_windows_in_padding(
    node: ir.Node, sizes: Sequence[int], strides: Sequence[int], extents: Sequence[int], pads: Sequence[int]
) -> None:
    """Take ``ceil_mode`` from a pool whose last window would begin behind the input: there is none, say ONNX from opset 22 on and engines.

    Raises:
        UnsupportedOperatorError: It is so along one axis, and along another the rounding up gives a window that counts.
    """
    spatial = len(sizes)
    spans = [
        size + pads[axis] + pads[axis + spatial] - extents[axis] for axis, size in enumerate(sizes)
    ]  # what the first tap can move over
    rounded_up = [span % stride != 0 for span, stride in zip(spans, strides, strict=True)]
    behind = [
        up and -(-span // stride) * stride >= size + pads[axis]
        for axis, (up, span, stride, size) in enumerate(zip(rounded_up, spans, strides, sizes, strict=True))
    ]
    if not any(behind):
        return
    if behind != rounded_up:
        raise UnsupportedOperatorError(
            f"{label(node)}: ceil_mode gives a window behind the input along one axis, and one inside along another.",
            hint="Export the model with ceil_mode = 0 and explicit pads.",
        )
    node.attributes.pop("ceil_mode", None)


def _halved(totals: Sequence[int], *, upper: bool) -> list[int]:
    """Split totals into begins, then ends; the odd one goes to the end for SAME_UPPER."""
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return small + large if upper else large + small


def _transposed_pads(
    node: ir.Node,
    data: tuple[int, ...],
    result: tuple[int, ...],
    strides: Sequence[int],
    extents: Sequence[int],
    pads: list[int],
    auto_pad: str,
) -> list[int]:
    """Solve the ONNX ConvTranspose shape equation for the pads; `output_shape` goes, `output_padding` stays."""
    spatial = len(strides)
    extra = list(node.attributes.get_ints("output_padding") or [0] * spatial)
    _set(node, "output_padding", extra)
    by_shape = node.attributes.pop("output_shape", None) is not None
    if not by_shape and auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        return pads
    totals = [
        stride * (size - 1) + more + extent - out
        for stride, size, more, extent, out in zip(strides, data[2:], extra, extents, result[2:], strict=True)
    ]
    for axis, total in enumerate(totals):
        if total < 0:  # the stated output is larger than the windows reach: the rest is output padding
            extra[axis] -= total
            totals[axis] = 0
    _set(node, "output_padding", extra)
    # Source: ONNX operator ConvTranspose, "if auto_pad == SAME_UPPER: pads[start_i] = total_padding[i] / 2, ... else the other way".
    return _halved(totals, upper=auto_pad == "SAME_UPPER")


def _write_axes(editor: GraphEditor, node: ir.Node) -> None:
    data, result = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if data is None or result is None:
        return
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is not None:
        axes = [int(axis) for axis in _require(node, 1, "axes").reshape(-1)]
    elif node.op_type == "Squeeze":
        axes = [axis for axis, extent in enumerate(data) if extent == 1]
    elif node.attributes.get_int("noop_with_empty_axes", 0):
        axes = []
    else:
        axes = list(range(len(data)))
    if not axes and not node.attributes.get_int("noop_with_empty_axes", 0) and node.op_type in _REDUCTIONS:
        axes = list(range(len(data)))
    rank = len(result) if node.op_type == "Unsqueeze" else len(data)
    _put_input(editor, node, 1, "axes", sorted(axis % rank for axis in axes))
    if node.op_type in _REDUCTIONS:
        if axes:
            node.attributes.pop("noop_with_empty_axes", None)
        _set(node, "keepdims", node.attributes.get_int("keepdims", 1))


def _put_input(editor: GraphEditor, node: ir.Node, index: int, what: str, values: Sequence[int]) -> None:
    array = np.asarray(values, dtype=np.int64)
    old = constant_of(node.inputs[index]) if index < len(node.inputs) else None
    if old is not None and old.dtype == array.dtype and np.array_equal(old, array):
        return
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, editor.constant(f"{node.outputs[0].name}/{what}", array))


def _write_reshape(editor: GraphEditor, node: ir.Node) -> None:
    result = static_shape(node.outputs[0])
    if result is None:
        return
    _put_input(editor, node, 1, "shape", result)
    node.attributes.pop("allowzero", None)


def _write_slice(editor: GraphEditor, node: ir.Node) -> None:
    data = static_shape(node.inputs[0])
    if data is None:
        return
    starts, ends = (_require(node, index, "bounds").reshape(-1) for index in (1, 2))
    given = list(node.inputs[3:])
    axes = (
        [int(axis) for axis in _require(node, 3, "axes").reshape(-1)]
        if given and given[0]
        else range(len(starts))
    )
    steps = (
        [int(step) for step in _require(node, 4, "steps").reshape(-1)]
        if given[1:] and given[1]
        else [1] * len(starts)
    )
    axes = [axis % len(data) for axis in axes]
    # slice.indices clamps as ONNX does; -1 as "before the first" of a reversing slice must stay a large negative number.
    spans = [
        slice(int(a), int(b), step).indices(data[axis])
        for a, b, step, axis in zip(starts, ends, steps, axes, strict=True)
    ]
    _put_input(editor, node, 1, "starts", [start for start, _, _ in spans])
    _put_input(
        editor,
        node,
        2,
        "ends",
        [end if end >= 0 else -(data[axis] + 1) for (_, end, _), axis in zip(spans, axes, strict=True)],
    )
    _put_input(editor, node, 3, "axes", axes)
    _put_input(editor, node, 4, "steps", steps)


def _write_pad(editor: GraphEditor, node: ir.Node) -> None:
    data = static_shape(node.inputs[0])
    source = node.inputs[0]
    if data is None or source is None:
        return
    amounts = [int(amount) for amount in _require(node, 1, "pads").reshape(-1)]
    rank = len(data)
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        axes = [int(axis) % rank for axis in _require(node, 3, "axes").reshape(-1)]
        full = [0] * (2 * rank)
        for position, axis in enumerate(axes):
            full[axis], full[rank + axis] = amounts[position], amounts[len(axes) + position]
        amounts = full
    mode = node.attributes.get_string("mode", "constant")
    fill = node.inputs[2] if len(node.inputs) > 2 else None
    if fill is not None:
        _require(node, 2, "fill values")
    elif mode == "constant" and source.dtype == ir.DataType.FLOAT:
        fill = editor.constant(f"{node.outputs[0].name}/value", np.asarray(0, dtype=np.float32))
    _put_input(editor, node, 1, "pads", amounts)
    if fill is not None:
        node.resize_inputs(3)
        node.replace_input_with(2, fill)
    else:
        node.resize_inputs(2)
    node.attributes["mode"] = ir.AttrString("mode", str(mode))


def _write_axis(node: ir.Node) -> None:
    data = static_shape(node.inputs[0])
    if data is None or (node.op_type == "Concat" and "axis" not in node.attributes):
        return
    axis = node.attributes.get_int("axis", _DEFAULT_AXIS.get(node.op_type, 0))
    _set(node, "axis", axis + len(data) if axis < 0 else axis)


def _write_split(editor: GraphEditor, node: ir.Node) -> None:
    axis = node.attributes.get_int("axis", 0)
    shapes = [static_shape(output) for output in node.outputs]
    if any(shape is None for shape in shapes):
        return
    _put_input(editor, node, 1, "split", [shape[axis] for shape in shapes if shape is not None])
    node.attributes.pop("num_outputs", None)
