"""Constants are computed, and with static shapes so is everything that only reads shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass
from onnxscript.optimizer import fold_constants_ir

from host_tools.model.graph_editor import static_shape
from host_tools.model.shapes import infer_shapes

if TYPE_CHECKING:
    import onnx_ir as ir

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
        infer_shapes(model)
        fold_constants_ir(model, onnx_shape_inference=False, should_fold=_is_cheap)
        lift_constants(model)
        RemoveUnusedNodesPass()(model)
        if model.graph.num_nodes() == count:
            break
    infer_shapes(model)
    folded = before - model.graph.num_nodes()
    return f"Folded {folded} constant or shape-computing nodes." if folded else None


def lift_constants(model: ir.Model) -> None:
    """Make every Constant node an initializer."""
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)


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
