"""nncase's quantization scheme 1.0: type and range of each tensor, by its name in the float model.

nncase takes the file with the float model (``PTQTensorOptions.quant_scheme``) and then needs no calibration data. Weights are not in it: nncase
names them itself (``Const_90``), and ranges them by channel when it quantizes them.

Source: https://github.com/kendryte/nncase docs/MixQuant.md.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING

from host_tools.errors import LoweringError
from host_tools.plan.qparams import real_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import IntegerType, QuantizationPlan, TensorPlan

VERSION = "1.0"
_DATA_TYPES: Mapping[IntegerType, str] = MappingProxyType({"uint8": "u8", "int8": "i8", "int16": "i16"})


def quant_scheme_json(model: FloatModel, plan: QuantizationPlan) -> bytes:
    """Return the file's bytes, activations in the order of the model.

    Args:
        model: The float model that nncase gets.
        plan: Its plan.

    Raises:
        LoweringError: The plan re-quantizes an edge, or has a type, that the format cannot say.
    """
    for edge in plan.requantize:
        raise LoweringError(
            f"Node {edge.node!r}, input {edge.input_index}: nncase's scheme cannot re-quantize one edge.",
            hint="Remove the operator from the profile's same_scale.",
        )
    graph = model.graph.graph
    names = dict.fromkeys(
        value.name or "" for value in (*graph.inputs, *(output for node in graph for output in node.outputs))
    )
    outputs = [_entry(plan.tensors[name]) for name in names if plan.tensors[name].qparams is not None]
    document = {"Version": VERSION, "Model": None, "Outputs": outputs}
    return (json.dumps(document, indent=1) + "\n").encode()


def _entry(planned: TensorPlan) -> dict[str, object]:
    qparams = planned.qparams
    if qparams is None or qparams.dtype not in _DATA_TYPES:
        dtype = None if qparams is None else qparams.dtype
        raise LoweringError(
            f"Value {planned.name!r}: nncase's scheme has no {dtype}; it has {', '.join(_DATA_TYPES)}."
        )
    low, high = real_range(qparams)
    return {
        "Name": planned.name,
        "DataType": _DATA_TYPES[qparams.dtype],
        "DataRange": [{"Min": low, "Max": high, "IsFull": False}],
        "DataRangeMode": "by_tensor",
    }
