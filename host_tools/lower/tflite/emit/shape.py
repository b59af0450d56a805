"""Operators that only move data: Reshape and its kin, Transpose, Concat, Split, Slice, Pad and Identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools import layouts
from host_tools.lower.tflite import axes
from host_tools.lower.tflite.emit import spatial
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.layout import shape_of, transpose_permutation
from host_tools.lower.tflite.plan_view import has_input, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from host_tools.layouts import Layout
    from host_tools.lower.tflite.session import Session

_MIRROR_MODES = {"reflect": 0, "symmetric": 1}
"""Codes of MirrorPadMode. Source: tflite/schema/schema.fbs."""

_MAX_TRANSPOSE_RANK = 5
"""More axes need a version of TRANSPOSE that old runtimes lack: two transposes of the graph's own ranks are taken instead."""


def identity(session: Session, node: ir.Node) -> None:
    """Write nothing: the output is the input."""
    layout = session.layout(node.outputs[0])
    session.deliver(node, session.read(node, 0, layout), layout)


def reshape(session: Session, node: ir.Node) -> None:
    """Write Reshape, Flatten, Squeeze or Unsqueeze as RESHAPE, with a TRANSPOSE on one side where the layouts need it."""
    value, result = node.inputs[0], node.outputs[0]
    if value is None:
        raise refuse(node, "input 0 is missing.")
    before, after = shape_of(value), shape_of(result)
    layout, wanted = session.layout(value), session.layout(result)
    if str(result.name) in session.layouts.columns:
        session.deliver(node, session.reshape(session.read(node, 0), after, node))
        return
    around = _around_reshape(before, layout, after, wanted)
    if around is not None:
        first, then = around
        data = session.read(node, 0, first)
        session.deliver(node, session.reshape(data, layouts.permuted(after, then), node), then)
        return
    split = axes.by_one_transpose(before, layout, after, wanted)
    if split is not None and len(split[0]) <= _MAX_TRANSPOSE_RANK:
        seen = session.reshape(session.read(node, 0), split[0], node)
        moved = session.transpose(seen, split[1], node)
        session.deliver(node, session.reshape(moved, layouts.permuted(after, wanted), node), wanted)
        return
    data = session.read(node, 0, layouts.natural(len(before)))
    session.deliver(node, session.reshape(data, after, node), layouts.natural(len(after)))


def _around_reshape(
    before: tuple[int, ...], layout: Layout, after: tuple[int, ...], wanted: Layout
) -> tuple[Layout, Layout] | None:
    """Return the layouts directly in front of and behind a RESHAPE that need one transpose at most, or None."""
    if axes.reshape_is_free(before, layout, after, wanted):
        return layout, wanted
    backward = axes.carried(after, wanted, before)
    if backward is not None:
        return backward, wanted
    forward = axes.carried(before, layout, after)
    if forward is not None:
        return layout, forward
    return None


def transpose(session: Session, node: ir.Node) -> None:
    """Write a Transpose; where the layouts already say it, nothing."""
    value = node.inputs[0]
    layout = session.layout(value) if value is not None else ()
    permutation = transpose_permutation(node)
    wanted = session.layout(node.outputs[0])
    moved = layouts.between(layout, tuple(permutation[axis] for axis in wanted))
    session.deliver(node, session.transpose(session.read(node, 0), moved, node, planned=True))


def concat(session: Session, node: ir.Node) -> None:
    """Write a Concat; its integer kernels want one set of parameters, so inputs take the output's."""
    layout = session.layout(node.outputs[0])
    axis = node.attributes.get_int("axis", 0) % len(layout)
    quantization = session.output_quantization(node)
    parts = [session.read(node, index, layout) for index in range(len(node.inputs))]
    if quantization is not None:
        parts = [session.requantized(part, quantization) for part in parts]
    joined = spatial.concatenate(session, node, parts, layout.index(axis))
    session.deliver(node, spatial.clip(session, node, joined, session.bounds(node)), layout)


def split(session: Session, node: ir.Node) -> None:
    """Write a Split: SPLIT into equal parts, else one SLICE a part."""
    value = node.inputs[0]
    layout = session.layout(value) if value is not None else ()
    axis = node.attributes.get_int("axis", 0) % len(layout)
    place = layout.index(axis)
    data = session.read(node, 0)
    sizes = [shape_of(output)[axis] for output in node.outputs]
    before = session.graph.tensors[data]
    if len(set(sizes)) == 1 and len(sizes) > 1:
        shape = [*before.shape[:place], sizes[0], *before.shape[place + 1 :]]
        parts = [session.output(node, shape, before.quantization, index) for index in range(len(sizes))]
        along = session.graph.constant("axis", np.asarray(place, np.int32))
        options = Options(kind="SplitOptions", fields={"numSplits": len(sizes)})
        session.add(node, "SPLIT", [along, data], parts, options)
    else:
        begins = np.cumsum([0, *sizes[:-1]])
        parts = [
            spatial.slice_tensor(
                session,
                node,
                data,
                [int(begin) if axis_ == place else 0 for axis_ in range(len(layout))],
                [*before.shape[:place], size, *before.shape[place + 1 :]],
            )
            for begin, size in zip(begins, sizes, strict=True)
        ]
    for index, part in enumerate(parts):
        session.deliver(node, part, layout, index)


