"""`Reals`: for every value of codes in an ONNX graph, the real numbers that it stands for, and in which coding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.errors import ModelError, UnsupportedOperatorError
from host_tools.model.admission import label
from host_tools.model.graph_editor import GraphEditor, constant_of
from host_tools.model.quantized.coding import (
    EXACT_IN_FLOAT32,
    Coding,
    EdgeCoding,
    Quantization,
    meaning,
)
from host_tools.model.quantized.node_codings import ANEW, require_per_tensor, type_at
from host_tools.model.quantized.refusals import FLOAT_MODEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.model.quantized.coding import Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """What a value of codes stands for."""

    real: ir.Value
    coding: Coding


@dataclass(slots=True, eq=False)
class Reals:
    """The state of taking the codes out of one graph.

    Attributes:
        graph: The graph, edited in place.
        form: How it says what is coded.
        coded: What each value of codes stands for.
        activations: The coding of each activation, by the value of real numbers.
        constants: Likewise of constants.
        edges: Values that a node reads in another coding than their own.
        gone: Nodes that change nothing where there are no codes.
    """

    graph: ir.Graph
    editor: GraphEditor = field(init=False)
    form: Form = "ONNX QDQ"
    coded: dict[ir.Value, Coded] = field(default_factory=dict)
    activations: dict[ir.Value, Coding] = field(default_factory=dict)
    constants: dict[ir.Value, Coding] = field(default_factory=dict)
    edges: list[tuple[ir.Value, ir.Node, Coding]] = field(default_factory=list)
    gone: list[ir.Node] = field(default_factory=list)
    _exact: dict[ir.Value, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.editor = GraphEditor(self.graph)

    def stored_type(self, node: ir.Node, codes: ir.Value) -> str:
        """Return the type of the codes that a node reads."""
        if codes in self.coded:
            return self.coded[codes].coding.dtype
        return type_at((codes,), 0) or type_at(node.inputs, 2) or "int8"

    def of(self, node: ir.Node, codes: ir.Value, coding: Coding) -> ir.Value:
        """Return what codes stand for that a node reads in a coding.

        Raises:
            ModelError: They were written in another.
            UnsupportedOperatorError: Nothing is known of them.
        """
        array = constant_of(codes)
        found = self.coded.get(codes)
        if found is None and array is not None:
            real = self.constant(codes, np.asarray(array).astype(np.int64), coding)
            found = self.coded[codes] = Coded(real=real, coding=coding)
        elif found is None:
            if not codes.is_graph_input():
                raise UnsupportedOperatorError(
                    f"{label(node)} reads the codes {codes.name!r}, whose origin is not understood.",
                    hint=FLOAT_MODEL,
                )
            require_per_tensor(node, codes, coding)
            found = self.write(codes, coding)
        if found.coding != coding:
            raise ModelError(
                f"{label(node)} reads {codes.name!r} as {_said(coding)}; it was written as {_said(found.coding)}.",
                hint=ANEW,
            )
        return found.real

    def write(self, value: ir.Value, coding: Coding) -> Coded:
        """Say that a value that was codes is real numbers now; who reads it still wants codes, and gets a value that stands for them."""
        kind = None if value.dtype is None else ir.TensorType(value.dtype)
        codes = ir.Value(name=self.editor.fresh_name(f"{value.name}_codes"), shape=value.shape, type=kind)
        for use in list(value.uses()):
            use.node.replace_input_with(use.idx, codes)
        value.dtype = ir.DataType.FLOAT
        self.activations[value] = coding
        self.coded[codes] = Coded(real=value, coding=coding)
        return self.coded[codes]

    def constant(self, source: ir.Value, codes: NDArray[np.int64], coding: Coding) -> ir.Value:
        """Add the constant that codes stand for."""
        real = meaning(codes, coding)
        with np.errstate(over="ignore"):  # what is infinite is refused by name afterwards
            value = self.editor.constant(f"{source.name}_real", real.astype(np.float32))
        self.constants[value] = coding
        if np.abs(codes).max(initial=0) >= EXACT_IN_FLOAT32:
            self._exact[value] = real
        return value

    def finish(self) -> Quantization:
        """Give the model's outputs real numbers, let go of what changes nothing now, and return what was found, by name."""
        for place, out in enumerate(self.graph.outputs):
            found = self.coded.get(out)
            if found is not None:
                self._end(place, out, found)
        for node in reversed(self.gone):
            self.graph.remove(node, safe=True)
        self.editor.drop_unused_initializers()
        return Quantization(
            form=self.form,
            activations={str(value.name): coding for value, coding in self.activations.items()},
            constants={str(value.name): coding for value, coding in self.constants.items()},
            edges=tuple(
                EdgeCoding(source=str(source.name), output=str(node.outputs[0].name), coding=coding)
                for source, node, coding in self.edges
            ),
            exact_values={
                str(value.name): tuple(real.reshape(-1).tolist()) for value, real in self._exact.items()
            },
        )

    def _end(self, place: int, out: ir.Value, found: Coded) -> None:
        """Make an output that was codes an output of real numbers, under its name."""
        end = ir.node("Identity", [found.real])
        name, out.name = out.name, self.editor.fresh_name(f"{out.name}_codes")
        end.outputs[0].name, end.outputs[0].dtype, end.outputs[0].shape = name, ir.DataType.FLOAT, out.shape
        self.graph.append(end)
        self.graph.outputs[place] = end.outputs[0]
        self.activations[end.outputs[0]] = found.coding


def _said(coding: Coding) -> str:
    more = " and more" if coding.axis is not None else ""
    return f"{coding.dtype}, scale {coding.scale[0]:g}{more}, zero point {coding.zero_point[0]}"
