"""A mask of minus infinity before a Softmax becomes a finite number that leaves the same nothing: codes have no infinity."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

MASKED: Final = -1e4
"""Far below any score, so that exp of the difference is 0 in float32; what encoders of BERT's kind mask with, and what float16 holds."""
_END: Final = frozenset({"Softmax", "LogSoftmax"})
_PASS_ON: Final = frozenset(
    {
        "Add", "Cast", "CastLike", "Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "ScatterElements", "ScatterND", "Slice",
        "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where",
    }
)  # fmt: skip
"""What a mask may go through on its way: each gives it on as it is, beside other numbers, or in a sum with scores."""
_FLOATS: Final = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})


def make_masks_finite(graph: ir.Graph) -> str | None:
    """Put `MASKED` in the place of every minus infinity of a constant that only Softmax and LogSoftmax get to see.

    Args:
        graph: Changed in place; its constants are initializers.

    Returns:
        A note, or None.
    """
    count = 0
    for name, value in graph.initializers.items():
        tensor = value.const_value
        found = None if tensor is None else _finite(tensor)
        if tensor is not None and found is not None and _only_masks(value):
            value.const_value = ir.tensor(found, dtype=tensor.dtype, name=name)
            count += 1
    for node in graph:
        if node.op_type != "ConstantOfShape" or "value" not in node.attributes:
            continue
        filling = node.attributes["value"].as_tensor()
        found = _finite(filling)
        if found is not None and _only_masks(node.outputs[0]):
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(found, dtype=filling.dtype))
            count += 1
    if not count:
        return None
    return (
        f"{count} masks of minus infinity before a Softmax became {MASKED:g}, which leaves the same zeros; "
        "a row that is masked whole is spread evenly, where it was NaN."
    )


def _finite(tensor: ir.TensorProtocol) -> np.ndarray | None:
    """Return a tensor's numbers with `MASKED` for minus infinity; None where there is none, or something else is not finite."""
    if tensor.dtype not in _FLOATS:
        return None
    array = np.asarray(tensor.numpy())
    is_masked = np.isneginf(array.astype(np.float64))
    if not is_masked.any() or not np.isfinite(array[~is_masked].astype(np.float64)).all():
        return None
    return np.where(is_masked, np.asarray(MASKED, array.dtype), array)


def _only_masks(value: ir.Value) -> bool:
    """Tell whether all that becomes of a value ends in a Softmax."""
    waiting, seen = [value], set[ir.Value]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        if one.is_graph_output() or not one.uses():
            return False
        for use in one.uses():
            if use.node.op_type in _PASS_ON:
                waiting.extend(use.node.outputs)
            elif use.node.op_type not in _END:
                return False
    return True
