"""Operators of one real number as float64 functions: what a fused operator does to a sum, and the tables of Sigmoid and Tanh."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from host_tools.errors import LoweringError
from host_tools.plan.fusion import bounds_of

if TYPE_CHECKING:
    import onnx_ir as ir

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def curve_of(node: ir.Node) -> Curve:
    """Return the real function of an operator of one input.

    Raises:
        LoweringError: It is none that we know.

    Source:
        ONNX operators of the same names.
    """
    bounds = bounds_of(node)
    if bounds is not None:
        return lambda values: np.clip(values, *bounds)
    if node.op_type == "Sigmoid":
        return sigmoid
    if node.op_type == "Tanh":
        return np.tanh
    if node.op_type == "HardSwish":
        return lambda values: values * np.clip(values / 6 + 0.5, 0.0, 1.0)
    if node.op_type == "LeakyRelu":
        alpha = float(node.attributes.get_float("alpha", 0.01) or 0.0)
        return lambda values: np.where(values < 0, alpha * values, values)
    if node.op_type == "HardSigmoid":
        slope, offset = (
            float(node.attributes.get_float("alpha", 0.2) or 0.0),
            float(node.attributes.get_float("beta", 0.5) or 0.0),
        )
        return lambda values: np.clip(slope * values + offset, 0.0, 1.0)
    raise LoweringError(
        f"{node.op_type} {node.name!r}: it is absorbed by another operator, and that is not simulated.",
        hint="Take the chain out of the profile's fusions.",
    )


def sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-x)); the exponential cannot overflow."""
    small = np.exp(-np.abs(values))
    return np.where(values < 0, small, 1.0) / (1.0 + small)
