"""What each builtin operator of TFLite is in the words of profiles, and where it keeps what rules ask for. Data only.

Source: LiteRT, tflite/schema/schema.fbs (options) and the comments of tflite/kernels (order of inputs).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinOperator:
    """One builtin operator.

    Attributes:
        stands_for: ONNX operator types that it can be.
        data: Which inputs hold real values, but for weight and bias; None for all of them.
        weight: Which input is the weight.
        channel_axis: Axis of the weight's output channels.
        bias: Which input is the bias.
        axes: Which input lists the axes that it works on.
        mode: How it interpolates.
    """

    stands_for: tuple[str, ...]
    data: tuple[int, ...] | None = None
    weight: int | None = None
    channel_axis: int = 0
    bias: int | None = None
    axes: int | None = None
    mode: str = ""


def _first(*stands_for: str, axes: int | None = None, mode: str = "") -> BuiltinOperator:
    return BuiltinOperator(stands_for=stands_for, data=(0,), axes=axes, mode=mode)


def _all(*stands_for: str) -> BuiltinOperator:
    return BuiltinOperator(stands_for=stands_for)


def _weighted(
    *stands_for: str, data: int = 0, weight: int = 1, bias: int = 2, channel_axis: int = 0
) -> BuiltinOperator:
    return BuiltinOperator(
        stands_for=stands_for, data=(data,), weight=weight, bias=bias, channel_axis=channel_axis
    )


OPERATORS: Mapping[str, BuiltinOperator] = MappingProxyType(
    {
        "ADD": _all("Add"),
        "AVERAGE_POOL_2D": _first("AveragePool"),
        "BATCH_MATMUL": _all("MatMul"),
        "CONCATENATION": _all("Concat"),
        "CONV_2D": _weighted("Conv"),
        "DEPTHWISE_CONV_2D": _weighted("Conv", channel_axis=3),
        "DEQUANTIZE": _first(),
        "DIV": _all("Div"),
        "EXPAND_DIMS": _first("Unsqueeze", "Reshape"),
        "FULLY_CONNECTED": _weighted("Gemm", "MatMul"),
        "HARD_SWISH": _first("HardSwish"),
        "LEAKY_RELU": _first("LeakyRelu"),
        "LOGISTIC": _first("Sigmoid"),
        "MAXIMUM": _all("Max"),
        "MAX_POOL_2D": _first("MaxPool"),
        "MEAN": _first("ReduceMean", "GlobalAveragePool", axes=1),
        "MINIMUM": _all("Min"),
        "MIRROR_PAD": _first("Pad"),
        "MUL": _all("Mul"),
        "PAD": _first("Pad"),
        "PADV2": BuiltinOperator(stands_for=("Pad",), data=(0, 2)),
        "PRELU": _all("PRelu"),
        "QUANTIZE": _first("QuantizeLinear"),
        "RELU": _first("Relu"),
        "RELU6": _first("Clip"),
        "RELU_0_TO_1": _first("Clip"),
        "RELU_N1_TO_1": _first("Clip"),
        "RESHAPE": _first("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"),
        "RESIZE_BILINEAR": _first("Resize", mode="linear"),
        "RESIZE_NEAREST_NEIGHBOR": _first("Resize", mode="nearest"),
        "SLICE": _first("Slice", "Split"),
        "SOFTMAX": _first("Softmax"),
        "SPLIT": BuiltinOperator(stands_for=("Split",), data=(1,), axes=0),
        "SPLIT_V": _first("Split", axes=2),
        "SQUEEZE": _first("Squeeze", "Reshape", "Flatten"),
        "STRIDED_SLICE": _first("Slice"),
        "SUB": _all("Sub"),
        "TANH": _first("Tanh"),
        "TRANSPOSE": _first("Transpose"),
        "TRANSPOSE_CONV": _weighted("ConvTranspose", data=2, bias=3),
    }
)
"""Every builtin operator that a profile has a word for; of others all inputs count as data."""

ACTIVATIONS: Mapping[str, str] = MappingProxyType(
    {
        "NONE": "",
        "RELU": "Relu",
        "RELU6": "Clip",
        "RELU_N1_TO_1": "Clip",
        "TANH": "Tanh",
        "SIGN_BIT": "SIGN_BIT",
    }
)
"""Fused activations as ONNX operator types; the last has none."""
