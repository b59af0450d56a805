"""CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from host_tools.model.from_tflite.session import CHANNELS_FIRST
from host_tools.model.from_tflite.windows import dilations_of, is_same, pads_of, strides_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from host_tools.model.from_tflite.call import Call


def conv(call: Call) -> None:
    """Write a CONV_2D; weights are (outputs, height, width, inputs of a group)."""
    weights = _weights(call)
    channels = call.shape(0)[-1]
    if channels % weights.shape[3] or weights.shape[0] % (channels // weights.shape[3]):
        raise ValueError(f"weights of shape {list(weights.shape)} read {channels} channels")
    _conv(call, weights.transpose(0, 3, 1, 2), channels // weights.shape[3])


def depthwise(call: Call) -> None:
    """Write a DEPTHWISE_CONV_2D; weights are (1, height, width, outputs)."""
    weights = _weights(call)
    channels = call.shape(0)[-1]
    if weights.shape[0] != 1 or weights.shape[3] % channels:
        raise ValueError(f"weights of shape {list(weights.shape)} read {channels} channels")
    _conv(call, weights.transpose(3, 0, 1, 2), channels)


def _weights(call: Call) -> NDArray[Any]:
    weights = call.array(1)
    if weights.ndim != 4 or not weights.size:
        raise ValueError(f"its weights have the shape {list(weights.shape)}")
    if len(call.shape(0)) != 4:
        raise ValueError(f"its input 0 should have four axes, and has {len(call.shape(0))}")
    return weights


def _bias(call: Call, place: int, outputs: int) -> list[str]:
    if not call.has(place):
        return []
    bias = call.array(place)
    if bias.size != outputs:
        raise ValueError(f"{bias.size} biases of {outputs} channels")
    return [call.constant(bias.reshape(-1), place)]


def _conv(call: Call, weights: NDArray[Any], groups: int) -> None:
    strides, dilations = strides_of(call), dilations_of(call)
    kernel = weights.shape[2:]
    found = call.node(
        "Conv",
        call.image(0),
        call.constant(weights, 1),
        *_bias(call, 2, weights.shape[0]),
        kernel_shape=kernel,
        strides=strides,
        dilations=dilations,
        group=groups,
        pads=pads_of(call, call.shape(0)[1:3], kernel, strides, dilations),
    )
    call.write_activated(found, CHANNELS_FIRST)


def transpose_conv(call: Call) -> None:
    """Write a TRANSPOSE_CONV: inputs are the output's shape, weights (outputs, height, width, inputs), the image and the bias.

    Source of what is cut off in front: LiteRT, tflite/kernels/transpose_conv.cc, which pads as a CONV_2D from output to input would.
    """
    shape, weights = call.integers(0), _weights_of_transpose(call)
    _, *size, channels = call.shape(2)
    if weights.shape[3] != channels or len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"weights of shape {list(weights.shape)} read {channels} channels into {shape}")
    strides, kernel, out = strides_of(call), weights.shape[1:3], shape[1:3]
    begins, ends = [], []
    for extent, taps, stride, wanted in zip(size, kernel, strides, out, strict=True):
        total = max((-(-wanted // stride) - 1) * stride + taps - wanted, 0) if is_same(call) else 0
        begins.append(total // 2)
        ends.append((extent - 1) * stride + taps - total // 2 - wanted)
    found = call.node(
        "ConvTranspose",
        call.image(2),
        call.constant(weights.transpose(3, 0, 1, 2), 1),
        *_bias(call, 3, weights.shape[0]),
        kernel_shape=kernel,
        strides=strides,
        pads=[*begins, *(max(end, 0) for end in ends)],
        output_padding=[max(-end, 0) for end in ends],
    )
    if any(-end >= stride for end, stride in zip(ends, strides, strict=True)):
        raise call.unsupported(f"its output {out} reaches beyond what its input {list(size)} can write.")
    call.write_activated(found, CHANNELS_FIRST)


def _weights_of_transpose(call: Call) -> NDArray[Any]:
    weights = call.array(1)
    if weights.ndim != 4 or not weights.size or len(call.shape(2)) != 4:
        raise ValueError(
            f"weights of shape {list(weights.shape)} and an image of shape {list(call.shape(2))}"
        )
    return weights


TRANSLATORS: Mapping[str, Callable[[Call], None]] = MappingProxyType(
    {"CONV_2D": conv, "DEPTHWISE_CONV_2D": depthwise, "TRANSPOSE_CONV": transpose_conv}
)
