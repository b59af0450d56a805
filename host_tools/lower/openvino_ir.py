"""Lower to OpenVINO IR (``openvino_ir``): ``model.xml`` and ``model.bin``.

OpenVINO's own ONNX reader gives the float network; on it every quantized activation gets a FakeQuantize to codes, a Convert to integers
and back, and the way to real numbers, and every weight becomes a constant of codes with the same way. So the file holds the plan's
integers, zero points and scales themselves. (Reading our ONNX QDQ file instead runs as fast, but leaves hundreds of shape operators that
the reader makes for dequantized biases and grouped weights, and a file three times as long.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.lower.interface import payload_tensors
from host_tools.lower.openvino_file import ir_files
from host_tools.lower.openvino_graph import write_openvino_model
from host_tools.lower.payload import Payload

if TYPE_CHECKING:
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile
