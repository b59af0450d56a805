"""MaxPool, AveragePool, GlobalAveragePool and ReduceMean: MAX_POOL_2D, AVERAGE_POOL_2D and MEAN."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from host_tools.lower.tflite import axes
from host_tools.lower.tflite.emit import spatial
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.layout import mean_axes
from host_tools.lower.tflite.plan_view import Bounds, refuse, where
from host_tools.lower.tflite.window import Window, scheme, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from host_tools.lower.tflite.graph import Quantization
    from host_tools.lower.tflite.session import Session

_PADDING = {"SAME": 0, "VALID": 1}
_LOWEST_FLOAT = float(np.finfo(np.float32).min)


def max_pool(session: Session, node: ir.Node) -> None:
    """Write a MaxPool. Padding that SAME does not describe is written out: 0 where no value is below 0, else the lowest one.

    Raises:
        LoweringError: It has dilations or a second output.
    """
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        raise refuse(node, "its second output (indices) is used; MAX_POOL_2D has none.")
    if any(dilation != 1 for dilation in node.attributes.get_ints("dilations", ()) or ()):
        raise refuse(
            node,
            "has dilations; MAX_POOL_2D has none.",
            hint="Split the model before this node, or use another target.",
        )
    data = spatial.read_image(session, node)
    pooled = _windows(session, node, data)
    padding = scheme(pooled)
    if padding is None:
        data = spatial.pad_image(
            session,
            node,
            data,
            [window.begin for window in pooled],
            [window.needed_end for window in pooled],
            _below_everything(session, node, data),
        )
        padding = "VALID"
    bounds = session.bounds(node)
    result = _pool(session, node, ("MAX_POOL_2D", padding), data, pooled, bounds)
    spatial.deliver_image(session, node, result)


def average_pool(session: Session, node: ir.Node) -> None:
    """Write an AveragePool.

    TFLite divides by the taps inside the input, which is ONNX's ``count_include_pad=0``; counted padding is written out first.
    Windows that neither scheme describes are pooled region by region, each with the taps its windows really have, and joined.
    """
    if any(dilation != 1 for dilation in node.attributes.get_ints("dilations", ()) or ()):
        raise refuse(node, "has dilations; AVERAGE_POOL_2D has none.")
    data = spatial.read_image(session, node)
    pooled = _windows(session, node, data)
    if node.attributes.get_int("count_include_pad", 0) and any(
        window.begin or window.end for window in pooled
    ):
        ends = [window.end if window.needed_end else 0 for window in pooled]
        data = spatial.pad_image(session, node, data, [window.begin for window in pooled], ends)
        sizes = session.graph.tensors[data].shape[1:3]
        pooled = [
            _moved(window, begin=0, size=size, out=window.out)
            for window, size in zip(pooled, sizes, strict=True)
        ]
    padding = scheme(pooled)
    bounds = session.bounds(node)
    if all(window.out == 1 and window.is_valid and window.kernel == window.size for window in pooled):
        result = _mean(session, node, data, (1, 2), keep=True)
        spatial.deliver_image(session, node, spatial.clip(session, node, result, bounds))
    elif padding is not None:
        spatial.deliver_image(
            session, node, _pool(session, node, ("AVERAGE_POOL_2D", padding), data, pooled, bounds)
        )
    else:
        spatial.deliver_image(session, node, _by_regions(session, node, data, pooled, bounds))


def global_average_pool(session: Session, node: ir.Node) -> None:
    """Write a GlobalAveragePool as MEAN over the spatial axes."""
    value = node.inputs[0]
    layout = session.layout(value) if value is not None else ()
    data = session.read(node, 0)
    places = tuple(place for place, axis in enumerate(layout) if axis >= 2)
    result = _mean(session, node, data, places, keep=True)
    session.deliver(node, spatial.clip(session, node, result, session.bounds(node)), layout)


def reduce_mean(session: Session, node: ir.Node) -> None:
    """Write a ReduceMean as MEAN over the same axes in the input's layout."""
    value = node.inputs[0]
    layout = session.layout(value) if value is not None else ()
    reduced = mean_axes(node)
    if not reduced:
        session.deliver(node, session.read(node, 0), layout)
        return
    keep = bool(node.attributes.get_int("keepdims", 1))
    places = tuple(place for place, axis in enumerate(layout) if axis in reduced)
    result = _mean(session, node, session.read(node, 0), places, keep=keep)
    remaining = layout if keep else axes.without(layout, reduced)
    session.deliver(node, spatial.clip(session, node, result, session.bounds(node)), remaining)


