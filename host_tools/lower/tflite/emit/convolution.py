"""Conv and ConvTranspose: CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from host_tools.lower.integers import dequantize_array, quantize_array, quantize_bias
from host_tools.lower.tflite.emit import spatial
from host_tools.lower.tflite.graph import Options, Quantization
from host_tools.lower.tflite.plan_view import PLAN_ANEW, as_quantization, has_input, refuse, where
from host_tools.lower.tflite.window import Window, scheme, windows
from host_tools.plan.codes import codes_of, rebased

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.lower.tflite.session import Session
    from host_tools.plan.quantization_plan import IntegerType

_PADDING = {"SAME": 0, "VALID": 1}
"""Codes of Padding. Source: tflite/schema/schema.fbs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Codes or float values of a weight in the canonical layout, with one scale or one per output channel.

    Attributes:
        values: int8, float32, or float16 that is made float32 first.
        scales: float64 scales, shape (outputs,) or (1,); None for float.
        name: Of the initializer.
        stored: Where activations are floats: whether the codes are multiplied as they are (``dynamic``), or they, or float16, made float32
            first (``dequantized``). None: as the activations are.
        dtype: Of the codes.
        zero_points: As many as scales; None for zeros.
    """

    values: NDArray[np.generic]
    scales: NDArray[np.float64] | None
    name: str
    stored: Literal["dynamic", "dequantized"] | None = None
    dtype: IntegerType = "int8"
    zero_points: tuple[int, ...] | None = None

    def quantization(self, axis: int) -> Quantization | None:
        """Return the file's parameters with the channels along ``axis``."""
        if self.scales is None:
            return None
        scales = [float(scale) for scale in self.scales]
        return Quantization.of(scales, self.zero_points or [0] * self.scales.size, axis, dtype=self.dtype)


def filters_of(session: Session, weights: Weights, values: NDArray[np.generic], axis: int) -> int:
    """Return the tensor that an operator reads its weights from.

    Args:
        session: The lowering.
        weights: The weights.
        values: Their values in the file's layout.
        axis: The axis of output channels there.
    """
    tensor = session.graph.constant(weights.name, values, weights.quantization(axis))
    return session.dequantized(tensor) if weights.stored == "dequantized" else tensor


def read_weights(session: Session, node: ir.Node, index: int, *, channel_axis: int) -> Weights:
    """Return a constant weight, quantized as planned; its float values for a float node.

    Raises:
        LoweringError: An integer node's weight has no parameters, is not symmetric int8, or has scales along another axis.
    """
    values = session.array(node, index).astype(np.float32, copy=False)
    name = str(node.inputs[index].name)  # type: ignore[union-attr]  # array() checked it
    qparams = session.qparams(name)
    if qparams is None:
        if session.is_integer(node):
            raise refuse(
                node,
                f"runs in integers, but its weight {name!r} has no quantization parameters.",
                hint=PLAN_ANEW,
            )
        if session.is_half(name):
            return Weights(values=values.astype(np.float16), scales=None, name=name, stored="dequantized")
        return Weights(values=values, scales=None, name=name)
    if session.plan.precision != "int8":
        qparams = rebased(qparams, signed=True)  # TFLite has no unsigned type of 4 bits
        return Weights(
            values=codes_of(values, qparams).astype(np.int8),
            scales=np.asarray(qparams.scale, np.float64),
            name=name,
            stored="dynamic" if session.is_dynamic(node) else "dequantized",
            dtype=qparams.dtype,
            zero_points=qparams.zero_point,
        )
    codes = quantize_array(values, qparams, session.profile.rounding.weights, where=name)
    if not session.is_integer(node):
        return Weights(
            values=dequantize_array(codes, qparams, where=name).astype(np.float32), scales=None, name=name
        )
    if codes.dtype != np.int8 or any(qparams.zero_point):
        raise refuse(
            node,
            f"weight {name!r} is planned as {qparams.dtype} with zero points {sorted(set(qparams.zero_point))}; "
            "TFLite takes symmetric int8 weights.",
            hint="Set weights.bits = 8, signed = true and symmetric = true in the profile.",
        )
    if qparams.axis not in (None, channel_axis):
        raise refuse(
            node,
            f"weight {name!r} has scales along axis {qparams.axis}; TFLite needs axis {channel_axis}.",
            hint=PLAN_ANEW,
        )
    return Weights(values=codes, scales=np.asarray(qparams.scale, np.float64), name=name)


