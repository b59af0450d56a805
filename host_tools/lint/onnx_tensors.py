"""Integers in an ONNX graph: which codes a node reads behind DequantizeLinear and writes before QuantizeLinear, and with which scale."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
from onnx import numpy_helper

from host_tools.lint.facts import LintedTensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MOST_ENTRIES: Final = 256
_PAIRS: Final = (_MOST_ENTRIES, 2)
"""Shape of the table of all pairs of 16 numbers, looked up by a byte each."""
_TYPE_NAMES: Final = MappingProxyType({"float": "float32", "double": "float64"})


class Tensors:
    """The tensors of one graph, as operators read and write them."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        """By name; those whose values lie in another file too, which is never opened."""
        self.writers: dict[str, onnx.NodeProto] = {}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            if node.op_type == "Constant" and attribute(node, "value") is not None and node.output:
                self.constants[node.output[0]] = node.attribute[0].t
            self.writers.update(dict.fromkeys(node.output, node))
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        values = [*graph.input, *graph.value_info, *graph.output]
        self.values = {value.name: value.type.tensor_type for value in values}
        self.outputs = {value.name for value in graph.output}
        self.on_codes: dict[str, LintedTensor] = {}
        self.in_codebooks: dict[str, LintedTensor] = {}
        """Constants that are stored as indices into a codebook, by the value that is looked up."""
        self.looking_up: set[str] = set()
        """All that the nodes write which do so."""
        for node in graph.node:
            self._find_codebook(node)
        self.guessed: dict[str, str] = {}
        """Types of values that ONNX cannot infer, behind operators of other domains: that of what they were computed of."""

    def read(self, name: str) -> LintedTensor:
        """Return a value as its readers see it: codes where it comes out of a DQ, the stored constant where that is unpacked or looked up."""
        node = self.writers.get(name)
        if node is not None and node.op_type == "DequantizeLinear" and node.input:
            return self.codes(node, node.input[0])
        if node is not None and node.op_type == "QuantizeLinear":
            return self.codes(node, name)
        if node is not None and self.is_doubling(node):
            before = self.read(node.input[0])
            factor = float(self.array(node.input[1]).reshape(-1)[0])
            return replace(before, scale=tuple(scale * factor for scale in before.scale))
        if node is not None and self.is_unpacking(node):
            return self.plain(node.input[0])
        if name in self.in_codebooks:
            return replace(self.in_codebooks[name], shape=self.plain(name).shape)
        if name in self.on_codes:
            return self.on_codes[name]
        plain = self.plain(name)
        return self._integers_of(name, ()) if plain.is_integer and not plain.is_constant else plain

    def is_doubling(self, node: onnx.NodeProto) -> bool:
        """Tell whether a Mul by a power of two stands behind a DQ: exact, so it is part of the scale."""
        if node.op_type != "Mul" or len(node.input) != 2 or not self.has_values(node, 1):
            return False
        source, factor = self.writers.get(node.input[0]), self.array(node.input[1])
        is_dequantized = source is not None and source.op_type == "DequantizeLinear"
        return is_dequantized and factor.size == 1 and math.frexp(abs(float(factor.reshape(-1)[0])))[0] == 0.5

    def is_unpacking(self, node: onnx.NodeProto) -> bool:
        """Tell whether a Cast makes float32 of a constant that is stored in float16."""
        source = self.constants.get(node.input[0]) if node.op_type == "Cast" and has(node, 0) else None
        wanted = integer(node, "to", onnx.TensorProto.UNDEFINED)
        return source is not None and (source.data_type, wanted) == (
            onnx.TensorProto.FLOAT16,
            onnx.TensorProto.FLOAT,
        )

    def _find_codebook(self, node: onnx.NodeProto) -> None:
        """Note what a Gather looks up in a constant table of single numbers, or of all pairs of 16, by constant bytes behind a Cast."""
        if node.op_type != "Gather" or not self.has_values(node, 0) or not has(node, 1) or not node.output:
            return
        table, widened = self.constants[node.input[0]], self.writers.get(node.input[1])
        if widened is None or widened.op_type != "Cast" or not has(widened, 0):
            return
        source = self.constants.get(widened.input[0])
        dims, name = tuple(table.dims), node.output[0]
        is_paired = dims == _PAIRS
        is_table = is_paired or (len(dims) == 1 and 1 <= dims[0] <= _MOST_ENTRIES)
        if not is_table or table.data_type != onnx.TensorProto.FLOAT:
            return
        if source is None or source.data_type != onnx.TensorProto.UINT8:
            return
        passed = [node.input[1], name]
        for kind in ("Reshape", "Slice", "Reshape") if is_paired else ():
            readers = self.readers.get(name, [])
            if len(readers) != 1 or readers[0].op_type != kind or not readers[0].output:
                break
            name = readers[0].output[0]
            passed.append(name)
        numbers = np.unique(self.array(node.input[0]))
        self.looking_up.update(passed)
        self.in_codebooks[name] = LintedTensor(
            name=widened.input[0], dtype="float32", shape=None, is_constant=True, codebook=numbers.size
        )

    def written(self, name: str, data: Sequence[LintedTensor]) -> LintedTensor:
        """Return an output: codes where nothing but Q reads it, or where it is integers that mean real numbers."""
        readers = self.readers.get(name, [])
        plain = self.plain(name)
        if plain.is_integer:
            self.on_codes[name] = self._integers_of(name, data)
            return self.on_codes[name]
        is_quantized = bool(readers) and name not in self.outputs
        if is_quantized and all(reader.op_type == "QuantizeLinear" and reader.output for reader in readers):
            return self.codes(readers[0], readers[0].output[0])
        return plain

    def _integers_of(self, name: str, data: Sequence[LintedTensor]) -> LintedTensor:
        """Return integers with the parameters of the DQ that reads them, else those of what they were computed of."""
        for reader in self.readers.get(name, []):
            if reader.op_type == "DequantizeLinear":
                return self.codes(reader, name)
        plain = self.plain(name)
        given = next((tensor for tensor in data if tensor.scale), plain)
        return LintedTensor(
            name=name, dtype=plain.dtype, shape=plain.shape, scale=given.scale, zero_point=given.zero_point
        )

    def codes(self, node: onnx.NodeProto, name: str) -> LintedTensor:
        """Return the tensor of codes called ``name`` with the parameters of a Q or DQ."""
        plain = self.plain(name)
        known = self.has_values(node, 1)
        scale = self.array(node.input[1]).astype(np.float64).reshape(-1) if known else np.empty(0)
        zero_point = np.zeros(scale.size, np.int64)
        dtype = plain.dtype
        if self.has_values(node, 2):
            zero_point = np.broadcast_to(self.array(node.input[2]).reshape(-1), scale.shape).astype(np.int64)
            dtype = _type_name(self.constants[node.input[2]].data_type)
        elif node.op_type == "QuantizeLinear" and dtype not in ("int8", "uint8", "int16", "uint16"):
            dtype = "uint8"  # what the operator writes when it is given no zero point
        return LintedTensor(
            name=name,
            dtype=dtype,
            shape=plain.shape,
            scale=tuple(scale.tolist()),
            zero_point=tuple(int(one) for one in zero_point),
            axis=_axis_of(node, plain.shape) if scale.size > 1 else None,
            codes=plain.codes,
            is_constant=plain.is_constant,
        )

    def plain(self, name: str) -> LintedTensor:
        """Return a value as it stands in the file."""
        if name in self.constants:
            tensor = self.constants[name]
            return LintedTensor(
                name=name,
                dtype=_type_name(tensor.data_type),
                shape=tuple(tensor.dims),
                codes=None if _is_elsewhere(tensor) else self.array(name),
                is_constant=True,
            )
        kind = self.values.get(name)
        has_shape = kind is not None and kind.HasField("shape")
        return LintedTensor(
            name=name,
            dtype=_type_name(kind.elem_type)
            if kind is not None and kind.elem_type
            else self.guessed.get(name, "float32"),
            shape=tuple(one.dim_value if one.HasField("dim_value") else -1 for one in kind.shape.dim)
            if kind is not None and has_shape
            else None,
        )

    def has_values(self, node: onnx.NodeProto, place: int) -> bool:
        """Tell whether an input is a constant whose values are in this file."""
        found = self.constants.get(node.input[place]) if has(node, place) else None
        return found is not None and not _is_elsewhere(found)

    def array(self, name: str) -> NDArray[np.generic]:
        """Return a constant's values."""
        return np.asarray(numpy_helper.to_array(self.constants[name]))


def _is_elsewhere(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def has(node: onnx.NodeProto, place: int) -> bool:
    """Tell whether a node has an input at a place."""
    return len(node.input) > place and bool(node.input[place])


def attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto | None:
    """Return an attribute; None when the node has none of that name."""
    return next((one for one in node.attribute if one.name == name), None)


def integers(node: onnx.NodeProto, name: str) -> tuple[int, ...]:
    """Return an attribute's numbers; none when it is absent."""
    found = attribute(node, name)
    return () if found is None else tuple(found.ints)


def integer(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return an attribute's number, or its default."""
    found = attribute(node, name)
    return default if found is None else int(found.i)


def _axis_of(node: onnx.NodeProto, shape: tuple[int, ...] | None) -> int:
    axis = integer(node, "axis", 1)
    return axis % len(shape) if shape else axis


def _type_name(data_type: int) -> str:
    name = onnx.TensorProto.DataType.Name(data_type).lower()
    return _TYPE_NAMES.get(name, name)
