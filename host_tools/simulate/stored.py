"""How values are stored, and how they are read: as codes, as codes of other parameters, as float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from host_tools.errors import DataError, LoweringError
from host_tools.lower.integers import dequantize_array
from host_tools.model.topology import constant, is_float, named
from host_tools.simulate.constants import constant_codes
from host_tools.simulate.quantizer import Grid, Quantizer
from host_tools.simulate.reading import PLAN_ANEW

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from targets.profile import Rounding, RoundingRules

Array = NDArray[Any]
Stored = Mapping[str, Array]
Reader = Callable[[Stored], Array]
"""Takes the stored values by name and gives one as a node reads it."""


def codes_reader(
    name: str, plan: QuantizationPlan, wanted: QParams | None, rounding: RoundingRules
) -> Reader:
    """Return what reads a value as codes.

    Args:
        name: The value.
        plan: Has the parameters in which it is stored.
        wanted: Those in which it is read: the same, or others across a re-quantized edge.
        rounding: The target's rules: a float is quantized by ``activations``, codes change scale by ``requantization``.

    Raises:
        LoweringError: It is to be read as float, or has one scale per channel.
    """
    source = plan.tensors[name].qparams
    if wanted is None:
        raise LoweringError(f"Value {name!r}: read as codes, but planned as float.", hint=PLAN_ANEW)
    if source is None:
        return lambda stored: quantized(stored[name], wanted, rounding.activations, name)
    if source == wanted:
        return lambda stored: stored[name]
    grid, target = Grid.of(source, where=name), Grid.of(wanted, where=name)
    writer = Quantizer(grid=target, rounding=rounding.requantization, low=target.low, high=target.high)
    return lambda stored: writer.write_codes(stored[name], grid)


def float_reader(name: str, plan: QuantizationPlan, edge: QParams | None, rounding: RoundingRules) -> Reader:
    """Return what reads a value as a float node does: dequantized, across a re-quantized edge where the plan has one.

    Raises:
        LoweringError: It has one scale per channel.
    """
    qparams = plan.tensors[name].qparams if edge is None else edge
    if qparams is None:
        return lambda stored: stored[name]
    read = codes_reader(name, plan, qparams, rounding)
    return lambda stored: _dequantized(read(stored), qparams)


def quantized(values: Array, qparams: QParams, rounding: Rounding, name: str) -> NDArray[np.integer]:
    """Return the codes of float32 values. float64 tells every quotient of two float32 from a half that it is not.

    Raises:
        DataError: A value is NaN.
        LoweringError: There is one scale per channel.
    """
    grid = Grid.of(qparams, where=f"Value {name!r}")
    if np.isnan(values).any():
        raise DataError(
            f"Value {name!r}: NaN has no code.", hint="Keep what reads it in float, or leave the sample out."
        )
    writer = Quantizer(grid=grid, rounding=rounding, low=grid.low, high=grid.high)
    return writer.write_real(values.astype(np.float64))


def nearest_codes(values: NDArray[np.float64], qparams: QParams) -> NDArray[np.integer]:
    """Return the codes of finite real values that were codes before: the nearest, whatever the target does with halves."""
    codes = np.rint(values / float(np.float32(qparams.scale[0]))) + qparams.zero_point[0]
    nearest: NDArray[np.integer] = np.clip(codes, qparams.quant_min, qparams.quant_max).astype(qparams.dtype)
    return nearest


def real_constant(value: ir.Value, plan: QuantizationPlan, rounding: RoundingRules) -> Array:
    """Return a constant as a float reader gets it: through its codes where the plan has them.

    Raises:
        LoweringError: Its parameters do not fit.
    """
    values = constant(value)
    planned = plan.tensors.get(named(value))
    if planned is None or planned.qparams is None or not is_float(value):
        return values
    codes = constant_codes(values, planned, planned.qparams, rounding.weights)
    return dequantize_array(codes, planned.qparams, where=planned.name).astype(np.float32)


def _dequantized(codes: Array, qparams: QParams) -> NDArray[np.float32]:
    """Return the real values in float32 arithmetic, as DequantizeLinear has them."""
    difference = (codes.astype(np.int32) - qparams.zero_point[0]).astype(np.float32)
    real: NDArray[np.float32] = difference * np.float32(qparams.scale[0])
    return real
