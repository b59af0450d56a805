"""`read_tflite`: a ``.tflite`` file as it stands: tensors, operators and graphs by their schema names. Judges nothing and converts nothing.

The bytes are not trusted. A table that points outside the file makes the schema's classes raise whatever they like, which every caller
turns into one error of its own; what they would follow without end, or blow up (vectors shared by many tables), is bounded here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from host_tools.packing import unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FILE_IDENTIFIER: Final = b"TFL3"
MOST_AXES: Final = 32

_MOST_OPERATORS: Final = 100_000
_MOST_TENSORS: Final = 1_000_000
_MOST_OPERANDS: Final = 4_096
_MOST_NUMBERS: Final = 1 << 24
"""Scales and operands of all tables together: many tables can name one long vector, and a small file would fill the memory."""

_FIELDS: Final = frozenset(
    {
        "AdjX", "AdjY", "AlignCorners", "Alpha", "Approximate", "Axis", "BatchDims", "BeginMask", "Beta", "BlockSize", "DepthMultiplier",
        "DilationHFactor", "DilationWFactor", "EllipsisMask", "EndMask", "Exclusive", "FilterHeight", "FilterWidth", "FusedActivationFunction",
        "HalfPixelCenters", "KeepDims", "KeepNumDims", "Mode", "NewAxisMask", "NumSplits", "Offset", "OutputType", "Padding", "Reverse",
        "ShrinkAxisMask", "StrideH", "StrideW", "WeightsFormat",
    }
)  # fmt: skip
"""Fields of options tables that somebody asks for: numbers all."""
_VECTORS: Final = ("NewShape", "SqueezeDims")
"""Fields that are vectors of numbers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileTensor:
    """One tensor; real = scale * (code - zero_point).

    Attributes:
        name: Its name in the file; may be empty, or that of others.
        dtype: Stored type as NumPy spells it, also ``int4``, ``bfloat16``; the schema's own word, in lower case, for any other.
        shape: Extents as an interpreter allocates them.
        signature: The same, -1 where the file leaves an extent open.
        scale: One entry, or one per channel; empty when the tensor is not quantized.
        zero_point: One entry per scale.
        axis: Channel axis of several scales; None per tensor.
        content: A constant's bytes, a view into the file; None for others.
        is_sparse: Whether a constant is stored without its zeros.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    axis: int | None = None
    content: NDArray[np.uint8] | None = None
    is_sparse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileOperator:
    """One operator.

    Attributes:
        kind: Builtin name, e.g. ``CONV_2D``; ``custom 'Name'``; ``builtin 999`` where the schema classes know no name.
        version: Its version.
        inputs: Indices of tensors; -1 for an optional one that is absent.
        outputs: Indices of tensors.
        settings: Numbers of its options table by the schema's field name in camel case: ``StrideH``.
        vectors: Vectors of its options table, likewise: ``NewShape``.
    """

    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    settings: Mapping[str, float]
    vectors: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileGraph:
    """One subgraph; every index in it is one of its tensors."""

    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TfliteFile:
    """The file: the schema's version, and at least one graph; the first is the one that runs."""

    schema: int
    graphs: tuple[FileGraph, ...]


def is_tflite(data: bytes) -> bool:
    """Tell whether bytes carry the format's mark."""
    return data[4:8] == FILE_IDENTIFIER


def read_tflite(data: bytes) -> TfliteFile:
    """Return what the file says.

    Raises:
        ValueError: It is no TFLite file, or is beyond what a model of that format can be.
        Exception: Whatever the schema's classes raise on bytes that are not sound.
    """
    if not is_tflite(data):
        raise ValueError(f"expected the mark {FILE_IDENTIFIER.decode()!r} at byte 4, got {data[4:8]!r}")
    return _Reader(data).read()


