"""What the tests of the TFLite lowering share: plans by hand, and a file read back through the schema's own classes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from lowering_template import Samples

from device_agent.sources.adapt import to_payload, to_source
from host_tools.lower.lowering import lower
from host_tools.model import load as load_model
from host_tools.model.reference import FloatRunner
from targets import catalog
from tests.conformance.running import float_plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lowering_cases import Case
    from numpy.typing import NDArray

    from host_tools.lower.payload import Payload
    from host_tools.model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan

BUILT_IN = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
XNNPACK = OpResolverType.AUTO

_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}


@dataclass(frozen=True)
class FileTensor:
    name: str
    shape: tuple[int, ...]
    type: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int
    data: bytes | None


@dataclass(frozen=True)
class FileOp:
    name: str
    version: int
    inputs: tuple[FileTensor | None, ...]
    outputs: tuple[FileTensor, ...]
    options: object


def model_of(payload: Payload) -> schema.ModelT:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(payload.files["model.tflite"], 0))


def ops_of(payload: Payload) -> list[FileOp]:
    """Return the operators of the file, each with its tensors."""
    model = model_of(payload)
    (graph,) = model.subgraphs
    tensors = [_tensor(tensor, model.buffers) for tensor in graph.tensors]
    ops = []
    for op in graph.operators:
        code = model.operatorCodes[op.opcodeIndex]
        ops.append(
            FileOp(
                _NAMES[code.builtinCode],
                code.version,
                tuple(tensors[index] if index >= 0 else None for index in op.inputs),
                tuple(tensors[index] for index in op.outputs),
                op.builtinOptions,
            )
        )
    return ops


def names_of(payload: Payload) -> list[str]:
    return [op.name for op in ops_of(payload)]


def only(payload: Payload, name: str) -> FileOp:
    (found,) = [op for op in ops_of(payload) if op.name == name]
    return found


def _tensor(tensor: schema.TensorT, buffers: list[schema.BufferT]) -> FileTensor:
    quantization = tensor.quantization
    data = buffers[tensor.buffer].data
    return FileTensor(
        name=tensor.name.decode(),
        shape=tuple(map(int, tensor.shape)) if tensor.shape is not None else (),
        type=_TYPES[tensor.type],
        scale=()
        if quantization is None or quantization.scale is None
        else tuple(map(float, quantization.scale)),
        zero_point=()
        if quantization is None or quantization.zeroPoint is None
        else tuple(map(int, quantization.zeroPoint)),
        axis=0 if quantization is None else quantization.quantizedDimension,
        data=None if data is None or not len(data) else bytes(bytearray(data)),
    )


def load_case(case: Case, folder: Path) -> FloatModel:
    path = folder / f"{case.name}.onnx"
    path.write_bytes(case.proto().SerializeToString())
    return load_model(path)


def float_payload(case: Case, folder: Path, target: str = "cortex-a-tflite") -> tuple[FloatModel, Payload]:
    profile = catalog.load(target)
    model = load_case(case, folder)
    return model, lower(model, float_plan(model, profile), profile)


def with_tensor(plan: QuantizationPlan, name: str, **changes: object) -> QuantizationPlan:
    tensors = {**plan.tensors, name: dataclasses.replace(plan.tensors[name], **changes)}
    return dataclasses.replace(plan, tensors=tensors)


def interpreter(payload: Payload, resolver: OpResolverType = BUILT_IN, *, keep: bool = False) -> Interpreter:
    made = Interpreter(
        model_content=payload.files["model.tflite"],
        num_threads=1,
        experimental_op_resolver_type=resolver,
        experimental_preserve_all_tensors=keep,
    )
    made.allocate_tensors()
    return made


def run(
    payload: Payload, sample: Mapping[str, NDArray[np.generic]], resolver: OpResolverType = BUILT_IN
) -> dict[str, NDArray[np.float64]]:
    """Return the outputs' real values in the source's layout."""
    engine = interpreter(payload, resolver)
    for detail, array in zip(engine.get_input_details(), to_payload(sample, payload.inputs), strict=True):
        engine.set_tensor(detail["index"], array)
    engine.invoke()
    return to_source(
        [engine.get_tensor(detail["index"]) for detail in engine.get_output_details()], payload.outputs
    )


def every_value(
    payload: Payload, sample: Mapping[str, NDArray[np.generic]], axes: Mapping[str, Sequence[int]]
) -> dict[str, NDArray[np.float64]]:
    """Return the real value of every named tensor as the built-in kernels compute it, in the source's layout."""
    engine = interpreter(payload, keep=True)
    for detail, array in zip(engine.get_input_details(), to_payload(sample, payload.inputs), strict=True):
        engine.set_tensor(detail["index"], array)
    engine.invoke()
    details = {detail["name"]: detail for detail in engine.get_tensor_details()}
    found = {}
    for value, name in payload.tensor_names.items():
        detail = details[name]
        array = engine.get_tensor(detail["index"]).astype(np.float64)
        parameters = detail["quantization_parameters"]
        if len(parameters["scales"]):
            array = (array - parameters["zero_points"][0]) * parameters["scales"][0]
        found[value] = array.transpose(np.argsort(axes.get(value, range(array.ndim))))
    return found


def assert_float_matches(model: FloatModel, payload: Payload, *, count: int = 2) -> None:
    """Hold the file against ONNX Runtime on both kernel sets, every named value too."""
    runner = FloatRunner(model, threads=1, extra_outputs=tuple(_computed(model, payload)))
    for _, sample in Samples(model, count=count, seed=5).samples():
        expected = runner.run(sample)
        seen = every_value(payload, sample, payload.tensor_axes)
        for resolver in (XNNPACK, BUILT_IN):
            for name, array in run(payload, sample, resolver).items():
                np.testing.assert_allclose(
                    array, expected[name], rtol=1e-4, atol=1e-4, err_msg=f"{name} {resolver}"
                )
        for name in _computed(model, payload):
            np.testing.assert_allclose(seen[name], expected[name], rtol=1e-4, atol=1e-4, err_msg=name)


def _computed(model: FloatModel, payload: Payload) -> list[str]:
    return [
        out.name
        for node in model.graph.graph
        for out in node.outputs
        if out.name in payload.tensor_names and out.dtype is not None and out.dtype.name == "FLOAT"
    ]
