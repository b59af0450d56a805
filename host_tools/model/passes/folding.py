"""Constants are computed, and with static shapes so is everything that only reads shapes."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass
from onnxscript.optimizer import fold_constants_ir

from host_tools.model.graph_editor import GraphEditor, constant_of, static_shape
from host_tools.model.shapes import infer_shapes

_MAX_ROUNDS = 8  # a round resolves at least one level of shape arithmetic; real models need two or three
_MAX_ELEMENTS = 1 << 26  # 256 MiB of float32: a folded fill or tile above this is a mistake, or an attack
_MAY_GROW = frozenset(
    {"ConstantOfShape", "Expand", "Tile", "Range", "Resize", "Upsample", "Pad", "OneHot", "EyeLike"}
)


def fold(model: ir.Model) -> str | None:
    """Fold to a fixed point: constant inputs, Shape of static values, and what follows from them.

    Returns:
        A note when nodes disappeared.

    Raises:
        ModelError: Shapes contradict each other.
    """
    before = model.graph.num_nodes()
    lift_constants(model)
    for _ in range(_MAX_ROUNDS):
        count = model.graph.num_nodes()
        _spell_out(model.graph)
        infer_shapes(model)
        with np.errstate(all="ignore"):  # what comes out NaN or infinite is refused by name afterwards
            fold_constants_ir(
                model, onnx_shape_inference=False, should_fold=_is_cheap, output_size_limit=_MAX_ELEMENTS
            )
        lift_constants(model)
        _split_constants(model.graph)
        RemoveUnusedNodesPass()(model)
        if model.graph.num_nodes() == count:
            break
    infer_shapes(model)
    folded = before - model.graph.num_nodes()
    return f"Folded {folded} constant or shape-computing nodes." if folded else None


def _spell_out(graph: ir.Graph) -> None:
    """Say what readers of a graph need said.

    CastLike becomes Cast where the type is known, so that a constant stays one; STFT gets its default, which inference forgets; parts of a
    Split that nothing reads get names, without which ONNX Runtime writes where nothing is.
    """
    editor = GraphEditor(graph)
    for node in editor.nodes("Split"):
        for output in node.outputs:
            output.name = output.name or editor.fresh_name(f"{node.name or 'Split'}/unread")
    for node in editor.nodes("STFT"):
        node.attributes.setdefault("onesided", ir.AttrInt64("onesided", 1))
    for node in editor.nodes("CastLike"):
        kind = node.inputs[1].dtype if node.inputs[1] is not None else None
        if kind is not None:
            editor.replace(node, [ir.node("Cast", [node.inputs[0]], {"to": int(kind)}, name=node.name)])


def lift_constants(model: ir.Model) -> None:
    """Make every Constant node an initializer."""
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)


def _split_constants(graph: ir.Graph) -> None:
    """Cut up constants that a Split cuts: the folding above leaves operators with several outputs alone."""
    editor = GraphEditor(graph)
    for node in editor.nodes("Split"):
        array, shapes = constant_of(node.inputs[0]), [static_shape(output) for output in node.outputs]
        if array is None or None in shapes or any(output.is_graph_output() for output in node.outputs):
            continue
        axis = node.attributes.get_int("axis", 0)
        ends = np.cumsum([shape[axis] for shape in shapes if shape is not None])
        for output, piece in zip(node.outputs, np.split(array, ends[:-1], axis=axis), strict=True):
            ir.convenience.replace_all_uses_with(output, editor.constant(str(output.name), piece))
        graph.remove(node, safe=True)


def _is_cheap(node: ir.Node) -> bool:
    """Allow folding unless the result would be far larger than what it is made of."""
    inputs = sum(math.prod(static_shape(value) or ()) for value in node.inputs if value is not None)
    for output in node.outputs:
        shape = static_shape(output)
        if shape is None:
            if node.op_type in _MAY_GROW:
                return False
        elif math.prod(shape) > max(_MAX_ELEMENTS, inputs):
            return False
    return True
