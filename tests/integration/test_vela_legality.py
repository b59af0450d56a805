"""What the linter says of single operators ahead, by the profiles of Ethos-U, against what Arm's compiler then does with the very file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from host_tools.lint.reading import read
from host_tools.lint.rules import check
from targets import catalog
from tests.integration.test_vela import ACCELERATORS, compiled
from tests.unit.host_tools.lint.peers import ints, single

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOTH = frozenset(ACCELERATORS)
NEITHER: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Case:
    """One operator: on which targets it is said to run on the NPU, and which rule says no for the others."""

    name: str
    data: Callable[[], bytes]
    on: frozenset[str] = BOTH
    rule: str = ""


def weight(*shape: int, value: int = 1, channels: int = 0) -> dict[str, Any]:
    scale = tuple([0.01] * (channels or 1))
    return {"data": np.full(shape, value, np.int8), "scale": scale, "axis": 0 if shape[0] == channels else 3}


def bias(count: int, channels: int = 0) -> dict[str, Any]:
    scale = tuple([0.1 * np.float32(0.01)] * (channels or 1))
    return {"data": np.ones(count, np.int32), "kind": "INT32", "scale": scale}


def conv(stride: int, *, channels: int = 0) -> Callable[[], bytes]:
    """3x3 with VALID padding on 16x16."""
    extent = (16 - 3) // stride + 1
    options = schema.Conv2DOptionsT(
        padding=1, strideW=stride, strideH=stride, dilationWFactor=1, dilationHFactor=1
    )
    inputs = [{"shape": (1, 16, 16, 4)}, weight(4, 3, 3, 4, channels=channels), bias(4, channels)]
    return single("CONV_2D", inputs, [{"shape": (1, extent, extent, 4)}], options, 3)


def depthwise(stride: int) -> Callable[[], bytes]:
    extent = (16 - 3) // stride + 1
    options = schema.DepthwiseConv2DOptionsT(
        padding=1, strideW=stride, strideH=stride, depthMultiplier=1, dilationWFactor=1, dilationHFactor=1
    )
    inputs = [{"shape": (1, 16, 16, 4)}, weight(1, 3, 3, 4, channels=4), bias(4, 4)]
    return single("DEPTHWISE_CONV_2D", inputs, [{"shape": (1, extent, extent, 4)}], options, 3)


def transposed(stride: int) -> Callable[[], bytes]:
    extent = (8 - 1) * stride + 3
    options = schema.TransposeConvOptionsT(padding=1, strideW=stride, strideH=stride)
    inputs = [ints(1, extent, extent, 4), weight(4, 3, 3, 4), {"shape": (1, 8, 8, 4)}, bias(4)]
    return single("TRANSPOSE_CONV", inputs, [{"shape": (1, extent, extent, 4)}], options, 3)


def max_pool(height: int) -> Callable[[], bytes]:
    options = schema.Pool2DOptionsT(padding=1, strideW=1, strideH=1, filterWidth=1, filterHeight=height)
    return single("MAX_POOL_2D", [{"shape": (1, 300, 4, 4)}], [{"shape": (1, 301 - height, 4, 4)}], options)


def mean(batch: int) -> Callable[[], bytes]:
    options = schema.ReducerOptionsT(keepDims=True)
    outputs = [{"shape": (batch, 1, 1, 4)}]
    return single("MEAN", [{"shape": (batch, 8, 8, 4)}, ints(1, 2)], outputs, options)


def wide_conv(value: int) -> Callable[[], bytes]:
    """3x3x8192 taps: with codes of 127 their sum is 9,363,456, above the 8,323,072 that the accumulator holds."""
    options = schema.Conv2DOptionsT(padding=1, strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1)
    inputs = [{"shape": (1, 3, 3, 8192)}, weight(2, 3, 3, 8192, value=value), bias(2)]
    return single("CONV_2D", inputs, [{"shape": (1, 1, 1, 2)}], options, 3)


def maximum(scale: float) -> Callable[[], bytes]:
    return single("MAXIMUM", [{}, {}], [{"scale": (scale,)}], schema.MaximumMinimumOptionsT())


def add(kind: str) -> Callable[[], bytes]:
    ends = {"kind": kind}
    return single("ADD", [ends, ends], [ends], schema.AddOptionsT(), 1 if kind == "FLOAT32" else 2)


CASES = (
    Case("conv", conv(1)),
    Case("conv per channel", conv(1, channels=4)),
    Case("conv, stride 3", conv(3)),
    Case("depthwise, stride 3", depthwise(3)),
    Case("depthwise, stride 4", depthwise(4), on=frozenset({"ethos-u85"}), rule="max-stride"),
    Case("transposed, stride 2", transposed(2)),
    Case("transposed, stride 3", transposed(3), on=frozenset({"ethos-u85"}), rule="max-stride"),
    Case("max_pool, 256 high", max_pool(256)),
    Case("max_pool, 257 high", max_pool(257), on=NEITHER, rule="max-kernel"),
    Case("mean", mean(1)),
    Case("mean of two", mean(2), on=NEITHER, rule="max-batch"),
    Case("conv, sums that fit", wide_conv(100)),
    Case("conv, sums beyond", wide_conv(127), on=NEITHER, rule="weight-sum"),
    Case("maximum", maximum(0.1)),
    Case("maximum to another scale", maximum(0.2), on=NEITHER, rule="same-scale"),
    Case("add", add("INT8")),
    Case("add in float", add("FLOAT32"), on=NEITHER, rule="could-be-integer"),
)


@pytest.mark.parametrize("target", ACCELERATORS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said_ahead_is_what_vela_does(case: Case, target: str, tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(case.data())
    interface = {"input-type", "output-type"}
    said = {one.rule for one in check(read(file), catalog.load(target))} - interface
    assert said == (set() if target in case.on else {case.rule})
    assert (compiled(file, ACCELERATORS[target]).cpu == 0) == (target in case.on)
