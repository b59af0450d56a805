"""`taking_pixels`: the model with (x - mean) / std inside, so that its input is the pixels themselves, 0 to 255.

Where the first layer is a Conv without padding they go into its weights and biases. One with padding pads with zeros, which are pixels of
the mean, and that no pixel's code can say for every channel: there they become a Conv of one by one, a channel at a time, before it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from device_agent.contract.digest import digest_of
from host_tools.errors import InputError
from host_tools.model.graph_editor import GraphEditor, constant_of, sole_consumer, static_shape
from host_tools.model.passes.sharing import name_nodes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from device_agent.contract.manifest import Preprocessing
    from host_tools.model.float_model import FloatModel

    Float64 = NDArray[np.float64]

_TO_CHANNELS_FIRST = (0, 3, 1, 2)
_CHANNEL_AXIS = {"NCHW": 1, "NHWC": 3}


def taking_pixels(model: FloatModel, preprocessing: Preprocessing) -> FloatModel:
    """Return a model that computes from pixels what ``model`` does from ``(pixels - mean) / std``, and is canonical like it.

    Args:
        model: With one float32 input of four axes; not changed.
        preprocessing: Whose mean and std, on the scale of 0 to 255, and layout.

    Returns:
        The model, with a digest of its own; input and outputs keep their names and shapes. Equal up to float32 rounding.

    Raises:
        InputError: The model is quantized already, or its input is no picture of these channels in this layout.
    """
    if model.quantization is not None:
        raise InputError(
            f"--fold-preprocessing: {model.name} is quantized already, and keeps its codes.",
            hint="Leave it out, or give the float model.",
        )
    axis, channels = _CHANNEL_AXIS[preprocessing.layout], len(preprocessing.mean)
    spec = model.inputs[0]
    is_picture = spec.dtype == "float32" and len(spec.shape) == 4 and spec.shape[axis] == channels
    if len(model.inputs) != 1 or not is_picture:
        told = ", ".join(f"{one.name!r} {one.dtype} {list(one.shape)}" for one in model.inputs)
        raise InputError(
            f"--fold-preprocessing: expected one float32 input of 4 axes, {channels} channels on axis {axis} "
            f"({preprocessing.layout}), got {told}.",
            hint="Leave it out, or mend color and layout in preprocess.toml.",
        )
    graph = model.graph.clone()
    editor = GraphEditor(graph.graph)
    factor = 1.0 / np.asarray(preprocessing.std, np.float64)
    shift = -np.asarray(preprocessing.mean, np.float64) * factor
    pixels = _channels_first(graph.graph.inputs[0]) if axis == 3 else graph.graph.inputs[0]
    if pixels is None:
        _scale_and_shift(editor, graph.graph.inputs[0], factor, shift)
        how = "as Mul and Add, for the model takes its channels last"
    elif _fold_into_convolution(editor, pixels, factor, shift):
        how = "folded into the first Conv"
    else:
        _convolve_channels(editor, pixels, factor, shift)
        how = "as a Conv of one by one before the first layer, which pads"
    editor.drop_unused_initializers()
    name_nodes(graph.graph)
    told = f"takes pixels: {preprocessing.mean} {preprocessing.std} {preprocessing.layout}"
    return dataclasses.replace(
        model,
        graph=graph,
        digest=digest_of(f"{model.digest} {told}".encode()),
        notes=(*model.notes, f"Input {spec.name!r} takes pixels, 0 to 255; mean and std are in the model, {how}."),
    )  # fmt: skip


def _channels_first(value: ir.Value) -> ir.Value | None:
    """Return what the input is once its channels come first, where the model's only use of it is to make it so."""
    reader = sole_consumer(value)
    if reader is None or reader.op_type != "Transpose" or reader.outputs[0].is_graph_output():
        return None
    perm = tuple(reader.attributes.get_ints("perm") or ())
    return reader.outputs[0] if perm == _TO_CHANNELS_FIRST else None


def _fold_into_convolution(editor: GraphEditor, pixels: ir.Value, factor: Float64, shift: Float64) -> bool:
    layer = sole_consumer(pixels)
    if layer is None or layer.op_type != "Conv" or layer.attributes.get_int("group", 1) != 1:
        return False
    weight, bias = constant_of(layer.inputs[1]), constant_of(layer.inputs[2])
    if weight is None or bias is None or any(layer.attributes.get_ints("pads") or [0]):
        return False
    real = weight.astype(np.float64)
    scaled = real * factor.reshape(1, -1, 1, 1)
    moved = bias.astype(np.float64) + (real * shift.reshape(1, -1, 1, 1)).sum(axis=(1, 2, 3))
    layer.replace_input_with(1, editor.constant(f"{layer.name}/weight", scaled.astype(np.float32)))
    layer.replace_input_with(2, editor.constant(f"{layer.name}/bias", moved.astype(np.float32)))
    return True


def _convolve_channels(editor: GraphEditor, pixels: ir.Value, factor: Float64, shift: Float64) -> None:
    channels = len(factor)
    attributes: dict[str, int | list[int]] = {
        "kernel_shape": [1, 1],
        "strides": [1, 1],
        "dilations": [1, 1],
        "pads": [0, 0, 0, 0],
        "group": channels,
    }
    weight = editor.constant("normalise/weight", factor.astype(np.float32).reshape(channels, 1, 1, 1))
    bias = editor.constant("normalise/bias", shift.astype(np.float32))
    _insert(
        editor, pixels, [ir.node("Conv", [pixels, weight, bias], attributes, name=f"{pixels.name}/normalise")]
    )


def _scale_and_shift(editor: GraphEditor, pixels: ir.Value, factor: Float64, shift: Float64) -> None:
    product = ir.node("Mul", [pixels, editor.constant("normalise/factor", factor.astype(np.float32))])
    product.name = f"{pixels.name}/normalise/mul"
    addend = editor.constant("normalise/shift", shift.astype(np.float32))
    total = ir.node("Add", [product.outputs[0], addend], name=f"{pixels.name}/normalise/add")
    _insert(editor, pixels, [product, total])


def _insert(editor: GraphEditor, pixels: ir.Value, nodes: list[ir.Node]) -> None:
    """Put nodes between a value and all that read it but themselves."""
    readers = [(use.node, use.idx) for use in pixels.uses() if use.node is not nodes[0]]
    for node in nodes:
        node.outputs[0].name = editor.fresh_name(f"{pixels.name}/{node.op_type.lower()}")
        node.outputs[0].shape, node.outputs[0].type = ir.Shape(static_shape(pixels) or ()), pixels.type
    writer = pixels.producer()
    if writer is None:
        editor.graph.insert_before(editor.graph[0], nodes)
    else:
        editor.graph.insert_after(writer, nodes)
    for reader, index in readers:
        reader.replace_input_with(index, nodes[-1].outputs[0])
