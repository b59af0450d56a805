"""Operators that pick, repeat or rearrange elements, in float or any plain type: Gather, GatherND, OneHot, Tile, Expand, and space to depth."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from host_tools import layouts
from host_tools.lower.tflite import axes
from host_tools.lower.tflite.emit.arithmetic import read_broadcast
from host_tools.lower.tflite.emit.convolution import read_weights
from host_tools.lower.tflite.emit.formula import Formula
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.layout import shape_of
from host_tools.lower.tflite.plan_view import refuse
from host_tools.lower.tflite.session import type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx_ir as ir

    from host_tools.lower.tflite.graph import TfliteType
    from host_tools.lower.tflite.session import Session

_INDEX_TYPES: Mapping[TfliteType, type[np.signedinteger]] = MappingProxyType(
    {"INT32": np.int32, "INT64": np.int64}
)
"""Source: LiteRT, tflite/kernels/gather.cc, gather_nd.cc and one_hot.cc."""
_PICKED = frozenset({"FLOAT32", "INT32", "INT64"})
"""Types that the first version of GATHER_ND takes. Source: LiteRT, tflite/kernels/gather_nd.cc."""


def gather(session: Session, node: ir.Node) -> None:
    """Write a Gather along any axis.

    Negative indices count from the end in ONNX and make TFLite's kernel fail, so constant ones are written as positive ones, and computed
    ones get the axis's extent added where they are negative. One that is out of range stays so, and fails.

    Raises:
        LoweringError: The indices are of a type that TFLite's kernel does not take.
    """
    if session.is_stored(node, 0):
        look_up(session, node)
        return
    indices = node.inputs[1]
    rank_of_indices = len(shape_of(indices)) if indices is not None else 0
    result = node.outputs[0]
    rank = len(shape_of(result)) - rank_of_indices + 1
    axis = node.attributes.get_int("axis", 0) % rank
    layout = session.layout(result) if rank_of_indices == 1 else layouts.natural(rank)
    formula = Formula(session, node)
    data = session.read(node, 0, layout)
    before, place = formula.shape(data), layout.index(axis)
    chosen = positive_indices(session, node, 1, [before[place]])
    shape = [*before[:place], *formula.shape(chosen), *before[place + 1 :]]
    options = Options(kind="GatherOptions", fields={"axis": place})
    found = formula.one("GATHER", data, chosen, shape=shape, options=options)
    if rank_of_indices == 1:
        formula.deliver(found, layout)
    else:
        formula.deliver(
            session.reshape(found, shape_of(result), node), layouts.natural(len(shape_of(result)))
        )


def look_up(session: Session, node: ir.Node) -> None:
    """Write a Gather of rows of a table that is stored as codes: an EMBEDDING_LOOKUP, which makes floats of those that it takes.

    Raises:
        LoweringError: The indices are of a type that TFLite's kernels do not take.
    """
    formula = Formula(session, node)
    weights = read_weights(session, node, 0, channel_axis=0)
    table = session.graph.constant(weights.name, weights.values, weights.quantization(0))
    rows, columns = weights.values.shape
    chosen = positive_indices(session, node, 1, [rows])
    if session.graph.tensors[chosen].type == "INT64":
        # A Cast drops bits: what is out of range stays so, and fails, instead of becoming some row.
        below, above = (session.graph.constant("bound", np.asarray([one], np.int64)) for one in (-1, rows))
        chosen = formula.largest(formula.smallest(chosen, above), below)
        chosen = formula.one("CAST", chosen, options=Options(kind="CastOptions"), type_="INT32")
    count = math.prod(formula.shape(chosen))
    flat = session.reshape(chosen, (count,), node)
    found = formula.one("EMBEDDING_LOOKUP", flat, table, shape=(count, columns), type_="FLOAT32")
    shape = shape_of(node.outputs[0])
    formula.deliver(session.reshape(found, shape, node), layouts.natural(len(shape)))


def positive_indices(session: Session, node: ir.Node, index: int, extents: Sequence[int]) -> int:
    """Return indices, none of them negative, as a tensor of at least one axis.

    Args:
        session: The lowering.
        node: The node that looks up.
        index: Which of its inputs the indices are.
        extents: What each index along the last axis counts to; one for all of them alike.

    Raises:
        LoweringError: The indices are of a type that TFLite's kernels do not take.
    """
    counted_to = np.asarray(extents, np.int64)
    if session.is_constant(node, index):
        constant = np.asarray(session.array(node, index), np.int64)
        positive = np.where(constant < 0, constant + counted_to, constant).astype(np.int32)
        return session.graph.constant("indices", positive.reshape(positive.shape or (1,)))
    value, formula = node.inputs[index], Formula(session, node)
    computed = session.read(node, index, layouts.natural(len(shape_of(value)) if value is not None else 0))
    if session.graph.tensors[computed].type == "FLOAT32":  # OneHot takes floats, as whole numbers
        computed = formula.one("CAST", computed, options=Options(kind="CastOptions"), type_="INT64")
    kind = session.graph.tensors[computed].type
    if kind not in _INDEX_TYPES:
        raise refuse(node, f"indices of {kind}; TFLite takes {' and '.join(_INDEX_TYPES)}.")
    if not formula.shape(computed):
        computed = session.reshape(computed, (1,), node)
    dtype = _INDEX_TYPES[kind]
    zero = session.graph.constant("0", np.asarray([0], dtype))
    size = session.graph.constant("extents", counted_to.astype(dtype))
    is_negative = formula.two("LESS", computed, zero, "LessOptions", type_="BOOL")
    counted = formula.add(computed, size)
    return formula.one(
        "SELECT_V2", is_negative, counted, computed, options=Options(kind="SelectV2Options"), type_=kind
    )


def gather_nd(session: Session, node: ir.Node) -> None:
    """Write a GatherND.

    Raises:
        LoweringError: It has batch axes, or picks from or by a type that TFLite's kernel does not take.
    """
    batches = node.attributes.get_int("batch_dims", 0)
    if batches:
        raise refuse(node, f"batch_dims = {batches}; GATHER_ND has none.")
    table, indices = (shape_of(value) for value in node.inputs[:2] if value is not None)
    formula, data = Formula(session, node), session.read(node, 0, layouts.natural(len(table)))
    if session.graph.tensors[data].type not in _PICKED:
        raise refuse(
            node,
            f"picks {session.graph.tensors[data].type}; TFLite files are written with it on {', '.join(sorted(_PICKED))}.",
        )
    chosen = positive_indices(session, node, 1, table[: indices[-1]])
    shape = shape_of(node.outputs[0])
    found = formula.one("GATHER_ND", data, chosen, shape=shape, options=Options(kind="GatherNdOptions"))
    formula.deliver(found, layouts.natural(len(shape)))


def one_hot(session: Session, node: ir.Node) -> None:
    """Write a OneHot whose depth and two values are constants; an index out of range gives a row of the value for off, as in ONNX.

    Raises:
        LoweringError: Depth or values are computed, or the indices are of a type that TFLite's kernel does not take.
    """
    depth = int(session.array(node, 1).reshape(-1)[0])
    off, on = session.array(node, 2).reshape(-1)
    chosen = positive_indices(session, node, 0, [depth])
    shape = shape_of(node.outputs[0])
    place = node.attributes.get_int("axis", -1) % len(shape)
    formula = Formula(session, node)
    kinds = type_of(node.outputs[0])
    settings = [
        session.graph.constant(name, np.asarray(number))
        for name, number in (("depth", np.int32(depth)), ("on", on), ("off", off))
    ]
    spread = (*formula.shape(chosen)[:place], depth, *formula.shape(chosen)[place:])
    options = Options(kind="OneHotOptions", fields={"axis": place})
    found = formula.one("ONE_HOT", chosen, *settings, shape=spread, options=options, type_=kinds)
    formula.deliver(session.reshape(found, shape, node), layouts.natural(len(shape)))


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
    shape = layouts.permuted(shape_of(node.outputs[0]), layout)
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
        "GatherND": gather_nd,
        "OneHot": one_hot,
        "SpaceToDepth": space_to_depth,
        "Tile": tile,
    }
)
