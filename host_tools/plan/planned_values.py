"""Numbers that the plan puts in the place of the model's own: corrected biases, rounded weights, what float16 or a codebook leaves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.errors import LoweringError
from host_tools.plan.codebooks import looked_up
from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.float16 import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan, TensorPlan

    Float64 = NDArray[np.float64]


def with_planned_values(model: FloatModel, plan: QuantizationPlan) -> FloatModel:
    """Return the model with every constant that the plan has values, codes or a codebook for, or stores in float16; itself when there is none.

    Codes are put in as the real numbers that they stand for, which round to the same codes again.

    Raises:
        LoweringError: The plan has numbers for something that is no constant of the model, or another number of them.
    """
    planned = [tensor for tensor in plan.tensors.values() if _has_own(tensor) or _is_stored_otherwise(tensor)]
    if not planned:
        return model
    graph = model.graph.clone()
    for tensor in planned:
        constant = graph.graph.initializers.get(tensor.name)
        given = None if constant is None or constant.const_value is None else constant.const_value.numpy()
        values = planned_values(tensor, None if given is None else given.shape) if _has_own(tensor) else given
        if constant is None or values is None:
            raise LoweringError(
                f"Constant {tensor.name!r}: the plan has {_amount(tensor)} for it, which do not fit the model."
            )
        constant.const_value = ir.tensor(_as_stored(values, tensor), name=tensor.name)
    return dataclasses.replace(model, graph=graph)


def with_stored_weights(model: FloatModel, plan: QuantizationPlan) -> FloatModel:
    """Return the model with every weight that a plan without calibration stores otherwise replaced by the numbers that are left.

    Raises:
        LoweringError: The plan stores something that is no constant of the model.
    """
    graph = model.graph.clone()
    for tensor in plan.tensors.values():
        if tensor.qparams is None and not _is_stored_otherwise(tensor):
            continue
        constant = graph.graph.initializers.get(tensor.name)
        if constant is None or constant.const_value is None:
            what = "codes" if tensor.qparams is not None else _amount(tensor)
            raise LoweringError(
                f"Weight {tensor.name!r}: the plan has {what} for it, the model no such constant."
            )
        values = constant.const_value.numpy()
        real = (
            _as_stored(values, tensor)
            if tensor.qparams is None
            else values_of(codes_of(values, tensor.qparams), tensor.qparams)
        )
        constant.const_value = ir.tensor(real.astype(np.float32), name=tensor.name)
    return dataclasses.replace(model, graph=graph)


def _has_own(tensor: TensorPlan) -> bool:
    return (tensor.values, tensor.codes) != (None, None)


def _is_stored_otherwise(tensor: TensorPlan) -> bool:
    """Tell whether a weight without codes is stored as other numbers than its own."""
    return tensor.float_type == "float16" or tensor.codebook is not None


def _as_stored(values: NDArray[np.generic], tensor: TensorPlan) -> NDArray[np.float32]:
    if tensor.codebook is not None:
        return looked_up(values, tensor.codebook)
    return rounded(values) if tensor.float_type == "float16" else values.astype(np.float32)


def _amount(tensor: TensorPlan) -> str:
    if not _has_own(tensor):
        return (
            "numbers in float16"
            if tensor.codebook is None
            else f"{len(tensor.codebook)} numbers of a codebook"
        )
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
