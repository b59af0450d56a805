"""What a model file says of itself, before it is brought into canonical form. Reads only; weights in other files are not touched."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import onnx

from host_tools.model.admission import is_quantized
from host_tools.model.from_tflite.importing import to_onnx
from host_tools.model.quantized.from_tflite import first_on_codes
from host_tools.tflite_file import is_tflite, read_tflite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Extent = int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredInput:
    """An input that is fed.

    Attributes:
        name: Its name.
        dtype: Element type as ONNX spells it: ``FLOAT``, ``INT64``.
        extents: A number, the name of a dynamic axis, or None for one without a name; None: no shape.
    """

    name: str
    dtype: str
    extents: tuple[Extent, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the file says.

    Attributes:
        opset: Of the default domain; 0 when it names none.
        ir_version: Of the file.
        producer: Tool and version that wrote it; empty when it does not say.
        inputs: Inputs that are fed.
        weight_types: Elements of initializers, by ONNX's name of their type.
        quantized: The first operator that shows that the model is quantized already, as ``Type 'name'``; None for a float model.
        external_files: Files beside it that hold weights.
    """

    opset: int
    ir_version: int
    producer: str
    inputs: tuple[DeclaredInput, ...]
    weight_types: Mapping[str, int]
    quantized: str | None
    external_files: tuple[str, ...]


def declared(path: Path) -> Declared | None:
    """Return what a file says of itself; None when it cannot be read, which `host_tools.model.load` words better."""
    try:
        content = path.read_bytes()
        if is_tflite(content):
            return _declared_tflite(content)
        proto = onnx.ModelProto.FromString(content)
        return _declared(proto) if proto.HasField("graph") else None
    except Exception:  # noqa: BLE001 - bytes that are no model raise what they like; the loader says so to the user
        return None


def _declared_tflite(content: bytes) -> Declared:
    """Return what a TFLite file says, in ONNX's words; of a quantized one no more than that it is."""
    graph = read_tflite(content).graphs[0]
    found = first_on_codes(graph)
    if found is None:
        return _declared(to_onnx(content, where="").model)
    return Declared(
        opset=0,
        ir_version=0,
        producer="",
        inputs=(),
        weight_types=MappingProxyType({}),
        quantized=f"{found.kind} {graph.tensors[found.outputs[0]].name if found.outputs else ''!r}",
        external_files=(),
    )


def _declared(proto: onnx.ModelProto) -> Declared:
    graph = proto.graph
    weights = {tensor.name for tensor in graph.initializer}
    types: Counter[str] = Counter()
    for tensor in graph.initializer:
        types[onnx.TensorProto.DataType.Name(tensor.data_type)] += math.prod(tensor.dims)
    opsets = [one.version for one in proto.opset_import if one.domain in ("", "ai.onnx")]
    producer = f"{proto.producer_name} {proto.producer_version}".strip()
    return Declared(
        opset=max(opsets, default=0),
        ir_version=proto.ir_version,
        producer=producer,
        inputs=tuple(_input(value) for value in graph.input if value.name not in weights),
        weight_types=MappingProxyType(dict(types)),
        quantized=next(
            (
                f"{node.op_type} {node.name!r}"
                for node in graph.node
                if is_quantized(node.op_type)
                and node.op_type != "DequantizeLinear"  # which weights alone may have
            ),
            None,
        ),
        external_files=tuple(sorted(set(_locations(graph)))),
    )


def _input(value: onnx.ValueInfoProto) -> DeclaredInput:
    tensor = value.type.tensor_type
    extents = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in tensor.shape.dim
    )
    return DeclaredInput(
        name=value.name,
        dtype=onnx.TensorProto.DataType.Name(tensor.elem_type),
        extents=extents if tensor.HasField("shape") else None,
    )


def _locations(graph: onnx.GraphProto) -> Iterator[str]:
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield from (entry.value for entry in tensor.external_data if entry.key == "location")


def assumed_shapes(
    inputs: tuple[DeclaredInput, ...], given: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Return a batch of 1 for inputs of which nothing but the first axis is open, and which nobody has fixed.

    Args:
        inputs: What the file declares.
        given: Shapes that the user fixed, by input name; a name of an axis that they bind holds for other inputs too.
    """
    bound = {
        extent
        for one in inputs
        if one.name in given
        for extent in (one.extents or ())
        if isinstance(extent, str)
    }
    found = {}
    for one in inputs:
        first, *others = one.extents or (1,)
        is_open = not isinstance(first, int) or first < 1
        rest = tuple(extent for extent in others if isinstance(extent, int) and extent > 0)
        if one.name not in given and is_open and first not in bound and len(rest) == len(others):
            found[one.name] = (1, *rest)
    return found
