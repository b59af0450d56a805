"""The inputs and outputs of a bare file, with what must be known to feed and to read them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from device_agent.contract.manifest import PayloadTensor
from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.manifest import WireType
    from host_tools.lint.facts import LintedTensor

ENGINES: Final[Mapping[str, str]] = MappingProxyType(
    {"onnx_qdq": "onnx", "openvino_ir": "openvino", "tflite": "tflite"}
)
"""Which engine runs a file, by its format."""

_WIRE_TYPES: Final[Mapping[str, WireType]] = MappingProxyType(
    {
        "float32": "float32", "int8": "int8", "uint8": "uint8", "int16": "int16", "int32": "int32", "int64": "int64", "bool": "bool",
    }
)  # fmt: skip


def payload_tensor(tensor: LintedTensor, path: str) -> PayloadTensor:
    """Return one input or output as an engine takes or gives it.

    Raises:
        InputError: It has an open shape, or is of a type that no engine here is fed.
    """
    shape = tensor.shape
    if shape is None or min(shape, default=1) < 1:
        raise InputError(
            f"{path}: {tensor.name!r} has an open shape: {shape}.",
            hint="Only files with fixed shapes can be run.",
        )
    if tensor.dtype not in _WIRE_TYPES:
        raise InputError(f"{path}: {tensor.name!r} is {tensor.dtype}, which cannot be fed here.")
    scale = tensor.scale[0] if tensor.scale else None
    return PayloadTensor(
        name=tensor.name,
        shape=shape,
        dtype=_WIRE_TYPES[tensor.dtype],
        scale=scale,
        zero_point=None if scale is None else tensor.zero_point[0],
        source_name=tensor.name,
        source_axes=tuple(range(len(shape))),
    )
