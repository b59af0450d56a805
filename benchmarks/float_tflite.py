"""A float TFLite file as a TensorFlow or onnx2tf user would have it: the fair start for litert-quantizer, and the float side of latency.

Edgewright's own all-float lowering keeps the target's int8 inputs and outputs and leaves every ReLU6 an operator of its own. litert-quantizer
leaves a ReLU6 that stands alone in float, between a DEQUANTIZE and a QUANTIZE: measured on such a file it would look far worse than it is. So
this module takes the int8 doors away and fuses ReLU6 into the operator before it, as every TensorFlow converter does.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from benchmarks.tasks import NotMeasuredError

if TYPE_CHECKING:
    from pathlib import Path

_OPERATORS: Final = schema.BuiltinOperator
_RELU6: Final = schema.ActivationFunctionType.RELU6
_FUSING: Final = (
    _OPERATORS.CONV_2D,
    _OPERATORS.DEPTHWISE_CONV_2D,
    _OPERATORS.FULLY_CONNECTED,
    _OPERATORS.ADD,
)


def write_fair(source: Path, target: Path) -> None:
    """Write a float file with fused activations and float doors.

    Args:
        source: An all-float file of Edgewright.
        target: The file to write.

    Raises:
        NotMeasuredError: The result would still hold a ReLU6, or a conversion between types.
    """
    model = schema.ModelT.InitFromPackedBuf(source.read_bytes(), 0)
    graph = model.subgraphs[0]
    codes = [code.builtinCode for code in model.operatorCodes]
    _open_doors(model, graph, codes)
    _fuse(graph, codes)
    left = Counter(codes[operator.opcodeIndex] for operator in graph.operators)
    for code, name in (
        (_OPERATORS.RELU6, "RELU6"),
        (_OPERATORS.QUANTIZE, "QUANTIZE"),
        (_OPERATORS.DEQUANTIZE, "DEQUANTIZE"),
    ):
        if left[code]:
            raise NotMeasuredError(
                f"{source}: {left[code]} {name} are left in the float TFLite file; a peer measured on it would be measured unfairly."
            )
    _compact(model, graph)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(bytes(builder.Output()))


def _open_doors(model: Any, graph: Any, codes: list[int]) -> None:
    """Make the float tensor behind a DEQUANTIZE the input, and the one before a QUANTIZE the output, under the door's name."""
    renamed: dict[int, int] = {}
    kept = []
    for operator in graph.operators:
        code, before, after = codes[operator.opcodeIndex], operator.inputs[0], operator.outputs[0]
        if code == _OPERATORS.DEQUANTIZE and before in graph.inputs:
            renamed[before] = after
        elif code == _OPERATORS.QUANTIZE and after in graph.outputs:
            renamed[after] = before
        else:
            kept.append(operator)
    graph.operators = kept
    for door, tensor in renamed.items():
        graph.tensors[tensor].name = graph.tensors[door].name
    graph.inputs = [renamed.get(tensor, tensor) for tensor in graph.inputs]
    graph.outputs = [renamed.get(tensor, tensor) for tensor in graph.outputs]
    for signature in model.signatureDefs:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = renamed.get(entry.tensorIndex, entry.tensorIndex)


def _fuse(graph: Any, codes: list[int]) -> None:
    """Give every ReLU6 to the operator before it, if nobody else reads what that one writes."""
    writers = {operator.outputs[0]: operator for operator in graph.operators}
    readers = Counter(int(tensor) for operator in graph.operators for tensor in operator.inputs)
    kept = []
    for operator in graph.operators:
        if codes[operator.opcodeIndex] == _OPERATORS.RELU6:
            before = operator.inputs[0]
            writer = writers.get(before)
            if writer is not None and codes[writer.opcodeIndex] in _FUSING and readers[int(before)] == 1:
                writer.builtinOptions.fusedActivationFunction = _RELU6
                writer.outputs = operator.outputs
                continue
        kept.append(operator)
    graph.operators = kept


def _compact(model: Any, graph: Any) -> None:
    """Drop the tensors that nobody reads or writes any more."""
    used = {
        int(tensor)
        for operator in graph.operators
        for tensor in (*operator.inputs, *operator.outputs)
        if tensor >= 0
    }
    used |= {int(tensor) for tensor in (*graph.inputs, *graph.outputs)}
    moved = {old: new for new, old in enumerate(sorted(used))}
    moved[-1] = -1  # an optional input that is absent
    graph.tensors = [graph.tensors[old] for old in sorted(used)]
    graph.inputs = [moved[int(tensor)] for tensor in graph.inputs]
    graph.outputs = [moved[int(tensor)] for tensor in graph.outputs]
    for operator in graph.operators:
        operator.inputs = [moved[int(tensor)] for tensor in operator.inputs]
        operator.outputs = [moved[int(tensor)] for tensor in operator.outputs]
    for signature in model.signatureDefs:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = moved[int(entry.tensorIndex)]
