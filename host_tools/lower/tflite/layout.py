"""`assign`: which layout each value of the canonical graph has in the file.

The graph is NCHW, TFLite's spatial operators want channels last. Values that elementwise and axis-keeping operators join share
one layout, and operators with an opinion vote: convolutions and pools for channels last (their vote wins), matrix products for the
graph's own order. A group without a vote takes the layout that makes its neighbouring Reshape or Transpose free, so that a Transpose from NHWC
to NCHW in the source model disappears. What is left is channels last at rank 4 and the graph's own order elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.layouts import natural
from host_tools.lower.tflite import axes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.layouts import Layout

SPATIAL = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "DepthToSpace",
        "SpaceToDepth",
        "Resize",
    }
)
RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
REDUCTIONS = frozenset(
    {
        "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
        "ReduceSumSquare",
    }
)  # fmt: skip
_MATRIX = frozenset({"Einsum", "Gemm", "MatMul", "GRU", "LSTM", "RNN"})
"""Operators that multiply by matrices along axes of the graph's own order."""
_OWN_WAY = RESHAPES | _MATRIX | {"Transpose"}
"""Operators whose outputs do not inherit their input's layout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layouts:
    """Where everything lies.

    Attributes:
        of: Layout by value name, for every value that is not a constant.
        columns: Flattened values whose columns stay in the payload's order because only Gemms read them: ``payload[:, k] =
            source[:, columns[k]]``. Each such Gemm takes its weight's columns in this order.
    """

    of: Mapping[str, Layout]
    columns: Mapping[str, NDArray[np.int64]]


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """Return a value's shape; the canonical form guarantees that it is static."""
    return tuple(extent for extent in value.shape or () if isinstance(extent, int))


def assign(graph: ir.Graph) -> Layouts:
    """Choose the layout of every value that is not a constant.

    Args:
        graph: A canonical graph.
    """
    groups = _Groups(_activations(graph))
    for node in graph:
        if node.op_type not in _OWN_WAY:
            groups.join_like(node)
    for node in graph:
        _vote(node, groups)
    _spread(graph, groups)
    layouts = {name: groups.final_layout(name) for name in groups.shapes}
    return Layouts(of=layouts, columns=_columns(graph, layouts))


class _Groups:
    """Values that share one layout (union-find), and what is decided about each group."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self._parent = {name: name for name in shapes}
        self._decided: dict[str, Layout] = {}

    def root(self, name: str) -> str:
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name

    def join_like(self, node: ir.Node) -> None:
        """Join a node's inputs and outputs of the same rank."""
        names = [
            value.name
            for value in (*node.inputs, *node.outputs)
            if value is not None and value.name in self.shapes
        ]
        first = str(node.outputs[0].name)
        for name in names:
            if name is not None and len(self.shapes[name]) == len(self.shapes[first]):
                self._parent[self.root(name)] = self.root(first)

    def decide(self, name: str, layout: Layout, *, overrule: bool = False) -> bool:
        """Fix a group's layout if nothing did before. Returns whether it changed."""
        root = self.root(name)
        if root in self._decided and not overrule:
            return False
        self._decided[root] = layout
        return True

    def layout(self, name: str) -> Layout | None:
        return self._decided.get(self.root(name))

    def final_layout(self, name: str) -> Layout:
        decided = self.layout(name)
        if decided is not None:
            return decided
        rank = len(self.shapes[name])
        return axes.channel_last(rank) if rank == 4 else natural(rank)


def _activations(graph: ir.Graph) -> dict[str, tuple[int, ...]]:
    values = [value for value in graph.inputs if value.name not in graph.initializers]
    values.extend(value for node in graph for value in node.outputs)
    return {str(value.name): shape_of(value) for value in values if value.name}


def _vote(node: ir.Node, groups: _Groups) -> None:
    names = [str(value.name) for value in (*node.inputs, *node.outputs) if value is not None]
    names = [name for name in names if name in groups.shapes]
    if node.op_type in SPATIAL:
        for name in names:
            if len(groups.shapes[name]) >= 3:
                groups.decide(name, axes.channel_last(len(groups.shapes[name])), overrule=True)
    elif node.op_type in _MATRIX or _works_on_last_axis(node):
        for name in names:
            groups.decide(name, natural(len(groups.shapes[name])))


def _works_on_last_axis(node: ir.Node) -> bool:
    if node.op_type != "Softmax":
        return False
    rank = len(shape_of(node.outputs[0]))
    return node.attributes.get_int("axis", -1) % max(rank, 1) == rank - 1


def _spread(graph: ir.Graph, groups: _Groups) -> None:
    """Let undecided groups follow their decided neighbours through Reshape, Transpose and ReduceMean, until nothing changes."""
    edges = [
        (node, str(source.name), str(node.outputs[0].name))
        for node in graph
        if _has_edge(node, groups) and (source := node.inputs[0]) is not None
    ]
    reshapes = [edge for edge in edges if edge[0].op_type in RESHAPES]
    transposes = [edge for edge in edges if edge[0].op_type == "Transpose"]
    means = [edge for edge in edges if edge[0].op_type in REDUCTIONS]
    while (
        _spread_once(_follow_reshape(edge, groups) for edge in reshapes)
        or _spread_once(_follow_transpose(edge, groups) for edge in transposes)
        or _spread_once(_follow_mean(edge, groups) for edge in means)
    ):
        pass


def _has_edge(node: ir.Node, groups: _Groups) -> bool:
    return len(node.inputs) > 0 and node.inputs[0] is not None and node.inputs[0].name in groups.shapes


def _spread_once(steps: Iterable[bool]) -> bool:
    return any(list(steps))


def _follow_reshape(edge: tuple[ir.Node, str, str], groups: _Groups) -> bool:
    _, before, after = edge
    for known, unknown in ((before, after), (after, before)):
        layout = groups.layout(known)
        if layout is not None and groups.layout(unknown) is None:
            carried = axes.carried(groups.shapes[known], layout, groups.shapes[unknown])
            return carried is not None and groups.decide(unknown, carried)
    return False


def _follow_transpose(edge: tuple[ir.Node, str, str], groups: _Groups) -> bool:
    node, before, after = edge
    permutation = transpose_permutation(node)
    layout_before, layout_after = groups.layout(before), groups.layout(after)
    if layout_before is not None and layout_after is None:
        return groups.decide(after, tuple(permutation.index(axis) for axis in layout_before))
    if layout_after is not None and layout_before is None:
        return groups.decide(before, tuple(permutation[axis] for axis in layout_after))
    return False


def _follow_mean(edge: tuple[ir.Node, str, str], groups: _Groups) -> bool:
    node, before, after = edge
    layout = groups.layout(before)
    if layout is None or groups.layout(after) is not None or len(layout) == len(groups.shapes[after]):
        return False
    return groups.decide(after, axes.without(layout, mean_axes(node)))


def mean_axes(node: ir.Node) -> frozenset[int]:
    """Return the axes of the source that a ReduceMean averages over."""
    value, along = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    rank = len(shape_of(value)) if value is not None else 0
    constant = along.const_value if along is not None else None
    given = (
        constant.numpy().reshape(-1).tolist()
        if constant is not None
        else list(node.attributes.get_ints("axes", ()) or ())
    )
    if not given and node.attributes.get_int("noop_with_empty_axes"):
        return frozenset()
    return frozenset(int(axis) % rank for axis in given) or frozenset(range(rank))


def transpose_permutation(node: ir.Node) -> Layout:
    """Return a Transpose's permutation; reversed axes when the attribute is absent."""
    rank = len(shape_of(node.outputs[0]))
    given = node.attributes.get_ints("perm", tuple(reversed(range(rank))))
    return tuple(int(axis) for axis in given or ())


def _columns(graph: ir.Graph, layouts: Mapping[str, Layout]) -> dict[str, NDArray[np.int64]]:
    outputs = {value.name for value in graph.outputs}
    found: dict[str, NDArray[np.int64]] = {}
    for node in graph:
        if node.op_type not in RESHAPES or node.outputs[0].name in outputs:
            continue
        source, flat = node.inputs[0], node.outputs[0]
        if source is None or source.name not in layouts or not _only_gemms_read(flat):
            continue
        before, after, layout = shape_of(source), shape_of(flat), layouts[str(source.name)]
        keeps_batch = len(after) == 2 and after[0] == before[0] and layout[0] == 0
        if keeps_batch and not axes.reshape_is_free(before, layout, after, natural(2)):
            numbered = np.arange(math.prod(before[1:]), dtype=np.int64).reshape(before[1:])
            found[str(flat.name)] = numbered.transpose([axis - 1 for axis in layout[1:]]).ravel()
    return found


def _only_gemms_read(value: ir.Value) -> bool:
    uses = value.uses()
    return bool(uses) and all(use.node.op_type == "Gemm" and use.idx == 0 for use in uses)
