"""Replace the planned weights of a network that OpenVINO has read by constants of codes, of float16, or of indices into a codebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from host_tools.lower.integers import quantize_array
from host_tools.lower.openvino_codes import (
    replace_groups,
    replace_table,
    replace_weight,
    store_in_codebook,
    store_in_float16,
)
from host_tools.model.topology import constant

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.lower.openvino_ports import Ports
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile


def write_weights(source: ir.Graph, plan: QuantizationPlan, profile: CapabilityProfile, ports: Ports) -> None:
    """Replace every planned weight by a constant of codes, of float16, or of indices into a codebook."""
    for node in source:
        at = 0 if node.op_type == "Gather" else 1
        for value in node.inputs[at : at + 1]:
            planned = None if value is None else plan.tensors.get(value.name or "")
            if value is not None and planned is not None and planned.float_type == "float16":
                store_in_float16(_read_weight(ports, node), value.name or "")
                continue
            if value is not None and planned is not None and planned.codebook is not None:
                numbers = np.asarray(planned.codebook, np.float32)
                store_in_codebook(_read_weight(ports, node), numbers, value.name or "")
                continue
            if value is None or planned is None or planned.role != "weight" or planned.qparams is None:
                continue
            if node.op_type == "Gather":
                gather = ports.of(node.outputs[0].name or "").get_node()
                replace_table(gather, constant(value), planned.qparams, value.name or "")
                continue
            if (
                planned.qparams.group_size is not None or planned.qparams.dtype == "uint4"
            ):  # else not kept packed
                is_transposed = node.op_type == "Gemm"
                weight = constant(value) if is_transposed else constant(value).T
                replace_groups(
                    ports.weighted(node),
                    weight,
                    planned.qparams,
                    value.name or "",
                    was_transposed=is_transposed,
                )
                continue
            where = f"{node.op_type} {node.name!r}: {value.name!r}"
            codes = quantize_array(constant(value), planned.qparams, profile.rounding.weights, where=where)
            replace_weight(ports.weighted(node), codes, planned.qparams, value.name or "")


def _read_weight(ports: Ports, node: ir.Node) -> Any:
    """Return the input of OpenVINO's node by which it reads a weight, or a table."""
    if node.op_type == "Gather":
        return ports.of(node.outputs[0].name or "").get_node().input(0)
    return ports.weighted(node).input(1)