def _mean(session: Session, node: ir.Node, data: int, places: Sequence[int], *, keep: bool) -> int:
    before = session.graph.tensors[data].shape
    shape = [
        1 if place in places else extent for place, extent in enumerate(before) if keep or place not in places
    ]
    result = session.output(node, shape, session.output_quantization(node))
    over = session.graph.constant("axes", np.asarray(places, np.int32))
    session.add(
        node, "MEAN", [data, over], [result], Options(kind="ReducerOptions", fields={"keepDims": keep})
    )
    return result


def _windows(session: Session, node: ir.Node, data: int) -> list[Window]:
    kernel = [int(extent) for extent in node.attributes.get_ints("kernel_shape", ()) or ()]
    _, height, width, _ = spatial.image_shape(node, node.outputs[0])
    _, rows, columns, _ = session.graph.tensors[data].shape
    count = len(kernel)
    found = windows(node, kernel, [rows, columns][-count:], [height, width][-count:])
    if count == 1:
        found.insert(0, Window(kernel=1, stride=1, dilation=1, begin=0, end=0, size=1, out=1))
    return found


def _pool(
    session: Session,
    node: ir.Node,
    operator: tuple[str, str],
    data: int,
    pooled: Sequence[Window],
    bounds: Bounds,
) -> int:
    """Add a pool in its input's parameters, which its kernels demand, and clip it. Returns the NHWC result."""
    name, padding = operator
    before = session.graph.tensors[data]
    quantization: Quantization | None = before.quantization
    activation, rest = spatial.fusible(bounds, quantization)
    result = session.output(
        node, (before.shape[0], pooled[0].out, pooled[1].out, before.shape[3]), quantization
    )
    fields = {
        "padding": _PADDING[padding],
        "strideH": pooled[0].stride,
        "strideW": pooled[1].stride,
        "filterHeight": pooled[0].kernel,
        "filterWidth": pooled[1].kernel,
        "fusedActivationFunction": activation,
    }
    session.add(node, name, [data], [result], Options(kind="Pool2DOptions", fields=fields))
    return spatial.clip(session, node, result, rest)


def _below_everything(session: Session, node: ir.Node, data: int) -> float | None:
    """Return a fill that no maximum prefers to a real value; None for real 0, which PAD writes and more delegates know."""
    quantization = session.graph.tensors[data].quantization
    if quantization is not None:
        return None if quantization.zero_point[0] == quantization.low else quantization.low
    producer = node.inputs[0].producer() if node.inputs[0] is not None else None
    bounds = session.clip_bounds(producer) if producer is not None else None
    return None if bounds is not None and bounds.low >= 0 else _LOWEST_FLOAT


def _by_regions(session: Session, node: ir.Node, data: int, pooled: Sequence[Window], bounds: Bounds) -> int:
    """Pool each region of outputs whose windows have the same taps inside the input by a pool of its own, and join them."""
    rows: list[int] = []
    for vertical in _regions(pooled[0]):
        parts = []
        for horizontal in _regions(pooled[1]):
            piece = spatial.slice_image(
                session, node, data, (vertical[0], horizontal[0]), (vertical[1].size, horizontal[1].size)
            )
            parts.append(
                _pool(
                    session, node, ("AVERAGE_POOL_2D", "VALID"), piece, (vertical[1], horizontal[1]), bounds
                )
            )
        rows.append(spatial.concatenate(session, node, parts, 2))
    session.notes.append(
        f"{where(node)}: its padding is neither SAME nor VALID and is not counted, so border and inner windows were pooled apart."
    )
    return spatial.concatenate(session, node, rows, 1)


def _regions(window: Window) -> list[tuple[int, Window]]:
    """Return (first input element, window without padding) for each run of outputs whose windows are cut alike."""
    cuts = []
    for place in range(window.out):
        start = place * window.stride - window.begin
        low, high = max(start, 0), min(start + window.kernel, window.size)
        whole = high - low == window.kernel
        cuts.append((None if whole else place, low, high))
    regions = []
    for _, run in itertools.groupby(cuts, key=lambda cut: cut[0]):
        members = list(run)
        low, high = members[0][1], members[-1][2]
        taps = members[0][2] - low
        regions.append((low, _moved(window, begin=0, size=high - low, out=len(members), kernel=taps)))
    return regions


def _moved(window: Window, *, begin: int, size: int, out: int, kernel: int | None = None) -> Window:
    return Window(
        kernel=window.kernel if kernel is None else kernel,
        stride=window.stride,
        dilation=1,
        begin=begin,
        end=0,
        size=size,
        out=out,
    )
