"""What convolutions, pools and resizing share: signals as images of height 1, explicit padding, clips behind an operator."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from host_tools import layouts
from host_tools.lower.tflite import axes
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.layout import shape_of
from host_tools.lower.tflite.plan_view import Bounds, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from host_tools.lower.tflite.graph import Quantization
    from host_tools.lower.tflite.session import Session


def image_shape(node: ir.Node, value: ir.Value) -> tuple[int, int, int, int]:
    """Return (batch, height, width, channels) of a canonical rank-3 or rank-4 value; rank 3 has height 1.

    Raises:
        LoweringError: Another rank.
    """
    shape = shape_of(value)
    if len(shape) == 3:
        return shape[0], 1, shape[2], shape[1]
    if len(shape) == 4:
        return shape[0], shape[2], shape[3], shape[1]
    raise refuse(
        node,
        f"{value.name!r} has rank {len(shape)}; TFLite's spatial operators here take one or two spatial axes (rank 3 or 4).",
        hint="TFLite has kernels for three axes of Conv and ConvTranspose alone, and those in float: convert for ONNX Runtime or OpenVINO.",
    )


def read_image(session: Session, node: ir.Node, index: int = 0) -> int:
    """Return an input as a rank-4 NHWC tensor."""
    value = node.inputs[index]
    if value is None:
        raise refuse(node, f"input {index} is missing.")
    shape = image_shape(node, value)
    tensor = session.read(node, index, axes.channel_last(len(shape_of(value))))
    return session.reshape(tensor, shape, node)


def deliver_image(session: Session, node: ir.Node, tensor: int) -> None:
    """Deliver a rank-4 NHWC tensor as the node's output of rank 3 or 4."""
    value = node.outputs[0]
    rank = len(shape_of(value))
    layout = axes.channel_last(rank)
    session.deliver(node, session.reshape(tensor, layouts.permuted(shape_of(value), layout), node), layout)


def pad_image(
    session: Session,
    node: ir.Node,
    tensor: int,
    begins: Sequence[int],
    ends: Sequence[int],
    fill: float | None = None,
) -> int:
    """Return an NHWC tensor with rows and columns around it.

    Args:
        session: The lowering.
        node: On whose behalf.
        tensor: NHWC tensor.
        begins: Rows above, columns to the left.
        ends: Rows below, columns to the right.
        fill: None for real 0 (the zero point of integers); else the code or float to write.
    """
    before = session.graph.tensors[tensor]
    batch, height, width, channels = before.shape
    shape = (batch, height + begins[0] + ends[0], width + begins[1] + ends[1], channels)
    amounts = np.asarray([[0, 0], [begins[0], ends[0]], [begins[1], ends[1]], [0, 0]], np.int32)
    after = session.like(tensor, f"{before.name}/padded", shape)
    table = session.graph.constant("paddings", amounts)
    if fill is None:
        session.add(node, "PAD", [tensor, table], [after], Options(kind="PadOptions"))
    else:
        dtype = "float32" if before.quantization is None else before.quantization.dtype
        value = session.graph.constant("padding_value", np.asarray(fill, dtype), before.quantization)
        session.add(node, "PADV2", [tensor, table, value], [after], Options(kind="PadV2Options"))
    return after


def slice_image(
    session: Session, node: ir.Node, tensor: int, begins: Sequence[int], sizes: Sequence[int]
) -> int:
    """Return rows and columns of an NHWC tensor: ``sizes`` of them from ``begins``."""
    batch, height, width, channels = session.graph.tensors[tensor].shape
    if tuple(begins) == (0, 0) and tuple(sizes) == (height, width):
        return tensor
    return slice_tensor(
        session, node, tensor, (0, begins[0], begins[1], 0), (batch, sizes[0], sizes[1], channels)
    )


def slice_tensor(
    session: Session, node: ir.Node, tensor: int, begins: Sequence[int], sizes: Sequence[int]
) -> int:
    """Return ``sizes`` elements from ``begins`` along each axis of the tensor."""
    before = session.graph.tensors[tensor]
    after = session.like(tensor, f"{before.name}/sliced", sizes)
    start = session.graph.constant("begin", np.asarray(begins, np.int32))
    size = session.graph.constant("size", np.asarray(sizes, np.int32))
    session.add(node, "SLICE", [tensor, start, size], [after], Options(kind="SliceOptions"))
    return after


def concatenate(session: Session, node: ir.Node, tensors: Sequence[int], axis: int) -> int:
    """Return tensors of one type and one set of parameters joined along an axis."""
    if len(tensors) == 1:
        return tensors[0]
    shapes = [session.graph.tensors[tensor].shape for tensor in tensors]
    shape = list(shapes[0])
    shape[axis] = sum(one[axis] for one in shapes)
    after = session.like(tensors[0], f"{node.outputs[0].name}/joined", shape)
    session.add(
        node, "CONCATENATION", tensors, [after], Options(kind="ConcatenationOptions", fields={"axis": axis})
    )
    return after


def fusible(bounds: Bounds, quantization: Quantization | None) -> tuple[int, Bounds | None]:
    """Split a clip behind an operator into its fused activation and what needs operators of its own.

    Args:
        bounds: The clip.
        quantization: Parameters of the operator's integer output, or None for float.

    Returns:
        The code of the fused activation, and the rest of the clip or None. An integer output whose range of codes already ends at the
        bounds needs nothing.
    """
    if bounds.activation is not None:
        return bounds.activation, None
    if quantization is not None and code_range_clips(quantization, bounds):
        return 0, None
    return 0, bounds


def code_range_clips(quantization: Quantization, bounds: Bounds) -> bool:
    """Whether saturating at the lowest and the highest code does all that the clip does, to half a code."""
    scale, zero_point = quantization.scale[0], quantization.zero_point[0]
    low, high = (_code(bound, scale, zero_point) for bound in (bounds.low, bounds.high))
    return low <= quantization.low and high >= quantization.high


def clip(session: Session, node: ir.Node, tensor: int, bounds: Bounds | None) -> int:
    """Return the tensor clipped by MAXIMUM and MINIMUM with constants, in its own type and parameters."""
    if bounds is None:
        return tensor
    for operator, bound in (("MAXIMUM", bounds.low), ("MINIMUM", bounds.high)):
        before = session.graph.tensors[tensor]
        if math.isinf(bound):
            continue
        if before.quantization is None:
            limit = np.asarray([bound], np.float32)
        else:
            low, high = before.quantization.low, before.quantization.high
            code = _code(bound, before.quantization.scale[0], before.quantization.zero_point[0])
            if (operator == "MAXIMUM" and code <= low) or (operator == "MINIMUM" and code >= high):
                continue
            limit = np.asarray([min(max(code, low), high)], before.quantization.dtype)
        constant = session.graph.constant(f"{operator.lower()}_bound", limit, before.quantization)
        after = session.like(tensor, f"{before.name}/clipped", before.shape)
        session.add(node, operator, [tensor, constant], [after], Options(kind="MaximumMinimumOptions"))
        tensor = after
    return tensor


def _code(real: float, scale: float, zero_point: int) -> float:
    return real if math.isinf(real) else round(real / scale) + zero_point
