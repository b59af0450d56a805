"""Qualcomm's encodings 1.0.0: the scale and offset of every tensor, by its name in the float model.

The QAIRT converter takes the file with the float model (``--quantization_overrides``). A tensor that is left out would be calibrated
anew (https://github.com/quic/aimet/issues/4071), so every tensor of the model is in it: as INT, or as FLOAT where the plan keeps it so.

Source: AIMET, ``aimet_torch/v2/quantization/affine/encoding.py``, ``to_qnn_encoding_dict`` for version 1.0.0: real = scale * (code + offset)
in unsigned codes, so that the offset of signed codes is lower by half their number.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import onnx_ir as ir

from host_tools.errors import LoweringError

if TYPE_CHECKING:
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan, TensorPlan
    from targets.profile import CapabilityProfile

VERSION = "1.0.0"
_FLOAT_BITS = 32
_CONSTANTS = frozenset({"weight", "bias", "constant"})


def encodings_json(model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> bytes:
    """Return the file's bytes, entries in the order of the model.

    Args:
        model: The float model that the converter gets.
        plan: Its plan.
        profile: Widths of weights, biases and activations, and whether they are symmetric.

    Raises:
        LoweringError: The plan re-quantizes an edge, which the format cannot say: a tensor has one encoding.
    """
    for edge in plan.requantize:
        raise LoweringError(
            f"Node {edge.node!r}, input {edge.input_index}: Qualcomm's encodings cannot re-quantize one edge.",
            hint="Remove the operator from the profile's same_scale.",
        )
    activations: list[dict[str, object]] = []
    parameters: list[dict[str, object]] = []
    for value in _values(model):
        planned = plan.tensors[value.name or ""]
        is_bound = planned.role == "constant" and planned.qparams is None and value.shape == ()
        if planned.role == "fused" or is_bound:  # inside an operator of the target; an attribute there
            continue
        (parameters if planned.role in _CONSTANTS else activations).append(_entry(planned, profile))
    document = {"version": VERSION, "activation_encodings": activations, "param_encodings": parameters}
    return (json.dumps(document, indent=1) + "\n").encode()


def _values(model: FloatModel) -> list[ir.Value]:
    """Return every float value of the model: inputs, constants, then what nodes write."""
    graph = model.graph.graph
    values = [
        *graph.inputs,
        *graph.initializers.values(),
        *(value for node in graph for value in node.outputs),
    ]
    unique = {value.name: value for value in values if value.dtype == ir.DataType.FLOAT}
    return list(unique.values())


def _entry(planned: TensorPlan, profile: CapabilityProfile) -> dict[str, object]:
    qparams = planned.qparams
    if qparams is None:
        return {"name": planned.name, "enc_type": "PER_TENSOR", "dtype": "FLOAT", "bw": _FLOAT_BITS}
    bits = _bits(planned, profile)
    return {
        "name": planned.name,
        "enc_type": "PER_TENSOR" if qparams.axis is None else "PER_CHANNEL",
        "dtype": "INT",
        "bw": bits,
        "is_sym": _is_symmetric(planned, profile),
        "scale": list(qparams.scale),
        "offset": [-zero_point - _half(qparams, bits) for zero_point in qparams.zero_point],
    }


def _bits(planned: TensorPlan, profile: CapabilityProfile) -> int:
    if planned.role == "weight":
        return profile.weights.bits
    return profile.bias.bits if planned.role == "bias" else profile.activations.bits


def _is_symmetric(planned: TensorPlan, profile: CapabilityProfile) -> bool:
    if planned.role == "weight":
        return profile.weights.symmetric
    return planned.role == "bias" or profile.activations.zero_point == "symmetric"


def _half(qparams: QParams, bits: int) -> int:
    return 0 if qparams.dtype == "uint8" else 1 << (bits - 1)
