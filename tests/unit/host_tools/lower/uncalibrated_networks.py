"""Networks with weights of every kind that a precision without calibration stores as codes, and how their files are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.plan.check import check
from host_tools.plan.uncalibrated import plan_uncalibrated
from host_tools.recipe import Recipe
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from host_tools.lower.payload import Payload
    from host_tools.model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile, PlanPrecision

TEXT = """net (int64[1,6] ids, float[1,6,40] more) => (float[1,10] scores, float[1,6,40] hidden) {
    row = Gather <axis = 0> (table, ids)
    sum = Add (row, more)
    wide = MatMul (sum, up)
    bent = Relu (wide)
    hidden = MatMul (bent, down)
    flat = Flatten (hidden)
    scores = Gemm <transB = 1> (flat, head, head_bias)
}"""
"""Looks up, multiplies by matrices of extents that no group divides, and scores; of a text encoder, as small as it gets."""

IMAGE = """net (float[1,3,8,8] image) => (float[1,10] scores) {
    a = Conv <pads = [1,1,1,1]> (image, first, first_bias)
    b = Relu (a)
    c = Conv <group = 16> (b, deep, deep_bias)
    d = Relu (c)
    e = GlobalAveragePool (d)
    f = Flatten (e)
    scores = Gemm <transB = 1> (f, head, head_bias)
}"""


def constants(seed: int = 3) -> dict[str, NDArray[np.float32]]:
    """Return the weights of both networks, of which some channels are far larger than others."""
    numbers = np.random.default_rng(seed)
    shapes = {
        "table": (50, 40), "up": (40, 72), "down": (72, 40), "head": (10, 240), "head_bias": (10,),
    }  # fmt: skip
    return {name: _drawn(numbers, shape) for name, shape in shapes.items()}


def image_constants(seed: int = 4) -> dict[str, NDArray[np.float32]]:
    """Return the weights of the network of convolutions."""
    numbers = np.random.default_rng(seed)
    shapes = {
        "first": (16, 3, 3, 3), "first_bias": (16,), "deep": (16, 1, 3, 3), "deep_bias": (16,), "head": (10, 16), "head_bias": (10,),
    }  # fmt: skip
    return {name: _drawn(numbers, shape) for name, shape in shapes.items()}


def _drawn(numbers: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    spread = np.geomspace(0.2, 2.0, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return (numbers.standard_normal(shape) * spread).astype(np.float32)


def network(
    folder: Path, text: str = TEXT, weights: dict[str, NDArray[np.float32]] | None = None
) -> FloatModel:
    """Write a network and load it."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
    for name, array in (constants() if weights is None else weights).items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "network.onnx"
    onnx.save(proto, path)
    return load(path)


def made(
    model: FloatModel, target: str, precision: PlanPrecision, group: int | None = None
) -> tuple[CapabilityProfile, QuantizationPlan, Payload]:
    """Plan, check and lower a model."""
    profile = catalog.load(target)
    plan = plan_uncalibrated(model, profile, Recipe(precision=precision, group=group))
    check(plan, model, profile)
    return profile, plan, lower(model, plan, profile)


def feeds(count: int = 3, seed: int = 5) -> list[dict[str, NDArray[np.generic]]]:
    """Return inputs of the network of `TEXT`."""
    numbers = np.random.default_rng(seed)
    return [
        {
            "ids": numbers.integers(0, 50, (1, 6)),
            "more": numbers.standard_normal((1, 6, 40)).astype(np.float32),
        }
        for _ in range(count)
    ]
