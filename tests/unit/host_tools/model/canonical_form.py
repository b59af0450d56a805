"""An independent reading of `host_tools.model.float_model`: every sentence of the canonical form, checked on plain ONNX.

Uses nothing of the product: the model is what any other reader of ONNX would see.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_GRAPH_ATTRIBUTES = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
_OTHER_FLOATS = {TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
_GONE = {"Identity", "Dropout", "Constant", "Shape", "Size", "ConstantOfShape", "BatchNormalization"}
_CONSTANT_INPUTS = {
    "Reshape": (1,), "Slice": (1, 2, 3, 4), "Squeeze": (1,), "Unsqueeze": (1,), "Split": (1,), "ReduceMean": (1,), "ReduceMax": (1,),
    "ReduceMin": (1,), "ReduceSum": (1,),
}  # fmt: skip
_WEIGHTED = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1)}
_MAY_BE_INFINITE = {"Clip": (1, 2), "Min": (0, 1), "Max": (0, 1)}


class Reader:
    """The graph with what is needed to look things up."""

    def __init__(self, content: bytes) -> None:
        self.model = onnx.load_from_string(content)
        self.graph = self.model.graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.graph.initializer}
        infos = (*self.graph.input, *self.graph.value_info, *self.graph.output)
        self.types = {info.name: info.type.tensor_type for info in infos}
        self.makers = {output: node for node in self.graph.node for output in node.output}
        self.uses = Counter(name for node in self.graph.node for name in node.input if name)

    def shape(self, name: str) -> tuple[int, ...]:
        if name in self.constants:
            return self.constants[name].shape
        dims = self.types[name].shape.dim
        assert all(dim.HasField("dim_value") for dim in dims), f"{name} is not static"
        return tuple(dim.dim_value for dim in dims)

    def is_float(self, name: str) -> bool:
        return name not in self.constants and self.types[name].elem_type == TensorProto.FLOAT


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def check_canonical(content: bytes) -> None:
    """Assert every promise."""
    reader = Reader(content)
    onnx.checker.check_model(reader.model, full_check=True)
    _one_plain_graph(reader)
    _names_shapes_types(reader)
    _nothing_left_to_compute(reader)
    for node in reader.graph.node:
        _layer(reader, node)
        _activation(reader, node)
        _written_out(reader, node)
    _constants(reader)


def _one_plain_graph(reader: Reader) -> None:
    (domain,) = reader.model.opset_import
    assert domain.domain == ""
    assert 18 <= domain.version <= 21
    assert not reader.model.functions
    known = {info.name for info in reader.graph.input} | set(reader.constants)
    for node in reader.graph.node:
        assert node.domain == ""
        assert not any(attribute.type in _GRAPH_ATTRIBUTES for attribute in node.attribute)
        assert {name for name in node.input if name} <= known, f"{node.name} stands before what it reads"
        known |= set(node.output)


def _names_shapes_types(reader: Reader) -> None:
    names = [node.name for node in reader.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    values = [info.name for info in reader.graph.input] + list(reader.constants)
    values += [name for node in reader.graph.node for name in node.output if name]
    assert len(set(values)) == len(values)
    for name in values:
        assert all(extent > 0 for extent in reader.shape(name)) or name in reader.constants
    kinds = {info.elem_type for info in reader.types.values()}
    kinds |= {tensor.data_type for tensor in reader.graph.initializer}
    assert TensorProto.UNDEFINED not in kinds
    assert not kinds & _OTHER_FLOATS


def _nothing_left_to_compute(reader: Reader) -> None:
    for node in reader.graph.node:
        assert node.op_type not in _GONE, node.op_type
        assert not all(name in reader.constants for name in node.input if name), (
            f"{node.name} reads only constants"
        )


def _layer(reader: Reader, node: onnx.NodeProto) -> None:
    if node.op_type == "Gemm":
        told = attributes(node)
        assert (told["alpha"], told["beta"], told["transA"], told["transB"]) == (1.0, 1.0, 0, 1)
        assert reader.constants[node.input[1]].shape == (
            reader.shape(node.output[0])[1],
            reader.shape(node.input[0])[1],
        )
    if node.op_type == "MatMul" and len(reader.shape(node.input[0])) == 2:
        assert reader.constants.get(node.input[1], np.zeros(0)).ndim != 2, "a Gemm written as MatMul"
    if node.op_type == "MatMul":
        assert min(len(reader.shape(name)) for name in node.input) >= 2, "a vector"
    if node.op_type == "Div" and reader.constants.get(node.input[1], np.zeros(0)).dtype == np.float32:
        with np.errstate(divide="ignore"):
            reciprocal = np.abs(1 / reader.constants[node.input[1]].astype(np.float64))
        assert not (reciprocal > 1e-37).all() or not (reciprocal < 1e38).all(), "a Mul written as Div"
    if node.op_type in ("Conv", "ConvTranspose", "Gemm") and node.input[1] in reader.constants:
        outputs = reader.shape(node.output[0])[1]
        assert reader.shape(node.input[2]) == (outputs,)


def _activation(reader: Reader, node: onnx.NodeProto) -> None:
    if node.op_type == "Clip" and reader.is_float(node.input[0]):
        low, high = (reader.constants[name] for name in node.input[1:3])
        assert low.shape == high.shape == ()
        assert not (low == 0 and math.isinf(high)), "a Relu written as Clip"
        assert not (math.isinf(low) and math.isinf(high)), "a Clip that changes nothing"
    if node.op_type == "Mul":
        for data, gate in (node.input, reversed(node.input)):
            maker = reader.makers.get(gate)
            if maker is not None and maker.op_type == "HardSigmoid" and maker.input[0] == data:
                assert not math.isclose(attributes(maker).get("alpha", 0.2), 1 / 6, rel_tol=1e-5), (
                    "a HardSwish"
                )


def _written_out(reader: Reader, node: onnx.NodeProto) -> None:
    told = attributes(node)
    for index in _CONSTANT_INPUTS.get(node.op_type, ()):
        assert node.input[index] in reader.constants, f"{node.op_type}: input {index}"
    if node.op_type in ("Slice", "Squeeze", "Unsqueeze", "ReduceMean"):
        axes = reader.constants[node.input[3 if node.op_type == "Slice" else 1]]
        assert (axes >= 0).all()
    if node.op_type == "Reshape":
        assert tuple(reader.constants[node.input[1]]) == reader.shape(node.output[0])
    if node.op_type == "Pad":
        assert all(name in reader.constants for name in node.input[1:])
        assert len(reader.constants[node.input[1]]) == 2 * len(reader.shape(node.input[0]))
    if node.op_type in ("Conv", "ConvTranspose", "MaxPool", "AveragePool"):
        assert "auto_pad" not in told
        assert {"kernel_shape", "strides", "pads"} <= set(told)
        assert node.op_type not in ("Conv", "ConvTranspose") or {"group", "dilations"} <= set(told)
    if node.op_type in ("Concat", "Softmax", "Split", "Flatten", "Gather"):
        assert told["axis"] >= 0


def _constants(reader: Reader) -> None:
    for node in reader.graph.node:
        for index in _WEIGHTED.get(node.op_type, ()):
            if index < len(node.input) and node.input[index] in reader.constants:
                assert reader.uses[node.input[index]] == 1, f"{node.input[index]} is shared"
    readers = [
        (name, node.op_type, index) for node in reader.graph.node for index, name in enumerate(node.input)
    ]
    for name, array in reader.constants.items():
        assert reader.uses[name], f"nothing reads {name}"
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            assert not np.isnan(array).any()
            assert all(
                index in _MAY_BE_INFINITE.get(op, ()) for used, op, index in readers if used == name
            ), name
