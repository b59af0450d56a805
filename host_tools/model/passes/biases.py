"""A bias on every convolution and matrix product that can have one, so that a correction of its output has a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.graph_editor import constant_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.model.graph_editor import GraphEditor

_BIAS = 2


def add_biases(editor: GraphEditor) -> str | None:
    """Give Conv, ConvTranspose and Gemm with a constant weight a bias of zeros where they have none.

    Returns:
        A note with the count, or None.
    """
    count = 0
    for node in editor.nodes("Conv", "ConvTranspose", "Gemm"):
        weight = constant_of(node.inputs[1])
        if weight is None or (len(node.inputs) > _BIAS and node.inputs[_BIAS] is not None):
            continue
        zeros = editor.constant(f"{node.inputs[1].name}_bias", np.zeros(_outputs(node, weight), np.float32))  # type: ignore[union-attr]  # a constant
        if len(node.inputs) <= _BIAS:
            node.resize_inputs(_BIAS + 1)
        node.replace_input_with(_BIAS, zeros)
        count += 1
    return f"Added zero biases to {count} operators without one." if count else None


def _outputs(node: ir.Node, weight: np.ndarray) -> int:
    if node.op_type == "ConvTranspose":
        return int(weight.shape[1]) * int(node.attributes.get_int("group", 1) or 1)
    return int(weight.shape[0])
