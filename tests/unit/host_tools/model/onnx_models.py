"""Small ONNX models for tests, written as text with their weights beside it, and ONNX Runtime to run them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

from device_agent.engines.onnxruntime_library import onnxruntime as ort

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from host_tools.model import FloatModel

Arrays = "Mapping[str, NDArray[np.generic]]"


def model_proto(
    text: str, *, opset: int = 18, ir_version: int = 8, **weights: NDArray[np.generic]
) -> onnx.ModelProto:
    """Parse ``text`` (the graph in ONNX's textual form) and add ``weights`` as initializers."""
    proto = onnx.parser.parse_model(f'<ir_version: {ir_version}, opset_import: ["" : {opset}]> {text}')
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return proto


def saved(folder: Path, proto: onnx.ModelProto, name: str = "net.onnx") -> Path:
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def random_weights(seed: int, **shapes: tuple[int, ...]) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(seed)
    return {name: (rng.standard_normal(shape) * 0.5).astype(np.float32) for name, shape in shapes.items()}


def run(content: bytes, feeds: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    """Run a model without any graph optimisation."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, dict(feeds))]


def random_feeds(model: FloatModel, seed: int = 0) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(seed)
    return {spec.name: (rng.standard_normal(spec.shape) * 3).astype(spec.dtype) for spec in model.inputs}


def op_types(model: FloatModel) -> list[str]:
    return [node.op_type for node in model.graph.graph]
