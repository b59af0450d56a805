"""BatchNormalization, and Mul, Add, Sub, Div by per-channel constants, go into the Conv, ConvTranspose or Gemm before them.

All of them are y = scale * x + shift per channel; the arithmetic is done in float64 and rounded once. A BatchNormalization that has
no such layer before it (or one with other readers) becomes Mul, then Add.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.errors import ModelError, UnsupportedOperatorError
from host_tools.model.admission import label
from host_tools.model.graph_editor import constant_of, sole_consumer, static_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.model.graph_editor import GraphEditor

_LAYERS = ("Conv", "ConvTranspose", "Gemm")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Affine:
    """y = scale * x + shift; both float64, shape (channels,)."""

    data: ir.Value
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


def fold_affine(editor: GraphEditor, *, keeps_weights: bool = False) -> str | None:
    """Fold what can be folded, in graph order, so that chains fold too.

    Args:
        editor: The graph.
        keeps_weights: Whether the layers' weights are codes already, and stay what they are: then only BatchNormalization is written out.

    Returns:
        A note with the counts, or None.

    Raises:
        ModelError: BatchNormalization in training mode, or with a variance + epsilon that is not positive.
        UnsupportedOperatorError: Its parameters are computed from data.
    """
    folded = split = 0
    for node in editor.nodes("Div"):
        _multiply_instead(editor, node)
    for node in editor.nodes("BatchNormalization", "Mul", "Add", "Sub", "Div"):
        affine = _normalization(node) if node.op_type == "BatchNormalization" else affine_of(node)
        if affine is None:
            continue
        if not keeps_weights and _fold_into_layer(editor, node, affine):
            folded += 1
        elif node.op_type == "BatchNormalization":
            _split(editor, node, affine)
            split += 1
    notes = []
    if folded:
        notes.append(
            f"Folded {folded} BatchNormalization or per-channel Mul, Add, Sub, Div into the layer before."
        )
    if split:
        notes.append(f"Wrote {split} BatchNormalization without a layer before them as Mul and Add.")
    return " ".join(notes) or None


def _multiply_instead(editor: GraphEditor, node: ir.Node) -> None:
    """Write Div by a constant as Mul by its reciprocal: every target multiplies in integers, few divide."""
    divisor = constant_of(node.inputs[1])
    if divisor is None or divisor.dtype != np.float32:
        return
    with np.errstate(divide="ignore", over="ignore"):
        reciprocal = (1.0 / divisor.astype(np.float64)).astype(np.float32)
    if np.isfinite(reciprocal).all() and (np.abs(reciprocal) >= np.finfo(np.float32).tiny).all():
        factor = editor.constant(f"{node.name or 'div'}/reciprocal", reciprocal)
        editor.replace(node, [ir.node("Mul", [node.inputs[0], factor], name=node.name)])


def _normalization(node: ir.Node) -> Affine:
    if node.attributes.get_int("training_mode", 0):
        raise ModelError(f"{label(node)} is in training mode.", hint="Export the model in inference mode.")
    parameters = [constant_of(value) for value in node.inputs[1:5]]
    data = node.inputs[0]
    if data is None or any(array is None for array in parameters):
        raise UnsupportedOperatorError(
            f"{label(node)}: its parameters are computed from data.",
            hint="Export the model with constant parameters.",
        )
    gamma, beta, mean, variance = (np.asarray(array, dtype=np.float64) for array in parameters)
    spread = variance + node.attributes.get_float("epsilon", 1e-5)  # ONNX default
    if not (spread > 0).all():
        raise ModelError(
            f"{label(node)}: variance + epsilon is {spread.min():.6g} in a channel; it must be positive."
        )
    scale = gamma / np.sqrt(spread)
    return Affine(data=data, scale=scale, shift=beta - mean * scale)


def affine_of(node: ir.Node) -> Affine | None:
    """Read Mul, Add, Sub or Div as an affine map of its one computed input, if the constant is one number per channel."""
    left, right = constant_of(node.inputs[0]), constant_of(node.inputs[1])
    if (left is None) == (right is None):
        return None
    data = node.inputs[1] if right is None else node.inputs[0]
    constant = left if right is None else right
    shape = static_shape(data)
    if (
        data is None
        or shape is None
        or data.dtype != ir.DataType.FLOAT
        or static_shape(node.outputs[0]) != shape
    ):
        return None
    values = _per_channel(np.asarray(constant), shape)
    if values is None:
        return None
    ones, zeros = np.ones_like(values), np.zeros_like(values)
    if node.op_type == "Mul":
        return Affine(data=data, scale=values, shift=zeros)
    if node.op_type == "Add":
        return Affine(data=data, scale=ones, shift=values)
    if node.op_type == "Sub":
        sign = 1.0 if right is not None else -1.0
        return Affine(data=data, scale=sign * ones, shift=-sign * values)
    if right is None or not (values != 0).all():
        return None  # c / x is not affine, and x / 0 is the model's own affair
    return Affine(data=data, scale=1.0 / values, shift=zeros)


def _per_channel(constant: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Return (channels,) values when ``constant`` broadcasts along axis 1 only."""
    if len(shape) < 2 or constant.ndim > len(shape):
        return None
    aligned = (1,) * (len(shape) - constant.ndim) + constant.shape
    if any(extent != 1 for axis, extent in enumerate(aligned) if axis != 1) or aligned[1] not in (
        1,
        shape[1],
    ):
        return None
    return np.array(np.broadcast_to(constant.reshape(-1).astype(np.float64), (shape[1],)))