def read_bias(
    session: Session, node: ir.Node, index: int, *, outputs: int, data: int, weights: Weights
) -> int:
    """Return the bias tensor, shape (outputs,): int32 or int64 with scale input * weight, or float32. A missing one is zeros.

    Args:
        session: The lowering.
        node: The weighted node.
        index: Which input the bias is.
        outputs: Output channels.
        data: The tensor that the node reads, for its scale.
        weights: Its weights.

    Raises:
        LoweringError: An integer node's bias has no parameters, or is not int32 beside 8-bit and int64 beside 16-bit activations.
    """
    given = session.array(node, index) if has_input(node, index) else None
    source = node.inputs[index] if given is not None else None
    name = f"{node.name}/zero_bias" if source is None else str(source.name)
    values = (
        np.zeros(outputs, np.float32) if given is None else np.broadcast_to(given.reshape(-1), (outputs,))
    )
    if weights.scales is None or weights.stored is not None:
        return session.graph.constant(name, values.astype(np.float32))
    qparams = session.qparams(name) if given is not None else None
    wanted: IntegerType = "int64" if session.node_plan(node).precision == "int16" else "int32"
    if qparams is not None:
        if qparams.dtype != wanted:
            raise refuse(
                node,
                f"bias {name!r} is planned as {qparams.dtype}; TFLite's kernels of that width take {wanted}.",
                hint=f"Set {'wide.bias_bits = 64' if wanted == 'int64' else 'bias.bits = 32'} in the profile.",
            )
        flat = values.astype(np.float32)
        codes = quantize_bias(flat, qparams, session.profile.rounding.weights, where=name)
        return session.graph.constant(name, codes, as_quantization(qparams))
    if given is not None:
        raise refuse(
            node, f"runs in integers, but its bias {name!r} has no quantization parameters.", hint=PLAN_ANEW
        )
    read = session.graph.tensors[data].quantization
    scales = weights.scales * (read.scale[0] if read is not None else 1.0)
    zeros = np.zeros(outputs, wanted)
    quantization = Quantization.of([float(s) for s in scales], [0] * scales.size, dtype=wanted)
    return session.graph.constant(name, zeros, quantization)


def conv(session: Session, node: ir.Node) -> None:
    """Write a Conv: DEPTHWISE_CONV_2D when every input channel is a group, else CONV_2D (grouped when it must be)."""
    data = spatial.read_image(session, node)
    weights = _as_image_weights(read_weights(session, node, 1, channel_axis=0))
    outputs, _, *kernel = weights.values.shape
    groups = node.attributes.get_int("group", 1)
    batch, *size, channels = session.graph.tensors[data].shape
    _, height, width, _ = spatial.image_shape(node, node.outputs[0])
    axes = _lifted(
        windows(node, kernel[-_rank(node) :], size[-_rank(node) :], [height, width][-_rank(node) :])
    )
    padding = scheme(axes)
    if padding is None:
        data = spatial.pad_image(
            session, node, data, [axis.begin for axis in axes], [axis.needed_end for axis in axes]
        )
        padding = "VALID"
    bias = read_bias(session, node, 2, outputs=outputs, data=data, weights=weights)
    quantization = session.output_quantization(node)
    activation, rest = spatial.fusible(session.bounds(node), quantization)
    result = session.output(node, (batch, height, width, outputs), quantization)
    fields = {
        "padding": _PADDING[padding],
        "strideH": axes[0].stride,
        "strideW": axes[1].stride,
        "dilationHFactor": axes[0].dilation,
        "dilationWFactor": axes[1].dilation,
        "fusedActivationFunction": activation,
    }
    if groups == channels and groups > 1:
        _depthwise(session, node, (data, bias, result), weights, fields)
    elif groups == 1 or session.graph.accepts("CONV_2D", _GROUPED_VERSION):
        filters = filters_of(session, weights, weights.values.transpose(0, 2, 3, 1), 0)
        session.add(
            node, "CONV_2D", [data, filters, bias], [result], Options(kind="Conv2DOptions", fields=fields)
        )
    else:
        result = _by_groups(session, node, (data, bias, result), weights, fields)
    spatial.deliver_image(session, node, spatial.clip(session, node, result, rest))


