"""Lower to ONNX with QuantizeLinear and DequantizeLinear (``onnx_qdq``): one file, ``model.onnx``, and the sidecars of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.lower.coverage import require_precisions
from host_tools.lower.interface import payload_tensors
from host_tools.lower.onnx_file import onnx_bytes
from host_tools.lower.payload import Payload
from host_tools.lower.qdq_graph import write_qdq_graph
from host_tools.lower.sidecars import sidecars_of

if TYPE_CHECKING:
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile


def lower(model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> Payload:
    """Write the plan as ONNX QDQ.

    Returns:
        A payload of one file. Each entry of `Payload.tensor_names` names a float tensor with the value's real numbers: the output of
        its DequantizeLinear when the value is quantized. A value that exists as codes alone (an integer output that nothing else reads,
        or between operators that run on codes) is absent.

    Raises:
        LoweringError: The plan or the model cannot be written so; the message names value or node.
    """
    require_precisions(plan, profile, ("int8", "int16", "float32"))
    written = write_qdq_graph(model, plan, profile, shields=profile.artifact.shields)
    is_wide = any(node.precision == "int16" for node in plan.nodes.values())
    opset = profile.artifact.opset_of(has_16_bits=is_wide)
    return Payload(
        format="onnx_qdq",
        files={"model.onnx": onnx_bytes(written.graph, opset=opset)},
        inputs=payload_tensors(model.inputs, written.interface_qparams),
        outputs=payload_tensors(model.outputs, written.interface_qparams),
        tensor_names=written.tensor_names,
        notes=written.notes,
        sidecars=sidecars_of(model, plan, profile),
    )
