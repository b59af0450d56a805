"""Activations that a quantizer took into the codes before them are written out again.

A Relu behind a Conv can be left out where the Conv's codes begin at 0: what is below saturates. Without codes nothing saturates, so the float
model that a file stands for has the Relu; where the codes end at 6, a ReLU6.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from host_tools.model.graph_editor import GraphEditor, constant_of
from host_tools.model.quantized.coding import RANGES

if TYPE_CHECKING:
    from host_tools.model.float_model import FloatModel
    from host_tools.model.quantized.coding import Coding, Quantization

_NEVER_NEGATIVE: Final = frozenset({"Relu", "Sigmoid", "Softmax", "HardSigmoid", "Exp", "Abs", "Sqrt"})
_KEEP_THE_SIGN: Final = frozenset(
    {
        "Add", "Mul", "Max", "Min", "Concat", "AveragePool", "GlobalAveragePool", "MaxPool", "ReduceMean", "ReduceSum", "ReduceMax", "Resize",
        "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "DepthToSpace", "SpaceToDepth", "Expand",
        "Tile", "Identity", "Cast", "HardSwish",
    }
)  # fmt: skip
"""What these give is not negative where nothing that they read is."""
_SIX: Final = 6.0


def write_out_saturation(editor: GraphEditor, *, quantization: Quantization | None) -> str | None:
    """Put a Relu, or a Clip from 0 to 6, behind every value whose codes begin at 0 and that could be negative without them.

    Returns:
        A note with the count, or None.
    """
    if quantization is None:
        return None
    count = 0
    codings = quantization.activations
    positive = {value for value in editor.graph.inputs if _begins_at_zero(codings.get(str(value.name)))}
    for node in editor.nodes():
        is_positive = _is_positive(node, positive)
        for value in node.outputs:
            coding = codings.get(str(value.name))
            if is_positive:
                positive.add(value)
            elif coding is not None and _begins_at_zero(coding):
                positive.add(_bounded(editor, node, value, coding))
                count += 1
    return (
        f"Wrote out {count} Relu or ReLU6 that the file leaves to the codes, which begin at 0."
        if count
        else None
    )


def _begins_at_zero(coding: Coding | None) -> bool:
    return coding is not None and coding.zero_point[0] == RANGES[coding.dtype][0]


def _is_positive(node: ir.Node, positive: set[ir.Value]) -> bool:
    if node.op_type in _NEVER_NEGATIVE:
        return True
    if node.op_type == "Clip":
        low = constant_of(node.inputs[1] if len(node.inputs) > 1 else None)
        return low is not None and float(low.reshape(-1)[0]) >= 0.0
    read = [value for value in node.inputs if value is not None and value.dtype == ir.DataType.FLOAT]
    return node.op_type in _KEEP_THE_SIGN and all(_is_known_positive(value, positive) for value in read)


def _is_known_positive(value: ir.Value, positive: set[ir.Value]) -> bool:
    array = constant_of(value)
    return value in positive if array is None else bool((np.asarray(array, np.float64) >= 0.0).all())


def _bounded(editor: GraphEditor, node: ir.Node, value: ir.Value, coding: Coding) -> ir.Value:
    """Put the activation behind a value; return what it writes."""
    _, end = real_range(coding)
    is_six = abs(end - _SIX) < coding.scale[0]
    activation = _clip(editor, value, 0.0, _SIX) if is_six else ir.node("Relu", [value])
    _take_over(editor, value, activation)
    editor.graph.insert_after(node, activation)
    return activation.outputs[0]


def real_range(coding: Coding) -> tuple[float, float]:
    """Return the lowest and the highest real number that has a code, of a coding per tensor."""
    (scale,), (zero,) = coding.scale, coding.zero_point
    low, high = RANGES[coding.dtype]
    return (low - zero) * scale, (high - zero) * scale


def with_ranges(model: FloatModel) -> FloatModel:
    """Return the float model with every coded value held within what its codes reach; the model itself where nothing is coded.

    That is what a quantized file computes, but for rounding: what is compared with it should not differ for values beyond the codes.
    """
    if model.quantization is None:
        return model
    copy = model.graph.clone()
    editor = GraphEditor(copy.graph)
    codings = model.quantization.activations
    for value in copy.graph.inputs:
        if str(value.name) in codings and not value.is_initializer():
            clip = _clip(editor, value, *real_range(codings[str(value.name)]))
            for use in list(value.uses()):
                if use.node is not clip:
                    use.node.replace_input_with(use.idx, clip.outputs[0])
            clip.outputs[0].name = editor.fresh_name(f"{value.name}/within")
            copy.graph.insert_before(next(iter(copy.graph)), clip)
    for node in editor.nodes():
        for value in node.outputs:
            if str(value.name) in codings:
                clip = _clip(editor, value, *real_range(codings[str(value.name)]))
                _take_over(editor, value, clip)
                copy.graph.insert_after(node, clip)
    return replace(model, graph=copy)


def _clip(editor: GraphEditor, value: ir.Value, low: float, high: float) -> ir.Node:
    bounds = (
        editor.constant(f"{value.name}/{side}", np.asarray(bound, np.float32))
        for side, bound in (("min", low), ("max", high))
    )
    return ir.node("Clip", [value, *bounds])


def _take_over(editor: GraphEditor, value: ir.Value, node: ir.Node) -> None:
    """Give what a node writes the name, the readers and the place among the outputs of the value that it reads."""
    out = node.outputs[0]
    out.shape, out.type = value.shape, value.type
    for use in list(value.uses()):
        if use.node is not node:
            use.node.replace_input_with(use.idx, out)
    for place, result in enumerate(editor.graph.outputs):
        if result is value:
            editor.graph.outputs[place] = out
    out.name, value.name = value.name, editor.fresh_name(f"{value.name}/unbounded")
