"""FULLY_CONNECTED and BATCH_MATMUL."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.model.from_tflite.call import Call


def fully_connected(call: Call) -> None:
    """Write a FULLY_CONNECTED: weights are (outputs, inputs); all axes of the data but the last are one, unless it keeps them."""
    if call.setting("WeightsFormat"):
        raise call.unsupported(
            "its weights are stored in another order.", "Convert the model anew without shuffled weights."
        )
    outputs, inputs = call.shape(1) if len(call.shape(1)) == 2 else (0, 0)
    shape = call.shape(0)
    if not inputs or math.prod(shape) % inputs:
        raise ValueError(f"weights of shape {list(call.shape(1))} read {list(shape)}")
    keeps = call.flag("KeepNumDims")
    if keeps and shape[-1] != inputs:
        raise ValueError(f"weights of {inputs} inputs read {list(shape)}")
    flat = call.reshaped(call.in_order(0), (math.prod(shape) // inputs, inputs))
    bias = []
    if call.has(2):
        if call.shape(2) != (outputs,):
            raise ValueError(f"a bias of shape {list(call.shape(2))} for {outputs} outputs")
        bias = [call.read(2)]
    found = call.node("Gemm", flat, call.read(1), *bias, transB=1)
    if keeps:
        found = call.reshaped(found, (*shape[:-1], outputs))
    call.write_activated(found)


def batch_matmul(call: Call) -> None:
    """Write a BATCH_MATMUL."""
    call.write(call.node("MatMul", _side(call, 0, "AdjX"), _side(call, 1, "AdjY")))


def _side(call: Call, place: int, adjoint: str) -> str:
    rank = len(call.shape(place))
    if not call.flag(adjoint) or rank < 2:
        return call.read(place)
    order = (*range(rank - 2), rank - 1, rank - 2)
    if call.is_constant(place):
        return call.constant(call.array(place).transpose(order), place)
    return call.node("Transpose", call.read(place), perm=order)


TRANSLATORS: Mapping[str, Callable[[Call], None]] = MappingProxyType(
    {"BATCH_MATMUL": batch_matmul, "FULLY_CONNECTED": fully_connected}
)
