"""Operators that pick, repeat or rearrange elements, in float or any plain type: Gather, Tile, Expand, DepthToSpace, SpaceToDepth."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from host_tools.lower.tflite import axes
from host_tools.lower.tflite.emit.arithmetic import read_broadcast
from host_tools.lower.tflite.emit.formula import Formula
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.layout import shape_of
from host_tools.lower.tflite.plan_view import refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_ir as ir

    from host_tools.lower.tflite.graph import TfliteType
    from host_tools.lower.tflite.session import Session

_INDEX_TYPES: Mapping[TfliteType, type[np.signedinteger]] = MappingProxyType(
    {"INT32": np.int32, "INT64": np.int64}
)
"""Source: LiteRT, tflite/kernels/gather.cc."""


def gather(session: Session, node: ir.Node) -> None:
    """Write a Gather along any axis.

    Negative indices count from the end in ONNX and make TFLite's kernel fail, so constant ones are written as positive ones, and computed
    ones get the axis's extent added where they are negative. One that is out of range stays so, and fails.

    Raises:
        LoweringError: The indices are of a type that TFLite's kernel does not take.
    """
    indices = node.inputs[1]
    rank_of_indices = len(shape_of(indices)) if indices is not None else 0
    result = node.outputs[0]
    rank = len(shape_of(result)) - rank_of_indices + 1
    axis = node.attributes.get_int("axis", 0) % rank
    layout = session.layout(result) if rank_of_indices == 1 else axes.natural(rank)
    formula = Formula(session, node)
    data = session.read(node, 0, layout)
    before, place = formula.shape(data), layout.index(axis)
    chosen = _indices(session, node, formula, before[place])
    shape = [*before[:place], *formula.shape(chosen), *before[place + 1 :]]
    options = Options(kind="GatherOptions", fields={"axis": place})
    found = formula.one("GATHER", data, chosen, shape=shape, options=options)
    if rank_of_indices == 1:
        formula.deliver(found, layout)
    else:
        formula.deliver(session.reshape(found, shape_of(result), node), axes.natural(len(shape_of(result))))


def _indices(session: Session, node: ir.Node, formula: Formula, extent: int) -> int:
    """Return a Gather's indices, none of them negative, as a tensor of at least one axis."""
    if session.is_constant(node, 1):
        constant = np.asarray(session.array(node, 1), np.int64)
        positive = np.where(constant < 0, constant + extent, constant).astype(np.int32)
        return session.graph.constant("indices", positive.reshape(positive.shape or (1,)))
    value = node.inputs[1]
    computed = session.read(node, 1, axes.natural(len(shape_of(value)) if value is not None else 0))
    kind = session.graph.tensors[computed].type
    if kind not in _INDEX_TYPES:
        raise refuse(node, f"indices of {kind}; GATHER takes {' and '.join(_INDEX_TYPES)}.")
    if not formula.shape(computed):
        computed = session.reshape(computed, (1,), node)
    dtype = _INDEX_TYPES[kind]
    zero, size = (session.graph.constant(f"{number}", np.asarray([number], dtype)) for number in (0, extent))
    is_negative = formula.two("LESS", computed, zero, "LessOptions", type_="BOOL")
    counted = formula.add(computed, size)
    return formula.one(
        "SELECT_V2", is_negative, counted, computed, options=Options(kind="SelectV2Options"), type_=kind
    )


def tile(session: Session, node: ir.Node) -> None:
    """Write a Tile with constant repeats."""
    layout = session.layout(node.outputs[0])
    repeats = [int(times) for times in session.array(node, 1).reshape(-1)]
    formula, data = Formula(session, node), session.read(node, 0, layout)
    ordered = [repeats[axis] for axis in layout]
    shape = [extent * times for extent, times in zip(formula.shape(data), ordered, strict=True)]
    options = Options(kind="TileOptions")
    formula.deliver(
        formula.one("TILE", data, formula.integers("repeats", ordered), shape=shape, options=options), layout
    )


def expand(session: Session, node: ir.Node) -> None:
    """Write an Expand as BROADCAST_TO."""
    layout = session.layout(node.outputs[0])
    formula, data = Formula(session, node), read_broadcast(session, node, 0)
    shape = axes.permuted(shape_of(node.outputs[0]), layout)
    options = Options(kind="BroadcastToOptions")
    formula.deliver(
        formula.one("BROADCAST_TO", data, formula.integers("shape", shape), shape=shape, options=options),
        layout,
    )


def depth_to_space(session: Session, node: ir.Node) -> None:
    """Write a DepthToSpace; of mode CRD behind a GATHER that brings the channels into the order of DCR."""
    layout, block = axes.channel_last(4), node.attributes.get_int("blocksize", 1)
    formula, data = Formula(session, node), session.read(node, 0, axes.channel_last(4))
    batch, height, width, channels = formula.shape(data)
    depth = channels // block**2
    if node.attributes.get_string("mode", "DCR") == "CRD":
        order = np.arange(channels, dtype=np.int32).reshape(depth, block**2).T.reshape(-1)
        chosen = session.graph.constant("channels", order)
        data = formula.one("GATHER", data, chosen, options=Options(kind="GatherOptions", fields={"axis": 3}))
    options = Options(kind="DepthToSpaceOptions", fields={"blockSize": block})
    shape = (batch, height * block, width * block, depth)
    formula.deliver(formula.one("DEPTH_TO_SPACE", data, shape=shape, options=options), layout)


def space_to_depth(session: Session, node: ir.Node) -> None:
    """Write a SpaceToDepth."""
    layout, block = axes.channel_last(4), node.attributes.get_int("blocksize", 1)
    formula, data = Formula(session, node), session.read(node, 0, axes.channel_last(4))
    batch, height, width, channels = formula.shape(data)
    options = Options(kind="SpaceToDepthOptions", fields={"blockSize": block})
    shape = (batch, height // block, width // block, channels * block**2)
    formula.deliver(formula.one("SPACE_TO_DEPTH", data, shape=shape, options=options), layout)


EMITTERS: Mapping[str, Callable[[Session, ir.Node], None]] = MappingProxyType(
    {
        "DepthToSpace": depth_to_space,
        "Expand": expand,
        "Gather": gather,
        "SpaceToDepth": space_to_depth,
        "Tile": tile,
    }
)