def slice_(session: Session, node: ir.Node) -> None:
    """Write a Slice: SLICE for steps of 1, else STRIDED_SLICE."""
    value = node.inputs[0]
    layout = session.layout(value) if value is not None else ()
    extents = shape_of(value) if value is not None else ()
    rank = len(layout)
    starts, stops = (session.array(node, index).reshape(-1).tolist() for index in (1, 2))
    along = session.array(node, 3).reshape(-1).tolist() if has_input(node, 3) else list(range(len(starts)))
    steps = session.array(node, 4).reshape(-1).tolist() if has_input(node, 4) else [1] * len(starts)
    ranges = [range(extent) for extent in extents]
    for axis, start, stop, step in zip(along, starts, stops, steps, strict=True):
        ranges[axis % rank] = range(*slice(start, stop, step).indices(extents[axis % rank]))
    data = session.read(node, 0)
    ordered = [ranges[axis] for axis in layout]
    if any(len(one) == 0 for one in ordered):
        raise refuse(node, "selects nothing; TFLite has no empty tensors.")
    if all(one.step == 1 for one in ordered):
        result = spatial.slice_tensor(
            session, node, data, [one.start for one in ordered], [len(one) for one in ordered]
        )
    else:
        result = _strided(session, node, data, ordered)
    session.deliver(node, result, layout)


def _strided(session: Session, node: ir.Node, data: int, ranges: Sequence[range]) -> int:
    """Add a STRIDED_SLICE. A negative step that reaches element 0 ends before it, which only the end mask can say."""
    result = session.like(data, f"{node.outputs[0].name}/raw", [len(one) for one in ranges])
    open_ended = sum(1 << place for place, one in enumerate(ranges) if one.stop < 0)
    vectors = [
        session.graph.constant(name, np.asarray(values, np.int32))
        for name, values in (
            ("begin", [one.start for one in ranges]),
            ("end", [max(one.stop, 0) for one in ranges]),
            ("strides", [one.step for one in ranges]),
        )
    ]
    options = Options(kind="StridedSliceOptions", fields={"endMask": open_ended})
    session.add(node, "STRIDED_SLICE", [data, *vectors], [result], options)
    return result


def pad(session: Session, node: ir.Node) -> None:
    """Write a Pad: PAD for zeros, PADV2 for another constant, MIRROR_PAD for ``reflect``, and for ``edge`` by one element at most.

    Raises:
        LoweringError: Mode ``wrap``, or ``edge`` by more than one element.
    """
    value = node.inputs[0]
    layout = session.layout(value) if value is not None else ()
    rank = len(layout)
    amounts = session.array(node, 1).reshape(-1).tolist()
    along = session.array(node, 3).reshape(-1).tolist() if has_input(node, 3) else list(range(rank))
    begins, ends = [0] * rank, [0] * rank
    for position, axis in enumerate(along):
        begins[axis % rank], ends[axis % rank] = amounts[position], amounts[position + len(along)]
    front, back = [begins[axis] for axis in layout], [ends[axis] for axis in layout]
    data = _cropped(session, node, session.read(node, 0), front, back)
    table = np.asarray([[max(a, 0), max(b, 0)] for a, b in zip(front, back, strict=True)], np.int32)
    mode = node.attributes.get_string("mode", "constant")
    session.deliver(node, data if not table.any() else _padded(session, node, data, table, str(mode)), layout)


def _cropped(session: Session, node: ir.Node, data: int, front: Sequence[int], back: Sequence[int]) -> int:
    """Apply negative pads, which cut elements off."""
    if min(*front, *back) >= 0:
        return data
    begins = [max(-amount, 0) for amount in front]
    ends = [max(-amount, 0) for amount in back]
    shape = session.graph.tensors[data].shape
    sizes = [extent - a - b for extent, a, b in zip(shape, begins, ends, strict=True)]
    return spatial.slice_tensor(session, node, data, begins, sizes)


def _padded(
    session: Session,
    node: ir.Node,
    data: int,
    table: np.ndarray[tuple[int, ...], np.dtype[np.int32]],
    mode: str,
) -> int:
    before = session.graph.tensors[data]
    shape = [extent + int(row.sum()) for extent, row in zip(before.shape, table, strict=True)]
    result = session.like(data, f"{node.outputs[0].name}/raw", shape)
    paddings = session.graph.constant("paddings", table)
    if mode == "constant":
        fill = float(session.array(node, 2).reshape(-1)[0]) if has_input(node, 2) else 0.0
        if fill == 0.0:
            session.add(node, "PAD", [data, paddings], [result], Options(kind="PadOptions"))
            return result
        code = fill
        if before.quantization is not None:
            code = round(fill / before.quantization.scale[0]) + before.quantization.zero_point[0]
            code = min(max(code, before.quantization.low), before.quantization.high)
        dtype = "float32" if before.quantization is None else before.quantization.dtype
        constant = session.graph.constant("padding_value", np.asarray(code, dtype), before.quantization)
        session.add(node, "PADV2", [data, paddings, constant], [result], Options(kind="PadV2Options"))
        return result
    mirror = "symmetric" if mode == "edge" and table.max() <= 1 else mode
    if mirror not in _MIRROR_MODES:
        raise refuse(
            node,
            f"mode {mode!r} with pads up to {table.max()}; TFLite pads with constants, reflects, or repeats one edge element.",
            hint="Pad the input before the model, or choose another target.",
        )
    options = Options(kind="MirrorPadOptions", fields={"mode": _MIRROR_MODES[mirror]})
    session.add(node, "MIRROR_PAD", [data, paddings], [result], options)
    return result
