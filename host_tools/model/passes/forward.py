"""Mul, Add and Sub by a number a channel, behind an activation or at the input, go into the Conv or Gemm that reads them.

What stands behind a layer goes into that one (`affine`); this is for what does not. Each that stays is a step of its own on the device, and
an 8-bit rounding more. A shift cannot pass zero padding, so of a scale and a shift before a padded convolution the scale alone goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.model.graph_editor import constant_of, sole_consumer, static_shape
from host_tools.model.passes.affine import Affine, affine_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.model.graph_editor import GraphEditor

    Float64 = NDArray[np.float64]

_ONE_BY_CHANNEL = ("Conv", "Gemm")


def fold_forward(editor: GraphEditor, *, keeps_weights: bool = False) -> str | None:
    """Fold what can be folded, the last first, so that chains fold too.

    Args:
        editor: The graph.
        keeps_weights: Whether the layers' weights are codes already, and stay what they are: then nothing is.

    Returns:
        A note with the count, or None.
    """
    if keeps_weights:
        return None
    folded = 0
    for node in reversed(editor.nodes("Mul", "Add", "Sub")):
        affine, readers = affine_of(node), _readers(node.outputs[0])
        if affine is None or not readers:
            continue
        if not affine.shift.any() or not any(map(_is_padded, readers)):
            if _put_into(editor, readers, affine):
                editor.graph.remove(node, safe=True)  # else it still counts as a reader of the one before
                folded += 1
        else:
            folded += _scale_past_shift(editor, node, affine, readers)
    return f"Folded {folded} per-channel Mul, Add, Sub into the layers behind." if folded else None


def _readers(value: ir.Value) -> list[ir.Node]:
    """Return the layers that read a value, if nothing else does; else none."""
    uses = value.uses()
    are_layers = all(
        use.idx == 0 and use.node.op_type in _ONE_BY_CHANNEL and _is_constant(use.node) for use in uses
    )
    return [use.node for use in uses] if are_layers and not value.is_graph_output() else []


def _is_constant(layer: ir.Node) -> bool:
    bias = layer.inputs[2] if len(layer.inputs) > 2 else None
    weight = constant_of(layer.inputs[1])
    shift = None if bias is None else constant_of(bias)
    return weight is not None and (bias is None or (shift is not None and shift.shape == weight.shape[:1]))


def _is_padded(layer: ir.Node) -> bool:
    if layer.op_type == "Gemm":
        return False
    automatic = layer.attributes.get_string("auto_pad", "NOTSET")
    return automatic.startswith("SAME") or any(layer.attributes.get_ints("pads", ()))


def _scale_past_shift(editor: GraphEditor, shift: ir.Node, affine: Affine, readers: Sequence[ir.Node]) -> int:
    """Write ``scale * x + shift`` as ``scale * (x + shift / scale)``, and put the scale into the layers; 0 where that cannot be."""
    product = affine.data.producer()
    if product is None or product.op_type != "Mul" or sole_consumer(affine.data) is None:
        return 0
    scaled = affine_of(product)
    if scaled is None or scaled.shift.any() or (affine.scale != 1.0).any() or not scaled.scale.all():
        return 0
    with np.errstate(over="ignore"):
        before = (affine.shift / scaled.scale).astype(np.float32)
    if not np.isfinite(before).all():
        return 0
    rank, name = len(static_shape(scaled.data) or ()), shift.name or shift.outputs[0].name
    constant = editor.constant(f"{name}/shift", before.reshape(-1, *(1,) * (rank - 2)))
    added = ir.node("Add", [scaled.data, constant], name=shift.name)
    # Another name than that of the value it stands for, which is so many times as large: a recipe or statistics may speak of that one.
    added.outputs[0].name = editor.fresh_name(f"{name}/before_scale")
    added.outputs[0].shape, added.outputs[0].type = shift.outputs[0].shape, shift.outputs[0].type
    editor.graph.insert_before(shift, [added])
    if not _put_into(editor, readers, _only_scale(scaled, added.outputs[0])):
        editor.graph.remove(added, safe=True)
        return 0
    editor.graph.remove(shift, safe=True)
    return 1


def _only_scale(affine: Affine, data: ir.Value) -> Affine:
    return Affine(data=data, scale=affine.scale, shift=np.zeros_like(affine.shift))


def _put_into(editor: GraphEditor, layers: Sequence[ir.Node], affine: Affine) -> bool:
    """Let layers read what ``affine`` reads, with its arithmetic in their constants; False, with nothing changed, where these overflow."""
    merged = [_merged(layer, affine) for layer in layers]
    if not all(np.isfinite(weight).all() and np.isfinite(bias).all() for weight, bias in merged):
        return False
    for layer, (weight, bias) in zip(layers, merged, strict=True):
        stem = layer.name or layer.outputs[0].name
        inputs = [
            affine.data,
            editor.constant(f"{stem}/weight", weight),
            editor.constant(f"{stem}/bias", bias),
        ]
        fresh = ir.node(layer.op_type, inputs, name=layer.name)
        fresh.attributes.update(layer.attributes)
        editor.replace(layer, [fresh])
    return True


def _merged(layer: ir.Node, affine: Affine) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weight and bias of a layer that does the arithmetic before it as well; computed in float64, rounded once."""
    weight = np.asarray(constant_of(layer.inputs[1]), np.float64)
    bias = constant_of(layer.inputs[2]) if len(layer.inputs) > 2 else None
    scale, shift = (_by_weight(layer, numbers, weight) for numbers in (affine.scale, affine.shift))
    added = (weight * shift).reshape(weight.shape[0], -1).sum(axis=1)
    with np.errstate(over="ignore"):
        return (
            (weight * scale).astype(np.float32),
            (added if bias is None else np.asarray(bias, np.float64) + added).astype(np.float32),
        )


def _by_weight(layer: ir.Node, numbers: Float64, weight: Float64) -> Float64:
    """Return the number of the input channel that each weight meets; shape (outputs, inputs / group, 1, ...)."""
    group = layer.attributes.get_int("group", 1)
    by_group = np.repeat(numbers.reshape(group, -1), weight.shape[0] // group, axis=0)
    return by_group.reshape(*weight.shape[:2], *(1,) * (weight.ndim - 2))
