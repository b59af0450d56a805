"""Lower to OpenVINO IR (``openvino_ir``): ``model.xml`` and ``model.bin``.

OpenVINO's own ONNX reader gives the float network; on it every quantized activation gets a FakeQuantize to codes, a Convert to integers
and back, and the way to real numbers, and every weight becomes a constant of codes with the same way. So the file holds the plan's
integers, zero points and scales themselves. (Reading our ONNX QDQ file instead runs as fast, but leaves hundreds of shape operators that
the reader makes for dequantized biases and grouped weights, and a file three times as long.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from host_tools.lower.coverage import require_precisions
from host_tools.lower.interface import payload_tensors
from host_tools.lower.openvino_file import ir_files
from host_tools.lower.openvino_graph import write_openvino_graph
from host_tools.lower.payload import Payload

if TYPE_CHECKING:
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile

GROUP_OPTION: Final = ("runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
"""Where the file tells OpenVINO how many activations before a compressed weight share a scale that is found at run time; 0: they stay float.

Left unsaid it is 32 on a CPU: weights that were to be compressed alone then lose some 3 dB (seen with 2026.4.1).
"""
RUN_TIME_GROUP: Final = 32


def lower(model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> Payload:
    """Write the plan as OpenVINO IR.

    Returns:
        A payload of two files. Each entry of `Payload.tensor_names` names a float tensor of the network as written (not as compiled)
        with the value's real numbers, the dequantized ones when the value is quantized. A value that exists as codes alone (an integer
        output that nothing else reads) is absent.

    Raises:
        LoweringError: OpenVINO cannot read the float network, or the plan cannot be written in it; the message names value or node.
        OutputError: There is no room for temporary files.
    """
    require_precisions(plan, profile, ("int8", "float32"))
    written = write_openvino_graph(model, plan, profile)
    if plan.precision != "int8":
        group = RUN_TIME_GROUP if plan.precision == "int8-dynamic" else 0
        written.network.set_rt_info(str(group), list(GROUP_OPTION))
    own_names = {*plan.nodes, *plan.tensors}
    return Payload(
        format="openvino_ir",
        files=ir_files(written.network, own_names=own_names),
        inputs=payload_tensors(model.inputs, written.interface_qparams),
        outputs=payload_tensors(model.outputs, written.interface_qparams),
        tensor_names=written.tensor_names,
        notes=(),
    )
