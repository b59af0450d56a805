"""The facts that can be seen here, seen: tiny models through the engines themselves, in memory.

ONNX Runtime tells what it runs only through a file, the optimized model.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from device_agent.engines.onnxruntime_library import onnxruntime as ort
from targets import catalog
from tests.integration.environments import run_legacy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

A = (1, 8, 8, 8)
OPS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "Conv": (("a", "w8,8,3,3", "b"), {"pads": [1, 1, 1, 1]}),
    "Gemm": (("a1,16", "w8,16", "b"), {"transB": 1}),
    "MatMul": (("a1,4,16", "w16,8"), {}),
    "Add": (("a", "a"), {}),
    "Mul": (("a", "a"), {}),
    "LeakyRelu": (("a",), {"alpha": 0.1}),
    "Sigmoid": (("a",), {}),
    "Softmax": (("a1,16",), {}),
    "GlobalAveragePool": (("a",), {}),
    "AveragePool": (("a",), {"kernel_shape": [2, 2]}),
    "Concat": (("a", "a"), {"axis": 1}),
    "MaxPool": (("a",), {"kernel_shape": [2, 2]}),
    "Reshape": (("a", "i1,-1"), {}),
    "Flatten": (("a",), {}),
    "Squeeze": (("a1,8,1,8", "i2"), {}),
    "Unsqueeze": (("a", "i2"), {}),
    "Transpose": (("a",), {"perm": [0, 2, 3, 1]}),
    "Split": (("a", "i4,4"), {"axis": 1}),
    "Slice": (("a", "i0", "i4", "i1"), {}),
    "Resize": (
        ("a", "", "f1,1,2,2"),
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    "Identity": (("a",), {}),
    "Pad": (("a", "i0,0,1,1,0,0,1,1"), {}),
    "Sub": (("a", "a"), {}),
    "Div": (("a", "a"), {}),
    "Min": (("a", "a"), {}),
    "Max": (("a", "a"), {}),
    "Relu": (("a",), {}),
    "PRelu": (("a", "f0.1"), {}),
    "Tanh": (("a",), {}),
    "HardSwish": (("a",), {}),
    "HardSigmoid": (("a",), {}),
    "ReduceMean": (("a", "i3"), {}),
    "ConvTranspose": (("a", "w8,8,3,3", "b"), {"pads": [1, 1, 1, 1]}),
}
RUNTIMES = (("cortex-a-tflite", "ai_edge_litert"), ("cortex-a-tflite-legacy", "tflite_runtime"))
TRY_MODELS = """
import importlib, sys
from pathlib import Path
runtime, folder, *operators = sys.argv[1:]
interpreter = importlib.import_module(runtime + ".interpreter")
for operator in operators:
    try:
        interpreter.Interpreter(model_content=Path(folder, operator + ".tflite").read_bytes())
    except (ValueError, RuntimeError) as error:
        if "Didn't find op" in str(error):
            print(operator)
