"""`take_codes_out`: a quantized ONNX graph becomes the float graph that it stands for, in place, and a `Quantization` beside it.

Every value of codes is replaced by the real numbers it stands for. QuantizeLinear and DequantizeLinear then change nothing and go; an operator
on codes becomes its float operator; a constant of codes becomes float32, out of which its codes can be had back exactly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass, TopologicalSortPass

from host_tools.errors import ModelError, UnsupportedOperatorError
from host_tools.model.admission import label
from host_tools.model.graph_editor import constant_of, scalar_of
from host_tools.model.passes.folding import lift_constants
from host_tools.model.quantized.coding import RANGES, Coding
from host_tools.model.quantized.node_codings import (
    ANEW,
    DEQUANTIZE,
    QUANTIZE,
    coding_of,
    require_per_tensor,
    type_at,
    type_written,
)
from host_tools.model.quantized.operator_form import form_of
from host_tools.model.quantized.reals import Coded, Reals
from host_tools.model.quantized.refusals import FLOAT_MODEL, REFUSED_OPERATORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.model.quantized.coding import Quantization
    from host_tools.model.quantized.operator_form import OperatorForm

_MICROSOFT: Final = "com.microsoft"
_DOMAINS: Final = ("", "ai.onnx", _MICROSOFT)
_ON_CODES: Final = frozenset(
    {
        "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "Concat", "Resize", "DepthToSpace",
        "SpaceToDepth", "Expand", "Tile", "Identity", "Clip", "Min", "Max", "Pad", "Relu",
    }
)  # fmt: skip
"""Operators that do with codes what they do with real numbers: constants of the codes' type stand for real numbers, too."""
_COPIES: Final = frozenset({"Identity", "Dropout"})
_PADDED_WITH: Final = 2
"""The input of a Pad that says with what."""


def is_coded_graph(graph: ir.Graph) -> bool:
    """Tell whether a graph quantizes anything, be it only a weight."""
    return any(
        node.op_type in (QUANTIZE, DEQUANTIZE, "QGemm", *REFUSED_OPERATORS)
        or node.op_type.startswith("QLinear")
        for node in graph
    )


def take_codes_out(model: ir.Model) -> tuple[Quantization | None, str | None]:
    """Replace all codes by real numbers, in place.

    Returns:
        What the file says of its codes, None where activations are float; and a note where weights alone were codes.

    Raises:
        ModelError: A scale, zero point, axis or type cannot be right; the message names the tensor.
        UnsupportedOperatorError: It is quantized in a way that no plan can hold, or an operator on codes is not known.
    """
    if not is_coded_graph(model.graph):
        return None, None
    RemoveInitializersFromInputsPass()(model)
    lift_constants(model)
    TopologicalSortPass()(model)
    reals = Reals(model.graph)
    for node in list(model.graph):
        _take(reals, node)
    found = _with_copies(reals.finish(), model.graph)
    if not any(node.domain == _MICROSOFT for node in model.graph):
        model.opset_imports.pop(_MICROSOFT, None)
    return (found, None) if found.activations else (None, _note_of_weights(found))


def _with_copies(found: Quantization, graph: ir.Graph) -> Quantization:
    """Give copies of coded values their coding: a copy that is an output leaves its name to what it copies, when it goes."""
    codings = dict(found.activations)
    for node in graph:
        source = node.inputs[0] if node.inputs else None
        coding = codings.get(str(source.name)) if source is not None else None
        if coding is not None and _is_copy(node):
            codings.setdefault(str(node.outputs[0].name), coding)
    return replace(found, activations=codings)


def _is_copy(node: ir.Node) -> bool:
    is_cast_to_itself = node.op_type == "Cast" and node.attributes.get_int("to", 0) == ir.DataType.FLOAT
    return node.domain in _DOMAINS and (node.op_type in _COPIES or is_cast_to_itself)


