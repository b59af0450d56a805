"""Nodes that change nothing at inference go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.errors import ModelError
from host_tools.model.admission import label
from host_tools.model.graph_editor import constant_of, static_shape

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.model.graph_editor import GraphEditor


_REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum")
"""Reductions that give back what they are given where there is nothing to reduce; others square it, or take its logarithm."""


def remove_passthrough(editor: GraphEditor) -> str | None:
    """Remove Identity, Dropout, Cast to the same type, one-input Concat, reductions along no axis, Reshape and the like that keep the shape.

    Returns:
        A note with the count, or None.

    Raises:
        ModelError: A Dropout is in training mode.
    """
    count = 0
    for node in editor.nodes():
        if _changes_nothing(node) and editor.bypass(node):
            count += 1
    return f"Removed {count} nodes that change nothing at inference." if count else None


def _changes_nothing(node: ir.Node) -> bool:
    if node.op_type == "Identity":
        return True
    if node.op_type == "Dropout":
        return _inactive_dropout(node)
    if node.op_type == "Cast":
        source = node.inputs[0]
        return source is not None and source.dtype is not None and source.dtype == node.outputs[0].dtype
    if node.op_type in ("Concat", "Sum", "Max", "Min", "Mean"):
        return len(node.inputs) == 1
    if node.op_type in ("Reshape", "Flatten", "Expand", "Squeeze", "Unsqueeze"):
        # Slice, Pad and Tile are not here: a Slice that reverses, or a Pad that crops what it adds, keeps the shape too.
        return _keeps_shape(node)
    if node.op_type in _REDUCTIONS:
        return _reduces_nothing(node)
    if node.op_type == "Transpose":
        perm = node.attributes.get_ints("perm")
        return perm is not None and list(perm) == sorted(perm)
    return False


def _keeps_shape(node: ir.Node) -> bool:
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    return before is not None and before == after


def _reduces_nothing(node: ir.Node) -> bool:
    if not node.attributes.get_int("noop_with_empty_axes", 0):
        return False
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    array = constant_of(axes)
    return axes is None or (array is not None and array.size == 0)


def _inactive_dropout(node: ir.Node) -> bool:
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        training = constant_of(node.inputs[2])
        if training is None or bool(training.any()):
            raise ModelError(
                f"{label(node)} is in training mode.", hint="Export the model in inference mode."
            )
    return True
