"""`take_codes_out`: a quantized ONNX graph becomes the float graph that it stands for, in place, and a `Quantization` beside it.

Every value of codes is replaced by the real numbers it stands for. QuantizeLinear and DequantizeLinear then change nothing and go; an operator
on codes becomes its float operator; a constant of codes becomes float32, out of which its codes can be had back exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass, TopologicalSortPass

from host_tools.errors import ModelError, UnsupportedOperatorError
from host_tools.model.admission import label
from host_tools.model.graph_editor import GraphEditor, constant_of
from host_tools.model.passes.folding import lift_constants
from host_tools.model.quantized.coding import (
    EXACT_IN_FLOAT32,
    RANGES,
    Coding,
    EdgeCoding,
    Quantization,
    checked_coding,
    meaning,
)
from host_tools.model.quantized.operator_form import form_of
from host_tools.model.quantized.refusals import FLOAT_MODEL, REFUSED_OPERATORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from host_tools.model.quantized.coding import Form
    from host_tools.model.quantized.operator_form import OperatorForm

_DOMAINS: Final = ("", "ai.onnx", "com.microsoft")
_ON_CODES: Final = frozenset(
    {
        "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "Concat", "Resize", "DepthToSpace",
        "SpaceToDepth", "Expand", "Tile", "Identity",
    }
)  # fmt: skip
"""Operators that do with codes what they do with real numbers."""
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def is_coded_graph(graph: ir.Graph) -> bool:
    """Tell whether a graph quantizes anything, be it only a weight."""
    return any(
        node.op_type in (_QUANTIZE, _DEQUANTIZE, "QGemm", *REFUSED_OPERATORS)
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
    taker = _Taker(model.graph)
    for node in list(model.graph):
        taker.take(node)
    taker.finish()
    for domain in set(model.opset_imports) - {node.domain for node in model.graph} - {""}:
        del model.opset_imports[domain]
    found = taker.result()
    if found.activations:
        return found, None
    return None, taker.note_of_weights()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coded:
    """What a value of codes stands for."""

    real: ir.Value
    coding: Coding


@dataclass(slots=True, eq=False)
class _Taker:
    graph: ir.Graph
    editor: GraphEditor = field(init=False)
    form: Form = "ONNX QDQ"
    _coded: dict[ir.Value, _Coded] = field(default_factory=dict)
    _activations: dict[ir.Value, Coding] = field(default_factory=dict)
    _constants: dict[ir.Value, Coding] = field(default_factory=dict)
    _exact: dict[ir.Value, NDArray[np.float64]] = field(default_factory=dict)
    _edges: list[tuple[ir.Value, ir.Node, Coding]] = field(default_factory=list)
    _gone: list[ir.Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.editor = GraphEditor(self.graph)

    def take(self, node: ir.Node) -> None:
        """Take the codes out of one node."""
        known = node.domain in _DOMAINS
        if known and node.op_type in REFUSED_OPERATORS:
            what, hint = REFUSED_OPERATORS[node.op_type]
            raise UnsupportedOperatorError(f"{label(node)}: the model is quantized, and this operator {what}.", hint=hint)  # fmt: skip
        if known and node.op_type == _QUANTIZE:
            self._quantize(node)
        elif known and node.op_type == _DEQUANTIZE:
            self._dequantize(node)
        elif known and (form := self._form(node)) is not None:
            self._operator(node, form)
        elif any(value in self._coded for value in node.inputs if value is not None):
            self._on_codes(node)

    # Q and DQ

    def _quantize(self, node: ir.Node) -> None:
        source, codes = node.inputs[0], node.outputs[0]
        if source is None:
            raise ModelError(f"{label(node)} reads nothing.", hint="Export the model again.")
        dtype = self._type_written(node)
        coding = self._coding(node, source, 1, dtype)
        self._gone.append(node)
        array = constant_of(source)
        if array is not None:
            low, high = RANGES[dtype]
            along = [1] * array.ndim
            if coding.axis is not None:
                along[coding.axis] = len(coding.scale)
            scale, zero = (np.asarray(part, np.float64).reshape(along) for part in (coding.scale, coding.zero_point))  # fmt: skip
            rounded = np.clip(np.rint(array.astype(np.float64) / scale) + zero, low, high)
            self._coded[codes] = _Coded(
                real=self._constant(source, rounded.astype(np.int64), coding), coding=coding
            )
            return
        self._require_per_tensor(node, source, coding)
        self._activations.setdefault(source, coding)
        self._coded[codes] = _Coded(real=source, coding=coding)

    def _dequantize(self, node: ir.Node) -> None:
        codes, out = node.inputs[0], node.outputs[0]
        if codes is None:
            raise ModelError(f"{label(node)} reads nothing.", hint="Export the model again.")
        coding = self._coding(node, codes, 1, self._stored_type(node, codes))
        real = self._real(node, codes, coding)
        if real in self._activations and self._activations[real] != coding:
            self._edges += [(real, use.node, coding) for use in out.uses()]
        if out.is_graph_output():
            self._activations[out] = coding
            node.op_type, node.domain = "Identity", ""
            node.attributes.clear()
            node.resize_inputs(1)
            node.replace_input_with(0, real)
        else:
            self._gone.append(node)
        self._reads(out, real)

    @staticmethod
    def _reads(before: ir.Value, after: ir.Value) -> None:
        for use in list(before.uses()):
            use.node.replace_input_with(use.idx, after)

    # Operators on codes

    def _form(self, node: ir.Node) -> OperatorForm | None:
        try:
            return form_of(node)
        except ValueError as error:
            raise UnsupportedOperatorError(f"{label(node)} {error}.", hint=FLOAT_MODEL) from error

    def _operator(self, node: ir.Node, form: OperatorForm) -> None:
        """Write an operator with scales among its inputs as its float operator."""
        self.form = "ONNX operators on codes"
        inputs = list(node.inputs)
        reals: list[ir.Value | None] = []
        scales: list[NDArray[np.float64]] = []
        for place in form.operands:
            codes = inputs[place] if place < len(inputs) else None
            if codes is None:
                raise ModelError(f"{label(node)}: its input {place} is missing.", hint="Export the model again.")
            coding = self._coding(node, codes, place + 1, self._stored_type(node, codes))
            reals.append(self._real(node, codes, coding))
            scales.append(np.asarray(coding.scale, np.float64))
        bias = inputs[form.bias] if form.bias is not None and form.bias < len(inputs) else None
        if bias is not None:
            reals.append(self._bias(node, bias, scales[0] * scales[1]))
        out = node.outputs[0]
        coding_out = None
        if form.scale < len(inputs) and inputs[form.scale] is not None:
            first = inputs[form.operands[0]]
            dtype = self._type_of(inputs, form.scale + 1) or self._stored_type(node, first)
            coding_out = self._coding(node, out, form.scale, dtype)
            self._require_per_tensor(node, out, coding_out)
        node.op_type, node.domain = form.op_type, ""
        for name in form.dropped:
            node.attributes.pop(name, None)
        node.resize_inputs(len(reals))
        for place, real in enumerate(reals):
            node.replace_input_with(place, real)
        if coding_out is not None:
            self._writes(out, coding_out)

    def _writes(self, value: ir.Value, coding: Coding) -> None:
        """Say that a value that was codes is real numbers now."""
        value.dtype = ir.DataType.FLOAT
        self._activations[value] = coding
        self._coded[value] = _Coded(real=value, coding=coding)

    def _bias(self, node: ir.Node, bias: ir.Value, scale: NDArray[np.float64]) -> ir.Value:
        array = constant_of(bias)
        if array is None or array.dtype != np.int32:
            raise UnsupportedOperatorError(f"{label(node)}: its bias {bias.name!r} is no constant of int32.", hint=FLOAT_MODEL)  # fmt: skip
        flat = array.reshape(-1).astype(np.int64)
        if scale.size not in (1, flat.size):
            raise ModelError(f"{label(node)}: {flat.size} biases for {scale.size} scales.", hint="Export the model again.")  # fmt: skip
        coding = Coding(
            dtype="int32",
            scale=tuple(scale.tolist()),
            zero_point=(0,) * scale.size,
            axis=0 if scale.size > 1 else None,
        )
        return self._constant(bias, flat, coding)

    def _on_codes(self, node: ir.Node) -> None:
        """Let an operator that only moves and compares do so with real numbers."""
        if node.domain not in ("", "ai.onnx") or node.op_type not in _ON_CODES:
            raise UnsupportedOperatorError(
                f"{label(node)} computes with the codes of {next(value.name for value in node.inputs if value in self._coded)!r}, which is not "
                "understood.",
                hint=FLOAT_MODEL,
            )
        found = [self._coded[value] for value in node.inputs if value is not None and value in self._coded]
        if any(one.coding != found[0].coding for one in found):
            raise ModelError(
                f"{label(node)} joins codes of different scales or zero points.", hint=FLOAT_MODEL
            )
        for index, value in enumerate(node.inputs):
            if value is not None and value in self._coded:
                node.replace_input_with(index, self._coded[value].real)
        for out in node.outputs:
            if out.name:
                self._writes(out, found[0].coding)

    # Values and constants

    def _real(self, node: ir.Node, codes: ir.Value, coding: Coding) -> ir.Value:
        """Return what codes stand for that a node reads in a coding."""
        array = constant_of(codes)
        if codes not in self._coded and array is not None:
            self._coded[codes] = _Coded(
                real=self._constant(codes, np.asarray(array).astype(np.int64), coding), coding=coding
            )
        elif codes not in self._coded:
            if not codes.is_graph_input():
                raise UnsupportedOperatorError(f"{label(node)} reads the codes {codes.name!r}, whose origin is not understood.", hint=FLOAT_MODEL)  # fmt: skip
            self._require_per_tensor(node, codes, coding)
            self._writes(codes, coding)
        found = self._coded[codes]
        if found.coding != coding:
            raise ModelError(
                f"{label(node)} reads {codes.name!r} as {_said(coding)}; it was written as {_said(found.coding)}.",
                hint="Export the model again.",
            )
        return found.real

    def _constant(self, source: ir.Value, codes: NDArray[np.int64], coding: Coding) -> ir.Value:
        real = meaning(codes, coding)
        with np.errstate(over="ignore"):  # what is infinite is refused by name afterwards
            value = self.editor.constant(f"{source.name}_real", real.astype(np.float32))
        self._constants[value] = coding
        if np.abs(codes).max(initial=0) >= EXACT_IN_FLOAT32:
            self._exact[value] = real
        return value

    # Codings

    def _coding(self, node: ir.Node, value: ir.Value, place: int, dtype: str) -> Coding:
        """Return the coding of which the scale is input ``place`` of a node, and the zero point the next."""
        if node.attributes.get_int("block_size", 0):
            raise UnsupportedOperatorError(
                f"{label(node)}: {value.name!r} has a scale for each block of {node.attributes.get_int('block_size', 0)}.",
                hint=FLOAT_MODEL,
            )
        scale = self._parameter(node, place, "scale")
        zero = self._parameter(node, place + 1, "zero point")
        if scale is None:
            raise ModelError(f"{label(node)}: {value.name!r} has no scale.", hint="Export the model again.")
        if scale.dtype.kind in "iub" or (zero is not None and zero.dtype.kind == "f"):
            raise ModelError(f"{label(node)}: {value.name!r} has a scale of {scale.dtype} and a zero point of {None if zero is None else zero.dtype}.", hint="Export the model again.")  # fmt: skip
        # Only Q and DQ name the axis; QLinearConv's weights have their outputs first, those of matrices last.
        default = {"QLinearConv": 0}.get(node.op_type, 1 if node.op_type in (_QUANTIZE, _DEQUANTIZE) else -1)
        if node.op_type == "QGemm" and node.attributes.get_int("transB", 0):
            default = 0
        try:
            return checked_coding(
                dtype,
                np.asarray(scale, np.float64).reshape(-1).tolist(),
                () if zero is None else np.asarray(zero).astype(np.int64).reshape(-1).tolist(),
                axis=node.attributes.get_int("axis", default) if node.op_type in (_QUANTIZE, _DEQUANTIZE) else default,
                shape=None if value.shape is None or not value.shape.is_static() else value.shape.numpy(),
            )  # fmt: skip
        except ValueError as error:
            raise ModelError(
                f"{label(node)}: {value.name!r} {error}.",
                hint="Export the model again from a sound quantizer.",
            ) from error

    def _parameter(self, node: ir.Node, place: int, what: str) -> NDArray[np.generic] | None:
        value = node.inputs[place] if place < len(node.inputs) else None
        if value is None:
            return None
        array = constant_of(value)
        if array is None:
            raise UnsupportedOperatorError(f"{label(node)}: its {what} {value.name!r} is computed at run time.", hint=REFUSED_OPERATORS["DynamicQuantizeLinear"][1])  # fmt: skip
        return array

    def _require_per_tensor(self, node: ir.Node, value: ir.Value, coding: Coding) -> None:
        if coding.axis is not None:
            raise UnsupportedOperatorError(
                f"{label(node)}: the activation {value.name!r} has {len(coding.scale)} scales; a plan has one for an activation.",
                hint=FLOAT_MODEL,
            )

    def _type_written(self, node: ir.Node) -> str:
        """Return the type that a QuantizeLinear writes: its zero point's, else what it is asked for, else uint8."""
        asked = node.attributes.get_int("output_dtype", 0)
        return self._type_of(node.inputs, 2) or (ir.DataType(asked).name.lower() if asked else "uint8")

    @staticmethod
    def _type_of(inputs: Iterable[ir.Value | None], place: int) -> str | None:
        found = list(inputs)
        value = found[place] if place < len(found) else None
        dtype = None if value is None else value.dtype
        if dtype is None and value is not None and value.const_value is not None:
            dtype = value.const_value.dtype
        return None if dtype is None else dtype.name.lower()

    def _stored_type(self, node: ir.Node, codes: ir.Value | None) -> str:
        if codes in self._coded:
            return self._coded[codes].coding.dtype
        dtype = self._type_of((codes,), 0) or self._type_of(node.inputs, 2)
        return dtype or "int8"

    # The end

    def finish(self) -> None:
        """Give the model's outputs real numbers, and let go of what changes nothing now."""
        for place, out in enumerate(self.graph.outputs):
            found = self._coded.get(out)
            if found is None or found.real is out:
                continue
            name, out.name = out.name, self.editor.fresh_name(f"{out.name}_codes")
            end = ir.node("Identity", [found.real])
            end.outputs[0].name, end.outputs[0].dtype = name, ir.DataType.FLOAT
            end.outputs[0].shape = out.shape
            self.graph.append(end)
            self.graph.outputs[place] = end.outputs[0]
            self._activations[end.outputs[0]] = found.coding
        for node in reversed(self._gone):
            self.graph.remove(node, safe=True)
        self.editor.drop_unused_initializers()

    def result(self) -> Quantization:
        """Return what was found, by name."""
        return Quantization(
            form=self.form,
            activations={str(value.name): coding for value, coding in self._activations.items()},
            constants={str(value.name): coding for value, coding in self._constants.items()},
            edges=tuple(
                EdgeCoding(source=str(source.name), output=str(node.outputs[0].name), coding=coding)
                for source, node, coding in self._edges
            ),
            exact_values={str(value.name): tuple(real.reshape(-1).tolist()) for value, real in self._exact.items()},  # fmt: skip
        )

    def note_of_weights(self) -> str:
        """Return the note on a model of which the weights alone were codes."""
        kinds = sorted({coding.dtype for coding in self._constants.values()})
        return (
            f"{len(self._constants)} weights are stored as {' and '.join(kinds)}: they are taken as float32, and what they lost when they were "
            "stored stays lost."
        )


def _said(coding: Coding) -> str:
    return f"{coding.dtype}, scale {coding.scale[0]:g}{' and more' if coding.axis is not None else ''}, zero point {coding.zero_point[0]}"
