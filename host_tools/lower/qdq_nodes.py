"""Make the nodes and initializers of a QDQ graph: values with names of their own, Q, DQ and their parameters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from host_tools.errors import LoweringError
from host_tools.packing import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QParams

_DATA_TYPES: Final[Mapping[str, ir.DataType]] = {
    "int8": ir.DataType.INT8,
    "uint8": ir.DataType.UINT8,
    "int16": ir.DataType.INT16,
    "int32": ir.DataType.INT32,
}


_PAIRED: Final = 16
"""Largest codebook whose indices lie two in a byte."""
_ENOUGH_FOR_PAIRS: Final = 2 * _PAIRED**2 * 2 * 4
"""Numbers of a weight from which half a byte each is more than the table of pairs takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """A value as integers."""

    value: ir.Value
    qparams: QParams


@dataclass(slots=True, kw_only=True)
class QdqNodes:
    """What has been written, in order.

    Attributes:
        nodes: Nodes, topologically sorted if they are added so.
        initializers: Constants.
    """

    nodes: list[ir.Node] = field(default_factory=list)
    initializers: list[ir.Value] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _parameters: dict[str, list[ir.Value]] = field(default_factory=dict)
    _two: ir.Value | None = None

    def value(self, name: str, shape: ir.Shape | None, data_type: ir.DataType | None) -> ir.Value:
        """Return a new value.

        Raises:
            LoweringError: The name is in use: one of the model's own meets one that is made here.
        """
        if name in self._names:
            raise LoweringError(
                f"Value {name!r}: the lowering needs this name for itself.",
                hint="Rename that value in the model.",
            )
        self._names.add(name)
        return ir.Value(name=name, shape=shape, type=None if data_type is None else ir.TensorType(data_type))

    def initializer(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        """Return a new constant.

        Raises:
            LoweringError: The name is in use.
        """
        tensor = ir.tensor(array, name=name)
        value = self.value(name, ir.Shape(array.shape), tensor.dtype)
        value.const_value = tensor
        self.initializers.append(value)
        return value

    def float16(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        """Return a new constant that is stored in float16, as its readers get it: float32, behind a Cast.

        Raises:
            LoweringError: A name is in use.
        """
        stored = self.initializer(f"{name}/float16", array.astype(np.float16))
        real = self.value(name, stored.shape, ir.DataType.FLOAT)
        self.add("Cast", [stored], [real], [ir.AttrInt64("to", int(ir.DataType.FLOAT))], f"{name}/Cast")
        return real

    def looked_up(self, name: str, indices: NDArray[np.uint8], codebook: NDArray[np.float32]) -> ir.Value:
        """Return a new constant that is stored as indices into a codebook, as its readers get it: float32, behind a Gather.

        A Gather takes indices of 32 or 64 bits, so a Cast stands before it. Indices of 4 bits lie two in a byte, which looks up the pair of
        numbers that the two stand for: no operator unpacks, any opset will do, and the table of pairs takes 2 KiB; where that is more than
        half a byte a number, indices have a byte each.

        Args:
            name: The constant's.
            indices: Of its numbers, in its shape.
            codebook: At most 256 numbers.

        Raises:
            LoweringError: A name is in use.
        """
        if len(codebook) <= _PAIRED and indices.size > _ENOUGH_FOR_PAIRS:
            return self._looked_up_in_pairs(name, indices, codebook)
        shape = ir.Shape(indices.shape)
        return self._gathered(name, self.initializer(f"{name}/indices", indices), codebook, shape)

    def _looked_up_in_pairs(
        self, name: str, indices: NDArray[np.uint8], codebook: NDArray[np.float32]
    ) -> ir.Value:
        stored = packed(indices.reshape(-1), bits=4)
        whole = np.append(codebook, np.zeros(_PAIRED - len(codebook), np.float32))
        table = whole[unpacked(np.arange(_PAIRED**2, dtype=np.uint8)[:, None], 2, bits=4)]
        held = self.initializer(f"{name}/indices", stored)
        found = self._gathered(f"{name}/pairs", held, table, ir.Shape((stored.size, 2)))
        if indices.size % 2:
            flat = self._reshaped(f"{name}/padded", found, (2 * stored.size,))
            begin = self.initializer(f"{name}/begin", np.asarray([0], np.int64))
            end = self.initializer(f"{name}/end", np.asarray([indices.size], np.int64))
            found = self.value(f"{name}/flat", ir.Shape((indices.size,)), ir.DataType.FLOAT)
            self.add("Slice", [flat, begin, end], [found], (), f"{name}/Slice")
        return self._reshaped(name, found, indices.shape)

    def _gathered(
        self, name: str, indices: ir.Value, table: NDArray[np.float32], shape: ir.Shape
    ) -> ir.Value:
        """Look rows of a table up by constant bytes."""
        wide = self.value(f"{name}/int32", indices.shape, ir.DataType.INT32)
        to_int32 = [ir.AttrInt64("to", int(ir.DataType.INT32))]
        self.add("Cast", [indices], [wide], to_int32, f"{name}/Cast")
        held = self.initializer(f"{name}/codebook", table)
        real = self.value(name, shape, ir.DataType.FLOAT)
        self.add("Gather", [held, wide], [real], [ir.AttrInt64("axis", 0)], f"{name}/Gather")
        return real

    def _reshaped(self, name: str, source: ir.Value, shape: tuple[int, ...]) -> ir.Value:
        wanted = self.initializer(f"{name}/shape", np.asarray(shape, np.int64))
        result = self.value(name, ir.Shape(shape), ir.DataType.FLOAT)
        self.add("Reshape", [source, wanted], [result], (), f"{name}/Reshape")
        return result

    def add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        outputs: Sequence[ir.Value],
        attributes: Iterable[ir.Attr],
        name: str,
        *,
        domain: str = "",
    ) -> None:
        """Add a node, of the default domain unless another is given."""
        self.nodes.append(ir.Node(domain, op_type, inputs, attributes, outputs=outputs, name=name))

    def integer(self, name: str, shape: ir.Shape | None, qparams: QParams) -> Codes:
        """Return a new value of the parameters' integer type.

        Raises:
            LoweringError: ONNX cannot dequantize the type, or the name is in use.
        """
        return Codes(value=self.value(name, shape, _data_type(qparams, name)), qparams=qparams)

    def quantize(self, real: ir.Value, qparams: QParams, name: str) -> Codes:
        """Add a QuantizeLinear whose output is called ``name``.

        Raises:
            LoweringError: The plan does not use every code of the type, as the operator does, or it has a type or scale that ONNX lacks.
        """
        codes = self.integer(name, real.shape, qparams)
        limits = np.iinfo(_data_type(qparams, name).numpy())
        if (qparams.quant_min, qparams.quant_max) != (limits.min, limits.max):
            raise LoweringError(
                f"Value {name!r}: QuantizeLinear saturates to [{limits.min}, {limits.max}], the plan to "
                f"[{qparams.quant_min}, {qparams.quant_max}].",
                hint="A profile for ONNX must let activations use every code of their type.",
            )
        inputs = [real, *self._scale_and_zero_point(name, qparams)]
        self.add("QuantizeLinear", inputs, [codes.value], _axis(qparams), f"{name}/QuantizeLinear")
        return codes

    def dequantize(self, codes: Codes, name: str) -> ir.Value:
        """Add a DequantizeLinear whose output is called ``name``.

        Raises:
            LoweringError: A scale is not a normal float32.
        """
        return self._dequantize(codes, name, parameters=codes.value.name or "")

    def dequantize_shielded(self, codes: Codes, name: str) -> ir.Value:
        """Add a DequantizeLinear of half the scale and a Mul by 2, whose output is called ``name``; the same to the last bit.

        Raises:
            LoweringError: Half a scale is not a normal float32.
        """
        half = replace(codes.qparams, scale=tuple(scale / 2 for scale in codes.qparams.scale))
        halved = self._dequantize(
            Codes(value=codes.value, qparams=half), f"{name}/half", parameters=f"{name}/half"
        )
        if self._two is None:
            self._two = self.initializer("shield/two", np.asarray(2, np.float32))
        result = self.value(name, codes.value.shape, ir.DataType.FLOAT)
        self.add("Mul", [halved, self._two], [result], (), f"{name}/Mul")
        return result

    def _dequantize(self, codes: Codes, name: str, *, parameters: str) -> ir.Value:
        real = self.value(name, codes.value.shape, ir.DataType.FLOAT)
        inputs = [codes.value, *self._scale_and_zero_point(parameters, codes.qparams)]
        self.add("DequantizeLinear", inputs, [real], _axis(codes.qparams), f"{name}/DequantizeLinear")
        return real

    def _scale_and_zero_point(self, name: str, qparams: QParams) -> list[ir.Value]:
        """Return the constants of a value, which its Q and DQs share."""
        if name in self._parameters:
            return self._parameters[name]
        data_type = _data_type(qparams, name)
        with np.errstate(over="ignore"):  # refused below
            scale = np.asarray(qparams.scale, np.float64).astype(np.float32)
        zero_point = np.asarray(qparams.zero_point).astype(data_type.numpy())
        if not np.isfinite(scale).all() or (scale < np.finfo(np.float32).tiny).any():
            smallest, largest = min(qparams.scale), max(qparams.scale)
            raise LoweringError(
                f"Value {name!r}: scales {smallest} to {largest} are not all normal float32 numbers."
            )
        if qparams.axis is None:
            scale, zero_point = scale.reshape(()), zero_point.reshape(())
        found = [self.initializer(f"{name}/scale", scale)]
        # The zero point of int32 codes can only be 0, and some readers refuse that input.
        if data_type != ir.DataType.INT32:
            found.append(self.initializer(f"{name}/zero_point", zero_point))
        self._parameters[name] = found
        return found


def _axis(qparams: QParams) -> tuple[ir.Attr, ...]:
    return () if qparams.axis is None else (ir.AttrInt64("axis", qparams.axis),)


def _data_type(qparams: QParams, name: str) -> ir.DataType:
    try:
        return _DATA_TYPES[qparams.dtype]
    except KeyError:
        raise LoweringError(f"Value {name!r}: ONNX has no DequantizeLinear of {qparams.dtype}.") from None