def _take(reals: Reals, node: ir.Node) -> None:
    """Take the codes out of one node; all before it are done."""
    is_known = node.domain in _DOMAINS
    if is_known and node.op_type in REFUSED_OPERATORS:
        what, hint = REFUSED_OPERATORS[node.op_type]
        raise UnsupportedOperatorError(
            f"{label(node)}: the model is quantized, and this operator {what}.", hint=hint
        )
    if is_known and node.op_type == QUANTIZE:
        _quantize(reals, node)
    elif is_known and node.op_type == DEQUANTIZE:
        _dequantize(reals, node)
    elif is_known and (form := _form(node)) is not None:
        _operator(reals, node, form)
    elif any(value in reals.coded for value in node.inputs if value is not None):
        _on_codes(reals, node)


def _read(node: ir.Node, place: int) -> ir.Value:
    value = node.inputs[place] if place < len(node.inputs) else None
    if value is None:
        raise ModelError(f"{label(node)}: its input {place} is missing.", hint=ANEW)
    return value


# Q and DQ


def _quantize(reals: Reals, node: ir.Node) -> None:
    source, codes = _read(node, 0), node.outputs[0]
    coding = coding_of(node, source, 1, type_written(node))
    reals.gone.append(node)
    array = constant_of(source)
    if array is not None:
        real = reals.constant(source, _codes(np.asarray(array, np.float64), coding), coding)
        reals.coded[codes] = Coded(real=real, coding=coding)
        return
    require_per_tensor(node, source, coding)
    reals.activations.setdefault(source, coding)
    reals.coded[codes] = Coded(real=source, coding=coding)


def _codes(values: NDArray[np.float64], coding: Coding) -> NDArray[np.int64]:
    """Return the codes that a QuantizeLinear gives a constant."""
    along = [1] * values.ndim
    if coding.axis is not None:
        along[coding.axis] = len(coding.scale)
    rounded = np.rint(values / np.reshape(coding.scale, along)) + np.reshape(coding.zero_point, along)
    codes: NDArray[np.int64] = np.clip(rounded, *RANGES[coding.dtype]).astype(np.int64)
    return codes.reshape(values.shape)


def _dequantize(reals: Reals, node: ir.Node) -> None:
    codes, last = _read(node, 0), node
    coding = coding_of(node, codes, 1, reals.stored_type(node, codes))
    doubling = _doubling(node, coding, reals.coded.get(codes))
    if doubling is not None:
        reals.gone.append(node)
        coding, last = reals.coded[codes].coding, doubling
    out, real = last.outputs[0], reals.of(node, codes, coding)
    if reals.activations.get(real, coding) != coding:
        reals.edges += [(real, use.node, coding) for use in out.uses()]
    for use in list(out.uses()):
        use.node.replace_input_with(use.idx, real)
    if not out.is_graph_output():
        reals.gone.append(last)
        return
    if real in reals.activations:
        reals.activations[out] = coding
    last.op_type, last.domain = "Identity", ""
    last.attributes.clear()
    last.resize_inputs(1)
    last.replace_input_with(0, real)


def _doubling(node: ir.Node, coding: Coding, written: Coded | None) -> ir.Node | None:
    """Return the Mul that takes a DequantizeLinear of a part of the scale back to the whole; None where there is none.

    We write that ourselves, so that ONNX Runtime leaves the operator behind it in float.
    """
    uses = list(node.outputs[0].uses())
    if written is None or written.coding == coding or len(uses) != 1 or node.outputs[0].is_graph_output():
        return None
    reader = uses[0].node
    factor = scalar_of(reader.inputs[1 - uses[0].idx]) if reader.op_type == "Mul" else None
    if factor is None or written.coding.scale != tuple(scale * factor for scale in coding.scale):
        return None
    return reader


# Operators on codes


def _form(node: ir.Node) -> OperatorForm | None:
    try:
        return form_of(node)
    except ValueError as error:
        raise UnsupportedOperatorError(f"{label(node)} {error}.", hint=FLOAT_MODEL) from error


