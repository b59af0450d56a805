"""`serialize`: a finished graph becomes the bytes of a ``.tflite`` file. The only file that touches the schema classes.

The same graph gives the same bytes: nothing here depends on time, hashing order or the machine. Buffers are aligned to 16 bytes, as
the schema's ``force_align`` asks and delegates that map the file rely on; buffer 0 is empty, as readers expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from host_tools.errors import LoweringError
from host_tools.lower.tflite import versions
from host_tools.tflite_file import FILE_IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.lower.tflite.graph import GraphBuilder, Operator, Options, Quantization, Tensor

SCHEMA_VERSION = 3
BUFFER_ALIGNMENT = 16
SIGNATURE = "serving_default"

_MAX_FILE_BYTES = (1 << 31) - 1
_BYTES_OF_A_TABLE = 512
"""More than a tensor with its buffer, or an operator with its options, takes beside name, scales and constant."""
_BYTES_OF_A_SCALE = 12
"""A float32 scale and an int64 zero point."""

_LAST_DEPRECATED_CODE = 127
"""Readers older than the field ``builtin_code`` see one byte; larger codes are written there as this placeholder.

Source: tflite/schema/schema.fbs, table OperatorCode; ``PLACEHOLDER_FOR_GREATER_OP_CODES``."""

_RUNTIME_VERSION_KEY = "min_runtime_version"
_RUNTIME_VERSION_BYTES = 16
"""Source: tflite/converter/tools/versioning/runtime_version.cc, UpdateMinimumRuntimeVersionForModel."""


def serialize(
    graph: GraphBuilder,
    *,
    inputs: Sequence[int],
    outputs: Sequence[int],
    description: str,
) -> bytes:
    """Return the file.

    Args:
        graph: Tensors and operators.
        inputs: Indices of the subgraph's inputs; their names become the signature's keys.
        outputs: Indices of its outputs, likewise.
        description: One line about the model, kept in the file.

    Raises:
        LoweringError: The file would be larger than the format's 2 GiB.
    """
    buffers = _Buffers()
    codes = sorted({(operator.name, operator.version) for operator in graph.operators})
    subgraph = schema.SubGraphT(
        tensors=[_tensor(tensor, buffers) for tensor in graph.tensors],
        inputs=list(inputs),
        outputs=list(outputs),
        operators=[
            _operator(operator, codes.index((operator.name, operator.version)))
            for operator in graph.operators
        ],
        name="main",
    )
    model = schema.ModelT(
        version=SCHEMA_VERSION,
        operatorCodes=[_operator_code(name, version) for name, version in codes],
        subgraphs=[subgraph],
        description=description,
        metadata=[
            schema.MetadataT(
                name=_RUNTIME_VERSION_KEY, buffer=buffers.add(_runtime_version(versions.runtime(codes)))
            )
        ],
        signatureDefs=[_signature(graph, inputs, outputs)],
        buffers=buffers.tables,
    )
    size = sum(len(table.data) for table in buffers.tables if table.data is not None)
    if size > _MAX_FILE_BYTES - (1 << 24):
        raise LoweringError(
            f"The model's constants take {size} bytes; a .tflite file holds less than 2 GiB.",
            hint="Use a smaller model or another target format.",
        )
    # A builder that runs out of room doubles, with the old and the new bytes in memory at once.
    builder = flatbuffers.Builder(min(size + _beside_constants(graph), _MAX_FILE_BYTES))
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(memoryview(builder.Bytes)[builder.Head() :])  # Output() would be one more copy of everything


def _beside_constants(graph: GraphBuilder) -> int:
    """Return the bytes to keep free for all that is no constant: rather too many, which nothing touches, than too few."""
    scales = sum(
        len(tensor.quantization.scale) for tensor in graph.tensors if tensor.quantization is not None
    )
    names = sum(len(tensor.name.encode()) for tensor in graph.tensors)
    return (
        _BYTES_OF_A_TABLE * (len(graph.tensors) + len(graph.operators) + 64)
        + _BYTES_OF_A_SCALE * scales
        + 2 * names  # inputs and outputs have theirs in the signature again
    )


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # the generated base class has no types
    """A buffer whose data start on a 16-byte boundary; the generated class aligns to one byte."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802  # name of the generated method it replaces
        data = None
        if self.data is not None:
            builder.StartVector(1, len(self.data), BUFFER_ALIGNMENT)
            builder.head -= len(self.data)
            # Through a view: a bytearray makes a bytearray of what its slice is set to, one more copy of the constant.
            memoryview(builder.Bytes)[builder.head : builder.head + len(self.data)] = self.data
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


class _Buffers:
    """The file's buffers; equal contents share one."""

    def __init__(self) -> None:
        self.tables: list[Any] = [_AlignedBuffer()]
        self._known: dict[bytes, int] = {}

    def add(self, data: bytes | None) -> int:
        if data is None:
            return 0
        if data not in self._known:
            self._known[data] = len(self.tables)
            self.tables.append(_AlignedBuffer(data=data))
        return self._known[data]


def _tensor(tensor: Tensor, buffers: _Buffers) -> Any:
    return schema.TensorT(
        shape=list(tensor.shape),
        type=getattr(schema.TensorType, tensor.type),
        buffer=buffers.add(tensor.data),
        name=tensor.name,
        quantization=_quantization(tensor.quantization),
        hasRank=True,
    )


def _quantization(quantization: Quantization | None) -> Any:
    if quantization is None:
        return None
    return schema.QuantizationParametersT(
        scale=np.asarray(quantization.scale, np.float32),
        zeroPoint=np.asarray(quantization.zero_point, np.int64),
        quantizedDimension=quantization.axis,
    )


def _operator(operator: Operator, code: int) -> Any:
    table = schema.OperatorT(opcodeIndex=code, inputs=list(operator.inputs), outputs=list(operator.outputs))
    if operator.options is not None:
        table.builtinOptionsType = getattr(schema.BuiltinOptions, operator.options.kind)
        table.builtinOptions = _options(operator.options)
    return table


def _options(options: Options) -> Any:
    table = getattr(schema, f"{options.kind}T")()
    for name, value in options.fields.items():
        if not hasattr(table, name):
            raise LoweringError(
                f"The TFLite schema has no field {name!r} in {options.kind}; this is a defect of the lowering."
            )
        setattr(table, name, value)
    return table


def _operator_code(name: str, version: int) -> Any:
    code = getattr(schema.BuiltinOperator, name)
    return schema.OperatorCodeT(
        deprecatedBuiltinCode=min(code, _LAST_DEPRECATED_CODE), builtinCode=code, version=version
    )


def _runtime_version(version: str) -> bytes:
    return version.encode().ljust(_RUNTIME_VERSION_BYTES, b"\0")


def _signature(graph: GraphBuilder, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
    return schema.SignatureDefT(
        inputs=[schema.TensorMapT(name=graph.tensors[index].name, tensorIndex=index) for index in inputs],
        outputs=[schema.TensorMapT(name=graph.tensors[index].name, tensorIndex=index) for index in outputs],
        signatureKey=SIGNATURE,
        subgraphIndex=0,
    )
