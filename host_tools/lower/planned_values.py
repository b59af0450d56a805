"""Numbers that the plan puts in the place of the model's own: corrected biases."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.errors import LoweringError

if TYPE_CHECKING:
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan


def with_planned_values(model: FloatModel, plan: QuantizationPlan) -> FloatModel:
    """Return the model with every constant that the plan has values for; the model itself when there is none.

    Raises:
        LoweringError: The plan has values for something that is no constant of the model, or another number of them.
    """
    planned = {name: tensor.values for name, tensor in plan.tensors.items() if tensor.values is not None}
    if not planned:
        return model
    graph = model.graph.clone()
    for name, values in planned.items():
        constant = graph.graph.initializers.get(name)
        if constant is None or constant.const_value is None or constant.const_value.size != len(values):
            raise LoweringError(
                f"Constant {name!r}: the plan has {len(values)} values for it, which do not fit the model."
            )
        shape = constant.const_value.shape.numpy()
        constant.const_value = ir.tensor(np.asarray(values, np.float32).reshape(shape), name=name)
    return dataclasses.replace(model, graph=graph)
