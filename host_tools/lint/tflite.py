"""Read a ``.tflite`` file into facts, through the schema's own classes, table by table: only what is asked for is ever looked at.

The bytes are not trusted. A table that points outside the file makes the schema's classes raise, which `host_tools.lint.reading` turns
into one error; what they would follow without end, or blow up (vectors shared by many tables), is bounded here.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from host_tools.lint.facts import LintedFile, LintedOp, LintedTensor, channels_first
from host_tools.lint.tflite_operators import ACTIVATIONS, OPERATORS, BuiltinOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FILE_IDENTIFIER: Final = b"TFL3"

_MOST_OPERATORS: Final = 100_000
_MOST_TENSORS: Final = 1_000_000
_MOST_OPERANDS: Final = 4_096
_MOST_NUMBERS: Final = 1 << 24
"""Scales and operands of all tables together: many tables can name one long vector, and a small file would fill the memory."""
_MOST_AXES: Final = 32
_CHANNELS_LAST: Final = (0, 2, 3, 1)
"""Axis of ONNX's channels-first order for each axis of a rank-4 tensor; TFLite's operators are channels last."""

_FIELDS: Final = frozenset(
    {
        "AdjX", "AdjY", "AlignCorners", "Alpha", "Axis", "BeginMask", "Beta", "BlockSize", "DepthMultiplier", "DilationHFactor",
        "DilationWFactor", "EllipsisMask", "EndMask", "FilterHeight", "FilterWidth", "FusedActivationFunction", "HalfPixelCenters", "KeepDims",
        "KeepNumDims", "NewAxisMask", "NumSplits", "Offset", "Padding", "ShrinkAxisMask", "StrideH", "StrideW", "WeightsFormat",
    }
)  # fmt: skip
"""Fields of options tables that rules ask for: numbers all."""


def read_tflite(data: bytes) -> LintedFile:
    """Return what the file says.

    Raises:
        ValueError: It is no TFLite file, or is beyond what a model of that format can be.
        Exception: Whatever the schema's classes raise on bytes that are not sound.
    """
    if data[4:8] != FILE_IDENTIFIER:
        raise ValueError(f"expected the mark {FILE_IDENTIFIER.decode()!r} at byte 4, got {data[4:8]!r}")
    return _Reader(data).read()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._model = schema.Model.GetRootAs(data, 0)
        self._room = _MOST_NUMBERS
        self._codes = [self._code(index) for index in range(_few(self._model.OperatorCodesLength(), "codes"))]

    def read(self) -> LintedFile:
        count = _few(self._model.SubgraphsLength(), "subgraphs")
        if not count:
            raise ValueError("it has no subgraph")
        main = self._model.Subgraphs(0)
        ops: list[LintedOp] = []
        for index in range(count):
            graph = self._model.Subgraphs(index)
            prefix = "" if index == 0 else f"subgraph {index}: "
            ops += self._operators(graph, self._tensors(graph), prefix, room=_MOST_OPERATORS - len(ops))
        tensors = self._tensors(main)
        return LintedFile(
            format="tflite",
            schema=int(self._model.Version()),
            inputs=tuple(tensors[index] for index in _indices(self._taken(main.InputsAsNumpy()), tensors)),
            outputs=tuple(tensors[index] for index in _indices(self._taken(main.OutputsAsNumpy()), tensors)),
            ops=tuple(ops),
        )

    def _code(self, index: int) -> tuple[str, int]:
        """Return an operator code's name and version."""
        code = self._model.OperatorCodes(index)
        number = max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))
        if number == schema.BuiltinOperator.CUSTOM:
            return f"custom {_text(code.CustomCode())!r}", int(code.Version())
        return _BUILTINS.get(number, f"builtin {number}"), int(code.Version())

    def _tensors(self, graph: Any) -> list[LintedTensor]:
        if graph.TensorsLength() > _MOST_TENSORS:
            raise ValueError(f"a subgraph has {graph.TensorsLength()} tensors")
        return [self._tensor(graph.Tensors(index)) for index in range(graph.TensorsLength())]

    def _tensor(self, tensor: Any) -> LintedTensor:
        dtype = _TYPES.get(tensor.Type(), f"type {tensor.Type()}")
        shape = _extents(self._taken(tensor.ShapeAsNumpy()))
        signature = _extents(self._taken(tensor.ShapeSignatureAsNumpy()))
        scale, zero_point, axis = self._quantization(tensor.Quantization())
        content = self._buffer(tensor.Buffer())
        return LintedTensor(
            name=_text(tensor.Name()),
            dtype=dtype,
            shape=signature if len(signature) == len(shape) and min(signature, default=0) < 0 else shape,
            scale=scale,
            zero_point=zero_point,
            axis=axis,
            codes=None if content is None else _values(content, dtype, shape),
            is_constant=content is not None,
        )

    def _quantization(self, table: Any) -> tuple[tuple[float, ...], tuple[int, ...], int | None]:
        """Return scales, zero points and axis."""
        if table is None:
            return (), (), None
        scale = tuple(map(float, self._taken(table.ScaleAsNumpy())))
        zero_point = tuple(map(int, self._taken(table.ZeroPointAsNumpy())))
        if len(zero_point) < 2:
            zero_point = (zero_point or (0,)) * len(scale)
        if len(zero_point) != len(scale):
            raise ValueError(f"a tensor has {len(scale)} scales and {len(zero_point)} zero points")
        return scale, zero_point, int(table.QuantizedDimension()) if len(scale) > 1 else None

    def _taken(self, vector: Any) -> Sequence[Any]:
        """Return a vector's numbers, against the room that all vectors share; the schema's classes say 0 for one that is absent."""
        if np.isscalar(vector):
            return ()
        self._room -= vector.size
        if self._room < 0:
            raise ValueError(f"its tables name more than {_MOST_NUMBERS} numbers")
        found: Sequence[Any] = vector.tolist()
        return found

    def _buffer(self, index: int) -> NDArray[np.uint8] | None:
        """Return a constant's bytes; None for activations, whose buffer is empty."""
        if not 0 <= index < self._model.BuffersLength():
            raise ValueError(f"a tensor names buffer {index} of {self._model.BuffersLength()}")
        buffer = self._model.Buffers(index)
        if buffer.Offset() > 1:  # behind the table: files beyond 2 GiB
            content = self._data[buffer.Offset() : buffer.Offset() + buffer.Size()]
            return np.frombuffer(content, np.uint8)
        data = buffer.DataAsNumpy()
        return data if isinstance(data, np.ndarray) and data.size else None

    def _operators(
        self, graph: Any, tensors: Sequence[LintedTensor], prefix: str, *, room: int
    ) -> list[LintedOp]:
        if graph.OperatorsLength() > room:
            raise ValueError(f"it has more than {_MOST_OPERATORS} operators")
        return [
            self._operator(graph.Operators(index), tensors, prefix)
            for index in range(graph.OperatorsLength())
        ]

    def _operator(self, operator: Any, tensors: Sequence[LintedTensor], prefix: str) -> LintedOp:
        if not 0 <= operator.OpcodeIndex() < len(self._codes):
            raise ValueError(f"an operator names code {operator.OpcodeIndex()} of {len(self._codes)}")
        kind, version = self._codes[operator.OpcodeIndex()]
        outputs = [tensors[index] for index in _indices(self._taken(operator.OutputsAsNumpy()), tensors)]
        given = [
            tensors[index] if index >= 0 else None
            for index in _indices(self._taken(operator.InputsAsNumpy()), tensors, lowest=-1)
        ]
        known = OPERATORS.get(kind, BuiltinOperator(stands_for=()))
        places = range(len(given)) if known.data is None else known.data
        data = [tensor for place in places if (tensor := _at(given, place)) is not None]
        settings = _settings(operator)
        weight = _at(given, known.weight)
        return LintedOp(
            name=prefix + (outputs[0].name if outputs else kind),
            kind=kind,
            stands_for=_stands_for(kind, known, data, settings),
            version=version,
            data=tuple(data),
            weight=None if weight is None else channels_first(weight, known.channel_axis),
            bias=_at(given, known.bias),
            outputs=tuple(outputs),
            strides=_pair(settings, "StrideH", "StrideW"),
            kernel=_kernel(settings, weight, kind),
            dilations=_pair(settings, "DilationHFactor", "DilationWFactor"),
            axes=_axes(kind, data, _at(given, known.axes), _at(given, 1), settings),
            mode=known.mode,
            activation=ACTIVATIONS[_FUSED.get(int(settings.get("FusedActivationFunction", 0)), "NONE")],
            is_conversion=_is_conversion(kind, data, outputs),
            settings=MappingProxyType(settings),
            inputs=tuple(given),
        )


