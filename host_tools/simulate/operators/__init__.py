"""`OPERATORS`: which function prepares the simulation of which operator. The same operators as the lowerings write."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from host_tools.simulate.operators import activation, arithmetic, convolution, dense, pooling, resize, shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.simulate.operators.kernel import Kernel
    from host_tools.simulate.reading import IntegerNode

OPERATORS: Mapping[str, Callable[[IntegerNode], Kernel]] = MappingProxyType(
    {
        "Add": arithmetic.add,
        "AveragePool": pooling.average_pool,
        "Clip": activation.clip,
        "Concat": shape.concat,
        "Conv": convolution.conv,
        "ConvTranspose": convolution.conv_transpose,
        "Div": arithmetic.div,
        "Flatten": shape.reshape,
        "Gemm": dense.gemm,
        "GlobalAveragePool": pooling.global_average_pool,
        "HardSigmoid": activation.hard_sigmoid,
        "HardSwish": activation.hard_swish,
        "Identity": shape.reshape,
        "LeakyRelu": activation.leaky_relu,
        "MatMul": dense.matmul,
        "Max": arithmetic.extremum,
        "MaxPool": pooling.max_pool,
        "Min": arithmetic.extremum,
        "Mul": arithmetic.mul,
        "PRelu": activation.prelu,
        "Pad": shape.pad,
        "ReduceMean": pooling.reduce_mean,
        "Relu": activation.clip,
        "Reshape": shape.reshape,
        "Resize": resize.resize,
        "Sigmoid": activation.transcendental,
        "Slice": shape.slice_,
        "Softmax": activation.softmax,
        "Split": shape.split,
        "Squeeze": shape.reshape,
        "Sub": arithmetic.add,
        "Tanh": activation.transcendental,
        "Transpose": shape.transpose,
        "Unsqueeze": shape.reshape,
    }
)
