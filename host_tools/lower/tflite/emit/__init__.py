"""`EMITTERS`: which function writes which operator of the canonical graph."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from host_tools.lower.tflite.emit import (
    activation,
    arithmetic,
    convolution,
    dense,
    einsum,
    elementwise,
    pooling,
    rearrangement,
    recurrent,
    reduction,
    resize,
    shape,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_ir as ir

    from host_tools.lower.tflite.session import Session

EMITTERS: Mapping[str, Callable[[Session, ir.Node], None]] = MappingProxyType(
    {
        **elementwise.EMITTERS,
        **reduction.EMITTERS,
        **rearrangement.EMITTERS,
        **recurrent.EMITTERS,
        "Add": arithmetic.binary,
        "AveragePool": pooling.average_pool,
        "Clip": activation.clip,
        "Concat": shape.concat,
        "Conv": convolution.conv,
        "ConvTranspose": convolution.conv_transpose,
        "Div": arithmetic.binary,
        "Einsum": einsum.einsum,
        "Flatten": shape.reshape,
        "Gemm": dense.gemm,
        "GlobalAveragePool": pooling.global_average_pool,
        "HardSigmoid": activation.hard_sigmoid,
        "HardSwish": activation.unary,
        "Identity": shape.identity,
        "LeakyRelu": activation.leaky_relu,
        "MatMul": dense.matmul,
        "Max": arithmetic.extremum,
        "MaxPool": pooling.max_pool,
        "Min": arithmetic.extremum,
        "Mul": arithmetic.binary,
        "PRelu": activation.prelu,
        "Pad": shape.pad,
        "ReduceMean": pooling.reduce_mean,
        "Relu": activation.clip,
        "Reshape": shape.reshape,
        "Resize": resize.resize,
        "Sigmoid": activation.unary,
        "Slice": shape.slice_,
        "Softmax": activation.softmax,
        "Split": shape.split,
        "Squeeze": shape.reshape,
        "Sub": arithmetic.binary,
        "Tanh": activation.unary,
        "Transpose": shape.transpose,
        "Unsqueeze": shape.reshape,
    }
)