def _stands_for(
    kind: str, known: BuiltinOperator, data: Sequence[LintedTensor], settings: Mapping[str, float]
) -> tuple[str, ...]:
    """Return the operator types; a FULLY_CONNECTED of more than two axes is a MatMul and nothing else."""
    if kind == "FULLY_CONNECTED" and settings.get("KeepNumDims") and data and len(data[0].shape or ()) > 2:
        return ("MatMul",)
    return known.stands_for


def _is_conversion(kind: str, data: Sequence[LintedTensor], outputs: Sequence[LintedTensor]) -> bool:
    """Tell whether it only leads from reals to codes or back, or re-bases codes; a change of scale is arithmetic."""
    if kind == "DEQUANTIZE":
        return True
    ends = [tensor.dtype for tensor in (*data[:1], *outputs[:1])]
    return kind == "QUANTIZE" and len(set(ends)) == 2


def _kernel(settings: Mapping[str, float], weight: LintedTensor | None, kind: str) -> tuple[int, ...]:
    if weight is not None and weight.shape is not None and "CONV" in kind:
        return weight.shape[1:3]
    return _pair(settings, "FilterHeight", "FilterWidth")


def _axes(
    kind: str,
    data: Sequence[LintedTensor],
    listed: LintedTensor | None,
    second: LintedTensor | None,
    settings: Mapping[str, float],
) -> tuple[int, ...]:
    """Return the axes that an operator works on, in channels-first order; nothing where the order of axes cannot be known."""
    rank = len(data[0].shape or ()) if data else 0
    if rank not in (1, 2, 4):
        return ()
    found: Sequence[int] = ()
    if listed is not None and listed.codes is not None:
        found = [int(axis) for axis in listed.codes.reshape(-1)[:_MOST_AXES]]
    elif kind == "CONCATENATION":
        found = [int(settings.get("Axis", 0))]
    elif kind == "SOFTMAX":
        found = [rank - 1]
    elif "PAD" in kind and second is not None and second.codes is not None and second.codes.size == 2 * rank:
        found = [axis for axis, row in enumerate(second.codes.reshape(rank, 2)) if row.any()]
    order = _CHANNELS_LAST if rank == 4 else range(rank)
    return tuple(sorted({order[axis % rank] for axis in found}))


