"""What picks or rearranges elements: GATHER, GATHER_ND, EMBEDDING_LOOKUP, DEPTH_TO_SPACE and SPACE_TO_DEPTH."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

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
        "SPACE_TO_DEPTH": space_to_depth,
    }
)
