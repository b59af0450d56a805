"""`node_data`: the error of every layer as Model Explorer lays it over the graph of a payload.

Source: google-ai-edge/model-explorer, node_data_builder.py (GraphNodeData). A key is the name of a tensor that a node writes, which Model
Explorer knows of TFLite files, or the node's id, which for its ONNX extension is the node's name.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

from host_tools.model.topology import network_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.verify.candidate import Candidate
    from host_tools.verify.verification_report import LayerError

NODE_DATA_FILE: Final = "model_explorer.json"

_THRESHOLDS: Final = ((10.0, "#e57373"), (20.0, "#ffb74d"), (30.0, "#fff176"))
"""Up to how many decibels a node has which background; above the last it has none."""


def node_data(candidate: Candidate, layers: Sequence[LayerError]) -> bytes | None:
    """Return the SQNR in dB of what each node writes, as UTF-8 JSON with one node a line.

    Args:
        candidate: The payload that was run.
        layers: Its layers. Those that are exact, or have no signal in float, have no number and are left out.

    Returns:
        The file, or None for a format that Model Explorer does not open (OpenVINO's).
    """
    if candidate.payload.format == "openvino_ir":
        return None
    names = candidate.payload.tensor_names if candidate.payload.format == "tflite" else _nodes(candidate)
    found: dict[str, float] = {}
    for layer in layers:
        if layer.sqnr_db is None or not math.isfinite(layer.sqnr_db) or layer.value not in names:
            continue
        key = names[layer.value]
        found[key] = min(layer.sqnr_db, found.get(key, math.inf))  # of a node's outputs the worst
    rows = ",\n".join(
        f' {json.dumps(key, ensure_ascii=False)}: {{"value": {value:.2f}}}' for key, value in found.items()
    )
    thresholds = [{"value": value, "bgColor": colour} for value, colour in _THRESHOLDS]
    return f'{{"thresholds": {json.dumps(thresholds)},\n"results": {{\n{rows}\n}}}}\n'.encode()


def _nodes(candidate: Candidate) -> dict[str, str]:
    """Return the node of the file that does the work for each value: what writes it, or what that is fused into."""
    nodes = candidate.plan.nodes
    found: dict[str, str] = {}
    for value, writer in network_of(candidate.model.graph).writers.items():
        name = writer
        while (root := nodes[name].fused_into) is not None:
            name = root
        found[value] = name
    return found
