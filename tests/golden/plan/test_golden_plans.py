"""Golden plans as text: eight tiny models, each on the targets that differ most on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tools.plan.check import check
from host_tools.plan.explain import explain
from targets import catalog
from tests.unit.host_tools.plan.plan_models import (
    attention,
    branches,
    classifier,
    conv_clip,
    conv_relu,
    gated,
    planned,
    residual,
    upsampler,
)

FOLDER = Path(__file__).parent

CASES = {
    "conv_relu": (conv_relu, {"x": (-1.5, 2.5), "y": (0.0, 3.0)}),
    "conv_odd_clip": (lambda: conv_clip(0.0, 4.2), {"y": (0.0, 4.2)}),
    "residual": (residual, {"r": (0.0, 4.0), "b": (-3.0, 3.5), "y": (0.0, 6.0)}),
    "classifier": (classifier, {"r": (0.0, 6.0), "p": (0.0, 2.5), "f": (0.0, 2.5), "y": (0.0, 1.0)}),
    "branches": (branches, {"s": (0.1, 0.9), "c": (-3.0, 3.0), "j": (-3.0, 3.0), "y": (-3.0, 3.0)}),
    "gated": (gated, {"r": (0.0, 2.0), "h": (0.0, 1.0)}),
    "upsampler": (upsampler, {}),
    "attention": (attention, {"p": (0.0, 1.0), "s": (-40.0, 40.0), "m": (-14.0, 14.0)}),
}
TARGETS = ("x86_64-onnxruntime", "cortex-a-tflite", "nxp-neutron", "amd-vitis-dpu")


@pytest.mark.parametrize("name", CASES)
def test_the_plan_is_the_golden_one(name, golden):
    build, ranges = CASES[name]
    model = build()
    texts = []
    for target in TARGETS:
        plan = planned(model, target, ranges=ranges)
        check(plan, model, catalog.load(target))
        texts.append(explain(plan))
    golden(FOLDER / f"{name}.txt", ("\n" + "-" * 100 + "\n\n").join(texts))