def values_of(tensor: FileTensor) -> NDArray[np.generic] | None:
    """Return a constant's stored values, a view where the type allows; None for types that NumPy has not, and for no constant.

    Raises:
        ValueError: The bytes are not as many as shape and type ask for.
    """
    content, shape = tensor.content, tensor.shape
    if content is None:
        return None
    size = math.prod(shape)
    if tensor.dtype in ("int4", "uint4"):
        flat = unpacked(content, size, bits=4).astype(np.int8)
        signed: NDArray[np.int8] = np.where(flat > 7, flat - 16, flat).astype(np.int8)
        return (signed if tensor.dtype == "int4" else flat).reshape(shape)
    if tensor.dtype not in _STORED:
        return None
    stored = np.dtype(_STORED[tensor.dtype]).newbyteorder("<")
    values: NDArray[np.generic] = content != 0 if stored == np.bool_ else content.view(stored)
    if values.size != size:
        raise ValueError(
            f"a constant of shape {list(shape)} and type {tensor.dtype} has {content.size} bytes"
        )
    return values.reshape(shape)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._model = schema.Model.GetRootAs(data, 0)
        self._room = _MOST_NUMBERS
        self._codes = [self._code(index) for index in range(_few(self._model.OperatorCodesLength(), "codes"))]

    def read(self) -> TfliteFile:
        count = _few(self._model.SubgraphsLength(), "subgraphs")
        if not count:
            raise ValueError("it has no subgraph")
        graphs: list[FileGraph] = []
        room = _MOST_OPERATORS
        for index in range(count):
            graphs.append(self._graph(self._model.Subgraphs(index), room=room))
            room -= len(graphs[-1].operators)
        return TfliteFile(schema=int(self._model.Version()), graphs=tuple(graphs))

    def _graph(self, graph: Any, *, room: int) -> FileGraph:
        tensors = self._tensors(graph)
        if graph.OperatorsLength() > room:
            raise ValueError(f"it has more than {_MOST_OPERATORS} operators")
        count = len(tensors)
        return FileGraph(
            tensors=tensors,
            operators=tuple(
                self._operator(graph.Operators(index), count) for index in range(graph.OperatorsLength())
            ),
            inputs=_indices(self._taken(graph.InputsAsNumpy()), count),
            outputs=_indices(self._taken(graph.OutputsAsNumpy()), count),
        )

    def _code(self, index: int) -> tuple[str, int]:
        """Return an operator code's name and version."""
        code = self._model.OperatorCodes(index)
        number = max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))
        if number == schema.BuiltinOperator.CUSTOM:
            return f"custom {_text(code.CustomCode())!r}", int(code.Version())
        return _BUILTINS.get(number, f"builtin {number}"), int(code.Version())

    def _tensors(self, graph: Any) -> tuple[FileTensor, ...]:
        if graph.TensorsLength() > _MOST_TENSORS:
            raise ValueError(f"a subgraph has {graph.TensorsLength()} tensors")
        return tuple(self._tensor(graph.Tensors(index)) for index in range(graph.TensorsLength()))

    def _tensor(self, tensor: Any) -> FileTensor:
        shape = _extents(self._taken(tensor.ShapeAsNumpy()))
        signature = _extents(self._taken(tensor.ShapeSignatureAsNumpy()))
        scale, zero_point, axis = self._quantization(tensor.Quantization())
        return FileTensor(
            name=_text(tensor.Name()),
            dtype=_TYPES.get(tensor.Type(), f"type {tensor.Type()}"),
            shape=shape,
            signature=signature if len(signature) == len(shape) and min(signature, default=0) < 0 else shape,
            scale=scale,
            zero_point=zero_point,
            axis=axis,
            content=self._buffer(tensor.Buffer()),
            is_sparse=tensor.Sparsity() is not None,
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

    def _operator(self, operator: Any, tensors: int) -> FileOperator:
        if not 0 <= operator.OpcodeIndex() < len(self._codes):
            raise ValueError(f"an operator names code {operator.OpcodeIndex()} of {len(self._codes)}")
        kind, version = self._codes[operator.OpcodeIndex()]
        options = _options(operator)
        return FileOperator(
            kind=kind,
            version=version,
            inputs=_indices(self._taken(operator.InputsAsNumpy()), tensors, lowest=-1),
            outputs=_indices(self._taken(operator.OutputsAsNumpy()), tensors),
            settings=MappingProxyType(_settings(options)),
            vectors=MappingProxyType(self._vectors(options)),
        )

    def _vectors(self, options: Any) -> dict[str, tuple[int, ...]]:
        found = {}
        for name in _VECTORS:
            read = getattr(options, f"{name}AsNumpy", None)
            taken = self._taken(read()) if read is not None else ()
            if taken:
                found[name] = tuple(map(int, taken))
        return found


def _options(operator: Any) -> Any:
    """Return an operator's options table in its own class; None where it has none that the schema classes know."""
    table = operator.BuiltinOptions()
    kind = _OPTIONS.get(operator.BuiltinOptionsType())
    if table is None or kind is None:
        return None
    options = getattr(schema, kind)()
    options.Init(table.Bytes, table.Pos)
    return options


def _settings(options: Any) -> dict[str, float]:
    return {name: float(getattr(options, name)()) for name in _FIELDS if hasattr(options, name)}


def _indices(vector: Sequence[int], tensors: int, *, lowest: int = 0) -> tuple[int, ...]:
    for index in vector:
        if not lowest <= index < tensors:
            raise ValueError(f"a tensor index is {index}; the subgraph has {tensors} tensors")
    return tuple(vector)


def _extents(vector: Sequence[int]) -> tuple[int, ...]:
    if len(vector) > MOST_AXES or min(vector, default=0) < -1:
        raise ValueError(f"a tensor's shape is {list(vector[:MOST_AXES])}")
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
_TYPES: Final = {value: name.lower() for value, name in _names(schema.TensorType).items()}
ACTIVATION_FUNCTIONS: Final = MappingProxyType(_names(schema.ActivationFunctionType))
"""Names of fused activations by their code in ``FusedActivationFunction``."""
DTYPES: Final = MappingProxyType(_TYPES)
"""`FileTensor.dtype` by the schema's code, for ``OutputType``."""
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
        "bool": np.bool_,
    }
)