"""
PER_CHANNEL_AXIS = {"Conv": 0, "Gemm": 0, "MatMul": 1}


class _Qdq:
    """Builds Q, DQ, one operator, Q, DQ, with every scale 0.05 but those of weights."""

    def __init__(self, operator: str, *, signed: bool, zero_point: int) -> None:
        self.helper, self.numpy_helper, self.onnx = onnx.helper, onnx.numpy_helper, onnx
        self.operator = operator
        self.code = np.int8 if signed else np.uint8
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []
        self.constant("s", np.float32(0.05))
        self.constant("z", self.code(zero_point))

    def constant(self, name: str, array: Any) -> str:
        self.constants.append(self.numpy_helper.from_array(np.asarray(array), name))
        return name

    def operand(self, index: int, spec: str) -> str:
        kind, shape = spec[:1], [float(part) for part in spec[1:].split(",") if part]
        name = f"{kind}{index}"
        if kind == "a":
            dims = [int(size) for size in shape] or list(A)
            self.inputs.append(self.helper.make_tensor_value_info(f"x{index}", 1, dims))
            return self.qdq(f"x{index}")
        if kind == "w":
            dims = [int(size) for size in shape]
            axis = PER_CHANNEL_AXIS.get(self.operator, 1)
            return self.weight(name, np.ones(dims, np.int8), dims[axis], axis=axis)
        if kind == "b":
            return self.weight(name, np.ones(8, np.int32), 8, axis=0)
        dtype = np.float32 if kind == "f" else np.int64
        return self.constant(name, np.array(shape, dtype)) if kind else ""

    def weight(self, name: str, codes: Any, channels: int, *, axis: int) -> str:
        self.constant(name, codes)
        scale = 0.01 if codes.dtype == np.int8 else 0.0005
        self.constant(f"{name}s", np.full(channels, scale, np.float32))
        self.constant(f"{name}z", np.zeros(channels, codes.dtype))
        self.node("DequantizeLinear", [name, f"{name}s", f"{name}z"], [f"{name}d"], axis=axis)
        return f"{name}d"

    def node(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self.nodes.append(self.helper.make_node(operator, inputs, outputs, **attributes))

    def qdq(self, value: str) -> str:
        self.node("QuantizeLinear", [value, "s", "z"], [f"{value}q"])
        self.node("DequantizeLinear", [f"{value}q", "s", "z"], [f"{value}d"])
        return f"{value}d"

    def model(self, *, after: tuple[str, list[float]] | None = None, consumers: int = 2) -> bytes:
        operands, attributes = OPS[self.operator]
        names = [self.operand(index, spec) for index, spec in enumerate(operands)]
        values = [f"y{index}" for index in range(2 if self.operator == "Split" else 1)]
        self.node(self.operator, names, values, **attributes)
        if after:
            bounds = [self.constant(f"bound{i}", np.float32(bound)) for i, bound in enumerate(after[1])]
            self.node(after[0], [values[0], *bounds], ["fused"])
            values = ["fused"]
        outputs = []
        for value in values:
            result = self.qdq(value)
            for consumer in range(consumers):
                self.node("Neg", [result], [f"{result}{consumer}"])
                outputs.append(self.helper.make_tensor_value_info(f"{result}{consumer}", 1, None))
        graph = self.helper.make_graph(self.nodes, "g", self.inputs, outputs, self.constants)
        opset = [self.helper.make_opsetid("", 21)]
        return bytes(self.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


def executed(model: bytes, folder: Path, *, int8_allowed: bool = False) -> list[str]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    if int8_allowed:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node if node.op_type != "Neg"]


def on_integers(ops: list[str], operator: str) -> bool:
    """Quantized once at each door, dequantized once at the end of each path, and nothing else in between."""
    inputs = sum(spec.startswith("a") for spec in OPS[operator][0])
    if operator == "Identity":
        return set(ops) == {"QuantizeLinear", "DequantizeLinear"} and ops.count("QuantizeLinear") == 1
    return ops.count("QuantizeLinear") == inputs and ops.index("DequantizeLinear") > max(
        index for index, op in enumerate(ops) if op not in {"DequantizeLinear"}
    )


class TestOnnxRuntime:
    @pytest.mark.parametrize("operator", sorted(OPS))
    def test_uint8_operators_run_as_the_profile_says(self, operator: str, tmp_path: Path) -> None:
        profile = catalog.load("x86_64-onnxruntime")
        promised = "int8" in profile.ops[operator].precisions and operator not in profile.artifact.integer_ops
        ops = executed(_Qdq(operator, signed=False, zero_point=100).model(), tmp_path)
        assert on_integers(ops, operator) == promised, ops

    @pytest.mark.parametrize("operator", sorted(OPS))
    def test_int8_operators_run_as_the_arm_profile_says(self, operator: str, tmp_path: Path) -> None:
        profile = catalog.load("aarch64-onnxruntime")
        promised = "int8" in profile.ops[operator].precisions and operator not in profile.artifact.integer_ops
        ops = executed(_Qdq(operator, signed=True, zero_point=0).model(), tmp_path, int8_allowed=True)
        assert on_integers(ops, operator) == promised, ops

    @pytest.mark.parametrize("operator", sorted(OPS))
    def test_int8_operators_without_zero_points_run_as_the_generic_profile_says(
        self, operator: str, tmp_path: Path
    ) -> None:
        profile = catalog.load("generic-symmetric")
        promised = "int8" in profile.ops[operator].precisions and operator not in profile.artifact.integer_ops
        ops = executed(_Qdq(operator, signed=True, zero_point=0).model(), tmp_path, int8_allowed=True)
        assert on_integers(ops, operator) == promised, ops

    @pytest.mark.parametrize("code", [np.int8, np.uint8])
    @pytest.mark.parametrize("operator", ["Min", "Max", "Clip", "Pad"])
    def test_operators_on_codes_give_codes(
        self, operator: str, code: type[np.integer[Any]], tmp_path: Path
    ) -> None:
        """A constant vector a channel for Min and Max, as a bound after equalization has it; Relu is Max with the zero point."""
        helper = onnx.helper
        vector = np.arange(1, 9, dtype=code).reshape(1, 8, 1, 1)
        constants = {
            "Min": [vector],
            "Max": [vector],
            "Clip": [np.asarray(3, code), np.asarray(90, code)],
            "Pad": [np.asarray([0, 0, 1, 1, 0, 0, 1, 1]), np.asarray(7, code)],
        }[operator]
        scale, zero = np.float32(0.05), np.asarray(5, code)
        named = {"s": np.asarray(scale), "z": zero} | {f"c{i}": one for i, one in enumerate(constants)}
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node(operator, ["q", *(f"c{i}" for i in range(len(constants)))], ["r"]),
            helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
        ]
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", 1, list(A))],
            [helper.make_tensor_value_info("y", 1, None)],
            [onnx.numpy_helper.from_array(one, name) for name, one in named.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
        ).SerializeToString()
        assert executed(model, tmp_path) == ["QuantizeLinear", operator, "DequantizeLinear"]
        x = np.random.default_rng(1).normal(0, 2, A).astype(np.float32)
        info = np.iinfo(code)
        codes = np.clip(np.rint(x / scale) + 5, info.min, info.max)
        wanted = {
            "Min": lambda: np.minimum(codes, vector),
            "Max": lambda: np.maximum(codes, vector),
            "Clip": lambda: np.clip(codes, 3, 90),
            "Pad": lambda: np.pad(codes, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=7),
        }[operator]()
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        np.testing.assert_array_equal(np.rint(session.run(None, {"x": x})[0] / scale) + 5, wanted)

    @pytest.mark.parametrize("chain", catalog.load("x86_64-onnxruntime").fusions, ids="-".join)
    def test_a_fused_activation_within_the_quantized_range_costs_nothing(
        self, chain: tuple[str, str], tmp_path: Path
    ) -> None:
        bounds = [0.0, 12.75] if chain[1] == "Clip" else []
        model = _Qdq(chain[0], signed=False, zero_point=0).model(after=(chain[1], bounds))
        ops = executed(model, tmp_path)
        assert on_integers(ops, chain[0]), ops
        assert chain[1] not in ops

    def test_a_clip_narrower_than_the_quantized_range_runs_the_chain_in_float(self, tmp_path: Path) -> None:
        model = _Qdq("Conv", signed=False, zero_point=0).model(after=("Clip", [0.0, 6.0]))
        assert not on_integers(executed(model, tmp_path), "Conv")

    def test_signed_activations_with_two_consumers_are_float_on_x86(self, tmp_path: Path) -> None:
        import platform

        if platform.machine() not in {"x86_64", "AMD64"}:
            pytest.skip("a fact about x86")
        assert "Conv" in executed(_Qdq("Conv", signed=True, zero_point=0).model(), tmp_path)


class TestLiteRt:
    """Which version of an operator an interpreter takes: the resolver refuses before it looks at anything else."""

    @staticmethod
    def model(operator: str, version: int) -> bytes:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, operator)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        tensors = []
        for name in (b"x", b"y"):
            tensor = schema.TensorT()
            tensor.name, tensor.shape, tensor.type, tensor.buffer = (
                name,
                [1, 4, 4, 4],
                schema.TensorType.INT8,
                0,
            )
            tensors.append(tensor)
        node, graph, model = schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
        node.opcodeIndex, node.inputs, node.outputs = 0, [0], [1]
        graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [0], [1], [node]
        model.version, model.operatorCodes, model.buffers, model.subgraphs = (
            3,
            [code],
            [schema.BufferT()],
            [graph],
        )
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    @staticmethod
    def refused(runtime: str, models: Mapping[str, bytes], folder: Path) -> list[str]:
        """Return the operators whose model the interpreter does not take; tflite-runtime has an environment of its own."""
        for operator, model in models.items():
            (folder / f"{operator}.tflite").write_bytes(model)
        arguments = ["-c", TRY_MODELS, runtime, str(folder), *models]
        if runtime == "tflite_runtime":
            return run_legacy(*arguments).split()
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.split()

    @pytest.mark.parametrize(("name", "runtime"), RUNTIMES)
    def test_the_highest_versions_are_accepted(self, name: str, runtime: str, tmp_path: Path) -> None:
        limits = catalog.load(name).artifact.max_op_versions
        models = {op: self.model(op, version) for op, version in limits.items()}
        assert self.refused(runtime, models, tmp_path) == []

    @pytest.mark.parametrize(("name", "runtime"), RUNTIMES)
    def test_the_next_versions_are_refused_by_the_release_they_were_measured_on(
        self, name: str, runtime: str, tmp_path: Path
    ) -> None:
        """Another release may take more: then the profile still holds, and there is nothing to measure."""
        measured = {"ai_edge_litert": "2.3.0", "tflite_runtime": "2.14.0"}[runtime]
        program = f"from importlib.metadata import version; print(version({runtime.replace('_', '-')!r}))"
        if runtime == "tflite_runtime":
            assert run_legacy("-c", program).strip() == measured, "the Makefile pins it"
        elif metadata.version("ai-edge-litert") != measured:
            pytest.skip(f"measured on {measured}")
        limits = catalog.load(name).artifact.max_op_versions
        models = {op: self.model(op, version + 1) for op, version in limits.items()}
        assert self.refused(runtime, models, tmp_path) == list(models)
