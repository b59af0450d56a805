"""What picks or rearranges elements: GATHER, GATHER_ND, ONE_HOT, EMBEDDING_LOOKUP, DEPTH_TO_SPACE and SPACE_TO_DEPTH."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from host_tools.model.from_tflite.session import CHANNELS_FIRST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.model.from_tflite.call import Call


def gather(call: Call) -> None:
    """Write a GATHER along one axis."""
    if call.setting("BatchDims"):
        raise call.unsupported("it gathers batch by batch (batch_dims), which is not translated.")
    layout, rank = call.layout(0), len(call.shape(0))
    axis = call.axis(call.setting("Axis"), rank)
    _require_within(call, 1, call.shape(0)[axis])
    if len(call.shape(1)) == 1:
        found = call.node("Gather", call.read(0, layout), _indices(call, 1), axis=layout.index(axis))
        call.write(found, layout)
    else:
        call.write(call.node("Gather", call.read(0), _indices(call, 1), axis=axis))


def _require_within(call: Call, place: int, extent: int) -> None:
    """Refuse constant indices beyond an axis; a runtime fails on those that are computed."""
    if call.is_constant(place):
        indices = call.integers(place)
        if min(indices, default=0) < 0 or max(indices, default=0) >= extent:
            raise ValueError(f"it picks {[min(indices), max(indices)]} of {extent} elements")


def _indices(call: Call, place: int) -> str:
    """Return indices as int64: ONNX takes no shorter ones than 32 bits, and of some operators these only."""
    return call.node("Cast", call.read(place), to=TensorProto.INT64)


def gather_nd(call: Call) -> None:
    """Write a GATHER_ND."""
    call.write(call.node("GatherND", call.read(0), _indices(call, 1)))


def one_hot(call: Call) -> None:
    """Write a ONE_HOT.

    A negative index gives a row of the value for off here, and counts from the end in ONNX, so it becomes one that is out of range.
    """
    if not call.is_constant(1):
        raise call.unsupported("its depth is computed, so that nobody knows the shape that it gives.")
    (rows,) = call.integers(1)
    indices, depth = _indices(call, 0), call.constant(np.asarray(rows, np.int64))
    if not call.is_constant(0) or min(call.integers(0), default=0) < 0:
        is_negative = call.node("Less", indices, call.constant(np.asarray(0, np.int64)))
        indices = call.node("Where", is_negative, depth, indices)
    off_and_on = call.node("Concat", *(call.reshaped(call.read(place), (1,)) for place in (3, 2)), axis=0)
    axis = call.axis(call.setting("Axis", -1), len(call.shape(0)) + 1)
    kind = call.output_type(0)
    if kind == TensorProto.FLOAT:
        call.write(call.node("OneHot", indices, depth, off_and_on, axis=axis))
    else:  # ONNX Runtime's kernel has few combinations of types
        whole = call.node("Cast", off_and_on, to=TensorProto.INT64)
        call.write(call.node("Cast", call.node("OneHot", indices, depth, whole, axis=axis), to=kind))


def embedding_lookup(call: Call) -> None:
    """Write an EMBEDDING_LOOKUP: the indices come first."""
    _require_within(call, 0, call.shape(1)[0] if call.shape(1) else 0)
    call.write(call.node("Gather", call.read(1), _indices(call, 0), axis=0))


def depth_to_space(call: Call) -> None:
    """Write a DEPTH_TO_SPACE."""
    found = call.node("DepthToSpace", call.image(0), blocksize=call.positive("BlockSize"), mode="DCR")
    call.write(found, CHANNELS_FIRST)


def space_to_depth(call: Call) -> None:
    """Write a SPACE_TO_DEPTH."""
    call.write(call.node("SpaceToDepth", call.image(0), blocksize=call.positive("BlockSize")), CHANNELS_FIRST)


TRANSLATORS: Mapping[str, Callable[[Call], None]] = MappingProxyType(
    {
        "DEPTH_TO_SPACE": depth_to_space,
        "EMBEDDING_LOOKUP": embedding_lookup,
        "GATHER": gather,
        "GATHER_ND": gather_nd,
        "ONE_HOT": one_hot,
        "SPACE_TO_DEPTH": space_to_depth,
    }
)