def _operator(reals: Reals, node: ir.Node, form: OperatorForm) -> None:
    """Write an operator with scales among its inputs as its float operator."""
    reals.form = "ONNX operators on codes"
    operands: list[ir.Value] = []
    scales: list[NDArray[np.float64]] = []
    for place in form.operands:
        codes = _read(node, place)
        coding = coding_of(node, codes, place + 1, reals.stored_type(node, codes))
        operands.append(reals.of(node, codes, coding))
        scales.append(np.asarray(coding.scale, np.float64))
    if form.bias is not None and form.bias < len(node.inputs) and node.inputs[form.bias] is not None:
        operands.append(_bias(reals, node, _read(node, form.bias), scales[0] * scales[1]))
    out, written = node.outputs[0], None
    if form.scale < len(node.inputs) and node.inputs[form.scale] is not None:
        first = _read(node, form.operands[0])
        dtype = type_at(node.inputs, form.scale + 1) or reals.stored_type(node, first)
        written = coding_of(node, out, form.scale, dtype)
        require_per_tensor(node, out, written)
    node.op_type, node.domain = form.op_type, ""
    for name in form.dropped:
        node.attributes.pop(name, None)
    node.resize_inputs(len(operands))
    for place, real in enumerate(operands):
        node.replace_input_with(place, real)
    if written is not None:
        reals.write(out, written)


def _bias(reals: Reals, node: ir.Node, bias: ir.Value, scale: NDArray[np.float64]) -> ir.Value:
    array = constant_of(bias)
    if array is None or array.dtype != np.int32:
        raise UnsupportedOperatorError(
            f"{label(node)}: its bias {bias.name!r} is no constant of int32.", hint=FLOAT_MODEL
        )
    codes = array.reshape(-1).astype(np.int64)
    if scale.size not in (1, codes.size):
        raise ModelError(
            f"{label(node)}: its bias {bias.name!r} has {codes.size} numbers for {scale.size} scales.",
            hint=ANEW,
        )
    axis = 0 if scale.size > 1 else None
    coding = Coding(dtype="int32", scale=tuple(scale.tolist()), zero_point=(0,) * scale.size, axis=axis)
    return reals.constant(bias, codes, coding)


def _on_codes(reals: Reals, node: ir.Node) -> None:
    """Let an operator that only moves and compares do so with real numbers."""
    found = {value: reals.coded[value] for value in node.inputs if value is not None and value in reals.coded}
    if node.domain not in ("", "ai.onnx") or node.op_type not in _ON_CODES:
        raise UnsupportedOperatorError(
            f"{label(node)} computes with the codes of {next(iter(found)).name!r}, which is not understood.",
            hint=FLOAT_MODEL,
        )
    first, *others = found.values()
    if any(one.coding != first.coding for one in others):
        raise ModelError(f"{label(node)} joins codes of different scales or zero points.", hint=FLOAT_MODEL)
    coding = first.coding
    if node.op_type == "Relu" and any(coding.zero_point):
        raise UnsupportedOperatorError(
            f"{label(node)} compares codes with 0, which is not their zero point {coding.zero_point[0]}.",
            hint=FLOAT_MODEL,
        )
    for index, value in enumerate(node.inputs):
        if value is not None and value in found:
            node.replace_input_with(index, found[value].real)
        elif (
            value is not None
            and (array := constant_of(value)) is not None
            and array.dtype.name == coding.dtype
        ):
            node.replace_input_with(index, reals.constant(value, array.astype(np.int64), coding))
    if node.op_type == "Pad" and node.attributes.get_string("mode", "constant") == "constant":
        _pad_with_code_zero(reals, node, coding)
    for out in node.outputs:
        if out.name:
            reals.write(out, coding)


def _pad_with_code_zero(reals: Reals, node: ir.Node, coding: Coding) -> None:
    """Write out what a Pad that names no value pads codes with: the code 0, whatever that stands for."""
    if len(node.inputs) > _PADDED_WITH and node.inputs[_PADDED_WITH] is not None:
        return
    node.resize_inputs(max(len(node.inputs), _PADDED_WITH + 1))
    real = np.asarray((0 - coding.zero_point[0]) * coding.scale[0], np.float32)
    node.replace_input_with(_PADDED_WITH, reals.editor.constant(f"{node.name or 'pad'}/zero", real))


def _note_of_weights(found: Quantization) -> str:
    kinds = " and ".join(sorted({coding.dtype for coding in found.constants.values()}))
    return (
        f"{len(found.constants)} weights are stored as {kinds}: they are taken as float32, and what they lost when they were "
        "stored stays lost."
    )
