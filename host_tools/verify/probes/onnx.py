"""ONNX Runtime from inside: the graph that it really runs, and every tensor of the graph as written."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from device_agent.engines.onnx import open_session, session_options
from device_agent.engines.onnxruntime_library import onnxruntime as ort
from host_tools.errors import OutputError, VerificationError
from host_tools.verify.probes.probe import LayerValues
from host_tools.verify.verification_report import ExecutedOp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from host_tools.lower.payload import Payload
    from host_tools.verify.probes.probe import LayerReader

_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput"})
_INTEGER_PREFIXES = ("QLinear", "QGemm", "MatMulInteger", "ConvInteger", "DynamicQuantize")
_INTEGER_TYPES = frozenset({onnx.TensorProto.INT8, onnx.TensorProto.UINT8})
_FLOAT_TYPES = frozenset({onnx.TensorProto.FLOAT})


class OnnxProbe:
    """See `host_tools.verify.probes.probe.Probe`."""

    source = "ONNX Runtime's optimized graph"

    def executed_ops(self, payload: Payload, *, threads: int) -> tuple[ExecutedOp, ...]:
        """See `Probe.executed_ops`."""
        try:
            with tempfile.TemporaryDirectory(prefix="edgewright-") as folder:
                path = Path(folder) / "optimized.onnx"

                def options() -> ort.SessionOptions:
                    made = session_options(threads)
                    made.optimized_model_filepath = str(path)
                    return made

                _session(_main_file(payload), options)
                graph = onnx.load(path).graph
        except OSError as error:
            raise OutputError(
                f"Temporary files of ONNX Runtime: {error}.", hint="Free some space or set TMPDIR."
            ) from error
        types = _input_types(graph)
        ops: list[ExecutedOp] = []
        for node in graph.node:
            precision = _precision(node, types)
            kernel = f"{node.domain or 'ai.onnx'}::{node.op_type}"
            ops.append(ExecutedOp(name=node.name, op_type=node.op_type, precision=precision, kernel=kernel))
        return tuple(ops)

    def open_layers(self, payload: Payload, values: Sequence[str], *, threads: int) -> LayerReader:
        """See `Probe.open_layers`."""
        try:
            model = onnx.load_from_string(_main_file(payload))
        except Exception as error:
            raise VerificationError(f"ONNX cannot read the payload: {error}") from error
        present = {output.name for output in model.graph.output}
        wanted = {value: payload.tensor_names[value] for value in values}
        for tensor in sorted(set(wanted.values()) - present):
            model.graph.output.append(onnx.ValueInfoProto(name=tensor))

        def options() -> ort.SessionOptions:
            made = session_options(threads)
            made.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            # Every tensor is an output: an arena would keep them all for the next run.
            made.enable_cpu_mem_arena = False
            return made

        session = _session(model.SerializeToString(), options)
        names = [item.name for item in session.get_inputs()]
        tensors = sorted(set(wanted.values()))

        def read(inputs: Sequence[NDArray[np.generic]]) -> LayerValues:
            try:
                results = session.run(tensors, dict(zip(names, inputs, strict=True)))
            except Exception as error:
                raise VerificationError(f"ONNX Runtime failed while running the payload: {error}") from error
            found = dict(zip(tensors, results, strict=True))
            return LayerValues(wanted, lambda tensor: np.asarray(found[tensor], dtype=np.float64))

        return read


def _main_file(payload: Payload) -> bytes:
    return next(iter(payload.files.values()))


def _session(data: bytes, options: Callable[[], ort.SessionOptions]) -> ort.InferenceSession:
    try:
        return open_session(data, options)
    except Exception as error:
        raise VerificationError(f"ONNX Runtime refuses the payload: {error}") from error


def _input_types(graph: onnx.GraphProto) -> dict[str, int]:
    types = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    types.update({value.name: value.type.tensor_type.elem_type for value in graph.value_info})
    types.update({tensor.name: tensor.data_type for tensor in graph.initializer})
    return types


def _precision(node: onnx.NodeProto, types: dict[str, int]) -> str:
    """Name the node's precision and note its output's type; types flow forward because the optimized graph carries few."""
    produced: int
    if node.op_type == "MatMulNBits":
        bits = next((one.i for one in node.attribute if one.name == "bits"), 4)
        types.setdefault(node.output[0], onnx.TensorProto.FLOAT)
        return f"float32 (int{bits} weights)"
    first = types.get(node.input[0], 0) if node.input else 0
    if node.op_type in _CONVERSIONS:
        produced = onnx.TensorProto.FLOAT if node.op_type == "DequantizeLinear" else onnx.TensorProto.UINT8
        precision = "conversion"
        if node.op_type.startswith("Reorder"):
            produced = first
    elif node.op_type.startswith(_INTEGER_PREFIXES):
        # QGemm without an output scale gives floats.
        produced = onnx.TensorProto.UINT8
        if node.op_type == "QGemm" and (len(node.input) < 8 or not node.input[7]):
            produced = onnx.TensorProto.FLOAT
        precision = "int8"
    else:
        produced = first
        precision = (
            "int8"
            if first in _INTEGER_TYPES
            else "float16"
            if first == onnx.TensorProto.FLOAT16
            else "float32"
            if first in _FLOAT_TYPES
            else "other"
        )
    for output in node.output:
        types.setdefault(output, produced)
    return precision
