"""Activations that stand alone: RELU and its kin, PRELU, LOGISTIC, TANH, HARD_SWISH, ELU, GELU, SOFTMAX, LOG_SOFTMAX, L2_NORMALIZATION."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.model.from_tflite.call import Call

_UNARY: Final = MappingProxyType(
    {
        "ELU": "Elu",
        "HARD_SWISH": "HardSwish",
        "LOGISTIC": "Sigmoid",
        "RELU": "Relu",
        "TANH": "Tanh",
    }
)
_BOUNDS: Final = MappingProxyType(
    {"RELU6": (0.0, 6.0), "RELU_0_TO_1": (0.0, 1.0), "RELU_N1_TO_1": (-1.0, 1.0)}
)
_SMALLEST_SQUARE: Final = 1e-6
"""Below which L2_NORMALIZATION does not divide. Source: LiteRT, tflite/kernels/internal/reference/l2normalization.h."""


def unary(call: Call) -> None:
    """Write an activation that ONNX has as it is."""
    call.write(call.node(_UNARY[call.kind], call.read(0, call.layout(0))), call.layout(0))


def clip(call: Call) -> None:
    """Write an activation that holds values between bounds."""
    call.write(call.clip(call.read(0, call.layout(0)), *_BOUNDS[call.kind]), call.layout(0))


def leaky_relu(call: Call) -> None:
    """Write a LEAKY_RELU."""
    data = call.read(0, call.layout(0))
    call.write(call.node("LeakyRelu", data, alpha=call.setting("Alpha")), call.layout(0))


def gelu(call: Call) -> None:
    """Write a GELU, by erf or by tanh as it asks."""
    how = "tanh" if call.flag("Approximate") else "none"
    call.write(call.node("Gelu", call.read(0, call.layout(0)), approximate=how), call.layout(0))


def prelu(call: Call) -> None:
    """Write a PRELU, whose slope broadcasts to the data."""
    layout = call.common_layout((0, 1))
    if np.broadcast_shapes(call.shape(0), call.shape(1)) != call.shape(0):
        raise ValueError(f"slopes of shape {list(call.shape(1))} for {list(call.shape(0))}")
    call.write(call.node("PRelu", call.operand(0, layout), call.operand(1, layout)), layout)


def softmax(call: Call) -> None:
    """Write a SOFTMAX over the last axis."""
    layout = call.layout(0)
    data, beta = call.read(0, layout), call.setting("Beta", 1.0)
    if beta != 1.0:
        data = call.node("Mul", data, call.real(beta))
    call.write(call.node("Softmax", data, axis=_last(call)), layout)


def log_softmax(call: Call) -> None:
    """Write a LOG_SOFTMAX over the last axis."""
    data = call.read(0, call.layout(0))
    call.write(call.node("LogSoftmax", data, axis=_last(call)), call.layout(0))


def l2_normalization(call: Call) -> None:
    """Write an L2_NORMALIZATION over the last axis."""
    data = call.read(0, call.layout(0))
    squares = call.node("ReduceSum", call.node("Mul", data, data), call.numbers([_last(call)]), keepdims=1)
    length = call.node("Sqrt", call.node("Max", squares, call.real(_SMALLEST_SQUARE)))
    call.write_activated(call.node("Div", data, length), call.layout(0))


def _last(call: Call) -> int:
    layout = call.layout(0)
    if not layout:
        raise ValueError("its input is a single number")
    return layout.index(len(layout) - 1)


TRANSLATORS: Mapping[str, Callable[[Call], None]] = MappingProxyType(
    {
        **dict.fromkeys(_UNARY, unary),
        **dict.fromkeys(_BOUNDS, clip),
        "GELU": gelu,
        "L2_NORMALIZATION": l2_normalization,
        "LEAKY_RELU": leaky_relu,
        "LOG_SOFTMAX": log_softmax,
        "PRELU": prelu,
        "SOFTMAX": softmax,
    }
)
