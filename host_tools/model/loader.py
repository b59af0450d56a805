"""`load`: a model file becomes a `FloatModel` in canonical form. The story of the folder, top to bottom."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import (
    InlinePass,
    RemoveInitializersFromInputsPass,
    RemoveUnusedNodesPass,
    TopologicalSortPass,
)

from device_agent.contract.errors import EdgewrightError
from host_tools.errors import ModelError
from host_tools.model.admission import (
    label,
    require_convertible,
    require_fed,
    require_finite,
    require_no_subgraphs,
)
from host_tools.model.constant_inputs import make_constant
from host_tools.model.float_model import ElementType, FloatModel, TensorSpec
from host_tools.model.from_tensorflow.options import TensorFlowOptions
from host_tools.model.graph_editor import GraphEditor, static_shape
from host_tools.model.incoming import Incoming, receive
from host_tools.model.old_operators import tell_pixels
from host_tools.model.opset import declared_opset, normalise_opset, require_one_opset
from host_tools.model.passes.activations import canonical_activations
from host_tools.model.passes.affine import fold_affine
from host_tools.model.passes.biases import add_biases
from host_tools.model.passes.explicit import write_out
from host_tools.model.passes.float32 import to_float32
from host_tools.model.passes.folding import fold, lift_constants
from host_tools.model.passes.forward import fold_forward
from host_tools.model.passes.linear import canonical_linear
from host_tools.model.passes.masks import make_masks_finite
from host_tools.model.passes.normalization import canonical_normalization
from host_tools.model.passes.removal import remove_passthrough
from host_tools.model.passes.sharing import name_nodes, unshare_weights
from host_tools.model.quantized.coding import carried_over
from host_tools.model.quantized.from_onnx import take_codes_out
from host_tools.model.quantized.saturation import write_out_saturation
from host_tools.model.shapes import fix_input_shapes, infer_shapes, require_static, skeleton
from host_tools.model.source import Source, read_source, with_origin
from host_tools.model.table_rows import table_rows
from host_tools.progress import Progress, Silent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.model.quantized import Quantization

_NO_SHAPES: Mapping[str, tuple[int, ...]] = MappingProxyType({})
_NO_CONSTANTS: Mapping[str, tuple[float, ...]] = MappingProxyType({})
_IR_VERSION_OF_BARE_INITIALIZERS = 4  # before it, every initializer had to be an input too
_ELEMENT_TYPES: Mapping[ir.DataType, ElementType] = MappingProxyType(
    {
        ir.DataType.FLOAT: "float32",
        ir.DataType.INT8: "int8",
        ir.DataType.UINT8: "uint8",
        ir.DataType.INT16: "int16",
        ir.DataType.INT32: "int32",
        ir.DataType.INT64: "int64",
        ir.DataType.BOOL: "bool",
    }
)


def load(
    path: str | Path | Incoming,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    constants: Mapping[str, tuple[float, ...]] | None = None,
    name: str | None = None,
    tensorflow: TensorFlowOptions | None = None,
    progress: Progress | None = None,
) -> FloatModel:
    """Read a model and bring it into canonical form (`float_model`); the file itself is never changed.

    Args:
        path: An ONNX file, opset 7 or newer, a TFLite file, a Keras model (``.keras``, ``.h5``), or a SavedModel's folder, told apart by
            content; or what `receive` made of one.
        shapes: Shapes that fix dynamic inputs, by input name; each extent at least 1.
        constants: Inputs that become constants, by name: one number for all elements, or one for each in C order.
        name: Name of the model; the file's stem when None. Characters other than letters, digits, ``_``, ``-``, ``.`` become ``_``.
        tensorflow: How a model of Keras or TensorFlow is read; other files have no use for it.
        progress: Told of a conversion to ONNX.

    Returns:
        The model; its outputs equal the source's up to float32 rounding. Of a file that is quantized already it is the float model that the
        codes stand for, and `FloatModel.quantization` has the codes.

    Raises:
        ModelError: Not readable, neither ONNX nor TFLite, incomplete,
            inconsistent, not finite; a scale, zero point or axis of a quantized file is wrong.
        UnsupportedOperatorError: An operator of a custom domain, control flow, or parameters computed from data.
        DynamicShapeError: A shape stays unknown.
        InputError: TensorFlow, which such a model needs, is not to be had; a signature that the model has not.
        OutputError: The cache of converted models cannot be written.
    """
    fixed = {key: tuple(int(extent) for extent in shape) for key, shape in (shapes or _NO_SHAPES).items()}
    if isinstance(path, Incoming):
        incoming = path
    else:
        incoming = receive(
            Path(path),
            shapes=fixed,
            tensorflow=tensorflow or TensorFlowOptions(),
            progress=progress or Silent(),
        )
    path = incoming.path
    try:
        source = _source(incoming, fixed, constants or _NO_CONSTANTS)
        given = [incoming.note] if incoming.note else []
        quantization, weights = (
            (source.quantization, None) if source.quantization else take_codes_out(source.model)
        )
        changes, origins = _canonicalise(source.model, fixed, constants or _NO_CONSTANTS, quantization)
        if quantization is not None:
            quantization = carried_over(quantization, source.model.graph, origins)
        told = [quantization.note if quantization else None, weights]
        notes = [*given, *source.notes, *(note for note in told if note), *changes]
        return FloatModel(
            name=_clean_name(path.stem if name is None else name),
            digest=source.digest,
            graph=source.model,
            inputs=_inputs(source.model),
            outputs=tuple(_spec(value) for value in source.model.graph.outputs),
            notes=tuple(notes),
            quantization=quantization,
        )
    except EdgewrightError:
        raise
    except Exception as error:
        raise ModelError(
            f"{path} is not a sound ONNX model ({_cause(error)}).",
            hint="Check it with onnx.checker.check_model(path, full_check=True) and export it again.",
        ) from error


def _source(
    incoming: Incoming, shapes: Mapping[str, tuple[int, ...]], constants: Mapping[str, tuple[float, ...]]
) -> Source:
    source = read_source(incoming.onnx, shapes=shapes, constants=constants)
    return source if incoming.origin is None else with_origin(source, incoming.origin)


def _canonicalise(
    model: ir.Model,
    shapes: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, tuple[float, ...]],
    quantization: Quantization | None,
) -> tuple[list[str], Mapping[str, str]]:
    """Run every pass in order, in place; returns the notes, and `GraphEditor.origins`."""
    notes = [make_constant(model.graph, constants, shapes)]
    shapes = {name: shape for name, shape in shapes.items() if name not in constants}
    require_convertible(model)
    notes.append(_inline_functions(model))
    RemoveInitializersFromInputsPass()(model)
    model.ir_version = max(model.ir_version, _IR_VERSION_OF_BARE_INITIALIZERS)
    lift_constants(model)
    notes.append(make_masks_finite(model.graph))
    require_finite(model.graph)
    notes.append(to_float32(model.graph))
    require_finite(model.graph, after=" after conversion to float32")
    fix_input_shapes(model.graph, shapes)
    _check(model)
    declared = declared_opset(model)
    notes.append(normalise_opset(model))
    RemoveInitializersFromInputsPass()(model)
    TopologicalSortPass()(model)
    fix_input_shapes(model.graph, shapes)
    notes.append(fold(model))
    tell_pixels(model.graph, declared)
    require_no_subgraphs(model.graph)
    editor = GraphEditor(model.graph)
    for run in (
        partial(write_out_saturation, quantization=quantization),
        remove_passthrough,
        canonical_normalization,
        canonical_activations,
        canonical_linear,
        partial(fold_affine, keeps_weights=quantization is not None),
        partial(fold_forward, keeps_weights=quantization is not None),
        add_biases,
        unshare_weights,
    ):
        notes.append(run(editor))
        RemoveUnusedNodesPass()(model)
        infer_shapes(model)
    write_out(editor)
    editor.drop_unused_initializers()
    name_nodes(model.graph)
    _finish(model)
    return [note for note in notes if note], editor.origins


def _inline_functions(model: ir.Model) -> str | None:
    if not model.functions:
        return None
    count = len(model.functions)
    require_one_opset(model)
    InlinePass()(model)
    require_convertible(model)  # a function's body may hold what the graph itself did not
    model.functions.clear()
    return f"Inlined {count} model-local functions."


def _check(model: ir.Model) -> None:
    proto = skeleton(model)
    for info in proto.graph.output:
        if not info.type.WhichOneof("value"):  # as tools leave it that make an inner value an output
            info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.shape.SetInParent()  # the checker wants the field; shapes are inferred afterwards
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"The model breaks the ONNX rules: {str(error).strip()}", hint="Export it again."
        ) from error


def _finish(model: ir.Model) -> None:
    """Infer everything once more, and insist on what `float_model` promises."""
    graph = model.graph
    for node in graph:
        for value in node.outputs:
            value.shape, value.type = None, None
    infer_shapes(model)
    require_static(graph)
    require_finite(graph, after=" after folding")
    if graph.num_nodes() == 0:
        raise ModelError("Nothing is left to convert: every output is a constant or an input.")
    for value in graph.outputs:
        producer = value.producer()
        if producer is None or producer.op_type == "Constant":
            raise ModelError(
                f"Output {value.name!r} is a constant or an input.", hint="Remove it from the outputs."
            )
        if producer.op_type == "Identity":
            raise ModelError(
                f"Output {value.name!r} only repeats {producer.inputs[0].name if producer.inputs[0] else '?'!r}.",
                hint="Remove it from the outputs.",
            )
    require_fed(graph)


def _inputs(model: ir.Model) -> tuple[TensorSpec, ...]:
    tables = table_rows(model)
    specs = [_spec(value) for value in model.graph.inputs]
    return tuple(
        replace(spec, rows=tables[spec.name].rows)
        if spec.name in tables and spec.dtype not in ("float32", "bool")
        else spec
        for spec in specs
    )


def _spec(value: ir.Value) -> TensorSpec:
    shape = static_shape(value)
    if value.dtype not in _ELEMENT_TYPES or shape is None:
        producer = value.producer()
        where = f"output of {label(producer)}" if producer is not None else "an input"
        raise ModelError(
            f"{value.name!r}, {where}, has the element type {value.dtype}, which is not supported."
        )
    return TensorSpec(
        name=str(value.name), shape=shape, dtype=_ELEMENT_TYPES[cast("ir.DataType", value.dtype)]
    )


def _clean_name(name: str) -> str:
    cleaned = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")
    return cleaned or "model"


def _cause(error: BaseException) -> str:
    """Say what went wrong deepest down, in one line: libraries wrap their errors several times."""
    deepest = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    text = str(deepest).strip().splitlines()
    return f"{type(deepest).__name__}: {text[0][:200]}" if text else type(deepest).__name__
