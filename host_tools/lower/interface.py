"""Describe a payload's inputs and outputs whose layout is the float model's (ONNX and OpenVINO)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from device_agent.contract.manifest import PayloadTensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.model.float_model import TensorSpec
    from host_tools.plan.quantization_plan import QParams


def payload_tensors(specs: Sequence[TensorSpec], integers: Mapping[str, QParams]) -> tuple[PayloadTensor, ...]:
    """Return the payload's side of the model's inputs or outputs.

    Args:
        specs: The float model's inputs or outputs.
        integers: Parameters, per tensor, of those that are integers in the payload.
    """
    return tuple(_payload_tensor(spec, integers.get(spec.name)) for spec in specs)


def _payload_tensor(spec: TensorSpec, qparams: QParams | None) -> PayloadTensor:
    return PayloadTensor(
        name=spec.name,
        shape=spec.shape,
        dtype=spec.dtype if qparams is None else qparams.dtype,
        # The file holds float32: the application must divide by that number, not by the plan's.
        scale=None if qparams is None else float(np.float32(qparams.scale[0])),
        zero_point=None if qparams is None else qparams.zero_point[0],
        source_name=spec.name,
        source_axes=tuple(range(len(spec.shape))),
    )
