"""Numbers that the plan puts in the place of the model's own: corrected biases, and weights already rounded."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.errors import LoweringError
from host_tools.plan.codes import codes_of, values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan, TensorPlan

    Float64 = NDArray[np.float64]


def with_planned_values(model: FloatModel, plan: QuantizationPlan) -> FloatModel:
    """Return the model with every constant that the plan has values or codes for; the model itself when there is none.

    Codes are put in as the real numbers that they stand for, which round to the same codes again.

    Raises:
        LoweringError: The plan has numbers for something that is no constant of the model, or another number of them.
    """
    planned = [tensor for tensor in plan.tensors.values() if (tensor.values, tensor.codes) != (None, None)]
    if not planned:
        return model
    graph = model.graph.clone()
    for tensor in planned:
        constant = graph.graph.initializers.get(tensor.name)
        shape = (
            tuple(constant.const_value.shape.numpy())
            if constant is not None and constant.const_value is not None
            else None
        )
        values = planned_values(tensor, shape)
        if constant is None or values is None:
            raise LoweringError(
                f"Constant {tensor.name!r}: the plan has {_amount(tensor)} for it, which do not fit the model."
            )
        constant.const_value = ir.tensor(values.astype(np.float32), name=tensor.name)
    return dataclasses.replace(model, graph=graph)


def with_stored_weights(model: FloatModel, plan: QuantizationPlan) -> FloatModel:
    """Return the model with every weight that a plan without calibration stores as codes replaced by the real numbers that those stand for.

    Raises:
        LoweringError: The plan has parameters for something that is no constant of the model.
    """
    graph = model.graph.clone()
    for tensor in plan.tensors.values():
        if tensor.qparams is None:
            continue
        constant = graph.graph.initializers.get(tensor.name)
        if constant is None or constant.const_value is None:
            raise LoweringError(
                f"Weight {tensor.name!r}: the plan has codes for it, the model no such constant."
            )
        values = constant.const_value.numpy().astype(np.float64)
        real = values_of(codes_of(values, tensor.qparams), tensor.qparams)
        constant.const_value = ir.tensor(real.astype(np.float32), name=tensor.name)
    return dataclasses.replace(model, graph=graph)


def _amount(tensor: TensorPlan) -> str:
    return (
        f"{len(tensor.values)} values"
        if tensor.codes is None and tensor.values is not None
        else f"{len(tensor.codes or b'')} bytes of codes"
    )


def planned_values(tensor: TensorPlan, shape: tuple[int, ...] | None) -> Float64 | None:
    """Return the real numbers that a plan has for a constant of a shape; None when it has none, or another number of them."""
    if shape is None:
        return None
    size = int(np.prod(shape, dtype=np.int64))
    if tensor.codes is not None and tensor.qparams is not None:
        codes = codes_in(tensor.codes, tensor.qparams.dtype, shape)
        return None if codes is None else values_of(codes, tensor.qparams)
    if tensor.values is None or len(tensor.values) != size:
        return None
    return np.asarray(tensor.values, np.float64).reshape(shape)


def codes_in(stored: bytes, dtype: str, shape: tuple[int, ...]) -> Float64 | None:
    """Return stored codes as whole float64 of a shape; None when there is another number of them."""
    kind = np.dtype(dtype).newbyteorder("<")
    if len(stored) != kind.itemsize * int(np.prod(shape, dtype=np.int64)):
        return None
    return np.frombuffer(stored, kind).reshape(shape).astype(np.float64)
