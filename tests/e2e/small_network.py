"""A small convolutional network with a residual, and data for it: real enough to convert, quick enough for a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path


def write_network(path: Path, *, dynamic_batch: bool = False, seed: int = 7) -> Path:
    """Write images [1,3,16,16] → conv/bn/clip → depthwise/clip → 1x1 → residual add → pool → logits [1,10]."""
    rng = np.random.default_rng(seed)
    weights: list[onnx.TensorProto] = []

    def constant(name: str, array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def normal(name: str, *shape: int) -> str:
        return constant(name, rng.normal(0.0, (2.0 / np.prod(shape[1:])) ** 0.5, shape))

    zero, six = constant("zero", np.array(0.0)), constant("six", np.array(6.0))
    nodes = [
        helper.make_node(
            "Conv", ["images", normal("w0", 8, 3, 3, 3)], ["c0"], "stem", strides=[2, 2], pads=[0, 0, 1, 1]
        ),
        helper.make_node(
            "BatchNormalization",
            [
                "c0",
                constant("g", rng.uniform(0.5, 1.5, 8)),
                constant("b", rng.normal(0, 0.2, 8)),
                constant("m", rng.normal(0, 0.2, 8)),
                constant("v", rng.uniform(0.5, 1.5, 8)),
            ],
            ["n0"],
            "stem_bn",
        ),
        helper.make_node("Clip", ["n0", zero, six], ["a0"], "stem_clip"),
        helper.make_node(
            "Conv",
            ["a0", normal("w1", 8, 1, 3, 3), normal("b1", 8)],
            ["c1"],
            "depthwise",
            group=8,
            pads=[1, 1, 1, 1],
        ),
        helper.make_node("Clip", ["c1", zero, six], ["a1"], "depthwise_clip"),
        helper.make_node("Conv", ["a1", normal("w2", 8, 8, 1, 1), normal("b2", 8)], ["c2"], "project"),
        helper.make_node("Add", ["a0", "c2"], ["s"], "residual"),
        helper.make_node("GlobalAveragePool", ["s"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node(
            "Gemm", ["f", normal("w3", 10, 8), normal("b3", 10)], ["logits"], "classifier", transB=1
        ),
    ]
    batch: int | str = "batch" if dynamic_batch else 1
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def samples(count: int, *, seed: int = 3) -> np.ndarray:
    """Return smooth random pictures, float32 of shape (count, 3, 16, 16)."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0.0, 1.0, (count, 3, 4, 4))
    return np.kron(coarse, np.ones((1, 1, 4, 4))).astype(np.float32) + rng.normal(
        0, 0.1, (count, 3, 16, 16)
    ).astype(np.float32)
