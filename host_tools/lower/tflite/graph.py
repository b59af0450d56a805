"""`GraphBuilder`: a TFLite subgraph as plain data, before it becomes bytes.

It knows tensors, operators and constants by their schema names and nothing of ONNX or of plans.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from host_tools.errors import LoweringError
from host_tools.lower.tflite import versions
from host_tools.packing import packed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from device_agent.contract.manifest import WireType
    from host_tools.plan.quantization_plan import IntegerType

TfliteType = Literal["FLOAT32", "INT8", "UINT8", "INT16", "INT32", "INT64", "BOOL", "INT4", "FLOAT16"]

TYPE_OF_DTYPE: Mapping[WireType, TfliteType] = MappingProxyType(
    {
        "float32": "FLOAT32",
        "int8": "INT8",
        "uint8": "UINT8",
        "int16": "INT16",
        "int32": "INT32",
        "int64": "INT64",
        "bool": "BOOL",
    }
)

_TYPE_OF_CODES: Mapping[IntegerType, TfliteType] = MappingProxyType(
    {"int8": "INT8", "uint8": "UINT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "int4": "INT4"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """real = scale * (code - zero_point), as the file holds it.

    Attributes:
        scale: float32 values, one, or one per channel.
        zero_point: One per scale.
        axis: ``quantized_dimension`` in the tensor's own layout; 0 when there is one scale.
        dtype: Type of the codes.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0
    dtype: IntegerType = "int8"

    @classmethod
    def of(
        cls, scale: Sequence[float], zero_point: Sequence[int], axis: int = 0, dtype: IntegerType = "int8"
    ) -> Quantization:
        """Round scales to float32; scales that are all the same become one."""
        scales = tuple(float(np.float32(value)) for value in scale)
        points = tuple(int(value) for value in zero_point)
        if len(set(scales)) == 1 and len(set(points)) == 1:
            return cls(scale=scales[:1], zero_point=points[:1], dtype=dtype)
        return cls(scale=scales, zero_point=points, axis=axis, dtype=dtype)

    @property
    def type(self) -> TfliteType:
        """The type of the codes as the schema calls it."""
        return _TYPE_OF_CODES[self.dtype]

    @property
    def low(self) -> int:
        """The lowest code."""
        return int(np.iinfo(self.dtype).min)

    @property
    def high(self) -> int:
        """The highest code."""
        return int(np.iinfo(self.dtype).max)

    @property
    def is_per_channel(self) -> bool:
        """More than one scale."""
        return len(self.scale) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor: ``data`` is None for activations, the little-endian bytes for constants."""

    name: str
    shape: tuple[int, ...]
    type: TfliteType
    quantization: Quantization | None
    data: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A table of the union ``BuiltinOptions``: its name (``Conv2DOptions``) and the fields that differ from their defaults."""

    kind: str
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator: builtin name, version, tensor indices (-1 for an absent optional input) and options."""

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options | None


class GraphBuilder:
    """Tensors and operators in the order they were added.

    Attributes:
        tensors: All tensors; an index into this list is what operators and callers hold.
        operators: In order of execution.
    """

    def __init__(self, max_op_versions: Mapping[str, int]) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self._max_op_versions = max_op_versions
        self._constants: dict[tuple[object, ...], int] = {}
        self._names: set[str] = set()

    def tensor(
        self, name: str, shape: Sequence[int], dtype: TfliteType, quantization: Quantization | None = None
    ) -> int:
        """Add an activation; a name that is taken gets a number behind it. Returns its index."""
        return self._append(name, tuple(int(extent) for extent in shape), dtype, quantization, None)

    def constant(
        self, name: str, values: NDArray[np.generic], quantization: Quantization | None = None
    ) -> int:
        """Add a constant, or return the index of an equal one (same bytes, type, shape and quantization); 4-bit codes come as int8."""
        array = np.ascontiguousarray(values)
        dtype: TfliteType | None = "FLOAT16" if array.dtype == np.float16 else None
        dtype = dtype or next(
            (code for name, code in TYPE_OF_DTYPE.items() if name == array.dtype.name), None
        )
        if dtype is None:
            raise LoweringError(
                f"Constant {name!r} is of type {array.dtype}; TFLite files are written with {', '.join(TYPE_OF_DTYPE)}.",
                hint="Change the Cast in front of it, or choose a target of another format.",
            )
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        if quantization is not None and quantization.dtype == "int4":
            dtype = "INT4"
            data = packed(np.bitwise_and(array.reshape(-1), 0x0F).astype(np.uint8), bits=4).tobytes()
        key = (data, dtype, array.shape, quantization)
        if key not in self._constants:
            self._constants[key] = self._append(name, array.shape, dtype, quantization, data)
        return self._constants[key]

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Options | None = None,
        *,
        where: str,
    ) -> None:
        """Add an operator in the lowest version that expresses it.

        Args:
            name: Builtin operator, e.g. ``CONV_2D``.
            inputs: Tensor indices, -1 for an absent optional input.
            outputs: Tensor indices.
            options: Its options table, or None where the schema has none.
            where: The node of the canonical graph, for messages.

        Raises:
            LoweringError: The target accepts only older versions.
        """
        version = versions.lowest(
            name,
            [self.tensors[index] for index in inputs if index >= 0],
            [self.tensors[index] for index in outputs],
            options,
        )
        limit = self._max_op_versions.get(name)
        if limit is not None and version > limit:
            raise LoweringError(
                f"{where}: needs {name} version {version}, but the target accepts at most version {limit} "
                f"({versions.reason(name, version)}).",
                hint=versions.cure(),
            )
        self.operators.append(
            Operator(
                name=name, version=version, inputs=tuple(inputs), outputs=tuple(outputs), options=options
            )
        )

    def accepts(self, name: str, version: int) -> bool:
        """Whether the target takes that version of the operator."""
        return version <= self._max_op_versions.get(name, version)

    def rename(self, index: int, name: str) -> None:
        """Give an activation another name."""
        tensor = self.tensors[index]
        if tensor.name != name:
            self._names.discard(tensor.name)
            self.tensors[index] = replace(tensor, name=self._fresh(name))

    def _append(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: TfliteType,
        quantization: Quantization | None,
        data: bytes | None,
    ) -> int:
        self.tensors.append(
            Tensor(name=self._fresh(name), shape=shape, type=dtype, quantization=quantization, data=data)
        )
        return len(self.tensors) - 1

    def _fresh(self, name: str) -> str:
        candidate, number = name, 1
        while candidate in self._names:
            candidate, number = f"{name}_{number}", number + 1
        self._names.add(candidate)
        return candidate
