"""The OpenVINO lowering against the template."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from lowering_template import LoweringTemplate

from device_agent.engines.openvino import OpenVinoEngine
from device_agent.engines.openvino_library import openvino as ov
from host_tools.processor import is_suited
from targets import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from targets.profile import CapabilityProfile

SUMS = (6, 0.4)
"""OpenVINO adds inside the convolution that gives one operand, before that is rounded: closer to float, further from the plan."""


def load_in_float32(files: Mapping[str, bytes], *, threads: int) -> OpenVinoEngine:
    """Compile so that float operators compute in float32, as plans say: processors with AMX would take bfloat16."""
    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    return OpenVinoEngine(core.compile_model(core.read_model(*files.values()), "CPU", settings))


def exact_here(target: str) -> CapabilityProfile:
    """Return a target, with weights of 7 bits where this processor's kernels would saturate with 8."""
    profile = catalog.load(target)
    if is_suited(profile):
        return profile
    return dataclasses.replace(profile, weights=dataclasses.replace(profile.weights, bits=7))


class TestOpenVino(LoweringTemplate):
    target = "x86_64-openvino"
    load = staticmethod(load_in_float32)
    max_lsb = 2
    looser = dict.fromkeys(
        ("add", "add_relu", "sub", "clip_alone", "several_readers", "two_inputs_and_outputs"), SUMS
    )
    float_kernels = frozenset({"mul", "div", "max", "relu_bound_per_channel"})

    @pytest.fixture
    def profile(self) -> CapabilityProfile:
        return exact_here(self.target)


class TestSevenBits(TestOpenVino):
    target = "x86_64-openvino-avx2"


class TestIntelNpuOnTheCpu(TestOpenVino):
    target = "intel-npu-openvino"
