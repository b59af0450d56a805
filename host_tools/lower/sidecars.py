"""Files for the vendor's compiler, beside the payload: the float model that it reads, and the plan in its own words."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from host_tools.lower.encodings import encodings_json
from host_tools.lower.nncase_scheme import quant_scheme_json
from host_tools.lower.onnx_file import onnx_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile, Sidecar

SIDECAR_FILES: Final[Mapping[Sidecar, str]] = MappingProxyType(
    {
        "float_onnx": "model_float.onnx",
        "qualcomm_encodings": "model.encodings",
        "nncase_quant_scheme": "quant_scheme.json",
    }
)
"""Name of each file."""


def sidecars_of(model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> dict[str, bytes]:
    """Return the files that the target asks for, by name, in the profile's order.

    Args:
        model: The float model, with the plan's own values in the place of its constants.
        plan: Its plan.
        profile: Names the files (``artifact.sidecars``).

    Raises:
        LoweringError: A file cannot express the plan or the model; the message names value or node.
    """
    return {SIDECAR_FILES[name]: _content(name, model, plan, profile) for name in profile.artifact.sidecars}


def _content(name: Sidecar, model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> bytes:
    if name == "float_onnx":
        return onnx_bytes(model.graph.clone().graph, opset=profile.artifact.opset)
    return (
        encodings_json(model, plan, profile)
        if name == "qualcomm_encodings"
        else quant_scheme_json(model, plan)
    )
