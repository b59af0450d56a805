"""`Payload`: the file or files that an engine loads, as bytes, with what an application must know to feed them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.manifest import PayloadTensor
    from targets.profile import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a lowering gives.

    Attributes:
        format: Which format it is.
        files: File name to bytes, main file first: ``model.onnx``; ``model.tflite``; ``model.xml`` and ``model.bin``.
        inputs: The payload's inputs in the payload's own order and layout.
        outputs: The payload's outputs likewise.
        tensor_names: Name of the payload's tensor for each quantized or float value of the canonical graph that exists in it
            (needed to compare layer by layer); values that were fused away are absent.
        tensor_axes: For a value of ``tensor_names`` whose layout is not the canonical one: ``payload = transpose(canonical, axes)``.
        notes: What the lowering had to do beyond the plan, one sentence each (e.g. a Transpose that could not be avoided).
        sidecars: Files for the vendor's compiler by name, which no engine loads.
    """

    format: Format
    files: Mapping[str, bytes]
    inputs: tuple[PayloadTensor, ...]
    outputs: tuple[PayloadTensor, ...]
    tensor_names: Mapping[str, str]
    notes: tuple[str, ...]
    tensor_axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    sidecars: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))
        object.__setattr__(self, "tensor_names", MappingProxyType(dict(self.tensor_names)))
        object.__setattr__(self, "tensor_axes", MappingProxyType(dict(self.tensor_axes)))
        object.__setattr__(self, "sidecars", MappingProxyType(dict(self.sidecars)))
