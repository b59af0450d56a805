"""One consumer for every weight and bias; a unique name for every node and value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from host_tools.model.graph_editor import constant_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.model.graph_editor import GraphEditor

_WEIGHTED = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1)}


def unshare_weights(editor: GraphEditor) -> str | None:
    """Copy every initializer that is weight or bias of one node and is read anywhere else too.

    Returns:
        A note with the count of copies, or None.
    """
    count = 0
    for node in editor.nodes(*_WEIGHTED):
        for index in _WEIGHTED[node.op_type]:
            value = node.inputs[index] if index < len(node.inputs) else None
            array = constant_of(value)
            if value is None or array is None or len(value.uses()) == 1:
                continue
            node.replace_input_with(index, editor.constant(f"{value.name}_copy", array, origin=value))
            count += 1
    return f"Copied {count} weights or biases that several nodes share." if count else None


def name_nodes(graph: ir.Graph) -> None:
    """Give each node a unique name: its own, or operator and first output when it has none or another has it."""
    seen: set[str] = set()
    for node in graph:
        written = next(
            (value.name for value in node.outputs if value.name), ""
        )  # of some only the last is read
        base = node.name or f"{node.op_type}_{written}"
        base = re.sub(r"[\x00-\x1f\x7f]", "_", base)  # control characters would break reports and TOML
        name, number = base, 1
        while name in seen:
            number += 1
            name = f"{base}_{number}"
        seen.add(name)
        node.name = name
