"""Activations that stand alone: Relu, Clip, LeakyRelu, PRelu, Sigmoid, Tanh, HardSwish, HardSigmoid and Softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools import layouts
from host_tools.lower.tflite.emit import spatial
from host_tools.lower.tflite.emit.arithmetic import read_broadcast
from host_tools.lower.tflite.graph import Options, Quantization
from host_tools.lower.tflite.layout import shape_of
from host_tools.lower.tflite.plan_view import RELU, RELU6, RELU_N1_TO_1, Bounds, refuse
from host_tools.lower.tflite.session import output_shape

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.lower.tflite.session import Session

_CLIP_OPERATORS = {RELU: "RELU", RELU6: "RELU6", RELU_N1_TO_1: "RELU_N1_TO_1"}
_UNARY = {
    "Sigmoid": ("LOGISTIC", None),
    "Tanh": ("TANH", None),
    "HardSwish": ("HARD_SWISH", "HardSwishOptions"),
}


def clip(session: Session, node: ir.Node) -> None:
    """Write a Relu or Clip that no other operator absorbs.

    In integers an output whose codes end at the bounds clips by saturating: then a QUANTIZE, or nothing, is enough.
    """
    bounds = session.clip_bounds(node) or Bounds(low=-np.inf, high=np.inf)
    layout = session.layout(node.outputs[0])
    data = session.read(node, 0, layout)
    quantization = session.output_quantization(node)
    if quantization is not None and spatial.code_range_clips(quantization, bounds):
        session.deliver(node, session.requantized(data, quantization), layout)
        return
    if quantization is not None:
        data = session.requantized(data, quantization)
    has_operator = bounds.activation in _CLIP_OPERATORS
    if quantization is not None and quantization.dtype == "int16" and bounds.activation == RELU_N1_TO_1:
        has_operator = False  # its kernels know 8 bits only
    if has_operator:
        result = session.output(node, session.graph.tensors[data].shape, quantization)
        session.add(node, _CLIP_OPERATORS[bounds.activation or 0], [data], [result])
    else:
        result = spatial.clip(session, node, data, bounds)
    session.deliver(node, result, layout)


def unary(session: Session, node: ir.Node) -> None:
    """Write Sigmoid, Tanh or HardSwish; the plan gives Sigmoid and Tanh the output scale that the kernels demand."""
    operator, kind = _UNARY[node.op_type]
    layout = session.layout(node.outputs[0])
    data = session.read(node, 0, layout)
    result = session.output(node, output_shape(node, layout), session.output_quantization(node))
    session.add(node, operator, [data], [result], Options(kind=kind) if kind else None)
    session.deliver(node, spatial.clip(session, node, result, session.bounds(node)), layout)


def leaky_relu(session: Session, node: ir.Node) -> None:
    """Write a LeakyRelu."""
    layout = session.layout(node.outputs[0])
    data = session.read(node, 0, layout)
    result = session.output(node, output_shape(node, layout), session.output_quantization(node))
    alpha = node.attributes.get_float("alpha", 0.01)
    session.add(
        node, "LEAKY_RELU", [data], [result], Options(kind="LeakyReluOptions", fields={"alpha": alpha})
    )
    session.deliver(node, result, layout)


def prelu(session: Session, node: ir.Node) -> None:
    """Write a PRelu; its slope broadcasts to the input and loses its unit axes in front."""
    layout = session.layout(node.outputs[0])
    data = session.read(node, 0, layout)
    slope = read_broadcast(session, node, 1)
    if session.is_constant(node, 1):
        codes, quantization = session.constant_codes(node, 1)
        raised = codes.reshape((1,) * (len(layout) - codes.ndim) + codes.shape).transpose(layout)
        # XNNPACK takes a slope per channel without the batch axis.
        slope_value = node.inputs[1]
        slope = session.graph.constant(
            "" if slope_value is None else str(slope_value.name),
            raised[0] if raised.shape[0] == 1 else raised,
            quantization,
        )
    result = session.output(node, output_shape(node, layout), session.output_quantization(node))
    session.add(node, "PRELU", [data, slope], [result])
    session.deliver(node, result, layout)


def hard_sigmoid(session: Session, node: ir.Node) -> None:
    """Write HardSigmoid as MUL by alpha, ADD of beta, and a clip to [0, 1].

    In int8 the product keeps the input's codes and has alpha times its scale, so it is exact; the only rounding is the ADD's.
    """
    alpha = node.attributes.get_float("alpha", 0.2)
    beta = node.attributes.get_float("beta", 0.5)
    layout = session.layout(node.outputs[0])
    data = session.read(node, 0, layout)
    before = session.graph.tensors[data]
    quantization = session.output_quantization(node)
    if before.quantization is None or quantization is None:
        factor = session.graph.constant("alpha", np.asarray([alpha], np.float32))
        offset = session.graph.constant("beta", np.asarray([beta], np.float32))
        scaled = session.output(node, before.shape, None)
    else:
        if alpha <= 0:
            raise refuse(
                node,
                f"alpha {alpha:g} in int8; only positive ones keep the codes in order.",
                hint="Keep this node in float.",
            )
        full = np.asarray([127], np.int8)
        factor = session.graph.constant("alpha", full, Quantization.of([alpha / 127], [0]))
        offset = session.graph.constant(
            "beta", np.sign(full * beta).astype(np.int8) * full, _constant_scale(beta)
        )
        scaled = session.output(
            node,
            before.shape,
            Quantization.of([before.quantization.scale[0] * alpha], before.quantization.zero_point),
        )
    result = session.output(node, output_shape(node, layout), quantization)
    session.add(node, "MUL", [data, factor], [scaled], Options(kind="MulOptions"))
    session.add(node, "ADD", [scaled, offset], [result], Options(kind="AddOptions"))
    session.deliver(node, spatial.clip(session, node, result, Bounds(low=0.0, high=1.0)), layout)


def _constant_scale(value: float) -> Quantization:
    """Return parameters in which the constant's code is 127 or -127, or 0 for 0."""
    return Quantization.of([abs(value) / 127 if value else 1.0], [0])


def softmax(session: Session, node: ir.Node) -> None:
    """Write a Softmax: TFLite's works on the last axis, so another axis is brought there and back."""
    layout = session.layout(node.outputs[0])
    rank = len(layout)
    axis = node.attributes.get_int("axis", -1) % rank
    wanted = (*(a for a in layout if a != axis), axis)
    data = session.read(node, 0, wanted)
    result = session.output(
        node, layouts.permuted(shape_of(node.outputs[0]), wanted), session.output_quantization(node)
    )
    session.add(node, "SOFTMAX", [data], [result], Options(kind="SoftmaxOptions", fields={"beta": 1.0}))
    session.deliver(node, result, wanted)
