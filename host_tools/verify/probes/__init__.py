"""Probes look inside an engine: which kernels it really runs, and what each tensor holds.

Layout:
    probe.py      the `Probe` protocol
    onnx.py       ONNX Runtime: the optimized graph; the unoptimized graph with every tensor as an output
    openvino.py   OpenVINO: the runtime model; extra outputs
    tflite.py     LiteRT: the interpreter's execution plan; all tensors preserved
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.verify.probes.onnx import OnnxProbe
from host_tools.verify.probes.openvino import OpenVinoProbe
from host_tools.verify.probes.tflite import TfliteProbe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.verify.probes.probe import Probe
    from targets.profile import Format

PROBES: Mapping[Format, Probe] = {
    "onnx_qdq": OnnxProbe(),
    "openvino_ir": OpenVinoProbe(),
    "tflite": TfliteProbe(),
}
