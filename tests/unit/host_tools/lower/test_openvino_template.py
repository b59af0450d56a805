"""The OpenVINO lowering against the template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowering_template import LoweringTemplate

from device_agent.engines.openvino import OpenVinoEngine
from device_agent.engines.openvino_library import openvino as ov

if TYPE_CHECKING:
    from collections.abc import Mapping

SUMS = (6, 0.4)
"""OpenVINO adds inside the convolution that gives one operand, before that is rounded: closer to float, further from the plan."""


def load_in_float32(files: Mapping[str, bytes], *, threads: int) -> OpenVinoEngine:
    """Compile so that float operators compute in float32, as plans say: processors with AMX would take bfloat16."""
    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    return OpenVinoEngine(core.compile_model(core.read_model(*files.values()), "CPU", settings))


class TestOpenVino(LoweringTemplate):
    target = "x86_64-openvino"
    load = staticmethod(load_in_float32)
    max_lsb = 2
    looser = dict.fromkeys(
        ("add", "add_relu", "sub", "clip_alone", "several_readers", "two_inputs_and_outputs"), SUMS
    )
    float_kernels = frozenset({"mul", "div", "max", "relu_bound_per_channel"})


class TestIntelNpuOnTheCpu(TestOpenVino):
    target = "intel-npu-openvino"
