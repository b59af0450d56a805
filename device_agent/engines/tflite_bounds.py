"""Bounds check of a TFLite file: every table, vector and text that an interpreter follows lies within the file.

LiteRT checks that itself; tflite-runtime 2.14 does not, and a cut file ends its process with a segmentation fault. What it is not: a
check of meaning. Types, shapes and operator versions are the interpreter's business.

Source: FlatBuffers internals, "Tables" and "Vectors" (https://flatbuffers.dev/internals/); TensorFlow Lite ``schema.fbs``, version 3, for
the field numbers.
"""

from __future__ import annotations

import struct
from typing import Final

from device_agent.contract.errors import EngineError

_IDENTIFIER: Final = b"TFL3"
_MAX_TABLES: Final = 1_000_000
"""More tables than any model has: bounds the time for a file whose tables all point at the same place."""

_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_I32: Final = struct.Struct("<i")

_ITEM_BYTES: Final = {"bytes": 1, "int32s": 4, "float32s": 4, "int64s": 8}
# Table to the fields that hold offsets: field number to `_ITEM_BYTES` for a vector, a table's name, or a table's name and "[]".
_SCHEMA: Final = {
    "Model": {
        1: "OperatorCode[]",
        2: "SubGraph[]",
        3: "bytes",
        4: "Buffer[]",
        5: "int32s",
        6: "Metadata[]",
        7: "SignatureDef[]",
    },
    "OperatorCode": {1: "bytes"},
    "SubGraph": {0: "Tensor[]", 1: "int32s", 2: "int32s", 3: "Operator[]", 4: "bytes"},
    "Tensor": {0: "int32s", 3: "bytes", 4: "QuantizationParameters", 6: "Other", 7: "int32s"},
    "QuantizationParameters": {0: "float32s", 1: "float32s", 2: "float32s", 3: "int64s", 5: "Other"},
    "Operator": {1: "int32s", 2: "int32s", 4: "Other", 5: "bytes", 7: "bytes", 8: "int32s"},
    "Buffer": {0: "bytes"},
    "Metadata": {0: "bytes"},
    "SignatureDef": {0: "TensorMap[]", 1: "TensorMap[]", 2: "bytes"},
    "TensorMap": {0: "bytes"},
    "Other": {},
}


def require_bounds(data: bytes) -> None:
    """Walk the whole file.

    Raises:
        EngineError: Something of it would lie outside, or it is no TFLite file.
    """
    if data[4:8] != _IDENTIFIER:
        raise EngineError(f"not a TFLite file: expected {_IDENTIFIER!r} at byte 4, got {data[4:8]!r}.")
    try:
        _Walk(data).table("Model", _U32.unpack_from(data, 0)[0])
    except (struct.error, _OutsideError) as error:
        raise EngineError(f"the TFLite file is cut or damaged: {error}.") from error


class _OutsideError(Exception):
    pass


class _Walk:
    """One pass over a file; offsets are absolute."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._tables = 0

    def table(self, kind: str, position: int) -> None:
        self._tables += 1
        if self._tables > _MAX_TABLES:
            raise _OutsideError(f"more than {_MAX_TABLES} tables")
        data = self._data
        vtable = position - int(_I32.unpack_from(data, self._within(position, 4, kind))[0])
        vtable_size = int(_U16.unpack_from(data, self._within(vtable, 4, kind))[0])
        table_size = int(_U16.unpack_from(data, vtable + 2)[0])
        self._within(vtable, vtable_size, kind)
        self._within(position, table_size, kind)
        for field, what in _SCHEMA[kind].items():
            entry = 4 + 2 * field
            offset = int(_U16.unpack_from(data, vtable + entry)[0]) if entry + 2 <= vtable_size else 0
            if offset:
                self._follow(what, position + offset)

    def _follow(self, what: str, at: int) -> None:
        target = at + int(_U32.unpack_from(self._data, self._within(at, 4, what))[0])
        if what in _SCHEMA:
            self.table(what, target)
            return
        count = int(_U32.unpack_from(self._data, self._within(target, 4, what))[0])
        self._within(target + 4, count * _ITEM_BYTES.get(what, 4), what)
        if what.endswith("[]"):
            for item in range(target + 4, target + 4 + 4 * count, 4):
                self.table(what[:-2], item + int(_U32.unpack_from(self._data, item)[0]))

    def _within(self, start: int, length: int, what: str) -> int:
        if start < 0 or start + length > len(self._data):
            raise _OutsideError(f"{what} at byte {start} of {len(self._data)}")
        return start