def _fold_into_layer(editor: GraphEditor, node: ir.Node, affine: Affine) -> bool:
    layer = affine.data.producer()
    if layer is None or layer.op_type not in _LAYERS or sole_consumer(affine.data) is not node:
        return False
    weight = constant_of(layer.inputs[1])
    bias_value = layer.inputs[2] if len(layer.inputs) > 2 else None
    bias = constant_of(bias_value)
    if weight is None or (bias_value is not None and (bias is None or bias.shape != affine.scale.shape)):
        return False
    old_bias = np.zeros_like(affine.scale) if bias is None else np.asarray(bias, dtype=np.float64)
    new_weight = np.asarray(weight, dtype=np.float64) * _along_outputs(layer, affine.scale, weight.ndim)
    new_bias = old_bias * affine.scale + affine.shift
    stem = layer.name or layer.outputs[0].name
    inputs = [
        layer.inputs[0],
        editor.constant(f"{stem}/weight", _rounded(new_weight, node)),
        editor.constant(f"{stem}/bias", _rounded(new_bias, node)),
    ]
    merged = ir.node(layer.op_type, inputs, name=layer.name)
    merged.attributes.update(layer.attributes)
    editor.replace(node, [merged])
    editor.graph.remove(layer, safe=True)
    return True


def _along_outputs(layer: ir.Node, scale: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """Shape ``scale`` so that it multiplies the layer's weight along its output channels."""
    if layer.op_type != "ConvTranspose":
        return scale.reshape(-1, *(1,) * (rank - 1))
    # ConvTranspose weight: (in, out / group, ...), where the input channels of a group stand together.
    group = layer.attributes.get_int("group", 1)
    weight = layer.inputs[1]
    inputs = (static_shape(weight) or (group,))[0]
    per_input = np.repeat(scale.reshape(group, -1), inputs // group, axis=0)
    return per_input.reshape(inputs, -1, *(1,) * (rank - 2))


def _rounded(values: NDArray[np.float64], node: ir.Node) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    if not np.isfinite(rounded).all():
        raise ModelError(f"Folding {label(node)} into the layer before it overflows float32.")
    return rounded


def _split(editor: GraphEditor, node: ir.Node, affine: Affine) -> None:
    rank = len(static_shape(affine.data) or (1, 1))
    column = (-1, *(1,) * (rank - 2))
    stem = node.name or node.outputs[0].name
    scale = editor.constant(f"{stem}/scale", _rounded(affine.scale, node).reshape(column))
    shift = editor.constant(f"{stem}/shift", _rounded(affine.shift, node).reshape(column))
    product = ir.node("Mul", [affine.data, scale], name=f"{stem}/mul")
    product.outputs[0].shape, product.outputs[0].type = affine.data.shape, affine.data.type
    editor.replace(node, [product, ir.node("Add", [product.outputs[0], shift], name=f"{stem}/add")])