_GROUPED_VERSION = 6
"""First CONV_2D with groups. Source: tflite/converter/tools/versioning/op_version.cc."""


def _rank(node: ir.Node) -> int:
    """Return the number of spatial axes of a node's output."""
    return len(node.outputs[0].shape or ()) - 2


def _lifted(spatial_axes: list[Window]) -> list[Window]:
    """Return two windows: a one-dimensional one gets a height of 1."""
    if len(spatial_axes) == 1:
        unit = Window(kernel=1, stride=1, dilation=1, begin=0, end=0, size=1, out=1)
        return [unit, *spatial_axes]
    return spatial_axes


def _as_image_weights(weights: Weights) -> Weights:
    values = weights.values[:, :, np.newaxis, :] if weights.values.ndim == 3 else weights.values
    return replace(weights, values=values)


def _depthwise(
    session: Session,
    node: ir.Node,
    tensors: tuple[int, int, int],
    weights: Weights,
    fields: Mapping[str, object],
) -> None:
    data, bias, result = tensors
    channels = session.graph.tensors[data].shape[3]
    filters = filters_of(session, weights, weights.values.transpose(1, 2, 3, 0), 3)
    fields = {**fields, "depthMultiplier": weights.values.shape[0] // channels}
    options = Options(kind="DepthwiseConv2DOptions", fields=fields)
    session.add(node, "DEPTHWISE_CONV_2D", [data, filters, bias], [result], options)


def _by_groups(
    session: Session,
    node: ir.Node,
    tensors: tuple[int, int, int],
    weights: Weights,
    fields: Mapping[str, object],
) -> int:
    """Write one CONV_2D a group for runtimes without grouped kernels. Returns the joined result."""
    data, bias, result = tensors
    before, whole = session.graph.tensors[data], session.graph.tensors[result]
    count, outputs = node.attributes.get_int("group", 1), weights.values.shape[0]
    inward, outward = before.shape[3] // count, outputs // count
    bias_scales = session.graph.tensors[bias].quantization
    bias_values = np.frombuffer(
        session.graph.tensors[bias].data or b"", "float32" if bias_scales is None else bias_scales.dtype
    )
    parts = []
    for group in range(count):
        channels = slice(group * outward, (group + 1) * outward)
        own = replace(
            weights,
            values=weights.values[channels],
            scales=weights.scales
            if weights.scales is None or weights.scales.size == 1
            else weights.scales[channels],
            name=f"{weights.name}/group_{group}",
        )
        part_bias = bias_scales
        if bias_scales is not None and bias_scales.is_per_channel:
            part_bias = Quantization.of(
                bias_scales.scale[channels], bias_scales.zero_point[channels], dtype=bias_scales.dtype
            )
        piece = spatial.slice_tensor(
            session, node, data, (0, 0, 0, group * inward), (*before.shape[:3], inward)
        )
        filters = filters_of(session, own, own.values.transpose(0, 2, 3, 1), 0)
        biases = session.graph.constant(f"{node.name}/bias_{group}", bias_values[channels], part_bias)
        part = session.like(result, f"{whole.name}/group_{group}", (*whole.shape[:3], outward))
        session.add(
            node, "CONV_2D", [piece, filters, biases], [part], Options(kind="Conv2DOptions", fields=fields)
        )
        parts.append(part)
    session.notes.append(
        f"{where(node)}: {count} groups were written as {count} CONV_2D, because the target's CONV_2D has no groups."
    )
    return spatial.concatenate(session, node, parts, 3)


def conv_transpose(session: Session, node: ir.Node) -> None:
    """Write a ConvTranspose: TRANSPOSE_CONV, cropped by a SLICE unless its pads are TFLite's SAME or none.

    Dilated or grouped kernels are written out with zeros, which is exact.
    """
    data = spatial.read_image(session, node)
    weights = _dense(session, node)
    outputs, *kernel, _ = weights.values.shape
    batch, *size, _ = session.graph.tensors[data].shape
    _, *out, _ = spatial.image_shape(node, node.outputs[0])
    count = _rank(node)
    strides = [1, 1, *(node.attributes.get_ints("strides", (1,) * count) or ())][-2:]
    begins = _transposed_begins(node, kernel, strides, size, out)
    full = [(size[axis] - 1) * strides[axis] + kernel[axis] for axis in (0, 1)]
    same = all(
        out[axis] == size[axis] * strides[axis]
        and full[axis] >= out[axis]
        and begins[axis] == (full[axis] - out[axis]) // 2
        for axis in (0, 1)
    )
    extents = out if same else [max(full[axis], begins[axis] + out[axis]) for axis in (0, 1)]
    bias = read_bias(session, node, 2, outputs=outputs, data=data, weights=weights)
    quantization = session.output_quantization(node)
    activation, rest = spatial.fusible(session.bounds(node), quantization)
    if activation and not session.graph.accepts("TRANSPOSE_CONV", _FUSED_VERSION):
        activation, rest = 0, session.bounds(node)
    result = session.output(node, (batch, *extents, outputs), quantization)
    shape = session.graph.constant("output_shape", np.asarray((batch, *extents, outputs), np.int32))
    filters = filters_of(session, weights, weights.values, 0)
    fields = {
        "padding": _PADDING["SAME" if same else "VALID"],
        "strideH": strides[0],
        "strideW": strides[1],
        "fusedActivationFunction": activation,
    }
    session.add(
        node,
        "TRANSPOSE_CONV",
        [shape, filters, data, bias],
        [result],
        Options(kind="TransposeConvOptions", fields=fields),
    )
    if not same:
        result = spatial.slice_image(session, node, result, begins, out)
    spatial.deliver_image(session, node, spatial.clip(session, node, result, rest))


_FUSED_VERSION = 4
"""First TRANSPOSE_CONV with a fused activation. Source: tflite/converter/tools/versioning/op_version.cc."""


def _dense(session: Session, node: ir.Node) -> Weights:
    """Return ConvTranspose weights as (outputs, height, width, inputs), groups and dilation written out with zeros."""
    raw = read_weights(session, node, 1, channel_axis=1)
    values = raw.values[:, :, np.newaxis, :] if raw.values.ndim == 3 else raw.values
    groups = node.attributes.get_int("group", 1)
    dilations = (
        [1, 1, *(node.attributes.get_ints("dilations", (1,)) or ())][-2:]
        if _rank(node) == 2
        else [
            1,
            (node.attributes.get_ints("dilations", (1,)) or (1,))[0],
        ]
    )
    inputs, outward, height, width = values.shape
    inward = inputs // groups
    rows, columns = (height - 1) * dilations[0] + 1, (width - 1) * dilations[1] + 1
    dense = np.zeros((outward * groups, rows, columns, inputs), values.dtype)
    for group in range(groups):
        ours, theirs = (
            slice(group * outward, (group + 1) * outward),
            slice(group * inward, (group + 1) * inward),
        )
        dense[ours, :: dilations[0], :: dilations[1], theirs] = values[theirs].transpose(1, 2, 3, 0)
    scales = raw.scales
    if scales is not None and scales.size > 1:
        scales = np.tile(scales, groups)
    if groups > 1:
        session.notes.append(
            f"{where(node)}: {groups} groups were written out as one dense kernel with zeros."
        )
    return replace(raw, values=dense, scales=scales)


def _transposed_begins(
    node: ir.Node, kernel: list[int], strides: list[int], size: list[int], out: list[int]
) -> list[int]:
    """Return how many rows and columns ONNX cuts off in front.

    Source: ONNX operator ConvTranspose: total = stride * (in - 1) + output_padding + extent - out, split by auto_pad.
    """
    count = _rank(node)
    if "output_shape" not in node.attributes and node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET":
        pads = node.attributes.get_ints("pads", (0,) * (2 * count)) or ()
        return [0, *pads[:count]][-2:] if count == 1 else list(pads[:2])
    extra = [0, *(node.attributes.get_ints("output_padding", (0,) * count) or ())][-2:]
    begins = []
    for axis in (0, 1):
        total = max(strides[axis] * (size[axis] - 1) + extra[axis] + kernel[axis] - out[axis], 0)
        upper = node.attributes.get_string("auto_pad", "NOTSET") == "SAME_UPPER"
        begins.append(total // 2 if upper else total - total // 2)
    return begins