def _values(content: NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> NDArray[np.generic] | None:
    """Return a constant's values; None for types that no rule looks into."""
    size = math.prod(shape)
    if dtype in ("int4", "uint4"):
        low = (content & 0xF).astype(np.int8)
        high = (content >> 4).astype(np.int8)
        flat = np.stack([low, high], axis=1).reshape(-1)[:size]
        signed: NDArray[np.int8] = np.where(flat > 7, flat - 16, flat).astype(np.int8)
        return (signed if dtype == "int4" else flat).reshape(shape)
    if dtype not in _STORED:
        return None
    values: NDArray[np.generic] = content.view(np.dtype(_STORED[dtype]).newbyteorder("<"))
    if values.size != size:
        raise ValueError(f"a constant of shape {list(shape)} and type {dtype} has {content.size} bytes")
    return values.reshape(shape)


def _settings(operator: Any) -> dict[str, float]:
    """Return the numbers of an operator's options table."""
    table = operator.BuiltinOptions()
    kind = _OPTIONS.get(operator.BuiltinOptionsType())
    if table is None or kind is None:
        return {}
    options = getattr(schema, kind)()
    options.Init(table.Bytes, table.Pos)
    return {name: float(getattr(options, name)()) for name in _FIELDS if hasattr(options, name)}


def _pair(settings: Mapping[str, float], first: str, second: str) -> tuple[int, ...]:
    return (int(settings[first]), int(settings[second])) if first in settings else ()


def _at(given: Sequence[LintedTensor | None], place: int | None) -> LintedTensor | None:
    return given[place] if place is not None and place < len(given) else None


def _indices(vector: Sequence[int], tensors: Sequence[LintedTensor], *, lowest: int = 0) -> tuple[int, ...]:
    for index in vector:
        if not lowest <= index < len(tensors):
            raise ValueError(f"a tensor index is {index}; the subgraph has {len(tensors)} tensors")
    return tuple(vector)


def _extents(vector: Sequence[int]) -> tuple[int, ...]:
    if len(vector) > _MOST_AXES or min(vector, default=0) < -1:
        raise ValueError(f"a tensor's shape is {list(vector[:_MOST_AXES])}")
    return tuple(vector)


def _few(count: int, what: str) -> int:
    if count > _MOST_OPERANDS:
        raise ValueError(f"it has {count} {what}")
    return count


def _text(name: bytes | None) -> str:
    return (name or b"").decode("utf-8", "replace")


def _names(table: type) -> dict[int, str]:
    return {value: name for name, value in vars(table).items() if isinstance(value, int)}


_BUILTINS: Final = _names(schema.BuiltinOperator)
_OPTIONS: Final = {value: name for value, name in _names(schema.BuiltinOptions).items() if value}
_FUSED: Final = _names(schema.ActivationFunctionType)
_TYPES: Final = {value: name.lower() for value, name in _names(schema.TensorType).items()}
_STORED: Final = MappingProxyType(
    {
        "int8": np.int8,
        "uint8": np.uint8,
        "int16": np.int16,
        "uint16": np.uint16,
        "int32": np.int32,
        "int64": np.int64,
        "float32": np.float32,
        "float16": np.float16,
    }
)
