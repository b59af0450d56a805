"""Bias correction from statistics: rounding weights moves the mean of a convolution's output; its bias moves it back.

The rounding errors of one output channel's weights do not cancel. Times the mean of each input channel they add up to a constant, which is
known without running anything: the float model's channel means are in the statistics.

Source: M. Nagel, M. van Baalen, T. Blankevoort and M. Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction",
ICCV 2019, section 4.2; the means are observed here instead of derived from batch normalization.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import bias_of, constant, integers, named, shape_of, weight_of
from host_tools.plan.codes import codes_of, values_of

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import QParams
    from targets.profile import Rounding

    Float64 = NDArray[np.float64]


def corrected_bias(
    node: ir.Node, weight: QParams, statistics: Statistics, rounding: Rounding
) -> tuple[float, ...] | None:
    """Return the bias that keeps the mean of each output channel where the float model has it.

    Args:
        node: Conv, ConvTranspose or Gemm with constant weight and bias.
        weight: The weight's parameters.
        statistics: Means of the node's input by channel.
        rounding: How weights are rounded.

    Returns:
        One real value an output channel; None when the statistics do not know the input's channels.
    """
    values = np.asarray(constant(weight_of(node)), np.float64)
    bias = np.asarray(constant(bias_of(node)), np.float64).reshape(-1)
    seen = statistics.tensors.get(named(node.inputs[0]))
    if seen is None:
        return None
    error = values_of(codes_of(values, weight, rounding), weight) - values
    shift = _mean_shift(node, error, seen.channel_mean)
    if shift is None or shift.shape != bias.shape:
        return None
    return tuple(float(value) for value in bias - shift)


def _mean_shift(node: ir.Node, error: Float64, means: Float64) -> Float64 | None:
    """Return what the weights' errors add to the mean of each output channel, shape (outputs,)."""
    if node.op_type == "Gemm":
        product: Float64 = error @ means if error.shape[1] == means.size else np.empty(0)
        return product
    is_transposed = node.op_type == "ConvTranspose"
    group = integers(node, "group", (1,))[0]
    taps = (error * _shares(node, error.shape[2:])).reshape(*error.shape[:2], -1).sum(axis=2)
    if means.size != (taps.shape[0] if is_transposed else taps.shape[1] * group):
        return None
    if is_transposed:  # weights are (inputs, outputs / group, ...)
        rows: Float64 = (taps * means[:, None]).reshape(group, -1, taps.shape[1]).sum(axis=1)
        return rows.reshape(-1)
    by_group = taps.reshape(group, -1, taps.shape[1]) * means.reshape(group, 1, -1)
    shift: Float64 = by_group.sum(axis=2).reshape(-1)
    return shift


def _shares(node: ir.Node, kernel: tuple[int, ...]) -> Float64:
    """Return at which share of the output's places each tap meets an input and not padding, shape ``kernel``.

    On small maps most taps of a padded kernel mostly see padding, which is exactly zero whatever the weight's error.
    """
    spatial = len(kernel)
    inputs, outputs = shape_of(node.inputs[0])[2:], shape_of(node.outputs[0])[2:]
    ones, zeros = (1,) * spatial, (0,) * (2 * spatial)
    strides, dilations = integers(node, "strides", ones), integers(node, "dilations", ones)
    pads = integers(node, "pads", zeros)
    # A transposed convolution walks from each input to the outputs that it adds to, at the same offsets.
    walked, met = (inputs, outputs) if node.op_type == "ConvTranspose" else (outputs, inputs)
    shares = np.ones(kernel, np.float64)
    for axis, taps in enumerate(kernel):
        starts = np.arange(walked[axis]) * strides[axis] - pads[axis]
        places = starts[:, np.newaxis] + np.arange(taps) * dilations[axis]
        share = ((places >= 0) & (places < met[axis])).sum(axis=0) / outputs[axis]
        shares = shares * share.reshape([-1 if at == axis else 1 for at in range(spatial)])
    return shares
